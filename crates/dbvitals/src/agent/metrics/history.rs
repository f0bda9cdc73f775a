//! The history's part of `/metrics`: what was written, what was dropped, what it takes on disk.

use std::fmt::{self, Write};

use super::head;
use crate::agent::history::Kept;

/// Writes how the history fares; nothing where there is no place for one.
pub(crate) fn write(out: &mut String, kept: Option<&Kept>) -> fmt::Result {
    let Some(kept) = kept else {
        return Ok(());
    };
    let samples = [
        (
            "dbvitals_history_written_total",
            "counter",
            "Transitions and digests written into the history.",
            kept.written(),
        ),
        (
            "dbvitals_history_dropped_total",
            "counter",
            "Transitions and digests not kept, since nothing waits for the disk.",
            kept.dropped(),
        ),
        (
            "dbvitals_history_bytes",
            "gauge",
            "What the history takes on disk.",
            kept.bytes(),
        ),
    ];
    for (name, kind, help, value) in samples {
        head(out, name, kind, help)?;
        writeln!(out, "{name} {value}")?;
    }
    Ok(())
}
