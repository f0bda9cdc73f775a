//! The agent's distrust of itself: timeouts that ended while it was late prove nothing.
//!
//! A process that was stopped, starved or suspended finds, when it goes on, that all deadlines
//! have passed. The machine knows how late it is, because it knows for when it had asked to be
//! woken; a timeout that overlaps such a window is the agent's own. How late is too late depends
//! on the probe: what a second bears is ruin for a tenth of it.

use std::time::Duration;

use crate::Moment;

/// How late a wake-up may be before timeouts around it are no evidence.
pub(crate) const LATENESS_MAX: Duration = LATENESS_GRADES[0];

/// Lateness in grades: the first that is at most a fourth of a probe's time counts for it, the
/// last for all that have less.
const LATENESS_GRADES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(50),
    Duration::from_millis(25),
    Duration::from_millis(12),
];

/// For each grade, the last window in which the agent was that late.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    windows: [Option<(Moment, Moment)>; LATENESS_GRADES.len()],
    count: u64,
}

impl Stall {
    /// Compares the moment for which a wake-up was due with the moment it came.
    pub(crate) fn notice(&mut self, due: Option<Moment>, now: Moment) {
        let Some(due) = due else { return };
        let late = now.since(due);
        if late <= LATENESS_GRADES[LATENESS_GRADES.len() - 1] {
            return;
        }
        for (grade, window) in LATENESS_GRADES.iter().zip(&mut self.windows) {
            if late <= *grade {
                continue;
            }
            match window {
                Some((_, until)) if *until >= due => *until = now,
                window => {
                    *window = Some((due, now));
                    self.count += u64::from(*grade == LATENESS_MAX);
                }
            }
        }
    }

    /// Whether a probe that had `patience` for its answers ran into a window.
    pub(crate) fn touches(&self, started: Moment, ended: Moment, patience: Duration) -> bool {
        let bears = patience / 4;
        let grade = LATENESS_GRADES.iter().position(|grade| *grade <= bears);
        self.windows[grade.unwrap_or(LATENESS_GRADES.len() - 1)]
            .is_some_and(|(from, until)| started <= until && ended >= from)
    }

    /// How often the agent was late by more than [`LATENESS_MAX`].
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How long the newest of these windows was.
    pub(crate) fn newest(&self) -> Duration {
        self.windows[0].map_or(Duration::ZERO, |(from, until)| until.since(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn being_in_time_is_no_stall() {
        let mut stall = Stall::default();
        stall.notice(Some(at(1000)), at(1100));
        stall.notice(None, at(9000));
        assert!(!stall.touches(at(0), at(10_000), SECOND));
        assert_eq!(stall.count(), 0);
    }

    #[test]
    fn only_what_overlaps_the_window_is_touched() {
        let mut stall = Stall::default();
        stall.notice(Some(at(1000)), at(6000));
        assert!(stall.touches(at(500), at(1500), SECOND));
        assert!(stall.touches(at(5900), at(6000), SECOND));
        assert!(!stall.touches(at(0), at(999), SECOND));
        assert!(!stall.touches(at(6001), at(7000), SECOND));
        assert_eq!(stall.count(), 1);
    }

    #[test]
    fn a_probe_of_little_patience_bears_little_lateness() {
        let mut stall = Stall::default();
        stall.notice(Some(at(1000)), at(1040));
        assert!(!stall.touches(at(990), at(1090), SECOND));
        assert!(stall.touches(at(990), at(1090), Duration::from_millis(100)));
        assert_eq!(stall.count(), 0);
    }
}
