//! Learns how long something between the pool and its server lets a connection idle.
//!
//! Servers tell their limits; routers, balancers and firewalls do not, but connections that die at
//! the same age of silence, at different times, give them away. A restart ends many at once at any
//! age, which proves nothing. What was learned is forgotten after an hour without a further end at
//! that age, so that a limit that is no more, or never was, is found out; it costs a few idle
//! connections, which are replaced before anybody asks for them. Pure; time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use dbvitals_verdict::Moment;

/// How many ends, each at a time of its own, make a limit.
const WITNESSES: usize = 3;
/// Ends closer together than this have one reason.
const APART: Duration = Duration::from_secs(1);
/// Shorter silences are no sign of a limit.
const LIMIT_MIN: Duration = Duration::from_secs(1);
/// How long a limit is believed in.
const BELIEVED_FOR: Duration = Duration::from_secs(3600);
/// How far the silences of witnesses may be apart, as a share of the shortest.
const SPREAD: u32 = 10;

/// What is known of idle limits that nobody told.
#[derive(Debug, Default)]
pub(crate) struct IdleLimits {
    witnesses: VecDeque<Witness>,
    learned: Option<Learned>,
}

#[derive(Debug, Clone, Copy)]
struct Learned {
    limit: Duration,
    /// When the last witness was heard.
    at: Moment,
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
        self.witnesses.retain(|it| at.since(it.at) < BELIEVED_FOR);
        self.witnesses.push_back(Witness { at, silence });
        if self.witnesses.len() > WITNESSES {
            self.witnesses.pop_front();
        }
        let silences = self.witnesses.iter().map(|it| it.silence);
        let (Some(shortest), Some(longest)) = (silences.clone().min(), silences.max()) else {
            return;
        };
        if self.witnesses.len() == WITNESSES && longest - shortest <= shortest / SPREAD {
            self.learned = Some(Learned {
                limit: shortest,
                at,
            });
        }
    }

    /// One answered after this long a silence.
    pub(crate) fn note_answer(&mut self, silence: Duration) {
        if self.learned.is_some_and(|known| silence > known.limit) {
            self.learned = None;
        }
        self.witnesses.retain(|it| it.silence >= silence);
    }

    pub(crate) fn learned(&self, now: Moment) -> Option<Duration> {
        let known = self.learned?;
        (now.since(known.at) < BELIEVED_FOR).then_some(known.limit)
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
        let (last, _) = ends[ends.len() - 1];
        let learned = limits.learned(Moment::ORIGIN + secs(last));
        learned.map(|limit| limit.as_secs())
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
        let learned = |limits: &IdleLimits| limits.learned(Moment::ORIGIN + secs(1600));
        assert_eq!(learned(&limits), Some(secs(350)));
        limits.note_answer(secs(351));
        assert_eq!(learned(&limits), None);
        limits.note_end(secs(350), Moment::ORIGIN + secs(1600));
        assert_eq!(learned(&limits), None, "the witnesses were refuted too");
    }

    #[test]
    fn a_limit_is_forgotten_unless_it_shows_again() {
        let mut limits = IdleLimits::default();
        for at in [400, 800, 1200] {
            limits.note_end(secs(350), Moment::ORIGIN + secs(at));
        }
        let learned = |limits: &IdleLimits, at| limits.learned(Moment::ORIGIN + secs(at));
        assert_eq!(learned(&limits, 4_799), Some(secs(350)));
        assert_eq!(learned(&limits, 4_800), None);
        // Ends long before are no witnesses of what is now.
        limits.note_end(secs(350), Moment::ORIGIN + secs(9_000));
        assert_eq!(learned(&limits, 9_000), None);
        limits.note_end(secs(360), Moment::ORIGIN + secs(9_400));
        limits.note_end(secs(355), Moment::ORIGIN + secs(9_800));
        assert_eq!(learned(&limits, 9_800), Some(secs(350)));
    }

    #[test]
    fn a_margin_is_kept() {
        assert_eq!(allowance(secs(1)), Duration::from_millis(900));
        assert_eq!(allowance(secs(28_800)), secs(28_790));
    }
}
