//! How long each phase of a question on a held session took.
//!
//! A fresh probe keeps its own account from the name on; this one begins with the question. Used by
//! `question.rs`, and kept in its `survey.rs`, since pings have a single phase.

use std::time::Duration;

use dbvitals_verdict::{Phase, Phases};

/// The phases that a question on a held session went through so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    pub(crate) phases: Phases,
    /// When the last of them ended, counted from the question.
    until: Duration,
}

impl Account {
    /// Adds a phase that ended so long after the question.
    pub(crate) fn push(&mut self, phase: Phase, after: Duration) {
        self.phases.push(phase, after.saturating_sub(self.until));
        self.until = after;
    }

    /// Adds the last phase.
    pub(crate) fn close(&mut self, phase: Phase, after: Duration, failed: bool) {
        match failed {
            false => self.push(phase, after),
            true => {
                let took = after.saturating_sub(self.until);
                self.phases.push_failed(phase, took);
            }
        }
    }
}
