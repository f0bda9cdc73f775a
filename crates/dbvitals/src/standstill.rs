//! A time in which nobody left an accept queue: what a frozen server looks like from outside.
//!
//! Lengths, who waits, and the time go in; nothing is asked here. `queues --watch` says it, and the
//! agent takes it for evidence.

use std::time::Duration;

use dbvitals_acceptqueue::Waiting;
use dbvitals_verdict::Moment;

/// A queue in which nobody was accepted between two looks, as far as one has looked.
#[derive(Debug, Clone)]
pub(crate) struct Standstill {
    since: Moment,
    /// How many waited when it began, and at the last look at which there were more.
    from: u32,
    length: u32,
    waiting: Waiting,
    steps: u32,
}

impl Standstill {
    /// What a first look shows: so many wait, and these.
    pub(crate) fn begin(length: u32, waiting: &Waiting, now: Moment) -> Self {
        Self {
            since: now,
            from: length,
            length,
            waiting: waiting.clone(),
            steps: 0,
        }
    }

    /// Takes another look; answers whether it has grown. Where somebody was accepted meanwhile, or
    /// nobody had waited, it begins anew.
    pub(crate) fn look(&mut self, length: u32, waiting: &Waiting, now: Moment) -> bool {
        let stands =
            self.length > 0 && length >= self.length && !waiting.has_moved_since(&self.waiting);
        if !stands {
            *self = Self::begin(length, waiting, now);
            return false;
        }
        // As long as nobody comes and nobody is accepted, it may just be a quiet time.
        let has_grown = length > self.length;
        if has_grown {
            self.length = length;
            self.waiting.clone_from(waiting);
            self.steps += 1;
        }
        has_grown
    }

    /// How many waited when it began.
    pub(crate) fn from(&self) -> u32 {
        self.from
    }

    /// When it began.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// How long it lasts.
    pub(crate) fn lasts(&self, now: Moment) -> Duration {
        now.since(self.since)
    }

    /// At how many looks more waited than before, without anybody accepted.
    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }
}
