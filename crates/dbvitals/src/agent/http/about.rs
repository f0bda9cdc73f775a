//! What HTTP tells of the agent itself: its name, its version, the file it runs from, its vitals.
//!
//! Schema `dbvitals.agent.v1`, a part of the contract; fields are only ever added.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::agent::board::Board;
use crate::agent::metrics;
use crate::duration::rfc3339;
use crate::report::rounded_ms;

/// Who the agent is, which does not change while it runs.
#[derive(Debug, Serialize)]
pub(crate) struct About {
    schema: &'static str,
    name: String,
    version: &'static str,
    pid: u32,
    /// The configuration file; `None` where it was started from arguments.
    config: Option<String>,
}

/// The body of `/api/v1/agent`.
#[derive(Debug, Serialize)]
pub(super) struct Agent<'a> {
    #[serde(flatten)]
    about: &'a About,
    /// The agent's clock, by which all times are told.
    at: Timestamp,
    started: String,
    vitals: Vitals,
}

/// How the agent itself fares.
#[derive(Debug, Serialize)]
struct Vitals {
    /// How late the slowest event loop's newest timer was.
    loop_lag_ms: f64,
    /// How often it was too late to judge anybody.
    stalls: u64,
    /// Probes ended so far, of the backends that are watched now.
    probes: u64,
    /// Open now, and how many may be; `None` where the system does not say.
    descriptors: Option<usize>,
    descriptors_max: Option<u64>,
    resident_bytes: Option<u64>,
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

impl<'a> Agent<'a> {
    pub(super) fn new(about: &'a About, board: &Board) -> Self {
        Self {
            about,
            at: board.wall_now(),
            started: rfc3339(board.started()),
            vitals: Vitals::of(board),
        }
    }
}

impl Vitals {
    fn of(board: &Board) -> Self {
        let backends = board.backends();
        let probes = backends.iter().map(|backend| {
            let failures = backend.failures().map(|(_, count)| count);
            backend.passes() + failures.sum::<u64>()
        });
        Self {
            loop_lag_ms: rounded_ms(board.loop_lag()),
            stalls: board.stalls(),
            probes: probes.sum(),
            descriptors: metrics::descriptors(),
            descriptors_max: metrics::descriptors_max(),
            resident_bytes: metrics::resident_bytes(),
        }
    }
}
