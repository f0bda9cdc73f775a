//! What the API tells of backends.
//!
//! Schema `dbvitals.backends.v1`, part of the contract; fields are only ever added. The API's object is that of `/health`, with what each path saw last: held fine and
//! fresh refused is a full server, held lost and fresh fine a session that somebody ended, both
//! broken a dead server.

use std::sync::Arc;

use dbvitals_verdict::{Cause, Class, Moment, Observation, Outcome, Standing, Verdict};
use serde::Serialize;

use super::health::{Given, State, whole_ms};
use crate::agent::board::{AcceptQueue, BackendBoard, Board};
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
    /// Its accept queue, where that can be seen.
    queue: Option<Queue>,
}

/// An accept queue at the newest look.
#[derive(Debug, Serialize)]
pub(super) struct Queue {
    length: u32,
    limit: Option<u32>,
    full: bool,
    overflows: Option<u64>,
    /// For how long clients have waited of whom nobody was accepted.
    standstill_ms: Option<u64>,
    /// What is wrong with it, before any probe has ended.
    cause: Option<&'static str>,
    detail: Option<String>,
}

impl Queue {
    /// That of a backend, where it can be seen.
    pub(super) fn of(backend: &BackendBoard, standing: &Standing, now: Moment) -> Option<Self> {
        let queue = backend.queue()?;
        Some(Self::new(&queue, standing, now))
    }

    fn new(queue: &AcceptQueue, standing: &Standing, now: Moment) -> Self {
        let looked = standing.evidence.queue.as_deref();
        let wrong = looked.filter(|look| look.outcome != Outcome::Pass);
        Self {
            length: queue.length,
            limit: queue.limit,
            full: queue.is_full,
            overflows: queue.overflows,
            standstill_ms: queue.still_since.map(|since| whole_ms(now.since(since))),
            cause: wrong.and_then(|look| look.outcome.cause().map(Cause::name)),
            detail: wrong.and_then(|look| look.detail.as_deref().map(str::to_owned)),
        }
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

/// Says that the check itself fails, where it does, or that a server is suspect that is up.
pub(super) fn warning(backend: &BackendBoard, standing: &Standing) -> Option<String> {
    own_fault(backend, standing).or_else(|| suspicion(standing))
}

/// What its accept queue says against a server before a verdict does.
fn suspicion(standing: &Standing) -> Option<String> {
    let look = standing.evidence.queue.as_deref()?;
    let cause = look.outcome.cause()?;
    let detail = look.detail.as_deref()?;
    let what = match cause == Cause::NotAccepting {
        true => "suspected to be frozen",
        false => "the accept queue is full",
    };
    (standing.verdict == Verdict::Up).then(|| format!("{what}: {detail}"))
}

fn own_fault(backend: &BackendBoard, standing: &Standing) -> Option<String> {
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
        let standing = backend.standing_now();
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
            queue: Queue::of(backend, &standing, board.clock().now()),
        }
    }
}
