//! HTTP: health per backend and service, all that is known of them, operators' orders, the agent's
//! own liveness and readiness, metrics.
//!
//! Every answer comes from the board; a request reaches a database only where it asks for a fresh
//! probe, and then one probe serves all who ask meanwhile. A backend is fit (200) while up or
//! degraded and ready; whatever else is the case is 503, with the reason in the body.

mod about;
mod admin;
mod backends;
mod condition;
mod dashboard;
mod events;
mod health;
mod history;
mod history_api;
mod hooks;
mod patroni;
mod sampler;
mod server;
mod services;
mod shortcut;
mod tls;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on, post};
use axum::{Json, Router};
use dbvitals_verdict::Sign;
use serde::Serialize;

pub(crate) use about::About;
pub(crate) use admin::{Access, Reload, Reloads, Token};
pub(crate) use history::History;
pub(super) use sampler::sample;
pub(super) use server::{CONNECTIONS_MAX, Door, Ending, OPERATORS_MAX, Server};
pub(super) use shortcut::Shortcut;
pub(crate) use tls::{Tls, TlsFault};

use self::backends::Backends;
use self::condition::Condition;
use crate::agent::board::{BackendBoard, Board};
use crate::agent::control::Control;
use crate::agent::event_loop::Busy;
use crate::agent::history::Kept;
use crate::agent::hooks::HookRecords;
use crate::agent::metrics;
use crate::agent::orders::Orders;

/// What requests are answered from, and who may do more than read.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) board: Arc<Board>,
    pub(crate) control: Arc<Control>,
    pub(crate) orders: Arc<Orders>,
    /// How the hooks fared.
    pub(crate) hooks: Arc<HookRecords>,
    pub(crate) access: Access,
    /// What the agent says of itself.
    pub(crate) about: Arc<About>,
    /// Where a reload is asked for; `None` where there is no file to reload.
    pub(crate) reload: Option<Reload>,
    pub(crate) history: Arc<History>,
    /// What is kept over restarts; `None` where nothing can be.
    pub(crate) kept: Option<Arc<Kept>>,
}

/// The routes of a desk.
pub(crate) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/health/{name}", answers_probes(health))
        .route("/health", answers_probes(patroni::any))
        .route("/primary", answers_probes(patroni::primary))
        .route("/read-write", answers_probes(patroni::primary))
        .route("/replica", answers_probes(patroni::replica))
        .route("/read-only", answers_probes(patroni::any))
        .route("/api/v1/agent", get(agent))
        .route("/api/v1/backends", get(all_backends))
        .route("/api/v1/backends/{name}", get(one_backend))
        .route("/api/v1/services", get(services::all))
        .route("/api/v1/services/{name}", get(services::one))
        .route("/api/v1/hooks", get(all_hooks))
        .route("/api/v1/transitions", get(events::transitions))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/history/transitions", get(history_api::transitions))
        .route("/api/v1/history/latency", get(history_api::latency))
        .route("/api/v1/backends/{name}/state", post(admin::set_state))
        .route("/api/v1/reload", post(admin::reload))
        .route("/liveness", answers_probes(liveness))
        .route("/readiness", answers_probes(readiness))
        .route("/metrics", get(serve_metrics))
        .merge(dashboard::routes())
        .fallback(not_found)
        .with_state(desk)
}

/// Balancers ask with whatever method they like; GET includes HEAD.
fn answers_probes<H, T>(handler: H) -> MethodRouter<Desk>
where
    H: axum::handler::Handler<T, Desk>,
    T: 'static,
{
    on(MethodFilter::GET.or(MethodFilter::OPTIONS), handler)
}

/// `GET /health/NAME`
async fn health(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    // An unknown condition must not be answered as if it were met.
    match Condition::read(&asked) {
        Ok(condition) => answer_health(&desk, &name, condition).await,
        Err((error, detail)) => refuse(StatusCode::BAD_REQUEST, error, detail),
    }
}

/// Whether a backend or service is fit and the condition met, with what is known of it.
async fn answer_health(desk: &Desk, name: &str, condition: Condition) -> Response {
    let board = &desk.board;
    if let Some(service) = board.service(name) {
        return services::health(desk, &service, condition).await;
    }
    let Some(backend) = board.backend(name) else {
        return refuse_backend(name, board);
    };
    if condition.wants_probe(&backend, board.clock().now())
        && let Err(busy) = condition::probe(&backend, &desk.control).await
    {
        return refuse_probe(busy);
    }
    let (is_fit, state) = fitness(&backend, condition, board);
    health::answer(is_fit, state)
}

/// Whether a backend is fit and the condition met, as far as is known, and what is said of it.
fn fitness(backend: &BackendBoard, condition: Condition, board: &Board) -> (bool, health::State) {
    let standing = backend.standing();
    let unmet = condition.unmet(&standing);
    let is_fit = Sign::from(&*standing).is_fit() && unmet.is_none();
    let mut state = health::State::of_backend(backend, &standing, board);
    state.detail = unmet.or(state.detail);
    (is_fit, state)
}

/// Which agent this is, and how it fares.
async fn agent(State(desk): State<Desk>) -> Response {
    Json(about::Agent::new(&desk.about, &desk.board)).into_response()
}

/// All that is known of every backend.
async fn all_backends(State(desk): State<Desk>) -> Response {
    Json(Backends::of(&desk.board.backends(), &desk.board)).into_response()
}

/// How the hooks fared.
async fn all_hooks(State(desk): State<Desk>) -> Response {
    Json(hooks::Hooks::of(&desk.hooks, desk.board.clock())).into_response()
}

/// All that is known of one backend.
async fn one_backend(State(desk): State<Desk>, Path(name): Path<String>) -> Response {
    match desk.board.backend(&name) {
        Some(backend) => Json(Backends::of(&[backend], &desk.board)).into_response(),
        None => refuse_backend(&name, &desk.board),
    }
}

/// No shard took the question for a fresh probe.
fn refuse_probe(busy: Busy) -> Response {
    let detail = format!("no fresh probe could be asked for: {busy}");
    refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
}

fn refuse_backend(name: &str, board: &Board) -> Response {
    let backends = board.backends();
    let known: Vec<_> = backends.iter().map(|it| &*it.name).collect();
    let mut detail = format!(
        "there is no backend {name:?} here; known are {}",
        known.join(", ")
    );
    let services = board.services();
    let services: Vec<_> = services.iter().map(|it| &*it.name).collect();
    if !services.is_empty() {
        detail.push_str(&format!("; services are {}", services.join(", ")));
    }
    refuse(StatusCode::NOT_FOUND, "unknown_backend", detail)
}

/// Whether the agent itself runs: every event loop turned lately.
async fn liveness(State(desk): State<Desk>) -> Response {
    match desk.board.is_alive() {
        true => (StatusCode::OK, "alive\n").into_response(),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "an event loop does not turn\n",
        )
            .into_response(),
    }
}

/// Whether the agent has something to say: every backend was probed at least once.
async fn readiness(State(desk): State<Desk>) -> Response {
    let waiting = desk
        .board
        .backends()
        .iter()
        .filter(|it| !it.was_probed())
        .count();
    match (desk.board.is_alive(), waiting) {
        (true, 0) => (StatusCode::OK, "ready\n").into_response(),
        (_, waiting) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{waiting} backends were not probed yet\n"),
        )
            .into_response(),
    }
}

async fn serve_metrics(State(desk): State<Desk>) -> Response {
    let headers = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (
        headers,
        metrics::text(&desk.board, &desk.hooks, desk.kept.as_deref()),
    )
        .into_response()
}

async fn not_found() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "unknown_path",
        "known are /, /health/NAME, /primary, /replica, /read-write, /read-only, /api/v1/agent, /api/v1/backends[/NAME], /api/v1/services[/NAME], /api/v1/hooks, /api/v1/transitions, /api/v1/events, /api/v1/history/transitions, /api/v1/history/latency, /liveness, /readiness and /metrics"
            .to_owned(),
    )
}

/// The first parameter that is given twice: which of them is meant nobody knows.
fn given_twice(asked: &[(String, String)]) -> Option<(&'static str, String)> {
    let twice = asked.iter().enumerate().find_map(|(place, (key, _))| {
        let mut before = asked[..place].iter();
        before.any(|(other, _)| other == key).then_some(key)
    });
    twice.map(|key| ("wrong_parameter", format!("{key}= is given twice")))
}

/// The body of a refusal.
#[derive(Debug, Serialize)]
struct Refused {
    schema: &'static str,
    error: &'static str,
    detail: String,
}

fn refuse(status: StatusCode, error: &'static str, detail: String) -> Response {
    let body = Refused {
        schema: "dbvitals.error.v1",
        error,
        detail,
    };
    (status, Json(body)).into_response()
}
