//! One of the paths to a backend: when it is asked next, what is under way, what it last said.
//!
//! Used by `backend.rs` alone. A path is either waiting or has exactly one probe in flight; the
//! queue's is never asked.

use std::time::Duration;

use crate::{Cause, Depth, Moment, Observation, ProbeId};

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
    /// A fresh probe was started because of this ping, or failed since it became suspect: it
    /// brings no other one.
    pub(crate) witnessed: bool,
    /// When the agent is to be awake next, so that it is seen whether it was there to hear the
    /// answer: in the middle of the probe, and before a latency budget is used up.
    pub(crate) look_at: Option<Moment>,
}

impl Flight {
    /// How long the probe may take.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline.since(self.started)
    }

    /// Settles when the agent is to be awake next, later than `after`.
    pub(crate) fn look_after(&mut self, after: Moment, budget: Option<Duration>) {
        // Who was away from before it to beyond the budget is late by a fourth of it at least.
        let before_budget = budget.map(|budget| self.started + budget * 3 / 4);
        let halfway = self.started + self.patience() / 2;
        let looks = [Some(halfway), before_budget].into_iter().flatten();
        self.look_at = looks.filter(|at| *at > after).min();
    }
}

/// A path of which nothing was heard.
pub(crate) static SILENT: PathState = PathState {
    next: None,
    flight: None,
    last: None,
    leaning: None,
    cause: None,
    cut_short: false,
};

/// The state of one path.
#[derive(Debug, Default)]
pub(crate) struct PathState {
    /// When the next probe is due, unless one is in flight; of the queue, which nobody asks, from when
    /// on a look counts again.
    pub(crate) next: Option<Moment>,
    /// The probe under way.
    pub(crate) flight: Option<Flight>,
    /// The newest observation.
    pub(crate) last: Option<Observation>,
    /// What the newest observation that proves anything spoke for.
    pub(crate) leaning: Option<Leaning>,
    /// The cause which that observation named.
    pub(crate) cause: Option<Cause>,
    /// The newest probe was void: cut short for the sake of a ping that was answered.
    pub(crate) cut_short: bool,
}

impl PathState {
    /// Notes what an observation that proves something spoke for.
    pub(crate) fn lean(&mut self, leaning: Leaning, cause: Option<Cause>) {
        self.leaning = Some(leaning);
        self.cause = cause;
    }

    /// Whether the path's newest word is that the backend is not fit.
    pub(crate) fn is_failing(&self) -> bool {
        self.leaning == Some(Leaning::Fail)
    }

    /// Whether the path's newest word is that something is wrong.
    pub(crate) fn is_degraded(&self) -> bool {
        self.leaning == Some(Leaning::Degrade)
    }

    /// The cause that the newest observation names, whether it proves anything or not.
    pub(crate) fn last_cause(&self) -> Option<Cause> {
        self.last.as_ref()?.outcome.cause()
    }
}
