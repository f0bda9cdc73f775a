//! One of the two paths to a backend: when it is asked next, what is under way, what it last said.
//!
//! Used by `backend.rs` alone. A path is either waiting or has exactly one probe in flight.

use crate::{Depth, Moment, Observation, ProbeId};

/// What an observation speaks for, once its cause has been classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaning {
    /// All is well.
    Pass,
    /// A server answers, but something is wrong.
    Degrade,
    /// Not fit.
    Fail,
    /// It proves nothing.
    Nothing,
}

/// A probe under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) probe: ProbeId,
    pub(crate) started: Moment,
    pub(crate) deadline: Moment,
    pub(crate) depth: Depth,
    /// The probe was started beside a suspect ping, under that ping's deadline.
    pub(crate) beside: bool,
    /// The ping beside which it was started was answered after all: cut short as it was, a
    /// timeout of this probe proves nothing.
    pub(crate) void_if_late: bool,
}

/// The state of one path.
#[derive(Debug, Default)]
pub(crate) struct PathState {
    /// When the next probe is due, unless one is in flight.
    pub(crate) next: Option<Moment>,
    /// The probe under way.
    pub(crate) flight: Option<Flight>,
    /// The newest observation.
    pub(crate) last: Option<Observation>,
    /// What the newest observation that proves anything spoke for.
    pub(crate) leaning: Option<Leaning>,
}

impl PathState {
    /// Whether the path's newest word is that the backend is not fit.
    pub(crate) fn is_failing(&self) -> bool {
        self.leaning == Some(Leaning::Fail)
    }

    /// Whether the path's newest word is that something is wrong.
    pub(crate) fn is_degraded(&self) -> bool {
        self.leaning == Some(Leaning::Degrade)
    }
}
