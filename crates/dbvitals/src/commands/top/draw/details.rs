//! The selected service or backend in full: what is wrong, what to do, what both paths saw.

use ratatui::style::Style;
use ratatui::text::Line;

use super::super::feed::Minute;
use super::super::ink::{BOLD, DIM, PLAIN, line, shape, spark, text};
use super::super::rows::Row;
use super::{Scene, since, wrapped};
use crate::commands::status::{
    Backend, Seen, Service, ago, describe, describe_queue, meaning, ms, order_words,
};
use crate::duration::show;

/// How much room the names of fields have.
const FIELD: usize = 10;

/// The lines, broken to a width.
pub(super) fn lines(scene: Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let mut page = Page {
        lines: Vec::new(),
        width,
    };
    match scene.place.and_then(|place| scene.rows.get(place)) {
        Some(Row::Backend(backend)) => add_backend(&mut page, backend, scene),
        Some(Row::Service(service)) => add_service(&mut page, service, scene),
        None => {}
    }
    page.lines
}

struct Page {
    lines: Vec<Line<'static>>,
    width: usize,
}

impl Page {
    /// Adds a field, over several lines where it has to be.
    fn field(&mut self, name: &str, style: Style, words: &str) {
        let words = crate::commands::status::shown(words);
        let wrapped = wrapped(&words, self.width.saturating_sub(FIELD));
        for (number, words) in wrapped.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            let name = text(DIM, &format!("{name:<FIELD$}"));
            self.lines.push(line([name, text(style, words)]));
        }
    }

    /// Adds a field where there is something to say.
    fn field_of(&mut self, name: &str, style: Style, words: Option<&str>) {
        if let Some(words) = words.filter(|it| !it.is_empty()) {
            self.field(name, style, words);
        }
    }

    fn head(&mut self, name: &str, verdict: &str, about: &str, scene: Scene<'_>) {
        self.lines.push(line([
            text(BOLD, name),
            text(PLAIN, "  "),
            text(scene.ink.verdict(verdict), shape(verdict)),
            text(scene.ink.verdict(verdict), &format!(" {verdict}")),
            text(DIM, about),
        ]));
    }
}

fn add_backend(page: &mut Page, it: &Backend, scene: Scene<'_>) {
    let address = it.address.as_deref().unwrap_or_default();
    let about = format!(" for {}  {address}", since(&it.since, scene.now));
    page.head(&it.name, &it.verdict, &about, scene);
    page.field_of("warning", scene.ink.alarm(), it.warning.as_deref());
    if it.admin != "ready" {
        let order = it.order.as_ref().map(|order| order_words(it, order));
        page.field("admin", BOLD, order.as_deref().unwrap_or(&it.admin));
    }
    let why = [&it.cause, &it.class, &it.detail];
    add_cause(page, scene.ink.verdict(&it.verdict), why);
    page.field_of("remedy", PLAIN, it.remedy.as_deref());
    add_path(page, "held", it.held.as_ref(), scene);
    add_path(page, "fresh", it.fresh.as_ref(), scene);
    add_latency(page, it, scene);
    let newest = [&it.held, &it.fresh].into_iter().flatten();
    let server = newest
        .filter(|seen| seen.server.is_some())
        .max_by(|one, other| one.ended.cmp(&other.ended))
        .and_then(|seen| seen.server.as_ref());
    page.field_of("server", PLAIN, server.map(describe).as_deref());
    let queue = it.queue.as_ref().map(describe_queue);
    page.field_of("queue", PLAIN, queue.as_deref());
    if it.sessions_lost > 0 {
        let lost = format!(
            "{} held sessions, while a fresh one worked",
            it.sessions_lost
        );
        page.field("lost", PLAIN, &lost);
    }
}

/// The cause with its class and detail, and what it means, where there is one.
fn add_cause(page: &mut Page, style: Style, why: [&Option<String>; 3]) {
    let [cause, class, detail] = why.map(Option::as_deref);
    if let Some(cause) = cause {
        let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
        let words = format!("{cause} ({}){detail}", class.unwrap_or_default());
        page.field("cause", style, &words);
        page.field_of("meaning", PLAIN, meaning(cause));
    }
}

/// `held      pass in 0.12 ms, depth ping, 2s ago: connect 0.05 ms, login 0.07 ms`
fn add_path(page: &mut Page, name: &str, seen: Option<&Seen>, scene: Scene<'_>) {
    let Some(seen) = seen else {
        page.field(name, DIM, "nothing seen yet");
        return;
    };
    let outcome = match (&seen.cause, &seen.class) {
        (Some(cause), Some(class)) => format!("{cause} ({class})"),
        (Some(cause), None) => cause.clone(),
        (None, _) => seen.outcome.clone(),
    };
    let depth = seen.depth_reached.as_deref();
    let depth = depth.map_or_else(String::new, |depth| format!(", depth {depth}"));
    let phases = seen.phases.iter().map(|phase| {
        let failed = if phase.failed { " failed" } else { "" };
        format!("{} {}{failed}", phase.phase, show(ms(phase.ms)))
    });
    let phases: Vec<_> = phases.collect();
    let took = show(ms(seen.took_ms));
    let ago = ago(&seen.ended, scene.now);
    let words = format!("{outcome} in {took}{depth}, {ago}: {}", phases.join(", "));
    let style = match seen.cause {
        Some(_) => scene.ink.verdict("down"),
        None => PLAIN,
    };
    page.field(name, style, &words);
}

/// The last hour, where it is kept; else the last probes.
fn add_latency(page: &mut Page, it: &Backend, scene: Scene<'_>) {
    let room = page.width.saturating_sub(FIELD + 60).clamp(20, 60);
    let path = if it.held.is_some() { "held" } else { "fresh" };
    let minutes = scene.known.minutes(&it.name).iter();
    let totals: Vec<&Minute> = minutes
        .filter(|minute| minute.path == path && minute.phase == "total")
        .collect();
    if let Some(last) = totals.last() {
        let values: Vec<_> = totals.iter().map(|it| Some(it.p95_ms)).collect();
        let [p50, p95, p99, max] =
            [last.p50_ms, last.p95_ms, last.p99_ms, last.max_ms].map(|it| show(ms(it)));
        let bars = spark(&values, room);
        let words = format!(
            "p50 {p50}, p95 {p95}, p99 {p99}, max {max}; p95 of the last {} min {bars}",
            totals.len()
        );
        page.field("latency", PLAIN, &words);
        return;
    }
    let values = scene.known.latencies(&it.name);
    let mut passed: Vec<f64> = values.iter().flatten().copied().collect();
    passed.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (passed.first(), passed.last()) {
        let middle = passed.get(passed.len() / 2).copied().unwrap_or(*least);
        let [least, middle, most] = [*least, middle, *most].map(|it| show(ms(it)));
        let bars = spark(&values, room);
        let words = format!(
            "{least} to {most}, mostly {middle}, of {} samples {bars}",
            values.len()
        );
        page.field("latency", PLAIN, &words);
    }
}

fn add_service(page: &mut Page, it: &Service, scene: Scene<'_>) {
    let about = format!(" for {}", since(&it.since, scene.now));
    page.head(&it.name, &it.verdict, &about, scene);
    if let Some(alarm) = &it.alarm {
        let words = format!("{alarm}: {}", it.primaries.join(", "));
        page.field("ALARM", scene.ink.alarm(), &words);
    }
    page.field_of("warning", scene.ink.alarm(), it.warning.as_deref());
    let why = [&it.cause, &it.class, &it.detail];
    add_cause(page, scene.ink.verdict(&it.verdict), why);
    let fit = it.fit.map(|fit| format!("{fit} of {}", it.backends.len()));
    page.field_of("fit", PLAIN, fit.as_deref());
    let enough = it.enough.map(|enough| format!(", {enough} have to be fit"));
    let want = it
        .want
        .as_deref()
        .map(|want| format!("{want}{}", enough.unwrap_or_default()));
    page.field_of("want", PLAIN, want.as_deref());
    page.field_of("primary", PLAIN, Some(&it.primaries.join(", ")));
    let backends = scene.known.picture.backends.iter().map(|it| &it.told);
    let of_this = |backend: &&Backend| it.backends.iter().any(|it| it.name == backend.name);
    for (number, backend) in backends.filter(of_this).enumerate() {
        let name = if number == 0 { "backends" } else { "" };
        let verdict = &backend.verdict;
        let cause = backend.cause.as_deref().unwrap_or_default();
        let admin = match backend.admin.as_str() {
            "ready" => "",
            other => other,
        };
        let role = backend.role.as_deref().unwrap_or_default();
        let words = format!(
            "{} {verdict} {} {role} {admin} {cause}",
            shape(verdict),
            backend.name
        );
        page.field(name, scene.ink.verdict(verdict), &words);
    }
}
