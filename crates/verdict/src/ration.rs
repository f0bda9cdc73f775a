//! So many at once, and then one after the other: how logins are held to a pace.
//!
//! Two rations stand between a wish for a fresh probe and its start, so that a thousand servers that
//! come back do not become a thousand logins at once, nor one that falters a hundred. Each backend
//! has one of its own, [`Plan::logins_at_once`] and then one each [`Plan::login_spacing`]; all
//! backends of a monitor share [`Logins`]. Who finds none left there waits in a queue, once, and is
//! called when one more is there: who wants it no longer takes none, and nobody waits for the same
//! backend twice. A bucket of tokens, kept as the one moment at which it is full again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{BackendId, Moment, Plan};

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

/// The logins of all backends of one monitor together.
#[derive(Debug)]
pub(crate) struct Logins {
    pace: Pace,
    ration: Ration,
    /// Who waits for one, in the order in which they came; some may have gone since.
    waiting: VecDeque<BackendId>,
    deferred: u64,
}

impl Logins {
    /// Of a monitor without backends.
    pub(crate) fn new() -> Self {
        Self {
            pace: pace(PER_SECOND_MIN),
            ration: Ration::default(),
            waiting: VecDeque::new(),
            deferred: 0,
        }
    }

    /// Fits the pace to the plans; whoever waits does so at the new one from now on.
    pub(crate) fn fit<'a>(
        &mut self,
        plans: impl Iterator<Item = &'a Plan>,
        per_second_max: Option<f64>,
        now: Moment,
    ) {
        self.pace = pace(per_second(plans, per_second_max));
        let whole = now + self.pace.spacing * self.pace.at_once;
        self.ration.full_at = self.ration.full_at.min(whole);
        if !self.waiting.is_empty() {
            // Not due before now, or the agent would take itself for late.
            self.ration.full_at = self.ration.full_at.max(now + self.pace.ahead());
        }
    }

    /// Takes one, if one is left and nobody waits for it.
    pub(crate) fn take(&mut self, now: Moment) -> bool {
        let is_left = self.waiting.is_empty() && self.ration.next(self.pace) <= now;
        if is_left {
            self.ration.take(self.pace, now);
        }
        is_left
    }

    /// Puts a backend at the end of the queue; once, until it is called.
    pub(crate) fn wait(&mut self, id: BackendId) {
        self.waiting.push_back(id);
        self.deferred += 1;
    }

    /// When the next of those who wait is to be called.
    pub(crate) fn next_call(&self) -> Option<Moment> {
        (!self.waiting.is_empty()).then(|| self.ration.next(self.pace))
    }

    /// Calls the next of those who wait, if one is left.
    pub(crate) fn call(&mut self, now: Moment) -> Option<BackendId> {
        let is_left = self.next_call().is_some_and(|at| at <= now);
        is_left.then(|| self.waiting.pop_front()).flatten()
    }

    /// Takes the one that somebody was called for.
    pub(crate) fn take_called(&mut self, now: Moment) {
        self.ration.take(self.pace, now);
    }

    /// How often somebody had to wait.
    pub(crate) fn deferred(&self) -> u64 {
        self.deferred
    }

    /// Whether one more leaves half of what may be begun at once to those who cannot wait.
    pub(crate) fn has_spare(&self, now: Moment) -> bool {
        let at_once = self.pace.at_once.div_ceil(2);
        let half = Pace {
            at_once,
            ..self.pace
        };
        self.waiting.is_empty() && self.ration.next(half) <= now
    }
}

/// What these plans ask for when all is well, beside it for each backend as many as it takes to tell
/// within a second that it is down, and those that a server which is down takes; no more than
/// `per_second_max`, where that is given.
fn per_second<'a>(plans: impl Iterator<Item = &'a Plan>, per_second_max: Option<f64>) -> f64 {
    let wanted: f64 = plans.map(Plan::logins_per_second_most).sum();
    let wanted = wanted.max(PER_SECOND_MIN);
    per_second_max.map_or(wanted, |max| wanted.min(max))
}

/// How long a verdict may have to wait for logins in all, at most, where all these backends change
/// theirs at once: each time as long as it takes until all have had theirs.
pub fn logins_wait<'a>(
    plans: impl Iterator<Item = &'a Plan> + Clone,
    per_second_max: Option<f64>,
) -> Duration {
    let logins: f64 = plans
        .clone()
        .map(|plan| f64::from(plan.logins_to_change()))
        .sum();
    let pace = pace(per_second(plans, per_second_max));
    let waited_for = (logins - f64::from(pace.at_once)).max(0.0);
    pace.spacing.mul_f64(waited_for)
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

    fn plans(count: usize) -> Vec<Plan> {
        let course = crate::Course::Session {
            depth: crate::Depth::Ping,
        };
        vec![Plan::new(course); count]
    }

    #[test]
    fn a_limit_holds_where_the_plans_want_more() {
        let plans = plans(3000);
        let mut logins = Logins::new();
        logins.fit(plans.iter(), None, at(0));
        assert!(logins.pace.spacing < Duration::from_micros(334));
        logins.fit(plans.iter(), Some(500.0), at(0));
        assert_eq!(logins.pace.spacing, Duration::from_millis(2));
        logins.fit(plans[..1].iter(), None, at(0));
        assert_eq!(logins.pace.spacing, Duration::from_millis(1));
    }

    #[test]
    fn a_limit_of_nothing_is_the_slowest_pace() {
        let mut logins = Logins::new();
        logins.fit(std::iter::empty(), Some(0.0), at(0));
        assert_eq!(logins.pace.at_once, 1);
        assert!(logins.take(at(0)) && !logins.take(at(0)));
    }

    #[test]
    fn whoever_can_wait_leaves_half_to_those_who_cannot() {
        let mut logins = Logins::new();
        let now = at(1000);
        let spared = (0..100).take_while(|_| logins.has_spare(now) && logins.take(now));
        assert_eq!(spared.count(), 50);
        assert!((0..50).all(|_| logins.take(now)));
    }

    #[test]
    fn whoever_waits_is_called_in_turn_and_takes_one_only_if_it_is_wanted_still() {
        let mut logins = Logins::new();
        logins.fit(std::iter::empty(), Some(10.0), at(0));
        assert!(logins.take(at(0)));
        for id in 0..4 {
            assert!(!logins.take(at(0)));
            logins.wait(BackendId(id));
        }
        assert_eq!(logins.next_call(), Some(at(100)));
        assert_eq!(logins.call(at(99)), None);
        // The first two have changed their minds, and take nothing from the third.
        let called: Vec<_> = (0..3).filter_map(|_| logins.call(at(100))).collect();
        assert_eq!(called, [0, 1, 2].map(BackendId));
        logins.take_called(at(100));
        assert_eq!(logins.call(at(100)), None);
        assert!(!logins.take(at(300)), "somebody waits");
        assert_eq!(logins.call(at(300)), Some(BackendId(3)));
        assert!(logins.take(at(300)));
        assert_eq!(logins.deferred(), 4);
    }

    #[test]
    fn a_limit_that_is_lifted_holds_nobody_up_any_longer() {
        let plans = plans(100);
        let mut logins = Logins::new();
        logins.fit(plans.iter(), Some(1.0 / 60.0), at(0));
        assert!(logins.take(at(0)));
        logins.wait(BackendId(7));
        logins.fit(plans.iter(), None, at(0));
        let call = logins.next_call().expect("somebody waits");
        assert!(call <= at(1));
        logins.fit(plans.iter(), Some(1e6), at(50));
        assert!(logins.next_call() >= Some(at(50)), "late by itself");
    }

    #[test]
    fn the_wait_is_that_of_the_last_of_all() {
        let wait = |count, max| logins_wait(plans(count).iter(), max);
        assert_eq!(wait(100, None), Duration::ZERO);
        assert_eq!(wait(41, Some(10.0)), Duration::from_secs(4));
        let most = wait(10_000, None);
        assert!(most < Duration::from_secs(1), "{most:?}");
        // A limit that nobody reaches changes nothing.
        assert_eq!(wait(10_000, Some(1e9)), most);
        let with_a_fall_of = |fall| {
            let plans = plans(1000).into_iter().map(|plan| Plan { fall, ..plan });
            logins_wait(plans.collect::<Vec<_>>().iter(), Some(100.0)).as_secs()
        };
        assert_eq!([2, 3, 4].map(with_a_fall_of), [9, 19, 29]);
    }
}
