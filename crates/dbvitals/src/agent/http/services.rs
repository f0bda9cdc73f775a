//! What HTTP tells of services: the short answer of `/health`, and the whole of the API.
//!
//! Schemas `dbvitals.health.v1` and `dbvitals.services.v1`, parts of the contract; fields are only
//! ever added. An answer is concluded from the members as they are now, for whoever asks: with
//! `want` only members of that role count, with `max_lag` only those that are not too far behind.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dbvitals_verdict::{Alarm, Class, Conclusion, Want};
use serde::Serialize;
use tokio::task::JoinSet;

use super::backends::warning;
use super::condition::{self, Condition};
use super::health::{State, answer, whole_ms};
use super::{Desk, refuse, refuse_probe};
use crate::agent::board::{BackendBoard, Board};
use crate::agent::board::{Roster, ServiceBoard};
use crate::agent::event_loop::Busy;
use crate::duration::rfc3339;

/// The body of `/api/v1/services`, or of one of them.
#[derive(Debug, Serialize)]
struct Services {
    schema: &'static str,
    services: Vec<Service>,
}

#[derive(Debug, Serialize)]
struct Service {
    #[serde(flatten)]
    state: State,
    want: &'static str,
    enough: usize,
    fit: usize,
    primaries: Vec<String>,
    alarm: Option<&'static str>,
    backends: Vec<Member>,
}

/// A backend as a member of its service.
#[derive(Debug, Serialize)]
struct Member {
    name: String,
    verdict: &'static str,
    role: Option<&'static str>,
    admin: &'static str,
    fit: bool,
}

/// `GET /health/NAME` of a service.
pub(super) async fn health(desk: &Desk, service: &ServiceBoard, asked: Condition) -> Response {
    let roster = service.roster();
    if let Err(busy) = probe(desk, &roster, asked).await {
        return refuse_probe(busy);
    }
    let want = asked.want();
    let conclusion = roster.conclude(want, |member| asked.too_late(&member.standing()));
    let is_fit = conclusion.sign().is_fit();
    let state = State::of_service(service, (&roster, conclusion), want, &desk.board);
    answer(is_fit, state)
}

/// Has every member probed whose evidence will not do, all at the same time.
async fn probe(desk: &Desk, roster: &Roster, asked: Condition) -> Result<(), Busy> {
    let now = desk.board.clock().now();
    let members = roster.members.iter();
    let mut probes = JoinSet::new();
    for member in members.filter(|member| asked.wants_probe(member, now)) {
        let (member, control) = (Arc::clone(member), Arc::clone(&desk.control));
        probes.spawn(async move { condition::probe(&member, &control).await });
    }
    // Neither panics; what could would show as old evidence.
    while let Some(Ok(asked)) = probes.join_next().await {
        asked?;
    }
    Ok(())
}

/// `GET /api/v1/services`
pub(super) async fn all(Shared(desk): Shared<Desk>) -> Response {
    Json(Services::of(&desk.board.services(), &desk.board)).into_response()
}

/// `GET /api/v1/services/NAME`
pub(super) async fn one(Shared(desk): Shared<Desk>, Path(name): Path<String>) -> Response {
    if let Some(service) = desk.board.service(&name) {
        return Json(Services::of(&[service], &desk.board)).into_response();
    }
    let services = desk.board.services();
    let known: Vec<_> = services.iter().map(|it| &*it.name).collect();
    let detail = match known.is_empty() {
        true => format!("there is no service {name:?} here, nor any other"),
        false => format!(
            "there is no service {name:?} here; known are {}",
            known.join(", ")
        ),
    };
    refuse(StatusCode::NOT_FOUND, "unknown_service", detail)
}

impl Services {
    fn of(services: &[Arc<ServiceBoard>], board: &Board) -> Self {
        let services = services.iter();
        Self {
            schema: "dbvitals.services.v1",
            services: services.map(|it| Service::new(it, board)).collect(),
        }
    }
}

impl Service {
    fn new(service: &ServiceBoard, board: &Board) -> Self {
        let roster = service.roster();
        let conclusion = roster.conclude(Want::Any, |_| None);
        let members = roster.members.iter().zip(&conclusion.fit);
        Self {
            want: roster.needs.want.name(),
            enough: roster.needs.enough,
            fit: conclusion.fit_count(),
            primaries: roster.names(&conclusion.primaries),
            alarm: conclusion.alarm.map(Alarm::name),
            backends: members
                .map(|(member, fit)| Member::new(member, *fit))
                .collect(),
            state: State::of_service(service, (&roster, conclusion), Want::Any, board),
        }
    }
}

impl State {
    /// What is said of a service; it has no role, and its members have the orders.
    fn of_service(
        service: &ServiceBoard,
        (roster, conclusion): (&Roster, Conclusion),
        want: Want,
        board: &Board,
    ) -> Self {
        let clock = board.clock();
        let age = roster.evidence_age(&conclusion, clock.now());
        Self {
            name: service.name.to_string(),
            verdict: conclusion.verdict.name(),
            class: conclusion.class.map(Class::name),
            cause: conclusion.cause.map(|cause| cause.name()),
            since: rfc3339(clock.wall(service.standing(want).since)),
            evidence_age_ms: age.map(whole_ms),
            role: None,
            admin: conclusion.admin.name(),
            warning: warning_of(roster, &conclusion),
            detail: conclusion.detail,
            order: None,
        }
    }
}

impl Member {
    fn new(backend: &BackendBoard, fit: bool) -> Self {
        let sign = backend.sign();
        Self {
            name: backend.name.to_string(),
            verdict: sign.verdict.name(),
            role: sign.role.map(|role| role.name()),
            admin: sign.admin.name(),
            fit,
        }
    }
}

/// The alarm, where there is one, or what the first member whose check is at fault says of that.
fn warning_of(roster: &Roster, conclusion: &Conclusion) -> Option<String> {
    if let Some(alarm) = conclusion.alarm {
        let names = roster.names(&conclusion.primaries).join(", ");
        return Some(format!("{alarm}: {names}"));
    }
    roster.members.iter().find_map(|member| {
        let warning = warning(member, &member.standing())?;
        Some(format!("{}: {warning}", member.name))
    })
}
