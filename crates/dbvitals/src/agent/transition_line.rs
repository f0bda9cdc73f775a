//! How a transition is told to programs: the lines of `serve --json`, and the same over HTTP.
//!
//! Schema `dbvitals.transition.v1`, a part of the contract; fields are only ever added.

use dbvitals_probe::Clock;
use dbvitals_verdict::Change;
use serde::Serialize;

use crate::agent::log;
use crate::agent::transitions::Told;
use crate::duration::rfc3339;
use crate::report::remedy;

/// One transition.
#[derive(Debug, Serialize)]
pub(crate) struct TransitionLine<'a> {
    schema: &'static str,
    at: String,
    backend: &'a str,
    change: &'static str,
    from: Option<&'static str>,
    to: &'static str,
    cause: Option<&'static str>,
    class: Option<&'static str>,
    /// What each path saw last: `pass` or a cause.
    held: Option<&'static str>,
    fresh: Option<&'static str>,
    detail: Option<&'a str>,
    /// What to do about the cause.
    remedy: Option<String>,
}

impl<'a> TransitionLine<'a> {
    pub(crate) fn of(told: &'a Told, clock: Clock) -> Self {
        let (change, from, to) = match told.transition.change {
            Change::Verdict { from, to } => ("verdict", Some(from.name()), to.name()),
            Change::Role { from, to } => ("role", from.map(|role| role.name()), to.name()),
            Change::Admin { from, to } => ("admin", Some(from.name()), to.name()),
        };
        let evidence = &told.transition.evidence;
        let decisive = evidence.decisive();
        let told_of = evidence.cause.zip(decisive);
        let target = told.backend.target();
        Self {
            schema: "dbvitals.transition.v1",
            at: rfc3339(clock.wall(told.transition.at)),
            backend: &told.backend.name,
            change,
            from,
            to,
            cause: evidence.cause.map(|cause| cause.name()),
            class: evidence.class.map(|class| class.name()),
            held: log::word(&evidence.held),
            fresh: log::word(&evidence.fresh),
            detail: decisive.and_then(|observation| observation.detail.as_deref()),
            remedy: told_of.map(|(cause, observation)| remedy(cause, &*target, observation)),
        }
    }
}
