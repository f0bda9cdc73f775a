//! What all backends of one monitor have in common: the loop that they share, how many logins it may
//! begin, and the moments at which it asks.

use crate::mesh::Mesh;
use crate::ration::Logins;
use crate::stall::Stall;

/// Handed to a backend by `monitor.rs` whenever something may come of it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stall: Stall,
    pub(crate) logins: Logins,
    pub(crate) mesh: Mesh,
}
