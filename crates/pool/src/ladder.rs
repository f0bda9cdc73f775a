//! The liveness ladder: how little has to be done to know that a connection lives.
//!
//! 1. The server answered a moment ago: nothing.
//! 2. Else a look at the socket: an end or an error is death, silence is life, and of bytes the
//!    driver says what they mean.
//! 3. The server has not answered for `ping_after`, or doubt was cast on all that are as old: a
//!    look first, as it may settle the matter, then a ping. Where there is nothing to look at, a
//!    second of silence is enough.
//!
//! Pure; [`Shared::examine`](crate::shared::Shared::examine) does the looking, the keeper the
//! pinging.

use std::time::Duration;

/// How long a connection that cannot be looked at is taken for alive, if `ping_after` is not
/// shorter: nobody sees it end. A busy one answers more often than that, and costs no ping.
const BLIND_FOR: Duration = Duration::from_secs(1);

/// The limits between the rungs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ladder {
    pub(crate) trust_for: Duration,
    pub(crate) ping_after: Duration,
}

/// What speaks against a connection, because of what was found on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    None,
    /// Another was closed: look at this one.
    Closed,
    /// Another fell silent: a look would not tell.
    Silent,
}

/// How much has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    Nothing,
    /// A look is enough if it finds silence.
    Look,
    /// A look may find an end; if not, a ping decides.
    Ping,
}

impl Ladder {
    /// The rung for a connection on which the server answered `proven_age` ago.
    pub(crate) fn rung(self, proven_age: Duration, doubt: Doubt, has_socket: bool) -> Rung {
        let ping_after = match has_socket {
            true => self.ping_after,
            false => self.ping_after.min(BLIND_FOR.max(self.trust_for)),
        };
        if doubt == Doubt::Silent || proven_age >= ping_after {
            return Rung::Ping;
        }
        match (doubt, has_socket) {
            (Doubt::None, _) if proven_age < self.trust_for => Rung::Nothing,
            (_, true) => Rung::Look,
            (Doubt::None, false) => Rung::Nothing,
            (_, false) => Rung::Ping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: Ladder = Ladder {
        trust_for: Duration::from_millis(10),
        ping_after: Duration::from_secs(30),
    };

    #[track_caller]
    fn check(proven_age_ms: u64, doubt: Doubt, has_socket: bool, expected: Rung) {
        let age = Duration::from_millis(proven_age_ms);
        assert_eq!(LADDER.rung(age, doubt, has_socket), expected);
    }

    #[test]
    fn each_age_has_its_rung() {
        check(9, Doubt::None, true, Rung::Nothing);
        check(10, Doubt::None, true, Rung::Look);
        check(29_999, Doubt::None, true, Rung::Look);
        check(30_000, Doubt::None, true, Rung::Ping);
    }

    #[test]
    fn without_a_socket_there_is_nothing_between_trust_and_a_ping() {
        check(999, Doubt::None, false, Rung::Nothing);
        check(1_000, Doubt::None, false, Rung::Ping);
        check(0, Doubt::Closed, false, Rung::Ping);
    }

    #[test]
    fn what_was_set_counts_without_a_socket_too() {
        let rung = |trust_for: u64, ping_after: u64, age: u64| {
            let ladder = Ladder {
                trust_for: Duration::from_millis(trust_for),
                ping_after: Duration::from_millis(ping_after),
            };
            ladder.rung(Duration::from_millis(age), Doubt::None, false)
        };
        assert_eq!(rung(0, 100, 100), Rung::Ping, "a shorter ping_after");
        assert_eq!(
            rung(5_000, 30_000, 4_999),
            Rung::Nothing,
            "a longer trust_for"
        );
        assert_eq!(rung(5_000, 30_000, 5_000), Rung::Ping);
    }

    #[test]
    fn doubt_beats_trust() {
        check(0, Doubt::Closed, true, Rung::Look);
        check(0, Doubt::Silent, true, Rung::Ping);
    }
}
