//! What the machine wants done: the closed list of its outputs.

use crate::{BackendId, Depth, Moment, Path, ProbeId, Transition};

/// What a [`Monitor`](crate::Monitor) wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a probe. It must end by its deadline, in one [`Observation`](crate::Observation) with its id.
    StartProbe {
        /// Which backend.
        backend: BackendId,
        /// The id that the observation has to carry.
        probe: ProbeId,
        /// On which path. On the fresh path of a course that holds sessions, a session that
        /// passed stays open as the held one if none is held.
        path: Path,
        /// How far.
        depth: Depth,
        /// The moment by which it ends, whatever happens.
        deadline: Moment,
    },
    /// Drop the probe in flight on this path, if there is one; no observation of it is wanted any
    /// more. On the held path the session goes with it.
    CancelProbe {
        /// Which backend.
        backend: BackendId,
        /// On which path.
        path: Path,
    },
    /// Tell everybody.
    Announce(Box<Transition>),
}
