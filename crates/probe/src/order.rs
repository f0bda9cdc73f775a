//! What a prober is told to do.

use dbvitals_verdict::{Depth, Moment, Path, ProbeId};

/// Names one target in a [`Prober`](crate::Prober); chosen by the caller, small numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u32);

/// What to probe, how far, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Which target.
    pub target: TargetId,
    /// The id that the observation will carry.
    pub probe: ProbeId,
    /// On which path.
    pub path: Path,
    /// How far.
    pub depth: Depth,
    /// The moment by which the probe ends, whatever happens: it covers name resolution, every
    /// address of the name, TLS and all answers.
    pub deadline: Moment,
    /// Whether a fresh session that passed becomes the held one if none is held.
    pub hold: bool,
}
