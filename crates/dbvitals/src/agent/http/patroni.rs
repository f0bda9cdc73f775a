//! Patroni's names for the questions of balancers, so that what asks Patroni today can ask us.
//!
//! The semantics are those of its health check endpoints
//! (<https://patroni.readthedocs.io/en/latest/rest_api.html>), with two differences. Whether a
//! server is running is our verdict, with the operator's order: Patroni's tags have no part in it.
//! And `lag` in bytes is what a replica has received or knows of and not replayed; Patroni compares
//! with the primary's position, which it keeps in etcd.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use dbvitals_verdict::Want;

use super::condition::Condition;
use super::{Desk, answer_health, given_twice, refuse};

type Asked = Query<Vec<(String, String)>>;

/// `/primary` and `/read-write`: it takes writes.
pub(super) async fn primary(State(desk): State<Desk>, Query(asked): Asked) -> Response {
    answer(&desk, &asked, Some(Want::Primary)).await
}

/// `/replica`: it follows a primary, no farther behind than `lag` or `max_lag`.
pub(super) async fn replica(State(desk): State<Desk>, Query(asked): Asked) -> Response {
    answer(&desk, &asked, Some(Want::Replica)).await
}

/// `/read-only`: `/replica`, and the primary too; and `/health`: it is up.
pub(super) async fn any(State(desk): State<Desk>, Query(asked): Asked) -> Response {
    answer(&desk, &asked, None).await
}

async fn answer(desk: &Desk, asked: &[(String, String)], want: Option<Want>) -> Response {
    if let Some((error, detail)) = given_twice(asked) {
        return refuse(StatusCode::BAD_REQUEST, error, detail);
    }
    let mut of = None;
    let mut lag = None;
    let mut conditions = Vec::new();
    for (key, value) in asked {
        match key.as_str() {
            "of" => of = Some(value.as_str()),
            "lag" => match bytes(value) {
                Some(bytes) => lag = Some(bytes),
                None => {
                    let detail = format!(
                        "lag: {value:?} is no number of bytes like 1048576, 16kB, 64MB or 1GB; a time is asked for with max_lag"
                    );
                    return refuse(StatusCode::BAD_REQUEST, "wrong_parameter", detail);
                }
            },
            _ => conditions.push((key.clone(), value.clone())),
        }
    }
    let mut condition = match Condition::read(&conditions) {
        Ok(condition) => condition,
        Err((error, detail)) => return refuse(StatusCode::BAD_REQUEST, error, detail),
    };
    condition.max_lag_bytes = lag;
    if let Some(want) = want
        && !condition.demand(want)
    {
        let detail = format!("want: this path asks for a {want} already");
        return refuse(StatusCode::BAD_REQUEST, "wrong_parameter", detail);
    }
    if let Some(name) = of {
        return answer_health(desk, name, condition).await;
    }
    let backends = desk.board.backends();
    match backends.as_slice() {
        [backend] => answer_health(desk, &backend.name, condition).await,
        several => {
            let services = desk.board.services();
            let names = several.iter().map(|it| &*it.name);
            let names = names.chain(services.iter().map(|it| &*it.name));
            let detail = format!(
                "there are several backends; name one, or a service, with ?of=NAME: {}",
                names.collect::<Vec<_>>().join(", ")
            );
            refuse(StatusCode::BAD_REQUEST, "which_backend", detail)
        }
    }
}

/// Reads a size as Patroni and PostgreSQL do: bytes, or with a unit in steps of 1024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1024,
        "m" | "mb" => 1024 * 1024,
        "g" | "gb" => 1024 * 1024 * 1024,
        "t" | "tb" => 1024 * 1024 * 1024 * 1024,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_patroni_reads_them() {
        for (text, expected) in [
            ("1048576", Some(1_048_576)),
            ("1024kB", Some(1_048_576)),
            ("64MB", Some(64 << 20)),
            ("1GB", Some(1 << 30)),
            ("0", Some(0)),
            ("10s", None),
            ("MB", None),
            ("-1", None),
            ("", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
