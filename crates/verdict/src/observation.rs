//! What one probe saw: the only kind of evidence there is.
//!
//! Observations are made by whoever probes, carried into [`Monitor`](crate::Monitor), kept as the
//! evidence of a verdict and shown to people. They are data; nothing here decides.

use std::sync::Arc;
use std::time::Duration;

use crate::{Cause, Depth, Moment, Phases};

/// The two ways on which a backend is asked; they are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// On a session kept open.
    Held,
    /// On a session, or a mere connection, opened for this probe.
    Fresh,
}

impl Path {
    /// The name in JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Fresh => "fresh",
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
    /// Which probe this ends; `None` where a held session ended by itself, between two probes.
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
