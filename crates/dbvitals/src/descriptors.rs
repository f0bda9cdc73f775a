//! How many descriptors this process may have open.
//!
//! Each held session takes one. Shells and service managers give a low limit that a process may raise
//! by itself, for the sake of programs that cannot deal with more; this one can.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside those of backends: for clients, gates, hooks and files.
const OTHERS: u64 = 1024;
/// Of a backend: its held session, a fresh one, and one that is being left.
const EACH: u64 = 3;

/// Raises the limit to what so many backends may need, as far as this process may; where that is
/// refused, it stays as it is. No further: programs that hooks start have the same limit, and some
/// go through all descriptors that there might be.
pub(crate) fn raise_limit(backends: usize) {
    let needed = OTHERS + EACH * backends as u64;
    let limit = getrlimit(Resource::Nofile);
    let reachable = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if limit.current.is_none_or(|current| current >= reachable) {
        return;
    }
    let raised = Rlimit {
        current: Some(reachable),
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
