//! The table: a line for each service and backend, and below it what is wrong.

use std::time::{Duration, SystemTime};

use anstyle::Style;
use dbvitals_verdict::Verdict;
use jiff::Timestamp;

use super::page::{ALARM, BOLD, Columns, DIM, PLAIN, Page, Span};
use super::picture::{Backend, Change, Order, Picture, Queue, Seen, Service};
use crate::duration;
use crate::report::colour;

const BACKEND_HEADS: [&str; 8] = [
    "backend", "verdict", "admin", "role", "since", "age", "held", "fresh",
];
const SERVICE_HEADS: [&str; 6] = ["service", "verdict", "fit", "want", "primary", "since"];

/// Services, then backends.
pub(super) fn page(picture: &Picture, now: SystemTime) -> Page {
    let mut page = Page::default();
    let agent = &picture.agent;
    let name = agent.name.clone().unwrap_or_default();
    let version = agent.version.clone().unwrap_or_default();
    page.line([
        (PLAIN, "agent ".to_owned()),
        (BOLD, name),
        (DIM, format!(" {version} at {}", picture.place)),
    ]);
    if let Some(stalls) = agent
        .vitals
        .as_ref()
        .and_then(|it| it.stalls)
        .filter(|stalls| *stalls > 0)
    {
        page.line([
            // It may have been long ago.
            (BOLD, "  agent_stalled".to_owned()),
            (
                PLAIN,
                format!(": too late to judge anybody, {stalls} times since it started"),
            ),
        ]);
    }
    if !picture.services.is_empty() {
        let mut services = Columns::new(&SERVICE_HEADS);
        for service in &picture.services {
            let service = &service.told;
            services.row(service_cells(service, now), service_notes(service));
        }
        page.gap();
        services.add_to(&mut page);
    }
    if !picture.backends.is_empty() {
        let shows_queues = picture.backends.iter().any(|it| it.told.queue.is_some());
        let queue_head = Some("queue").filter(|_| shows_queues);
        let heads: Vec<_> = BACKEND_HEADS.into_iter().chain(queue_head).collect();
        let mut backends = Columns::new(&heads);
        for backend in &picture.backends {
            let backend = &backend.told;
            let queue = shows_queues.then(|| (PLAIN, queue_cell(backend.queue.as_ref())));
            let cells = backend_cells(backend, now).into_iter().chain(queue);
            backends.row(cells.collect(), backend_notes(backend));
        }
        page.gap();
        backends.add_to(&mut page);
    }
    page
}

/// What changed last, newest at the bottom.
pub(super) fn add_transitions(page: &mut Page, picture: &Picture) {
    if picture.transitions.is_empty() {
        return;
    }
    page.gap();
    for transition in &picture.transitions {
        page.line(transition_line(&transition.told));
    }
}

fn service_cells(service: &Service, now: SystemTime) -> Vec<Span> {
    let fit = match (service.fit, service.backends.len()) {
        (Some(fit), of) => format!("{fit}/{of}"),
        (None, _) => String::new(),
    };
    let want = service.want.clone().unwrap_or_default();
    let want = match service.enough {
        Some(enough) if enough > 1 => format!("{want}, {enough}"),
        Some(_) | None => want,
    };
    vec![
        (BOLD, service.name.clone()),
        verdict(&service.verdict),
        (PLAIN, fit),
        (PLAIN, want),
        (PLAIN, service.primaries.join(", ")),
        (PLAIN, since(&service.since, now)),
    ]
}

fn service_notes(service: &Service) -> Vec<Vec<Span>> {
    let mut notes = Vec::new();
    if let Some(alarm) = &service.alarm {
        let who = service.primaries.join(", ");
        notes.push(vec![
            (ALARM, format!("  ALARM {alarm}")),
            (PLAIN, format!(": {who}")),
        ]);
    }
    notes.extend(why(
        &service.verdict,
        service.cause.as_deref(),
        service.class.as_deref(),
        service.detail.as_deref(),
    ));
    notes.extend(warning(service.warning.as_deref()));
    notes
}

fn backend_cells(backend: &Backend, now: SystemTime) -> Vec<Span> {
    let admin = match backend.admin.as_str() {
        "ready" => (PLAIN, String::new()),
        other => (ALARM, other.to_owned()),
    };
    let age = backend.evidence_age_ms.map(Duration::from_millis);
    vec![
        (BOLD, backend.name.clone()),
        verdict(&backend.verdict),
        admin,
        (PLAIN, backend.role.clone().unwrap_or_default()),
        (PLAIN, since(&backend.since, now)),
        (PLAIN, age.map_or_else(|| "-".to_owned(), age_of)),
        (PLAIN, latency(backend.held.as_ref())),
        (PLAIN, latency(backend.fresh.as_ref())),
    ]
}

/// `3/80`, and of one that overflowed how often: `81/80 +12`.
fn queue_cell(queue: Option<&Queue>) -> String {
    let Some(queue) = queue else {
        return "-".to_owned();
    };
    let overflows = queue.overflows.filter(|count| *count > 0);
    let overflows = overflows.map_or_else(String::new, |count| format!(" +{count}"));
    format!("{}{overflows}", fill(queue))
}

/// `3/80`; the length alone where the limit is hidden.
pub(in crate::commands) fn fill(queue: &Queue) -> String {
    let length = queue.length;
    let limit = queue.limit;
    limit.map_or_else(|| length.to_string(), |limit| format!("{length}/{limit}"))
}

fn backend_notes(backend: &Backend) -> Vec<Vec<Span>> {
    let mut notes = Vec::new();
    notes.extend(why(
        &backend.verdict,
        backend.cause.as_deref(),
        backend.class.as_deref(),
        backend.detail.as_deref(),
    ));
    notes.extend(warning(backend.warning.as_deref()));
    if let Some(order) = &backend.order {
        notes.push(vec![(PLAIN, format!("  {}", order_words(backend, order)))]);
    }
    notes
}

/// `  refused (dead): Connection refused`
fn why(
    verdict: &str,
    cause: Option<&str>,
    class: Option<&str>,
    detail: Option<&str>,
) -> Option<Vec<Span>> {
    let cause = cause?;
    let class = class.map_or_else(String::new, |class| format!(" ({class})"));
    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    Some(vec![
        (paint(verdict), format!("  {cause}")),
        (PLAIN, format!("{class}{detail}")),
    ])
}

fn warning(warning: Option<&str>) -> Option<Vec<Span>> {
    let text = format!("  {}", warning?);
    Some(vec![(ALARM, text)])
}

/// `drain until 2026-07-03 14:30:00Z: disk swap`
pub(in crate::commands) fn order_words(backend: &Backend, order: &Order) -> String {
    let until = order.until.as_deref();
    let until = until.map_or_else(String::new, |until| format!(" until {}", time(until)));
    let reason = order.reason.as_deref();
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}{until}{reason}", backend.admin)
}

fn transition_line(change: &Change) -> Vec<Span> {
    let who = change.backend.as_ref().or(change.service.as_ref());
    let from = change.from.as_deref().unwrap_or("-");
    let to_paint = match change.change.as_str() {
        "verdict" => paint(&change.to),
        _ => PLAIN,
    };
    let mut spans = vec![
        (DIM, time(&change.at)),
        (PLAIN, format!("  {}  ", who.map_or("", String::as_str))),
        (PLAIN, format!("{from} → ")),
        (to_paint, change.to.clone()),
    ];
    if let (Some(cause), true) = (&change.cause, change.change == "verdict") {
        let class = change.class.as_deref();
        let class = class.map_or_else(String::new, |class| format!(" ({class})"));
        spans.push((PLAIN, format!("  {cause}{class}")));
    }
    spans
}

/// The verdict, in its colour.
fn verdict(word: &str) -> Span {
    (paint(word), word.to_owned())
}

pub(super) fn paint(word: &str) -> Style {
    let known = Verdict::ALL.into_iter().find(|it| it.name() == word);
    known.map_or(PLAIN, colour)
}

/// How long the newest pass of a path took.
fn latency(seen: Option<&Seen>) -> String {
    match seen {
        Some(seen) if seen.outcome == "pass" => duration::show(ms(seen.took_ms)),
        Some(_) | None => "-".to_owned(),
    }
}

/// Milliseconds as they are told; what makes no sense is none.
pub(in crate::commands) fn ms(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

/// How long ago something began.
pub(in crate::commands) fn since(time: &str, now: SystemTime) -> String {
    let began = time.parse::<Timestamp>().map(SystemTime::from);
    // Where the two clocks disagree, it began just now.
    let age = began.map(|began| now.duration_since(began).unwrap_or_default());
    age.map_or_else(|_| "-".to_owned(), duration::show_long)
}

/// How old evidence is: to the millisecond while it is young.
pub(in crate::commands) fn age_of(age: Duration) -> String {
    match age < Duration::from_secs(60) {
        true => duration::show(age),
        false => duration::show_long(age),
    }
}

/// A time as people read it: `2026-07-03 14:30:00Z`.
pub(in crate::commands) fn time(rfc3339: &str) -> String {
    let time = rfc3339.parse::<Timestamp>();
    time.map_or_else(
        |_| rfc3339.to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_api_are_shown_short() {
        assert_eq!(time("2026-07-03T14:30:00.123Z"), "2026-07-03 14:30:00Z");
        assert_eq!(time("soon"), "soon");
        let now = "2026-07-03T14:33:12Z".parse::<Timestamp>().unwrap();
        let now = SystemTime::from(now);
        assert_eq!(since("2026-07-03T14:30:00.000Z", now), "3m 12s");
        assert_eq!(since("2026-07-03T14:40:00.000Z", now), "0s");
        assert_eq!(since("", now), "-");
    }

    #[test]
    fn only_a_pass_has_a_latency() {
        let mut seen = Seen {
            outcome: "pass".to_owned(),
            took_ms: 1.94,
            ..Seen::default()
        };
        assert_eq!(latency(Some(&seen)), "1.9 ms");
        seen.outcome = "fail".to_owned();
        assert_eq!(
            (latency(Some(&seen)), latency(None)),
            ("-".into(), "-".into())
        );
        assert_eq!(ms(f64::NAN), Duration::ZERO);
    }
}
