//! Operators' requests: another state for a backend, and a reload.
//!
//! Over the control socket everybody who may open it may ask; over TCP only who bears the token.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dbvitals_verdict::Admin;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Desk, refuse, refuse_backend};
use crate::agent::board::Order;
use crate::duration;

/// How long a reason may be, in bytes.
const REASON_MAX: usize = 500;

/// Who may do more than read.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Who bears the token, which a reload may change; nobody while there is none.
    Bearer(Token),
    /// Everybody who gets here.
    Operator,
}

/// The token in force.
pub(crate) type Token = Arc<ArcSwapOption<SecretString>>;

/// Asks for a reload, and is told how it went.
pub(crate) type Reload = mpsc::Sender<oneshot::Sender<Result<String, String>>>;
/// Where that is heard.
pub(crate) type Reloads = mpsc::Receiver<oneshot::Sender<Result<String, String>>>;

impl Access {
    /// Refuses whoever may only read.
    fn check(&self, headers: &HeaderMap) -> Result<(), Box<Response>> {
        let Self::Bearer(token) = self else {
            return Ok(());
        };
        let (status, detail) = match &*token.load() {
            None => (
                StatusCode::FORBIDDEN,
                "orders are taken at the control socket, or here with a token_file in [agent]",
            ),
            Some(token) if bears(headers, token) => return Ok(()),
            Some(_) => (
                StatusCode::UNAUTHORIZED,
                "send the token of token_file as `Authorization: Bearer TOKEN`",
            ),
        };
        Err(Box::new(refuse(status, "not_allowed", detail.to_owned())))
    }
}

/// Whether a request bears the token; compared without telling by its time how much was right.
fn bears(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let (given, token) = (given.as_bytes(), token.expose_secret().as_bytes());
    let differ = given
        .iter()
        .zip(token)
        .fold(0, |differ, (one, other)| differ | (one ^ other));
    given.len() == token.len() && differ == 0
}

/// What is to become of a backend.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    state: String,
    #[serde(default, rename = "for")]
    patience: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// The answer to an order.
#[derive(Debug, Serialize)]
struct Given {
    schema: &'static str,
    name: String,
    admin: &'static str,
    until: Option<Timestamp>,
    reason: Option<String>,
    /// What went wrong beside: the order holds, but may not outlive the agent.
    warning: Option<String>,
}

/// `POST /api/v1/backends/NAME/state`
pub(super) async fn set_state(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    if let Err(refused) = desk.access.check(&headers) {
        return *refused;
    }
    if desk.board.backend(&name).is_none() {
        return refuse_backend(&name, &desk.board);
    }
    let wrong = |detail: String| refuse(StatusCode::BAD_REQUEST, "wrong_order", detail);
    let wish: Wish = match serde_json::from_str(&body) {
        Ok(wish) => wish,
        Err(error) => {
            return wrong(format!(
                "{error}; send JSON like {{\"state\":\"drain\",\"for\":\"30m\",\"reason\":\"…\"}}"
            ));
        }
    };
    let (admin, order) = match read_wish(wish, desk.board.wall_now()) {
        Ok(read) => read,
        Err(why) => return wrong(why),
    };
    give(&desk, name, admin, order)
}

fn read_wish(wish: Wish, now: Timestamp) -> Result<(Admin, Order), String> {
    let admin = match wish.state.as_str() {
        "ready" => Admin::Ready,
        "drain" => Admin::Drain,
        "maint" => Admin::Maint,
        other => {
            return Err(format!(
                "{other:?} is no state; known are ready, drain and maint"
            ));
        }
    };
    let patience = wish.patience.as_deref().map(duration::parse);
    let patience = patience.transpose().map_err(|why| format!("for: {why}"))?;
    if admin == Admin::Ready && patience.is_some() {
        return Err("ready is for good; leave `for` out".to_owned());
    }
    let until = patience.map(|patience| after(now, patience)).transpose()?;
    let reason = wish.reason.filter(|reason| !reason.is_empty());
    if reason
        .as_ref()
        .is_some_and(|reason| reason.len() > REASON_MAX)
    {
        return Err(format!("a reason may have {REASON_MAX} bytes"));
    }
    Ok((admin, Order { reason, until }))
}

fn after(now: Timestamp, patience: Duration) -> Result<Timestamp, String> {
    now.checked_add(patience)
        .map_err(|_| "for: that is too long".to_owned())
}

/// Keeps an order and passes it on.
fn give(desk: &Desk, name: String, admin: Admin, order: Order) -> Response {
    let kept = desk.orders.give(&name, admin, order.clone());
    let warning = kept.err().map(|error| {
        let why = dbvitals_probe::plain(&error);
        tracing::error!(
            backend = name,
            error = why,
            "an order could not be kept; it ends with the agent"
        );
        format!("the order holds, and ends with the agent, because it could not be kept: {why}")
    });
    if let Some(backend) = desk.board.backend(&name) {
        backend.show_order(desk.orders.order(&name));
    }
    if let Err(busy) = desk.control.order(&name, admin) {
        let detail = format!("the order is kept and does not hold yet: {busy}");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
    }
    tracing::info!(
        backend = name,
        state = admin.name(),
        reason = order.reason.as_deref(),
        until = order.until.map(tracing::field::display),
        "an operator gave an order"
    );
    Json(Given {
        schema: "dbvitals.state.v1",
        name,
        admin: admin.name(),
        until: order.until,
        reason: order.reason,
        warning,
    })
    .into_response()
}

/// The answer to a reload.
#[derive(Debug, Serialize)]
struct ReloadAnswer {
    schema: &'static str,
    detail: String,
}

/// `POST /api/v1/reload`
pub(super) async fn reload(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    if let Err(refused) = desk.access.check(&headers) {
        return *refused;
    }
    let Some(reload) = &desk.reload else {
        let detail = "the agent was started without a configuration file".to_owned();
        return refuse(StatusCode::CONFLICT, "nothing_to_reload", detail);
    };
    let (sender, answer) = oneshot::channel();
    if reload.try_send(sender).is_err() {
        let detail = "another reload is under way".to_owned();
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
    }
    match answer.await {
        Ok(Ok(detail)) => Json(ReloadAnswer {
            schema: "dbvitals.reload.v1",
            detail,
        })
        .into_response(),
        Ok(Err(why)) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "wrong_file", why),
        Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "ending",
            "the agent is ending".to_owned(),
        ),
    }
}
