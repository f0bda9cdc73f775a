//! What is right to say of a fault: written from the fault, not from what any program says of it.
//!
//! A [`Truth`] is a verdict and the causes that may be named for it; a [`Check`] says it of some
//! columns of `check`, a [`Watch`] of what `serve` has to conclude, step by step, and how soon.

use std::fmt::Write as _;
use std::time::Duration;

/// A verdict, and the causes of which one has to be named with it.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// The verdict.
    pub verdict: &'static str,
    /// The causes to choose from; none where nothing is wrong. An empty one stands for no cause.
    pub causes: &'static [&'static str],
}

/// Alive and fit.
pub(crate) const UP: Truth = Truth {
    verdict: "up",
    causes: &[],
};

/// Not to be used.
pub(crate) const fn down(causes: &'static [&'static str]) -> Truth {
    Truth {
        verdict: "down",
        causes,
    }
}

/// To be used, and looked at.
pub(crate) const fn degraded(causes: &'static [&'static str]) -> Truth {
    Truth {
        verdict: "degraded",
        causes,
    }
}

/// Nothing can be known.
pub(crate) const fn unknown(causes: &'static [&'static str]) -> Truth {
    Truth {
        verdict: "unknown",
        causes,
    }
}

impl Truth {
    /// All that may be said: `up`, or `down: closed` and `down: reset`.
    #[must_use]
    pub fn tellings(&self) -> Vec<String> {
        match self.causes {
            [] => vec![self.verdict.to_owned()],
            causes => causes
                .iter()
                .map(|cause| told(self.verdict, cause))
                .collect(),
        }
    }
}

/// A verdict and its cause, as they stand in a table.
pub(crate) fn told(verdict: &str, cause: &str) -> String {
    match cause {
        "" => verdict.to_owned(),
        cause => format!("{verdict}: {cause}"),
    }
}

pub(crate) const CONNECT: &[&str] = &["connect"];
pub(crate) const TO_GREETING: &[&str] = &["connect", "greeting"];
pub(crate) const TO_LOGIN: &[&str] = &["connect", "greeting", "login"];
pub(crate) const TO_PING: &[&str] = &["connect", "greeting", "login", "ping"];
pub(crate) const ALL: &[&str] = &["connect", "greeting", "login", "ping", "query"];
pub(crate) const FROM_GREETING: &[&str] = &["greeting", "login", "ping", "query"];
pub(crate) const FROM_LOGIN: &[&str] = &["login", "ping", "query"];
pub(crate) const FROM_PING: &[&str] = &["ping", "query"];
pub(crate) const PING: &[&str] = &["ping"];
pub(crate) const QUERY: &[&str] = &["query"];
pub(crate) const ROLE: &[&str] = &["role"];
pub(crate) const PRIMARY: &[&str] = &["primary"];
pub(crate) const REPLICA: &[&str] = &["replica"];
pub(crate) const WRITABLE: &[&str] = &["writable"];
pub(crate) const LAG: &[&str] = &["lag"];
pub(crate) const MAX_LAG: &[&str] = &["max_lag"];
pub(crate) const WRITE: &[&str] = &["write"];
/// The deepest questions.
pub(crate) const FROM_ROLE: &[&str] = &["role", "lag", "write"];
/// A ping passes, and so does the question for a role where none is wanted.
pub(crate) const SHALLOW: &[&str] = &["ping", "role"];

/// What `check` has to say in some columns.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The columns: depths, and expectations.
    pub columns: &'static [&'static str],
    /// Further arguments of the program.
    pub arguments: &'static [&'static str],
    /// The truth at each of them.
    pub truth: Truth,
}

/// The truth in some columns.
pub(crate) const fn at(columns: &'static [&'static str], truth: Truth) -> Check {
    Check {
        columns,
        arguments: &[],
        truth,
    }
}

/// What `serve` has to conclude.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The depth it watches at.
    pub depth: &'static str,
    /// Further keys of the backend, with their values.
    pub keys: &'static [(&'static str, &'static str)],
    /// What an operator says of the class of a cause.
    pub classes: &'static [(&'static str, &'static str)],
    /// What follows from each act of the scene. One step more than there are acts means that the
    /// first is about the start; otherwise all is well at the start.
    pub steps: &'static [Step],
}

/// A watch by ping.
pub(crate) const fn by_ping(steps: &'static [Step]) -> Option<Watch> {
    watched("ping", &[], steps)
}

/// A watch at a depth, with further keys of the backend.
pub(crate) const fn watched(
    depth: &'static str,
    keys: &'static [(&'static str, &'static str)],
    steps: &'static [Step],
) -> Option<Watch> {
    Some(Watch {
        depth,
        keys,
        classes: &[],
        steps,
    })
}

/// A watch by ping with a fresh session every second, for what a held session does not see.
pub(crate) const fn afresh(steps: &'static [Step]) -> Option<Watch> {
    watched("ping", &[("fresh_interval", "1s")], steps)
}

/// What follows from one act: exactly these transitions, and the truth at their end.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The verdicts to be announced, in order; no other may be.
    pub verdicts: &'static [&'static str],
    /// What is true once they were.
    pub truth: Truth,
    /// The last verdict comes so long after the act at the latest; where none may come, so long
    /// it is waited for.
    pub within: Duration,
}

/// A change of verdict, and how soon.
pub(crate) const fn turns(truth: Truth, within: Duration) -> Step {
    let verdicts: &[&str] = match truth.verdict.as_bytes() {
        b"up" => &["up"],
        b"down" => &["down"],
        b"degraded" => &["degraded"],
        _ => &["unknown"],
    };
    Step {
        verdicts,
        truth,
        within,
    }
}

/// No transition at all, for so long.
pub(crate) const fn stays(truth: Truth, during: Duration) -> Step {
    Step {
        verdicts: &[],
        truth,
        within: during,
    }
}

/// Away and back within one act.
pub(crate) const fn down_and_up(within: Duration) -> Step {
    Step {
        verdicts: &["down", "up"],
        truth: UP,
        within,
    }
}

impl Step {
    /// All that may be said: `stays up`, `down: refused`, `down, then up`.
    #[must_use]
    pub fn tellings(&self) -> Vec<String> {
        let lead = lead(self.verdicts);
        let tellings = self.truth.tellings().into_iter();
        tellings.map(|telling| format!("{lead}{telling}")).collect()
    }
}

/// What stands before the last verdict of a step.
pub(crate) fn lead<T: AsRef<str>>(verdicts: &[T]) -> String {
    match verdicts.split_last() {
        None => "stays ".to_owned(),
        Some((_, before)) => before.iter().fold(String::new(), |mut text, verdict| {
            write!(text, "{}, then ", verdict.as_ref()).expect("a string takes all");
            text
        }),
    }
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A crash is told by the kernel: 15 ms, and what a busy machine adds.
pub(crate) const CRASH: Duration = ms(50);
/// Silence on both paths: interval and timeout, and what neighbours on this machine add.
pub(crate) const FREEZE: Duration = ms(2300);
/// `rise` passes at the pace of a server that is down.
pub(crate) const RETURN: Duration = ms(3000);
/// From the start of the agent to its first verdict, when each probe uses up its timeout.
pub(crate) const START: Duration = ms(4000);
/// What a question on the held session tells: an interval, a fast one, and a busy machine.
pub(crate) const NEXT: Duration = ms(2000);
/// The same, where each question uses up its timeout.
pub(crate) const NEXT_IN_VAIN: Duration = ms(4000);
/// What only the fresh path sees, at a fresh session a second: `fall` of them.
pub(crate) const AFRESH: Duration = ms(3500);
