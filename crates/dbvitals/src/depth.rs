//! Depths as people name them; those that are planned and not there yet are told apart from
//! typing errors.

use dbvitals_verdict::Depth;

/// Reads a depth that a probe can go to.
pub(crate) fn parse(text: &str) -> Result<Depth, String> {
    let known = "connect, greeting, login, ping and query";
    match text.parse::<Depth>() {
        Ok(
            depth @ (Depth::Connect | Depth::Greeting | Depth::Login | Depth::Ping | Depth::Query),
        ) => Ok(depth),
        Ok(Depth::Listening | Depth::Role | Depth::Lag | Depth::Write) => Err(format!(
            "the depth {text} is planned and not there yet; known are {known}"
        )),
        Err(()) => Err(format!("{text:?} is no depth; known are {known}")),
    }
}
