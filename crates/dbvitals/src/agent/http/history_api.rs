//! What the agent kept over restarts: `GET /api/v1/history/transitions` and
//! `GET /api/v1/history/latency`.
//!
//! Schemas `dbvitals.history_transitions.v1` and `dbvitals.history_latency.v1`, parts of the contract;
//! fields are only ever added. The file is read on a thread for blocking work, by two at a time; who
//! comes beyond that waits a while, and nobody else for them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dbvitals_probe::Clock;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task;
use tokio::time;

use super::{Desk, given_twice, refuse, refuse_backend};
use crate::agent::history::{
    AHEAD_MAX, Kept, Latencies, LatencyQuestion, READ_WITHIN, Reader, TransitionQuestion,
    Transitions, Unreadable,
};
use crate::duration;

/// Transitions in one answer, at the most and where nobody says.
const TRANSITIONS_MAX: usize = 1000;
/// Which latencies are told where nobody says since when.
const LATENCY_SINCE: Duration = Duration::from_secs(3600);
/// How far back, or ahead, a question for latencies reaches at the most.
const LATENCY_REACH: Duration = Duration::from_secs(48 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

/// The parameters of a question, each at most once.
struct Asked(Vec<(String, String)>);

type Refusal = Box<Response>;

impl Asked {
    fn new(asked: Vec<(String, String)>, known: &[&str]) -> Result<Self, Refusal> {
        if let Some((error, detail)) = given_twice(&asked) {
            return Err(refusal(error, detail));
        }
        let unknown = asked.iter().find(|(key, _)| !known.contains(&key.as_str()));
        if let Some((key, _)) = unknown {
            let detail = format!("{key}= is not known here; known: {}", known.join(", "));
            return Err(refusal("unknown_parameter", detail));
        }
        Ok(Self(asked))
    }

    fn text(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(it, _)| it == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a value, if it is given.
    fn read<T>(
        &self,
        key: &str,
        form: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => {
                let detail = format!("{key}: {text:?} is no {form}");
                Err(refusal("wrong_parameter", detail))
            }
        }
    }

    fn time(&self, key: &str) -> Result<Option<Timestamp>, Refusal> {
        let form = "time as RFC 3339 has it, like 2026-01-02T03:04:05Z";
        self.read(key, form, |text| text.parse().ok())
    }

    fn one_of(&self, key: &str, words: &[&str]) -> Result<Option<String>, Refusal> {
        let form = words.join(" or ");
        self.read(key, &form, |text| {
            words.contains(&text).then(|| text.to_owned())
        })
    }
}

fn refusal(error: &'static str, detail: String) -> Refusal {
    Box::new(refuse(StatusCode::BAD_REQUEST, error, detail))
}

fn response(body: Result<String, Refusal>) -> Response {
    match body {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(refused) => *refused,
    }
}

/// `GET /api/v1/history/transitions`
pub(super) async fn transitions(
    State(desk): State<Desk>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    response(read_transitions(&desk, asked).await)
}

async fn read_transitions(desk: &Desk, asked: Vec<(String, String)>) -> Result<String, Refusal> {
    let known = ["of", "since", "until", "max", "evidence"];
    let asked = Asked::new(asked, &known)?;
    let max = asked.read("max", "number from 1 to 1000", |text| {
        let max = text.parse().ok()?;
        (1..=TRANSITIONS_MAX).contains(&max).then_some(max)
    })?;
    // What is ahead of that a clock wrote that was wrong.
    let last = desk.board.wall_now().saturating_add(AHEAD_MAX);
    let last = last.unwrap_or(Timestamp::MAX);
    let until = asked.time("until")?.unwrap_or(last).min(last);
    let question = TransitionQuestion {
        of: asked.text("of").map(str::to_owned),
        since_ms: asked.time("since")?.map_or(0, Timestamp::as_millisecond),
        until_ms: until.as_millisecond(),
        max: max.unwrap_or(TRANSITIONS_MAX),
        evidence: asked.one_of("evidence", &["true", "false"])?.as_deref() == Some("true"),
    };
    let of = question.of.clone();
    read(desk, of, move |reader| {
        reader.transitions(&question).map(transitions_body)
    })
    .await
}

/// `GET /api/v1/history/latency`
pub(super) async fn latency(
    State(desk): State<Desk>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    response(read_latency(&desk, asked).await)
}

async fn read_latency(desk: &Desk, asked: Vec<(String, String)>) -> Result<String, Refusal> {
    let asked = Asked::new(asked, &["of", "path", "since", "until", "step"])?;
    let Some(of) = asked.text("of").map(str::to_owned) else {
        let detail = "latencies are of one backend; name it with of=NAME".to_owned();
        return Err(refusal("which_backend", detail));
    };
    let step = asked.read(
        "step",
        "number of whole minutes, like 1m or 1h",
        whole_minutes,
    )?;
    let now = desk.board.wall_now();
    let reach = |time: Timestamp| {
        let (first, last) = (
            before(now, LATENCY_REACH),
            now.saturating_add(LATENCY_REACH),
        );
        time.clamp(first, last.unwrap_or(now))
    };
    let until = reach(asked.time("until")?.unwrap_or(now));
    let since = asked.time("since")?.unwrap_or(before(until, LATENCY_SINCE));
    let question = LatencyQuestion {
        path: asked.one_of("path", &["held", "fresh"])?,
        since_ms: reach(since).as_millisecond(),
        until_ms: until.as_millisecond(),
        step_minutes: step.unwrap_or(1),
        of: of.clone(),
    };
    read(desk, Some(of), move |reader| {
        let told = reader.latencies(&question)?;
        Ok(latency_body(&question, &told))
    })
    .await
}

fn before(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn whole_minutes(text: &str) -> Option<i64> {
    let step = duration::parse(text).ok()?;
    let whole = step.subsec_nanos() == 0 && step.as_secs().is_multiple_of(MINUTE.as_secs());
    let minutes = i64::try_from(step.as_secs() / MINUTE.as_secs()).ok()?;
    (whole && (1..=24 * 60).contains(&minutes)).then_some(minutes)
}

/// Reads what is asked of a backend, or of all, once there is a place for it.
async fn read<T: Send + 'static>(
    desk: &Desk,
    of: Option<String>,
    answer: impl FnOnce(&Reader) -> Result<T, Unreadable> + Send + 'static,
) -> Result<T, Refusal> {
    let kept = desk.kept.as_ref().filter(|kept| kept.is_on());
    let Some(kept) = kept.map(Arc::clone) else {
        let detail = "this agent keeps no history: it needs state_dir, and history = \"on\"";
        let (status, error) = (StatusCode::NOT_FOUND, "no_history");
        return Err(Box::new(refuse(status, error, detail.to_owned())));
    };
    if !kept.is_open() {
        return Err(unavailable("the history cannot be read now".to_owned()));
    }
    // Who is watched now may have no past yet; who is gone may have one.
    let unheard = of.filter(|name| desk.board.backend(name).is_none());
    let name = unheard.clone();
    let reading = read_in_turn(kept, desk.board.clock(), move |reader| match name {
        Some(name) if !reader.knows(&name)? => Ok(None),
        Some(_) | None => answer(reader).map(Some),
    });
    match time::timeout(READ_WITHIN, reading).await {
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => {
            let name = unheard.unwrap_or_default();
            Err(Box::new(refuse_backend(&name, &desk.board)))
        }
        Ok(Err(unreadable)) => Err(unavailable(unreadable.to_string())),
        Err(_) => Err(unavailable(Unreadable::TooSlow.to_string())),
    }
}

/// Opens the history and reads, on a thread that may wait for the disk. The place is kept until the
/// thread is done, whether or not somebody waits for it still.
async fn read_in_turn<T: Send + 'static>(
    kept: Arc<Kept>,
    clock: Clock,
    answer: impl FnOnce(&Reader) -> Result<T, Unreadable> + Send + 'static,
) -> Result<T, Unreadable> {
    let place = Arc::clone(kept.readers()).acquire_owned().await;
    let reading = task::spawn_blocking(move || {
        let _place = place;
        answer(&Reader::open(kept, clock)?)
    });
    reading.await.unwrap_or(Err(Unreadable::TooSlow))
}

fn unavailable(detail: String) -> Refusal {
    let (status, error) = (StatusCode::SERVICE_UNAVAILABLE, "history_unavailable");
    Box::new(refuse(status, error, detail))
}

#[derive(Debug, Serialize)]
struct TransitionsBody<'a> {
    schema: &'static str,
    kept_since: String,
    complete: bool,
    /// When an agent kept a history: outside of that nobody watched.
    runs: Vec<Run>,
    transitions: Vec<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct Run {
    began: String,
    seen: String,
}

fn transitions_body(told: Transitions) -> String {
    let run = |(began, seen)| Run {
        began: rfc3339_ms(began),
        seen: rfc3339_ms(seen),
    };
    let lines = told.lines.iter();
    let body = TransitionsBody {
        schema: "dbvitals.history_transitions.v1",
        kept_since: rfc3339_ms(told.since_ms),
        complete: told.is_complete,
        runs: told.runs.into_iter().map(run).collect(),
        transitions: lines.map(|line| &**line).collect(),
    };
    // Nothing of it can fail to be written into memory.
    serde_json::to_string(&body).unwrap_or_default()
}

#[derive(Debug, Serialize)]
struct LatencyBody<'a> {
    schema: &'static str,
    name: &'a str,
    /// The one that was asked for; null is both.
    path: Option<&'a str>,
    step_ms: i64,
    kept_since: String,
    complete: bool,
    points: Vec<PointEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct PointEntry<'a> {
    at: String,
    path: &'a str,
    depth: &'a str,
    phase: &'a str,
    count: u64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

fn latency_body(asked: &LatencyQuestion, told: &Latencies) -> String {
    let points = told.points.iter().map(|point| {
        let [p50_ms, p95_ms, p99_ms, max_ms] = point.micros.map(|it| f64::from(it) / 1000.0);
        PointEntry {
            at: rfc3339_ms(point.at_ms),
            path: &point.path,
            depth: &point.depth,
            phase: &point.phase,
            count: point.count,
            p50_ms,
            p95_ms,
            p99_ms,
            max_ms,
        }
    });
    let body = LatencyBody {
        schema: "dbvitals.history_latency.v1",
        name: &asked.of,
        path: asked.path.as_deref(),
        step_ms: asked.step_minutes * 60_000,
        kept_since: rfc3339_ms(told.since_ms),
        complete: told.is_complete,
        points: points.collect(),
    };
    // Nothing of it can fail to be written into memory.
    serde_json::to_string(&body).unwrap_or_default()
}

fn rfc3339_ms(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_whole_minutes_up_to_a_day() {
        assert_eq!(whole_minutes("1m"), Some(1));
        assert_eq!(whole_minutes("24h"), Some(1440));
        for wrong in ["30s", "90s", "25h", "5", "0m", ""] {
            assert_eq!(whole_minutes(wrong), None, "{wrong}");
        }
    }
}
