//! What HTTP tells of hooks: how often each ran, and how its last run went.
//!
//! Schema `dbvitals.hooks.v1`, a part of the contract; fields are only ever added.

use std::collections::BTreeMap;

use dbvitals_probe::Clock;
use serde::Serialize;

use crate::agent::hooks::{HookRecord, HookRecords, LastRun};
use crate::duration::rfc3339;
use crate::report::rounded_ms;

/// The body of `/api/v1/hooks`.
#[derive(Debug, Serialize)]
pub(super) struct Hooks {
    schema: &'static str,
    hooks: Vec<Hook>,
}

#[derive(Debug, Serialize)]
struct Hook {
    name: String,
    /// By outcome.
    runs: BTreeMap<&'static str, u64>,
    last: Option<Last>,
}

#[derive(Debug, Serialize)]
struct Last {
    backend: String,
    started: String,
    took_ms: f64,
    outcome: &'static str,
    command: Vec<String>,
    ending: String,
    output: String,
}

impl Hooks {
    pub(super) fn of(records: &HookRecords, clock: Clock) -> Self {
        let hooks = records.all().into_iter();
        Self {
            schema: "dbvitals.hooks.v1",
            hooks: hooks
                .map(|(name, record)| Hook::new(name, record, clock))
                .collect(),
        }
    }
}

impl Hook {
    fn new(name: String, record: HookRecord, clock: Clock) -> Self {
        let runs = record.counts();
        Self {
            name,
            runs: runs
                .map(|(outcome, count)| (outcome.name(), count))
                .collect(),
            last: record.last.map(|last| Last::new(last, clock)),
        }
    }
}

impl Last {
    fn new(run: LastRun, clock: Clock) -> Self {
        Self {
            backend: run.backend,
            started: rfc3339(clock.wall(run.started)),
            took_ms: rounded_ms(run.took),
            outcome: run.outcome.name(),
            command: run.command,
            ending: run.ending,
            output: run.output,
        }
    }
}
