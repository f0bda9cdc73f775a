//! What one probe, or one look at an accept queue, saw: the only kind of evidence there is.
//!
//! Observations are made by whoever probes or looks, carried into [`Monitor`](crate::Monitor), kept
//! as the evidence of a verdict and shown to people. They are data; nothing here decides.

use std::sync::Arc;
use std::time::Duration;

use crate::{Cause, Depth, Moment, Phases};

/// The two ways on which a backend is asked, and the one on which it is looked at unasked; they are
/// kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// On a session kept open.
    Held,
    /// On a session, or a mere connection, opened for this probe.
    Fresh,
    /// By a look at its accept queue, of which the server knows nothing. Nobody orders a probe on
    /// this path.
    Queue,
}

impl Path {
    /// The name in JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Fresh => "fresh",
            Self::Queue => "queue",
        }
    }
}

/// Identifies one probe of one backend; a late answer to an older one is told by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ProbeId(pub u32);

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The depth asked for was reached.
    Pass,
    /// The probe ended short.
    Fail(Cause),
}

impl Outcome {
    /// The cause, where the probe ended short.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Pass => None,
            Self::Fail(cause) => Some(cause),
        }
    }
}

/// What one probe saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The path it went.
    pub path: Path,
    /// Which probe this ends; `None` of a held session that ended by itself, between two probes, and
    /// of a look at a queue.
    pub probe: Option<ProbeId>,
    /// When it began.
    pub started: Moment,
    /// When it ended.
    pub ended: Moment,
    /// How far it got.
    pub depth: Option<Depth>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long each phase took.
    pub phases: Phases,
    /// Whether a session of this path is held open after it.
    pub session: bool,
    /// What was learned about the server, if anything.
    pub server: Option<Arc<ServerFacts>>,
    /// A sentence for people: the server's own words, or the system's.
    pub detail: Option<Arc<str>>,
}

impl Observation {
    /// How long the probe took.
    pub fn took(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// Whether it is a question on the held session that was answered, and told nothing but that.
    pub fn is_plain_ping(&self) -> bool {
        self.path == Path::Held && self.outcome == Outcome::Pass && self.server.is_none()
    }

    /// Whether it shows that a server answers: a refusal that came from one, not a way there that
    /// this machine itself bars, nor a look at a queue.
    pub fn proves_a_server(&self) -> bool {
        if self.path == Path::Queue {
            return false;
        }
        let by_itself = |cause: Cause| cause.proves_a_server() && self.depth.is_some();
        self.outcome.cause().is_none_or(by_itself)
    }

    /// Makes a pass whose answer took longer than a latency budget an
    /// [`OverBudget`](Cause::OverBudget).
    pub fn hold_against_budget(&mut self, budget: Duration) {
        let took = self.answer_time();
        if self.outcome == Outcome::Pass && took > budget {
            self.outcome = Outcome::Fail(Cause::OverBudget);
            let detail = format!(
                "the answer took {} ms, the budget is {} ms",
                took.as_millis(),
                budget.as_millis()
            );
            self.detail = Some(detail.into());
        }
    }

    /// How long the server took to answer: the questions on its session, without the way there;
    /// the whole probe where none was asked. This is what a latency budget is held against, so
    /// that held and fresh sessions are measured alike.
    pub fn answer_time(&self) -> Duration {
        let questions = self.phases.iter().filter(|(phase, ..)| phase.is_question());
        let (count, time) = questions.fold((0, Duration::ZERO), |(count, time), (_, took, _)| {
            (count + 1, time + took)
        });
        match count {
            0 => self.took(),
            _ => time,
        }
    }
}

/// What a server said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFacts {
    /// `mysql`, `mariadb` or `postgresql`.
    pub product: Option<&'static str>,
    /// The version number.
    pub version: Option<String>,
    /// Its role, where the depth tells.
    pub role: Option<Role>,
    /// Whether it refuses writes, where the depth tells.
    pub read_only: Option<bool>,
    /// Whether others of its cluster take writes as well, and are to: a Galera node, or a member of
    /// a replication group with several primaries.
    pub shares_writes: bool,
    /// How far it is behind its primary, where the depth tells and it follows one.
    pub lag: Option<Lag>,
    /// How many connections it has, where the depth tells.
    pub connections: Option<Connections>,
}

/// How far a replica is behind; what it does not tell is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// The age of the newest data that it is known to have.
    pub time: Option<Duration>,
    /// The bytes of log that it has received, or knows of, and not replayed.
    pub bytes: Option<u64>,
}

/// How many connections a server has, and how many it admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Those that are there now, this one included.
    pub used: u32,
    /// The server's limit.
    pub max: u32,
}

/// What a server is in its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows a primary.
    Replica,
}

impl Role {
    /// The name in JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}
