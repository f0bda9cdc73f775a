//! What the API tells of backends.
//!
//! Schema `dbvitals.backends.v1`, part of the contract; fields are only ever added. The API's object is that of `/health`, with what each path saw last: held fine and
//! fresh refused is a full server, held lost and fresh fine a session that somebody ended, both
//! broken a dead server.

use std::sync::Arc;

use dbvitals_verdict::{Class, Observation, Standing, Verdict};
use serde::Serialize;

use super::health::{Given, State, whole_ms};
use crate::agent::board::{BackendBoard, Board};
use crate::agent::seen::Seen;
use crate::duration::rfc3339;
use crate::report::remedy;

/// The body of `/api/v1/backends`, or of one of them.
#[derive(Debug, Serialize)]
pub(super) struct Backends {
    schema: &'static str,
    backends: Vec<Backend>,
}

#[derive(Debug, Serialize)]
struct Backend {
    #[serde(flatten)]
    state: State,
    address: String,
    /// What to do about the cause.
    remedy: Option<String>,
    sessions_lost: u64,
    held: Option<Seen>,
    fresh: Option<Seen>,
}

impl Backends {
    pub(super) fn of(backends: &[Arc<BackendBoard>], board: &Board) -> Self {
        let backends = backends.iter();
        Self {
            schema: "dbvitals.backends.v1",
            backends: backends.map(|it| Backend::new(it, board)).collect(),
        }
    }
}

impl State {
    /// What is said of a backend.
    pub(super) fn of_backend(backend: &BackendBoard, standing: &Standing, board: &Board) -> Self {
        let evidence = &standing.evidence;
        let age = backend.evidence_age(board.clock().now());
        let detail = evidence
            .decisive()
            .filter(|_| standing.verdict != Verdict::Up)
            .and_then(|observation| observation.detail.as_deref())
            .map(str::to_owned);
        Self {
            name: backend.name.to_string(),
            verdict: standing.verdict.name(),
            class: evidence.class.map(Class::name),
            cause: evidence.cause.map(|cause| cause.name()),
            since: rfc3339(board.clock().wall(standing.since)),
            evidence_age_ms: age.map(whole_ms),
            role: standing.role.map(|role| role.name()),
            admin: standing.admin.name(),
            detail: detail.or_else(|| evidence.cause.map(|cause| cause.meaning().to_owned())),
            warning: warning(backend, standing),
            order: backend.order().map(|order| Given::of(&order)),
        }
    }
}

/// Says that the check itself fails, where it does.
pub(super) fn warning(backend: &BackendBoard, standing: &Standing) -> Option<String> {
    let evidence = &standing.evidence;
    let newest = [&evidence.fresh, &evidence.held].into_iter().flatten();
    let mut causes = newest.filter_map(|observation| observation.outcome.cause());
    let cause = causes.find(|cause| backend.plan().classes.of(*cause) == Class::Ours)?;
    Some(format!(
        "the check itself fails ({cause}), which takes no server out of rotation: {}",
        cause.meaning()
    ))
}

impl Backend {
    fn new(backend: &BackendBoard, board: &Board) -> Self {
        let standing = backend.standing();
        let evidence = &standing.evidence;
        let seen = |observation: &Option<Observation>| {
            let observation = observation.as_ref()?;
            Some(Seen::new(
                observation,
                &backend.plan().classes,
                board.clock(),
            ))
        };
        let target = backend.target();
        let told = evidence.cause.zip(evidence.decisive());
        Self {
            state: State::of_backend(backend, &standing, board),
            address: target.address.to_string(),
            remedy: told.map(|(cause, observation)| remedy(cause, &*target, observation)),
            sessions_lost: standing.sessions_lost,
            held: seen(&evidence.held),
            fresh: seen(&evidence.fresh),
        }
    }
}
