//! One backend in full: what both paths saw, phase by phase, what it means, and what to do.

use std::time::{Duration, SystemTime};

use dbvitals_verdict::Cause;

use super::overview::{fill, ms, paint, time};
use super::page::{BOLD, DIM, PLAIN, Page, Span};
use super::picture::{Backend, Queue, Seen, Server};
use crate::duration;

/// Adds a backend to the page.
pub(super) fn add(page: &mut Page, backend: &Backend, now: SystemTime) {
    page.gap();
    let address = backend.address.as_deref().unwrap_or_default();
    page.line([
        (BOLD, backend.name.clone()),
        (PLAIN, "  ".to_owned()),
        (paint(&backend.verdict), backend.verdict.clone()),
        (DIM, format!("  {address}")),
    ]);
    add_path(page, "held", backend.held.as_ref(), now);
    add_path(page, "fresh", backend.fresh.as_ref(), now);
    let newest = [&backend.held, &backend.fresh].into_iter().flatten();
    let server = newest
        .filter(|seen| seen.server.is_some())
        .max_by(|one, other| one.ended.cmp(&other.ended))
        .and_then(|seen| seen.server.as_ref());
    if let Some(server) = server.map(describe).filter(|it| !it.is_empty()) {
        page.line([field("server"), (PLAIN, server)]);
    }
    if let Some(queue) = &backend.queue {
        page.line([field("queue"), (PLAIN, describe_queue(queue))]);
    }
    if backend.sessions_lost > 0 {
        let lost = format!(
            "{} held sessions, while a fresh one worked",
            backend.sessions_lost
        );
        page.line([field("lost"), (PLAIN, lost)]);
    }
    if let Some(meaning) = backend.cause.as_deref().and_then(meaning) {
        page.line([field("meaning"), (PLAIN, meaning.to_owned())]);
    }
    if let Some(remedy) = &backend.remedy {
        page.line([field("remedy"), (PLAIN, remedy.clone())]);
    }
}

/// `  held      pass after 0.12 ms, depth ping, 2s ago`, and its phases.
fn add_path(page: &mut Page, name: &str, seen: Option<&Seen>, now: SystemTime) {
    let Some(seen) = seen else {
        page.line([field(name), (DIM, "nothing seen yet".to_owned())]);
        return;
    };
    let took = duration::show(ms(seen.took_ms));
    let depth = seen.depth_reached.as_deref();
    let depth = depth.map_or_else(String::new, |depth| format!(", depth {depth}"));
    let outcome = match (&seen.cause, &seen.class) {
        (Some(cause), Some(class)) => (paint("down"), format!("{cause} ({class})")),
        (Some(cause), None) => (paint("down"), cause.clone()),
        (None, _) => (paint("up"), seen.outcome.clone()),
    };
    let when = format!(" after {took}{depth}, {}", ago(&seen.ended, now));
    page.line([field(name), outcome, (PLAIN, when)]);
    for phase in &seen.phases {
        let took = duration::show(ms(phase.ms));
        let mut line = vec![(PLAIN, format!("    {:<9} {took:>9}", phase.phase))];
        if phase.failed {
            let why = seen.detail.as_deref().unwrap_or_default();
            line.push((paint("down"), "  failed".to_owned()));
            line.push((PLAIN, format!("  {why}")));
        }
        page.line(line);
    }
}

/// What a cause means, where it is one that is known here.
pub(in crate::commands) fn meaning(cause: &str) -> Option<&'static str> {
    let cause = Cause::ALL.into_iter().find(|it| it.name() == cause)?;
    Some(cause.meaning())
}

/// `3/80 wait to be accepted, 12 overflows, nobody accepted for 1.2 s`
pub(in crate::commands) fn describe_queue(queue: &Queue) -> String {
    let mut parts = vec![format!("{} wait to be accepted", fill(queue))];
    parts.extend(queue.full.then(|| "full".to_owned()));
    parts.extend(queue.overflows.map(|count| match count {
        1 => "1 overflow".to_owned(),
        count => format!("{count} overflows"),
    }));
    let still = queue.standstill_ms.map(Duration::from_millis);
    parts.extend(still.map(|still| format!("nobody accepted for {}", duration::show(still))));
    parts.join(", ")
}

fn field(name: &str) -> Span {
    (DIM, format!("  {name:<9} "))
}

/// How long ago, and for what is long ago when.
pub(in crate::commands) fn ago(at: &str, now: SystemTime) -> String {
    let ended = at.parse::<jiff::Timestamp>().map(SystemTime::from);
    let age = ended.map(|ended| now.duration_since(ended).unwrap_or_default());
    match age {
        Ok(age) => format!("{} ago", duration::show_long(age)),
        Err(_) => time(at),
    }
}

/// `mariadb 10.11.19, replica, read-only, 2.0 s behind, 3 of 151 connections`
pub(in crate::commands) fn describe(server: &Server) -> String {
    let product = server.product.as_deref().unwrap_or_default();
    let version = server.version.as_deref().unwrap_or_default();
    let product = format!("{product} {version}").trim().to_owned();
    let mut parts: Vec<String> = [product].into_iter().filter(|it| !it.is_empty()).collect();
    parts.extend(server.role.clone());
    parts.extend(server.read_only.map(|it| match it {
        true => "read-only".to_owned(),
        false => "takes writes".to_owned(),
    }));
    if let Some(lag) = &server.lag {
        parts.extend(lag.seconds.map(|seconds| format!("{seconds:.1} s behind")));
        parts.extend(lag.bytes.map(|bytes| format!("{bytes} bytes to replay")));
    }
    let connections = server.connections.as_ref();
    parts.extend(connections.map(|it| format!("{} of {} connections", it.used, it.max)));
    parts.join(", ")
}
