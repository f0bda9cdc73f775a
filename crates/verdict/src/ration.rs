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

    /// Whether all of it is there.
    pub(crate) fn is_whole(self, now: Moment) -> bool {
        self.full_at <= now
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
/// The slowest pace there is, however low a limit: one a day.
const PER_SECOND_LEAST: f64 = 1.0 / (24.0 * 60.0 * 60.0);
/// The share of a second's logins that may be begun at once.
const AT_ONCE_SHARE: f64 = 0.1;
/// For how long a turn is kept for who does not come: as long as it takes to give out what may be
/// begun at once. A loop that was away for longer finds as many late as there are backends; if they
/// all kept their turns, they would storm.
const TURN_KEPT_FOR: Duration = Duration::from_millis(100);

/// The logins of all backends of one monitor together.
#[derive(Debug)]
pub(crate) struct Logins {
    pace: Pace,
    ration: Ration,
    deferred: u64,
}

impl Logins {
    /// Of a monitor without backends.
    pub(crate) fn new() -> Self {
        Self {
            pace: pace(PER_SECOND_MIN),
            ration: Ration::default(),
            deferred: 0,
        }
    }

    /// Fits the pace to the plans: what they ask for when all is well, beside it for each backend
    /// as many as it takes to tell within a second that it is down, and those that a server which is
    /// down takes; no more than `per_second_max`, where that is given.
    pub(crate) fn fit<'a>(
        &mut self,
        plans: impl Iterator<Item = &'a Plan>,
        per_second_max: Option<f64>,
    ) {
        let wanted: f64 = plans.map(Plan::logins_per_second_most).sum();
        let wanted = wanted.max(PER_SECOND_MIN);
        self.pace = pace(per_second_max.map_or(wanted, |max| wanted.min(max)));
    }

    /// Gives out the next turn.
    pub(crate) fn turn(&mut self, now: Moment) -> Moment {
        let turn = self.ration.take(self.pace, now);
        self.deferred += u64::from(turn > now);
        turn
    }

    /// How many turns had to be waited for.
    pub(crate) fn deferred(&self) -> u64 {
        self.deferred
    }

    /// Whether one more leaves half of what may be begun at once to those who cannot wait.
    pub(crate) fn has_spare(&self, now: Moment) -> bool {
        let at_once = self.pace.at_once.div_ceil(2);
        self.ration.next(Pace {
            at_once,
            ..self.pace
        }) <= now
    }

    /// Whether a turn that was given out is still one.
    pub(crate) fn is_kept(turn: Moment, now: Moment) -> bool {
        now.since(turn) <= TURN_KEPT_FOR
    }
}

fn pace(per_second: f64) -> Pace {
    let per_second = per_second.max(PER_SECOND_LEAST);
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

    #[test]
    fn a_limit_of_nothing_is_the_slowest_pace() {
        let mut logins = Logins::new();
        logins.fit(std::iter::empty(), Some(0.0));
        assert_eq!(logins.pace.at_once, 1);
        assert!(logins.turn(at(0)) < logins.turn(at(0)));
        assert_eq!(logins.deferred(), 1);
    }

    #[test]
    fn whoever_can_wait_leaves_half_to_those_who_cannot() {
        let mut logins = Logins::new();
        let now = at(1000);
        let spared = (0..100).take_while(|_| logins.has_spare(now) && logins.turn(now) == now);
        assert_eq!(spared.count(), 50);
        assert!((0..50).all(|_| logins.turn(now) == now));
    }
}
