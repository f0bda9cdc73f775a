//! The HTTP port: health per backend, all that is known of them, the agent's own liveness and
//! readiness, metrics.
//!
//! Every answer comes from the board; no request reaches a database. A backend is fit (200) while
//! up or degraded and ready; whatever else is the case is 503, with the reason in the body.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use axum::{Json, Router};
use dbvitals_verdict::{Admin, Standing, Verdict};
use serde::Serialize;

use crate::agent::board::Board;
use crate::agent::metrics;

mod backends;

use backends::{Backends, Health};

const ADMIN_STATE: HeaderName = HeaderName::from_static("x-admin-state");
const EVIDENCE_AGE: HeaderName = HeaderName::from_static("x-evidence-age-ms");

/// The routes over a board.
pub(crate) fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/health/{name}", answers_probes(health))
        .route("/api/v1/backends", get(all_backends))
        .route("/api/v1/backends/{name}", get(one_backend))
        .route("/liveness", get(liveness))
        .route("/readiness", get(readiness))
        .route("/metrics", get(serve_metrics))
        .fallback(not_found)
        .with_state(board)
}

/// Balancers ask with whatever method they like; GET includes HEAD.
fn answers_probes<H, T>(handler: H) -> MethodRouter<Arc<Board>>
where
    H: axum::handler::Handler<T, Arc<Board>>,
    T: 'static,
{
    on(MethodFilter::GET.or(MethodFilter::OPTIONS), handler)
}

/// Whether traffic may go there.
pub(crate) fn is_fit(standing: &Standing) -> bool {
    standing.admin == Admin::Ready && matches!(standing.verdict, Verdict::Up | Verdict::Degraded)
}

async fn health(
    State(board): State<Arc<Board>>,
    Path(name): Path<String>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    // An unknown condition must not be answered as if it were met.
    if let Some((key, _)) = asked.first() {
        let detail = format!("{key}= is not known here; ask without it");
        return refuse(StatusCode::BAD_REQUEST, "unknown_parameter", detail);
    }
    let Some(backend) = board.backend(&name) else {
        return refuse_backend(&name, &board);
    };
    let standing = backend.standing();
    let status = match is_fit(&standing) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = Health::new(&backend, &standing, &board);
    let mut headers = HeaderMap::new();
    headers.insert(ADMIN_STATE, HeaderValue::from_static(standing.admin.name()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(age) = body.evidence_age_ms() {
        headers.insert(EVIDENCE_AGE, HeaderValue::from(age));
    }
    (status, headers, Json(body)).into_response()
}

/// All that is known of every backend.
async fn all_backends(State(board): State<Arc<Board>>) -> Response {
    Json(Backends::of(&board.backends(), &board)).into_response()
}

/// All that is known of one backend.
async fn one_backend(State(board): State<Arc<Board>>, Path(name): Path<String>) -> Response {
    match board.backend(&name) {
        Some(backend) => Json(Backends::of(&[backend], &board)).into_response(),
        None => refuse_backend(&name, &board),
    }
}

fn refuse_backend(name: &str, board: &Board) -> Response {
    let known: Vec<_> = board.backends().iter().map(|it| &*it.name).collect();
    let detail = format!(
        "there is no backend {name:?} here; known are {}",
        known.join(", ")
    );
    refuse(StatusCode::NOT_FOUND, "unknown_backend", detail)
}

/// Whether the agent itself runs: every event loop turned lately.
async fn liveness(State(board): State<Arc<Board>>) -> Response {
    match board.is_alive() {
        true => (StatusCode::OK, "alive\n").into_response(),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "an event loop does not turn\n",
        )
            .into_response(),
    }
}

/// Whether the agent has something to say: every backend was probed at least once.
async fn readiness(State(board): State<Arc<Board>>) -> Response {
    let waiting = board
        .backends()
        .iter()
        .filter(|it| !it.was_probed())
        .count();
    match (board.is_alive(), waiting) {
        (true, 0) => (StatusCode::OK, "ready\n").into_response(),
        (_, waiting) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{waiting} backends were not probed yet\n"),
        )
            .into_response(),
    }
}

async fn serve_metrics(State(board): State<Arc<Board>>) -> Response {
    let headers = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (headers, metrics::text(&board)).into_response()
}

async fn not_found() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "unknown_path",
        "known are /health/NAME, /api/v1/backends[/NAME], /liveness, /readiness and /metrics"
            .to_owned(),
    )
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
