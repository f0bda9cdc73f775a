//! What HTTP tells of backends: the short answer of `/health`, and the whole of the API.
//!
//! Schemas `dbvitals.health.v1` and `dbvitals.backends.v1`, parts of the contract; fields are only
//! ever added. The API's object is that of `/health`, with what each path saw last: held fine and
//! fresh refused is a full server, held lost and fresh fine a session that somebody ended, both
//! broken a dead server.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Class, Observation, Standing, Verdict};
use jiff::Timestamp;
use serde::Serialize;

use crate::agent::board::{BackendBoard, Board};
use crate::agent::seen::Seen;
use crate::duration::rfc3339;
use crate::report::remedy;

/// The body of `/health/NAME`.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    schema: &'static str,
    #[serde(flatten)]
    state: State,
}

/// What is said of a backend wherever it is spoken of.
#[derive(Debug, Serialize)]
struct State {
    name: String,
    verdict: &'static str,
    class: Option<&'static str>,
    cause: Option<&'static str>,
    since: String,
    evidence_age_ms: Option<u64>,
    role: Option<&'static str>,
    admin: &'static str,
    detail: Option<String>,
    /// The check itself is at fault; that takes nothing out of rotation, so it is said loudly.
    warning: Option<String>,
    /// What an operator said with the order that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Given>,
}

/// What an operator said with an order.
#[derive(Debug, Serialize)]
struct Given {
    reason: Option<String>,
    until: Option<Timestamp>,
}

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

impl Health {
    pub(super) fn new(backend: &BackendBoard, standing: &Standing, board: &Board) -> Self {
        Self {
            schema: "dbvitals.health.v1",
            state: State::new(backend, standing, board),
        }
    }

    /// Says what was asked for beyond the verdict and is not the case.
    pub(super) fn with_unmet(mut self, unmet: Option<String>) -> Self {
        self.state.detail = unmet.or(self.state.detail);
        self
    }

    pub(super) fn evidence_age_ms(&self) -> Option<u64> {
        self.state.evidence_age_ms
    }
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
    fn new(backend: &BackendBoard, standing: &Standing, board: &Board) -> Self {
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
            order: backend.order().map(|order| Given {
                reason: order.reason.clone(),
                until: order.until,
            }),
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
            state: State::new(backend, &standing, board),
            address: target.address.to_string(),
            remedy: told.map(|(cause, observation)| remedy(cause, &*target, observation)),
            sessions_lost: standing.sessions_lost,
            held: seen(&evidence.held),
            fresh: seen(&evidence.fresh),
        }
    }
}

pub(super) fn whole_ms(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
