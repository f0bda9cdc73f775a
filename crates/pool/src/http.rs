//! The deep check of a load balancer: an axum handler over [`Pool::check_health`].
//!
//! Answers as the agent's `/health/NAME` does, schema `dbvitals.health.v1`: 200 while traffic may
//! come, 503 while it may not, and the body says why whatever the status is. A full pool is
//! degraded and still fit: taking it out of rotation would send its load to the next one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use dbvitals_verdict::{Class, Verdict};
use jiff::Timestamp;
use serde_json::json;

use crate::clock;
use crate::driver::Driver;
use crate::health::Health;
use crate::pool::Pool;

const ADMIN_STATE: HeaderName = HeaderName::from_static("x-admin-state");
const EVIDENCE_AGE: HeaderName = HeaderName::from_static("x-evidence-age-ms");

/// Since when the verdict is what it is, as far as it was asked for.
#[derive(Debug, Clone, Default)]
struct Since(Arc<Mutex<Option<(Verdict, Timestamp)>>>);

impl Since {
    fn note(&self, verdict: Verdict) -> Timestamp {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((known, since)) if known == verdict => since,
            _ => {
                let now = clock::wall();
                *last = Some((verdict, now));
                now
            }
        }
    }
}

/// Answers GET, HEAD and OPTIONS with the health of a pool: whether a checkout now would yield a
/// working connection within `limit`. However many balancers ask, the database is asked once per
/// `evidence_max_age` at most, and not at all while the application's own commands are answered.
///
/// ```no_run
/// # use std::time::Duration;
/// # use dbvitals_pool::{Driver, Pool, health_endpoint};
/// # fn router<D: Driver>(pool: Pool<D>) -> axum::Router {
/// axum::Router::new().route("/health/orders", health_endpoint("orders", pool, Duration::from_secs(1)))
/// # }
/// ```
pub fn health_endpoint<D: Driver>(name: &str, pool: Pool<D>, limit: Duration) -> MethodRouter<()> {
    let name: Arc<str> = name.into();
    let since = Since::default();
    on(MethodFilter::GET.or(MethodFilter::OPTIONS), move || {
        let (name, pool, since) = (Arc::clone(&name), pool.clone(), since.clone());
        async move {
            let health = pool.check_health(limit).await;
            answer(&name, &health, since.note(health.verdict()))
        }
    })
}

fn answer(name: &str, health: &Health, since: Timestamp) -> Response {
    let evidence_age_ms = health
        .evidence_age
        .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let body = json!({
        "schema": "dbvitals.health.v1",
        "name": name,
        "verdict": health.verdict().name(),
        "class": health.condition.class().map(Class::name),
        "cause": null,
        "since": since.to_string(),
        "evidence_age_ms": evidence_age_ms,
        "role": null,
        "admin": "ready",
        "detail": detail(health),
        "pool": {
            "leased": health.leased,
            "max_open": health.max_open,
            "waiting": health.waiting,
        },
    });
    let status = match health.is_fit() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut headers = HeaderMap::new();
    headers.insert(ADMIN_STATE, HeaderValue::from_static("ready"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(age) = evidence_age_ms {
        headers.insert(EVIDENCE_AGE, HeaderValue::from(age));
    }
    (status, headers, axum::Json(body)).into_response()
}

/// What is wrong, in words.
fn detail(health: &Health) -> Option<String> {
    let meaning = health.condition.meaning();
    match (health.verdict(), &health.failure) {
        (Verdict::Up, _) => None,
        (_, Some(failure)) => Some(format!("{meaning} The last attempt failed: {failure}")),
        (_, None) => Some(meaning.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::Value;

    use super::*;
    use crate::health::Condition;

    fn health(condition: Condition) -> Health {
        Health {
            condition,
            evidence_age: Some(Duration::from_millis(40)),
            leased: 4,
            max_open: 4,
            waiting: 2,
            longest_wait: None,
            failure: Some("refused".to_owned()),
        }
    }

    async fn answered(condition: Condition) -> (StatusCode, Value) {
        let response = answer("orders", &health(condition), Timestamp::UNIX_EPOCH);
        let status = response.status();
        assert_eq!(response.headers()["x-evidence-age-ms"], "40");
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn fit_and_full_are_200_and_the_rest_is_503() {
        let (status, body) = answered(Condition::Fit).await;
        assert_eq!((status.as_u16(), &body["verdict"]), (200, &json!("up")));
        assert_eq!(
            (&body["class"], &body["detail"]),
            (&json!(null), &json!(null))
        );
        let (status, body) = answered(Condition::Saturated).await;
        assert_eq!(
            (status.as_u16(), &body["verdict"]),
            (200, &json!("degraded"))
        );
        assert_eq!(body["class"], "full");
        let (status, body) = answered(Condition::Unreachable).await;
        assert_eq!((status.as_u16(), &body["verdict"]), (503, &json!("down")));
        assert_eq!(body["since"], "1970-01-01T00:00:00Z");
        let detail = "No connection can be opened. The last attempt failed: refused";
        assert_eq!(body["detail"], detail);
        assert_eq!(answered(Condition::Unknown).await.0.as_u16(), 503);
    }

    #[test]
    fn a_verdict_keeps_its_time_until_it_changes() {
        let since = Since::default();
        let first = since.note(Verdict::Up);
        assert_eq!(since.note(Verdict::Up), first);
        let down = since.note(Verdict::Down);
        assert!(down >= first);
        assert_eq!(since.note(Verdict::Down), down);
    }
}
