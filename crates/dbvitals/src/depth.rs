//! Depths as people name them.

use dbvitals_verdict::Depth;

/// Reads a depth.
pub(crate) fn parse(text: &str) -> Result<Depth, String> {
    text.parse::<Depth>().map_err(|()| {
        format!(
            "{text:?} is no depth; known are listening, connect, greeting, login, ping, query, role, lag and write"
        )
    })
}
