//! What a plan costs a server in a day on which nothing happens.

use std::time::Duration;

use dbvitals_verdict::{Course, Depth, Path};

use super::Subject;
use super::figures::figures;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A day's cost; paces are counted without their jitter, which shortens them by 2.5 % on average.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cost {
    /// Questions on the held session.
    pub(super) pings: u64,
    /// Probes that make a connection of their own.
    pub(super) connections: u64,
    /// Those of them that the server sees as sessions.
    pub(super) sessions: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Processor time of the server.
    pub(super) cpu: Duration,
    pub(super) log_lines: u64,
}

/// The cost of a day.
pub(super) fn a_day(subject: &Subject) -> Cost {
    let plan = &subject.plan;
    let mut cost = Cost::default();
    match plan.course {
        Course::Session { depth } => {
            cost.add(subject, depth, Path::Held, in_a_day(plan.interval));
            cost.add(subject, depth, Path::Fresh, in_a_day(plan.fresh_interval));
        }
        Course::Sessionless { depth, deeper } => {
            let all = in_a_day(plan.interval);
            let deep = deeper.map_or(0, |_| in_a_day(plan.fresh_interval).min(all));
            cost.add(subject, depth, Path::Fresh, all - deep);
            if let Some(deeper) = deeper {
                cost.add(subject, deeper, Path::Fresh, deep);
            }
        }
    }
    cost
}

impl Cost {
    fn add(&mut self, subject: &Subject, depth: Depth, path: Path, count: u64) {
        match path {
            Path::Held => self.pings += count,
            // The kernel alone is asked.
            Path::Fresh if depth == Depth::Listening => {}
            Path::Fresh => self.connections += count,
            Path::Queue => {}
        }
        let Some(one) = figures(subject.protocol, subject.user, depth, path) else {
            return;
        };
        self.sessions += count * one.sessions;
        self.packets += count * one.packets;
        self.bytes += count * one.bytes;
        self.cpu += Duration::from_micros(count.saturating_mul(one.cpu_micros));
        self.log_lines += count * one.log_lines;
    }
}

fn in_a_day(pace: Duration) -> u64 {
    let times = DAY.as_nanos() / pace.as_nanos().max(1);
    u64::try_from(times).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::Protocol;
    use dbvitals_verdict::Plan;

    use super::*;

    #[test]
    fn a_day_at_the_default_pace_is_a_ping_a_second_and_a_session_every_half_minute() {
        let depth = Depth::Ping;
        let cost = a_day(&Subject {
            name: "any".to_owned(),
            protocol: Protocol::MySql,
            user: true,
            is_here: false,
            plan: Plan::new(Course::Session { depth }),
            waits: None,
        });
        assert_eq!((cost.pings, cost.connections), (86_400, 2880));
        assert_eq!(cost.sessions, 2880);
        assert_eq!(cost.bytes, 86_400 * 16 + 2880 * 252);
    }
}
