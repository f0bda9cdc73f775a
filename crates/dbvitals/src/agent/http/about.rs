//! What HTTP tells of the agent itself: its name, its version, and the file it runs from.
//!
//! Schema `dbvitals.agent.v1`, a part of the contract; fields are only ever added.

use std::path::Path;

use serde::Serialize;

/// The body of `/api/v1/agent`.
#[derive(Debug, Serialize)]
pub(crate) struct About {
    schema: &'static str,
    name: String,
    version: &'static str,
    pid: u32,
    /// The configuration file; `None` where it was started from arguments.
    config: Option<String>,
}

impl About {
    /// An agent of this name, with its configuration file.
    pub(crate) fn new(name: &str, config: Option<&Path>) -> Self {
        // Who asks may be in another directory.
        let absolute = config.map(|path| path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        Self {
            schema: "dbvitals.agent.v1",
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            config: absolute.map(|path| path.display().to_string()),
        }
    }
}
