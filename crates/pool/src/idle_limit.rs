//! Learns how long something between the pool and its server lets a connection idle.
//!
//! Servers tell their limits; routers, balancers and firewalls do not, but connections that die at
//! the same age of silence, at different times, give them away. A restart ends many at once at any
//! age, which proves nothing. A connection that answers after a longer silence refutes what was
//! learned. Pure; time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use dbvitals_verdict::Moment;

/// How many ends, each at a time of its own, make a limit.
const WITNESSES: usize = 3;
/// Ends closer together than this have one reason.
const APART: Duration = Duration::from_secs(1);
/// Shorter silences are no sign of a limit.
const LIMIT_MIN: Duration = Duration::from_secs(1);
/// How far the silences of witnesses may be apart, as a share of the shortest.
const SPREAD: u32 = 10;

/// What is known of idle limits that nobody told.
#[derive(Debug, Default)]
pub(crate) struct IdleLimits {
    witnesses: VecDeque<Witness>,
    learned: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Witness {
    at: Moment,
    silence: Duration,
}

impl IdleLimits {
    /// One was found closed at `at`, after this long a silence.
    pub(crate) fn note_end(&mut self, silence: Duration, at: Moment) {
        if silence < LIMIT_MIN {
            return;
        }
        if self
            .witnesses
            .back()
            .is_some_and(|it| at.since(it.at) < APART)
        {
            return;
        }
        self.witnesses.push_back(Witness { at, silence });
        if self.witnesses.len() > WITNESSES {
            self.witnesses.pop_front();
        }
        let silences = self.witnesses.iter().map(|it| it.silence);
        let (Some(shortest), Some(longest)) = (silences.clone().min(), silences.max()) else {
            return;
        };
        if self.witnesses.len() == WITNESSES && longest - shortest <= shortest / SPREAD {
            self.learned = Some(self.learned.map_or(shortest, |known| known.min(shortest)));
        }
    }

    /// One answered after this long a silence.
    pub(crate) fn note_answer(&mut self, silence: Duration) {
        if self.learned.is_some_and(|limit| silence > limit) {
            self.learned = None;
        }
        self.witnesses.retain(|it| it.silence >= silence);
    }

    pub(crate) fn learned(&self) -> Option<Duration> {
        self.learned
    }
}

/// How long to let a connection idle where there is a limit: a tenth less, 10 s less at most.
pub(crate) fn allowance(limit: Duration) -> Duration {
    limit - (limit / 10).min(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn learned(ends: &[(u64, u64)]) -> Option<u64> {
        let mut limits = IdleLimits::default();
        for (at, silence) in ends {
            limits.note_end(secs(*silence), Moment::ORIGIN + secs(*at));
        }
        limits.learned().map(|limit| limit.as_secs())
    }

    #[test]
    fn three_ends_at_the_same_silence_make_a_limit() {
        assert_eq!(learned(&[(400, 350), (800, 352)]), None);
        assert_eq!(learned(&[(400, 350), (800, 352), (1200, 351)]), Some(350));
    }

    #[test]
    fn ends_of_one_moment_or_of_any_silence_make_none() {
        assert_eq!(learned(&[(400, 350), (400, 350), (400, 350)]), None);
        assert_eq!(learned(&[(400, 350), (800, 20), (1200, 100)]), None);
        assert_eq!(learned(&[(1, 0), (3, 0), (5, 0)]), None);
    }

    #[test]
    fn an_answer_after_a_longer_silence_refutes_a_limit() {
        let mut limits = IdleLimits::default();
        for at in [400, 800, 1200] {
            limits.note_end(secs(350), Moment::ORIGIN + secs(at));
        }
        limits.note_answer(secs(300));
        assert_eq!(limits.learned(), Some(secs(350)));
        limits.note_answer(secs(351));
        assert_eq!(limits.learned(), None);
        limits.note_end(secs(350), Moment::ORIGIN + secs(1600));
        assert_eq!(limits.learned(), None, "the witnesses were refuted too");
    }

    #[test]
    fn a_margin_is_kept() {
        assert_eq!(allowance(secs(1)), Duration::from_millis(900));
        assert_eq!(allowance(secs(28_800)), secs(28_790));
    }
}
