//! Whether a backend or a service is fit: a status for machines, and the short answer for people.
//!
//! Schema `dbvitals.health.v1`, part of the contract; fields are only ever added. The same fields
//! begin each object of the API.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;

use crate::agent::board::Order;

const ADMIN_STATE: HeaderName = HeaderName::from_static("x-admin-state");
pub(super) const EVIDENCE_AGE: HeaderName = HeaderName::from_static("x-evidence-age-ms");

/// What is said of a backend or a service wherever it is spoken of.
#[derive(Debug, Serialize)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) verdict: &'static str,
    pub(super) class: Option<&'static str>,
    pub(super) cause: Option<&'static str>,
    pub(super) since: String,
    pub(super) evidence_age_ms: Option<u64>,
    pub(super) role: Option<&'static str>,
    pub(super) admin: &'static str,
    pub(super) detail: Option<String>,
    /// Something is wrong that takes nothing out of rotation, so it is said loudly.
    pub(super) warning: Option<String>,
    /// What an operator said with the order that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<Given>,
}

/// What an operator said with an order.
#[derive(Debug, Serialize)]
pub(super) struct Given {
    reason: Option<String>,
    until: Option<Timestamp>,
}

impl Given {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            reason: order.reason.clone(),
            until: order.until,
        }
    }
}

/// The body of `/health/NAME`.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    schema: &'static str,
    #[serde(flatten)]
    state: State,
}

/// Says whether traffic may go there, and what is known.
pub(super) fn answer(is_fit: bool, state: State) -> Response {
    let (status, fields, body) = parts(is_fit, state);
    (status, fields, Json(body)).into_response()
}

/// The same in its parts.
pub(super) fn parts(is_fit: bool, state: State) -> (StatusCode, HeaderMap, Health) {
    let status = match is_fit {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut fields = HeaderMap::new();
    fields.insert(ADMIN_STATE, HeaderValue::from_static(state.admin));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(age) = state.evidence_age_ms {
        fields.insert(EVIDENCE_AGE, HeaderValue::from(age));
    }
    let body = Health {
        schema: "dbvitals.health.v1",
        state,
    };
    (status, fields, body)
}

pub(super) fn whole_ms(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
