//! Conclusions: the verdict on a backend, and each change of it with its evidence.

use std::fmt;

use crate::{Cause, Class, Moment, Observation, Phases, Role, ServerFacts};

/// Names one backend in a [`Monitor`](crate::Monitor); chosen by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

/// The conclusion on a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verdict {
    /// Not enough evidence, or none that is young enough.
    #[default]
    Unknown,
    /// Fit.
    Up,
    /// Alive and in use, but something is wrong: full, slow, or the check is refused.
    Degraded,
    /// Not fit.
    Down,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Up, Self::Degraded, Self::Down];

    /// The name in JSON, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An operator's order about a backend. It changes what publishers say, never what is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Admin {
    /// Take part.
    #[default]
    Ready,
    /// Finish what runs, take nothing new.
    Drain,
    /// Out for maintenance.
    Maint,
}

impl Admin {
    /// The name in JSON, headers and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The verdict.
    Verdict {
        /// What it was.
        from: Verdict,
        /// What it is.
        to: Verdict,
    },
    /// The server's role.
    Role {
        /// What it was, if it was known.
        from: Option<Role>,
        /// What it is.
        to: Role,
    },
    /// The operator's order.
    Admin {
        /// What it was.
        from: Admin,
        /// What it is.
        to: Admin,
    },
}

/// What a conclusion rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The newest observation on the held path.
    pub held: Option<Observation>,
    /// The newest observation on the fresh path.
    pub fresh: Option<Observation>,
    /// The newest look at the accept queue that told anything: what is wrong, or that it is over.
    /// Apart, because most backends have none.
    pub queue: Option<Box<Observation>>,
    /// The cause behind the verdict, where it is not up.
    pub cause: Option<Cause>,
    /// The class of that cause under the plan in force.
    pub class: Option<Class>,
    /// The moment of the newest proof, of whichever kind.
    pub proof_at: Option<Moment>,
    /// The moment of the newest pass.
    pub pass_at: Option<Moment>,
}

impl Evidence {
    /// The observation that shows the cause: the fresh path's word counts before the held one's,
    /// and both before a look at the queue.
    pub fn decisive(&self) -> Option<&Observation> {
        let shows = |observation: &&Observation| match self.cause {
            Some(cause) => observation.outcome.cause() == Some(cause),
            None => true,
        };
        let fresh = self.fresh.as_ref().filter(shows);
        let held = self.held.as_ref().filter(shows);
        let queue = self.queue.as_deref().filter(|_| self.cause.is_some());
        match (held, fresh) {
            (Some(held), Some(fresh)) if self.cause.is_none() && held.ended > fresh.ended => {
                Some(held)
            }
            (held, fresh) => fresh.or(held).or(queue.filter(shows)),
        }
    }

    /// Brings the held path up to date with an answered ping that differs from what it shows, an
    /// answered ping as well, in nothing but its moments; see
    /// [`Observation::is_plain_ping`].
    pub fn note_ping(&mut self, started: Moment, ended: Moment) {
        let Some(held) = self.held.as_mut().filter(|held| held.is_plain_ping()) else {
            return;
        };
        if ended <= held.ended || ended < started {
            return;
        }
        let question = held.phases.iter().map(|(phase, ..)| phase).last();
        held.phases = Phases::default();
        if let Some(question) = question {
            held.phases.push(question, ended.since(started));
        }
        (held.started, held.ended) = (started, ended);
        self.proof_at = self.proof_at.max(Some(ended));
        self.pass_at = self.pass_at.max(Some(ended));
    }

    /// What the server said of itself last, where it was asked for its role.
    pub fn newest_facts(&self) -> Option<&ServerFacts> {
        let told = |observation: &&Observation| {
            let facts = observation.server.as_deref();
            facts.is_some_and(|facts| facts.read_only.is_some())
        };
        let paths = [&self.held, &self.fresh].into_iter().flatten();
        let newest = paths
            .filter(told)
            .max_by_key(|observation| observation.ended);
        newest.and_then(|observation| observation.server.as_deref())
    }
}

/// A change on one backend, with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Which backend.
    pub backend: BackendId,
    /// When it was concluded.
    pub at: Moment,
    /// What changed.
    pub change: Change,
    /// Why.
    pub evidence: Evidence,
}

/// Where a backend stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The conclusion.
    pub verdict: Verdict,
    /// Since when it holds; the moment the backend was added, while unknown from the start.
    pub since: Moment,
    /// The operator's order.
    pub admin: Admin,
    /// The server's role, as last seen.
    pub role: Option<Role>,
    /// Held sessions that died while a fresh one worked.
    pub sessions_lost: u64,
    /// What it rests on.
    pub evidence: Evidence,
}
