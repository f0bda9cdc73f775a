//! Transitions on their way to whoever tells of them.

use std::sync::Arc;

use dbvitals_verdict::Transition;
use tokio::sync::broadcast;

use crate::agent::board::BackendBoard;

/// Transitions that a slow reader may be behind before it loses the oldest.
const TRANSITIONS_KEPT: usize = 1024;

/// One change on one backend, ready to be told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Which backend.
    pub(crate) backend: Arc<BackendBoard>,
    /// What changed, when, and why.
    pub(crate) transition: Transition,
}

/// Where transitions will be told: subscribe first, then start the agent with it.
pub(crate) fn channel() -> broadcast::Sender<Arc<Told>> {
    broadcast::Sender::new(TRANSITIONS_KEPT)
}
