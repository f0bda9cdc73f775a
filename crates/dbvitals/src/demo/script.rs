//! The script: what happens to which server, and what dbvitals has to make of it.

use std::fmt;
use std::time::Duration;

use dbvitals_verdict::{Cause, Plan, Verdict};

use crate::demo::server::{Dialect, Mood};

/// What the agent itself may add to a pace: waking up, asking, telling.
const OWN_TIME: Duration = Duration::from_millis(50);
/// The time from a crash to a closed gate that this project promises itself.
const CRASH_GOAL: Duration = Duration::from_millis(15);

/// The servers of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerName {
    Orders,
    Users,
}

impl ServerName {
    pub(crate) const ALL: [Self; 2] = [Self::Orders, Self::Users];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Users => "users",
        }
    }

    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Orders => Dialect::MySql,
            Self::Users => Dialect::Postgres,
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One thing that happens to one server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) server: ServerName,
    /// What the server then is, in a word or two; no two scenes of a server have the same.
    pub(crate) title: &'static str,
    pub(crate) mood: Mood,
    /// What happens, as the rest of a sentence that begins with the server's name.
    pub(crate) sentence: &'static str,
    pub(crate) expected: Expected,
}

/// What has to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// No other verdict than up, for so long.
    StaysUp(Duration),
    /// This verdict next, for one of these causes (none at all: no cause), soon enough.
    Becomes(Verdict, &'static [Cause], Promise),
}

impl Expected {
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Self::StaysUp(_) => Verdict::Up,
            Self::Becomes(verdict, ..) => verdict,
        }
    }

    pub(crate) fn allows(self, cause: Option<Cause>) -> bool {
        match (self, cause) {
            (Self::StaysUp(_), cause) => cause.is_none(),
            (Self::Becomes(_, causes, _), None) => causes.is_empty(),
            (Self::Becomes(_, causes, _), Some(cause)) => causes.contains(&cause),
        }
    }

    /// Whether the gate has to be open then.
    pub(crate) fn opens_gate(self) -> bool {
        matches!(self.verdict(), Verdict::Up | Verdict::Degraded)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaysUp(_) => f.write_str("stays up"),
            Self::Becomes(verdict, ..) => write!(f, "{verdict}"),
        }
    }
}

/// How soon something is noticed, given a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// The agent started: two passes.
    Start,
    /// The kernel tells of the death of the held session at once.
    Crash,
    /// Both paths are silent until one common deadline.
    Freeze,
    /// The next fresh session is refused, and the one after it.
    Full,
    /// The next statement is answered wrongly, and the one after it.
    Unfit,
    /// The next fresh session passes, and the ping after it.
    Recovery,
    /// The next fresh session passes, and the ping after it, which keeps the pace of a session
    /// that was never lost.
    Relief,
}

impl Promise {
    /// The longest time that it may take.
    pub(crate) fn bound(self, plan: &Plan) -> Duration {
        match self {
            Self::Start => plan.fast_interval + OWN_TIME,
            Self::Crash => plan.crash_bound() + CRASH_GOAL,
            Self::Freeze => plan.freeze_bound() + OWN_TIME,
            Self::Full => plan.fresh_interval + plan.fast_interval + OWN_TIME,
            Self::Unfit => plan.interval + plan.fast_interval + OWN_TIME,
            Self::Recovery => plan.down_interval + plan.fast_interval + OWN_TIME,
            Self::Relief => plan.down_interval + plan.interval + OWN_TIME,
        }
    }
}

const UP_FROM_START: Expected = Expected::Becomes(Verdict::Up, &[], Promise::Start);
const UP_AGAIN: Expected = Expected::Becomes(Verdict::Up, &[], Promise::Recovery);
const RELIEVED: Expected = Expected::Becomes(Verdict::Up, &[], Promise::Relief);
/// A fresh probe that is under way in the moment of the crash is reset rather than refused.
const CRASH: Expected = Expected::Becomes(
    Verdict::Down,
    &[Cause::Refused, Cause::Reset],
    Promise::Crash,
);
/// A fresh probe that is past the greeting in the moment of the freeze misses a later answer.
const FREEZE: Expected = Expected::Becomes(
    Verdict::Down,
    &[Cause::NoGreeting, Cause::Unresponsive],
    Promise::Freeze,
);
const FULL: Expected = Expected::Becomes(
    Verdict::Degraded,
    &[Cause::TooManyConnections],
    Promise::Full,
);
const READ_ONLY: Expected =
    Expected::Becomes(Verdict::Down, &[Cause::AssertionFailed], Promise::Unfit);

/// What is there when the agent starts.
pub(crate) const OPENING: &[Scene] = &[
    Scene {
        server: ServerName::Orders,
        title: "found",
        mood: Mood::Fine,
        sentence: "is met by the agent; its gate is closed until there is evidence",
        expected: UP_FROM_START,
    },
    Scene {
        server: ServerName::Users,
        title: "found",
        mood: Mood::Fine,
        sentence: "was met in the same moment",
        expected: UP_FROM_START,
    },
];

/// What happens then, over and over; it ends as it begins, with both servers fine.
pub(crate) const ROUND: &[Scene] = &[
    Scene {
        server: ServerName::Users,
        title: "fine",
        mood: Mood::Fine,
        sentence: "is fine, and answers at once",
        expected: Expected::StaysUp(Duration::from_millis(1200)),
    },
    Scene {
        server: ServerName::Users,
        title: "slow",
        mood: Mood::Slow(Duration::from_millis(200)),
        sentence: "becomes slow, 200 ms for each answer; but slow is not dead",
        expected: Expected::StaysUp(Duration::from_millis(2500)),
    },
    Scene {
        server: ServerName::Users,
        title: "full",
        mood: Mood::Full,
        sentence: "is quick again, but full: it refuses new sessions, old ones go on",
        expected: FULL,
    },
    Scene {
        server: ServerName::Users,
        title: "has room",
        mood: Mood::Fine,
        sentence: "has room for new sessions again",
        expected: RELIEVED,
    },
    Scene {
        server: ServerName::Orders,
        title: "crashed",
        mood: Mood::Crashed,
        sentence: "crashes, as by SIGKILL: its port closes, its sessions are reset",
        expected: CRASH,
    },
    Scene {
        server: ServerName::Orders,
        title: "restarted",
        mood: Mood::Fine,
        sentence: "is started again, at the same port",
        expected: UP_AGAIN,
    },
    Scene {
        server: ServerName::Orders,
        title: "frozen",
        mood: Mood::Frozen,
        sentence: "freezes, as by SIGSTOP: its port is open, but nobody answers",
        expected: FREEZE,
    },
    Scene {
        server: ServerName::Orders,
        title: "thawed",
        mood: Mood::Fine,
        sentence: "goes on, as by SIGCONT",
        expected: UP_AGAIN,
    },
    Scene {
        server: ServerName::Orders,
        title: "read-only",
        mood: Mood::ReadOnly,
        sentence: "takes no more writes: SELECT @@global.read_only answers 1",
        expected: READ_ONLY,
    },
    Scene {
        server: ServerName::Orders,
        title: "writable",
        mood: Mood::Fine,
        sentence: "takes writes again",
        expected: RELIEVED,
    },
    Scene {
        server: ServerName::Users,
        title: "crashed",
        mood: Mood::Crashed,
        sentence: "crashes",
        expected: CRASH,
    },
    Scene {
        server: ServerName::Users,
        title: "restarted",
        mood: Mood::Fine,
        sentence: "is started again",
        expected: UP_AGAIN,
    },
    Scene {
        server: ServerName::Users,
        title: "frozen",
        mood: Mood::Frozen,
        sentence: "freezes",
        expected: FREEZE,
    },
    Scene {
        server: ServerName::Users,
        title: "thawed",
        mood: Mood::Fine,
        sentence: "goes on",
        expected: UP_AGAIN,
    },
    Scene {
        server: ServerName::Orders,
        title: "full",
        mood: Mood::Full,
        sentence: "is full too",
        expected: FULL,
    },
    Scene {
        server: ServerName::Orders,
        title: "has room",
        mood: Mood::Fine,
        sentence: "has room again",
        expected: RELIEVED,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_scenes_of_a_server_are_called_alike() {
        let scenes = OPENING.iter().chain(ROUND);
        let mut names = BTreeSet::new();
        for scene in scenes {
            assert!(
                names.insert((scene.server.name(), scene.title)),
                "{scene:?}"
            );
        }
    }

    #[test]
    fn a_round_can_follow_itself() {
        for server in ServerName::ALL {
            let last = ROUND.iter().rfind(|scene| scene.server == server).unwrap();
            assert_eq!(last.mood, Mood::Fine, "{server}");
            assert_eq!(last.expected.verdict(), Verdict::Up, "{server}");
        }
    }
}
