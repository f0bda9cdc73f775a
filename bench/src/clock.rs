//! The one place where time is read.

use std::time::Instant;

/// The present moment.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench measures the time that goes by on this machine"
    )]
    Instant::now()
}
