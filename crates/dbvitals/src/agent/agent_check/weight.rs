//! How much traffic a backend should get, in percent of its weight in HAProxy.
//!
//! Latency is the mean of the probes that passed since it was looked at last, a second or more
//! apart, smoothed a little: a weight that jumps moves sessions for nothing. Lag is what the server
//! said last.

use std::time::Duration;

use dbvitals_verdict::{Cause, Moment, Observation, Outcome, Verdict};

use crate::agent::board::BackendBoard;
use crate::agent::subject::Subject;

/// The least time between two looks at the latency.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a weight is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WeightPlan {
    /// What lowers it, if anything does.
    pub(crate) by: Option<WeightBy>,
    /// The least it can be, in percent; never 0, which would drain the server.
    pub(crate) min: u8,
    /// The most it can be while the backend is degraded, in percent.
    pub(crate) degraded: u8,
}

impl Default for WeightPlan {
    fn default() -> Self {
        Self {
            by: None,
            min: 1,
            degraded: 100,
        }
    }
}

/// What lowers a weight: the whole weight up to `from`, the least from `to` on, a straight line
/// between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightBy {
    /// How long the server takes to answer.
    Latency {
        /// The longest that is still as good as none.
        from: Duration,
        /// From here on the weight is at its least.
        to: Duration,
    },
    /// How far it is behind its primary.
    Lag {
        /// The longest that is still as good as none.
        from: Duration,
        /// From here on the weight is at its least.
        to: Duration,
    },
}

/// A weight over time.
#[derive(Debug)]
pub(super) struct Scale {
    plan: WeightPlan,
    /// When the latency was looked at last, with the board's counts at that moment.
    looked: Option<(Moment, u64, Duration)>,
    latency: Option<Duration>,
}

impl Scale {
    pub(super) fn new(plan: WeightPlan) -> Self {
        Self {
            plan,
            looked: None,
            latency: None,
        }
    }

    /// The weight now, from 1 to 100, of something with this verdict.
    pub(super) fn percent(&mut self, subject: &Subject, verdict: Verdict, now: Moment) -> u8 {
        let full = match subject {
            Subject::Backend(backend) => self.full(backend, now),
            // A service is as slow as whoever is asked; the configuration refuses to weigh it.
            Subject::Service(_) => 100,
        };
        match verdict {
            Verdict::Degraded => full.min(self.plan.degraded),
            Verdict::Up | Verdict::Down | Verdict::Unknown => full,
        }
    }

    /// What it would be if it were not degraded.
    fn full(&mut self, backend: &BackendBoard, now: Moment) -> u8 {
        let standing = backend.standing();
        let evidence = &standing.evidence;
        match self.plan.by {
            None => 100,
            Some(WeightBy::Latency { from, to }) => {
                let slow = evidence
                    .decisive()
                    .filter(|it| it.outcome == Outcome::Fail(Cause::OverBudget));
                let latency = match slow {
                    // What is over the budget now is not to be waited for until the mean tells.
                    Some(observation) => Some(observation.answer_time()),
                    None => self.latency(backend, now),
                };
                slope(latency, from, to, self.plan.min)
            }
            Some(WeightBy::Lag { from, to }) => {
                let newest = newest_lag([&evidence.held, &evidence.fresh]);
                slope(newest, from, to, self.plan.min)
            }
        }
    }

    fn latency(&mut self, backend: &BackendBoard, now: Moment) -> Option<Duration> {
        let answered = backend.latency();
        let (answers, time) = (answered.count(), answered.time());
        let Some((at, answers_then, time_then)) = self.looked else {
            self.looked = Some((now, answers, time));
            self.latency = mean(time, answers);
            return self.latency;
        };
        if now.since(at) < LOOK_EVERY {
            return self.latency;
        }
        let newest = mean(
            time.saturating_sub(time_then),
            answers.saturating_sub(answers_then),
        );
        if let Some(newest) = newest {
            self.looked = Some((now, answers, time));
            self.latency = Some(match self.latency {
                Some(before) => (before + newest) / 2,
                None => newest,
            });
        }
        self.latency
    }
}

fn mean(time: Duration, count: u64) -> Option<Duration> {
    let count = u32::try_from(count).ok()?;
    time.checked_div(count)
}

fn newest_lag(observations: [&Option<Observation>; 2]) -> Option<Duration> {
    let told = observations.into_iter().flatten().filter_map(|it| {
        let lag = it.server.as_ref()?.lag?.time?;
        Some((it.ended, lag))
    });
    told.max_by_key(|(ended, _)| *ended).map(|(_, lag)| lag)
}

/// 100 up to `from` and where nothing is known, `min` from `to` on, a straight line between.
fn slope(value: Option<Duration>, from: Duration, to: Duration, min: u8) -> u8 {
    let Some(value) = value.filter(|value| *value > from) else {
        return 100;
    };
    let way = value.saturating_sub(from).as_micros();
    let all = to.saturating_sub(from).as_micros();
    let range = u128::from(100_u8.saturating_sub(min));
    let lost = (way * range).checked_div(all).unwrap_or(range).min(range);
    100 - u8::try_from(lost).unwrap_or(100 - min)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dbvitals_probe::{Address, Clock, Protocol, Target};
    use dbvitals_verdict::{
        Course, Depth, Evidence, Lag, Path, Phases, Plan, ServerFacts, Standing,
    };

    use super::*;
    use crate::agent::board::Board;
    use crate::agent::plan::{BackendPlan, Origin};

    #[test]
    fn a_weight_falls_in_a_straight_line_and_never_to_nothing() {
        let ms = Duration::from_millis;
        let check = |value: Option<u64>, expected| {
            assert_eq!(slope(value.map(ms), ms(10), ms(110), 20), expected);
        };
        check(None, 100);
        check(Some(0), 100);
        check(Some(10), 100);
        check(Some(60), 60);
        check(Some(109), 21);
        check(Some(110), 20);
        check(Some(100_000), 20);
        assert_eq!(slope(Some(Duration::MAX), ms(0), ms(1), 1), 1);
        assert_eq!(slope(Some(ms(2)), ms(1), ms(1), 1), 1);
    }

    /// A backend whose two paths were told these lags, the held one last.
    fn backend_behind(held: Option<Duration>, fresh: Duration) -> Arc<BackendBoard> {
        let observation = |path, ended, lag| Observation {
            path,
            probe: None,
            started: Moment::ORIGIN,
            ended: Moment::from_nanos(ended),
            depth: None,
            outcome: Outcome::Pass,
            phases: Phases::default(),
            session: true,
            server: Some(Arc::new(ServerFacts {
                lag: Some(Lag {
                    time: lag,
                    bytes: None,
                }),
                ..ServerFacts::default()
            })),
            detail: None,
        };
        let address = Address::Unix("/s".into());
        let plan = BackendPlan {
            name: "b".into(),
            target: Arc::new(Target::new(Protocol::MySql, address)),
            plan: Arc::new(Plan::new(Course::Session { depth: Depth::Lag })),
            origin: Origin::default(),
        };
        let board = Board::new(Clock::start()).entry(&plan, dbvitals_verdict::Admin::Ready);
        board.put_up(Standing {
            verdict: Verdict::Up,
            evidence: Evidence {
                held: Some(observation(Path::Held, 2, held)),
                fresh: Some(observation(Path::Fresh, 1, Some(fresh))),
                ..Evidence::default()
            },
            ..Standing::clone(&board.standing())
        });
        board
    }

    #[test]
    fn the_newest_lag_that_was_told_lowers_the_weight() {
        let s = Duration::from_secs;
        let plan = WeightPlan {
            by: Some(WeightBy::Lag {
                from: s(1),
                to: s(11),
            }),
            ..WeightPlan::default()
        };
        let check = |held, fresh, expected| {
            let board = backend_behind(held, fresh);
            let subject = Subject::Backend(board);
            let percent = Scale::new(plan).percent(&subject, Verdict::Up, Moment::ORIGIN);
            assert_eq!(percent, expected);
        };
        check(Some(s(0)), s(11), 100);
        check(Some(s(6)), s(0), 51);
        check(None, s(11), 1);
    }

    #[test]
    fn the_mean_of_no_probes_is_not_known() {
        assert_eq!(mean(Duration::ZERO, 0), None);
        assert_eq!(
            mean(Duration::from_secs(3), 3),
            Some(Duration::from_secs(1))
        );
    }
}
