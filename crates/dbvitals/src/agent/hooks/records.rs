//! How the hooks fared: counters for the metrics, the last run of each for whoever asks.
//!
//! Written by the hooks' task alone; read by metrics and HTTP. The lock is held for the copy of a
//! few words, and never by anything that probes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbvitals_verdict::Moment;

/// How a run ended, or why there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ended with 0.
    Ok,
    /// It ended with something else, or could not be started.
    Failed,
    /// It had to be ended: it took too long, or the agent ended.
    Timeout,
    /// There is no such program, or none that can be run.
    Missing,
    /// Too many were waiting, or the agent ended.
    Dropped,
    /// It would have run, and only that was asked for.
    Observed,
}

impl Outcome {
    pub(crate) const ALL: [Self; 6] = [
        Self::Ok,
        Self::Failed,
        Self::Timeout,
        Self::Missing,
        Self::Dropped,
        Self::Observed,
    ];

    /// The name in metrics, JSON and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Missing => "missing",
            Self::Dropped => "dropped",
            Self::Observed => "observed",
        }
    }
}

/// The last run of a hook.
#[derive(Debug, Clone)]
pub(crate) struct LastRun {
    /// The backend's name.
    pub(crate) backend: String,
    /// When it began.
    pub(crate) started: Moment,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
    /// The program and its arguments, as they were given.
    pub(crate) command: Vec<String>,
    /// How the program ended, for people: `exit status: 1`.
    pub(crate) ending: String,
    /// The beginning of what it wrote.
    pub(crate) output: String,
}

/// What is known of one hook.
#[derive(Debug, Clone, Default)]
pub(crate) struct HookRecord {
    /// By [`Outcome`].
    counts: [u64; Outcome::ALL.len()],
    pub(crate) last: Option<LastRun>,
    /// Its program was missing when it was looked for last.
    is_missing: bool,
}

impl HookRecord {
    /// How often each outcome was.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.into_iter().zip(self.counts)
    }
}

/// The records of all hooks, by name.
#[derive(Debug, Default)]
pub(crate) struct HookRecords {
    hooks: Mutex<BTreeMap<String, HookRecord>>,
}

impl HookRecords {
    /// A copy of all of them.
    pub(crate) fn all(&self) -> BTreeMap<String, HookRecord> {
        self.lock().clone()
    }

    /// Makes a hook known, so that it has counters before it runs.
    pub(super) fn add(&self, hook: &str) {
        self.lock().entry(hook.to_owned()).or_default();
    }

    pub(super) fn count(&self, hook: &str, outcome: Outcome) {
        let mut hooks = self.lock();
        let record = hooks.entry(hook.to_owned()).or_default();
        if let Some(count) = record.counts.get_mut(outcome as usize) {
            *count += 1;
        }
    }

    pub(super) fn note_run(&self, hook: &str, run: LastRun) {
        self.count(hook, run.outcome);
        self.lock().entry(hook.to_owned()).or_default().last = Some(run);
    }

    /// Notes whether the program is there; answers whether that it is missing is new.
    pub(super) fn note_missing(&self, hook: &str, is_missing: bool) -> bool {
        let mut hooks = self.lock();
        let record = hooks.entry(hook.to_owned()).or_default();
        let was_missing = std::mem::replace(&mut record.is_missing, is_missing);
        is_missing && !was_missing
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, HookRecord>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
