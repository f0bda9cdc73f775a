//! So many at once, and then one after the other: how logins are held to a pace.
//!
//! Two rations stand between a wish for a fresh probe and its start, so that a thousand servers that
//! come back do not become a thousand logins at once, nor one that falters a hundred. Each backend
//! has one of its own, [`Plan::logins_at_once`] and then one each [`Plan::login_spacing`]; all
//! backends of a monitor share [`Logins`], which give out turns: who wants a login has at most one
//! turn, and turns come in the order in which they were asked for, so nobody waits for the same
//! backend twice. A bucket of tokens, kept as the one moment at which it is full again.

use std::time::Duration;

use crate::{Moment, Plan};

/// How much of a ration may be used up at once, and how soon one more is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) at_once: u32,
    pub(crate) spacing: Duration,
}

impl Pace {
    /// How far ahead of its pace a ration may be used up.
    fn ahead(self) -> Duration {
        self.spacing * self.at_once.saturating_sub(1)
    }
}

/// What is left of a ration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ration {
    /// When all of it is there again.
    full_at: Moment,
}

impl Ration {
    /// When the next is there.
    pub(crate) fn next(self, pace: Pace) -> Moment {
        self.full_at - pace.ahead()
    }

    /// Uses the next one up, now or as soon as it is there; answers when that is.
    pub(crate) fn take(&mut self, pace: Pace, now: Moment) -> Moment {
        let at = self.next(pace).max(now);
        self.full_at = self.full_at.max(at) + pace.spacing;
        at
    }
}

/// How many logins a second a monitor allows whatever its plans are: few servers are no storm.
const PER_SECOND_MIN: f64 = 1000.0;
/// The share of a second's logins that may be begun at once.
const AT_ONCE_SHARE: f64 = 0.1;
/// For how long a turn is kept for who does not come; a loop that was away for longer finds as many
/// late as there are backends.
const TURN_KEPT_FOR: Duration = Duration::from_millis(100);

/// The logins of all backends of one monitor together.
#[derive(Debug)]
pub(crate) struct Logins {
    pace: Pace,
    ration: Ration,
}

impl Logins {
    /// Of a monitor without backends.
    pub(crate) fn new() -> Self {
        Self {
            pace: pace(PER_SECOND_MIN),
            ration: Ration::default(),
        }
    }

    /// Fits the pace to the plans: what they ask for when all is well, and beside it for each
    /// backend as many as it takes to tell within a second that it is down; no more than
    /// `per_second_max`, where that is given.
    pub(crate) fn fit<'a>(
        &mut self,
        plans: impl Iterator<Item = &'a Plan>,
        per_second_max: Option<f64>,
    ) {
        let wanted = plans.map(|plan| plan.logins_per_second() + plan.logins_to_fall());
        let wanted = wanted.sum::<f64>().max(PER_SECOND_MIN);
        self.pace = pace(per_second_max.map_or(wanted, |max| wanted.min(max)));
    }

    /// Gives out the next turn.
    pub(crate) fn turn(&mut self, now: Moment) -> Moment {
        self.ration.take(self.pace, now)
    }

    /// Whether a turn that was given out is still one.
    pub(crate) fn is_kept(turn: Moment, now: Moment) -> bool {
        now.since(turn) <= TURN_KEPT_FOR
    }
}

fn pace(per_second: f64) -> Pace {
    Pace {
        at_once: (per_second * AT_ONCE_SHARE).ceil() as u32,
        spacing: Duration::from_secs_f64(1.0 / per_second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn so_many_are_there_at_once_and_then_one_after_the_other() {
        let pace = Pace {
            at_once: 3,
            spacing: Duration::from_millis(10),
        };
        let mut ration = Ration::default();
        let now = at(1000);
        let turns: Vec<_> = (0..5).map(|_| ration.take(pace, now)).collect();
        assert_eq!(turns, [1000, 1000, 1000, 1010, 1020].map(at));
        assert_eq!(ration.next(pace), at(1030));
        // Left alone for long enough, it is whole again, and no more than that.
        let now = at(9000);
        let turns: Vec<_> = (0..4).map(|_| ration.take(pace, now)).collect();
        assert_eq!(turns, [9000, 9000, 9000, 9010].map(at));
    }

    #[test]
    fn a_limit_holds_where_the_plans_want_more() {
        let course = crate::Course::Session {
            depth: crate::Depth::Ping,
        };
        let plans = vec![Plan::new(course); 3000];
        let mut logins = Logins::new();
        logins.fit(plans.iter(), None);
        assert!(logins.pace.spacing < Duration::from_micros(334));
        logins.fit(plans.iter(), Some(500.0));
        assert_eq!(logins.pace.spacing, Duration::from_millis(2));
        logins.fit(plans[..1].iter(), None);
        assert_eq!(logins.pace.spacing, Duration::from_millis(1));
    }
}
