//! Depths as people name them; the one that is planned and not there yet is told apart from typing
//! errors.

use dbvitals_verdict::Depth;

/// Reads a depth that a probe can go to.
pub(crate) fn parse(text: &str) -> Result<Depth, String> {
    let known = "connect, greeting, login, ping, query, role, lag and write";
    match text.parse::<Depth>() {
        Ok(Depth::Listening) => Err(format!(
            "the depth {text} is planned and not there yet; known are {known}"
        )),
        Ok(depth) => Ok(depth),
        Err(()) => Err(format!("{text:?} is no depth; known are {known}")),
    }
}
