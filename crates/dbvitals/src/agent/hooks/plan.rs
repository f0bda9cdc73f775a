//! What a hook is: a command, the transitions on which it runs, and how long it may take.
//!
//! Made by `config/hooks.rs`, checked there; read by everything else in this directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::Address;
use dbvitals_verdict::{Change, Verdict};

use super::template::Template;

/// How long a hook may run unless the file says otherwise.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// All hooks, and where the backends of which they tell are.
#[derive(Debug, Clone, Default)]
pub(crate) struct HooksPlan {
    /// The agent's name, for the evidence.
    pub(crate) agent: String,
    pub(crate) hooks: Vec<Arc<HookPlan>>,
    /// By the backend's name.
    pub(crate) addresses: BTreeMap<Arc<str>, Address>,
}

/// One command of the operator's.
#[derive(Debug, Clone)]
pub(crate) struct HookPlan {
    pub(crate) name: String,
    pub(crate) on: Vec<Occasion>,
    /// The backends' names; all backends where there are none.
    pub(crate) of: Option<Vec<Arc<str>>>,
    /// The program, and its arguments.
    pub(crate) run: Vec<Template>,
    pub(crate) timeout: Duration,
    pub(crate) mode: Mode,
}

impl HookPlan {
    /// Whether this change of this backend is one on which the hook runs.
    pub(super) fn runs_on(&self, backend: &str, change: &Change) -> bool {
        let of = self.of.as_ref();
        self.on.contains(&Occasion::of(change))
            && of.is_none_or(|names| names.iter().any(|name| &**name == backend))
    }
}

/// Whether a hook runs, or it is only said that it would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It runs.
    Act,
    /// It is counted and logged.
    Observe,
}

/// What a hook can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A verdict that became this one.
    Verdict(Verdict),
    /// Another role.
    Role,
    /// Another admin state.
    Admin,
}

impl Occasion {
    /// All of them, by their words in the configuration.
    pub(crate) const WORDS: [(&str, Self); 6] = [
        ("down", Self::Verdict(Verdict::Down)),
        ("up", Self::Verdict(Verdict::Up)),
        ("degraded", Self::Verdict(Verdict::Degraded)),
        ("unknown", Self::Verdict(Verdict::Unknown)),
        ("role", Self::Role),
        ("admin", Self::Admin),
    ];

    fn of(change: &Change) -> Self {
        match change {
            Change::Verdict { to, .. } => Self::Verdict(*to),
            Change::Role { .. } => Self::Role,
            Change::Admin { .. } => Self::Admin,
        }
    }
}
