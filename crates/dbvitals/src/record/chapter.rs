//! What a line of a record belongs to: a backend, for as long as it keeps its target and its plan.
//!
//! A reload may bring backends, take them away, and give one another plan. Each time there is a
//! chapter with a number of its own, which is never used again: whatever order lines are written
//! in, and whichever are lost, none is taken for somebody else's.

use std::sync::Arc;

use dbvitals_verdict::{Moment, Plan, Verdict};

/// A backend under one plan.
#[derive(Debug)]
pub(crate) struct Chapter {
    pub(super) number: u32,
    /// The shard that watches it.
    pub(super) shard: usize,
    pub(super) name: Arc<str>,
    pub(super) plan: Arc<Plan>,
    /// When the plan came into force, and what the verdict was then.
    pub(super) since: Moment,
    pub(super) verdict: Verdict,
    /// The same backend, under the plan before.
    pub(super) follows: Option<u32>,
}

impl Chapter {
    /// The plan that it goes by.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }
}
