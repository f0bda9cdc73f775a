//! How many descriptors this process may have open.
//!
//! Each held session takes one. Shells and service managers give a low limit that a process may raise
//! by itself, for the sake of programs that cannot deal with more; this one can.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as this process may; where that is refused, it stays as it is.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
