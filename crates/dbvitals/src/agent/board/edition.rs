//! Whether something is still what it was, told by a number.
//!
//! Who puts something together from the board asks for the edition first, and looks again later
//! whether it is still the same: so what changes in between is never missed.

use std::sync::atomic::{AtomicU64, Ordering};

/// One state of something on the board; never the same for two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edition(u64);

/// The editions of one thing.
#[derive(Debug, Default)]
pub(super) struct Editions(AtomicU64);

impl Editions {
    /// Says that something has changed; called when it has.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub(super) fn present(&self) -> Edition {
        Edition(self.0.load(Ordering::Acquire))
    }
}
