//! How far the reading of a long capture is, on a terminal: one line, written over and over.

use std::io::{IsTerminal as _, Write as _, stderr};

/// So many packets go by between two looks.
const PACKETS: u64 = 1 << 14;
/// Shorter files are read before anybody looks.
const LENGTH_MIN: u64 = 64 << 20;

/// Tells how far it is.
pub(super) struct Progress {
    /// The file's length; `None` where nobody is to be told.
    length: Option<u64>,
    /// What was told last.
    percent: Option<u64>,
}

impl Progress {
    /// The progress through a file of this length.
    pub(super) fn of(length: Option<u64>) -> Self {
        let length = length.filter(|length| *length >= LENGTH_MIN && stderr().is_terminal());
        Self {
            length,
            percent: None,
        }
    }

    pub(super) fn note(&mut self, packets: u64, position: impl FnOnce() -> u64) {
        let Some(length) = self.length.filter(|_| packets.is_multiple_of(PACKETS)) else {
            return;
        };
        let percent = position().saturating_mul(100) / length.max(1);
        if self.percent.replace(percent) == Some(percent) {
            return;
        }
        // Nothing depends on its being seen.
        let _ = write!(stderr(), "\rdbvitals: {percent} % read, {packets} packets");
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if self.length.take().is_some() {
            let _ = write!(stderr(), "\r{:60}\r", "");
        }
    }
}
