//! The time line: a bar of verdicts for each backend that is listed.

use dbvitals_verdict::Verdict;
use ratatui::text::{Line, Span as Text};

use super::super::ink::{BOLD, DIM, PLAIN, cell, line, text, verdict};
use super::super::rows::Row;
use super::super::strip::{Span, Standing, strip};
use super::super::view::{SPANS, View};
use super::Scene;
use crate::duration::moment;

const NAME: usize = 14;

/// As many bars as there is room for, the selected one among them, above their times and a key.
pub(super) fn lines(
    scene: Scene<'_>,
    view: &View,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    let room = height.saturating_sub(2).max(1);
    let slots = width.saturating_sub(NAME + 1);
    let span = Span {
        until: scene.now,
        length: view.span(),
        slots,
    };
    let recorded = scene.known.recorded();
    let chosen = scene.place.and_then(|place| scene.rows.get(place));
    let backends: Vec<_> = scene
        .rows
        .iter()
        .filter(|it| matches!(it, Row::Backend(_)))
        .collect();
    let is_chosen = |row: &&Row<'_>| chosen.is_some_and(|it| it.key() == row.key());
    let place = backends.iter().position(is_chosen).unwrap_or_default();
    let last = backends.len().saturating_sub(room);
    let first = place.saturating_sub(room / 2).min(last);
    let mut lines = Vec::new();
    for row in backends.iter().skip(first).take(room) {
        let standing = Standing {
            verdict: row.verdict(),
            since: moment(row.since()),
        };
        let own = scene.known.turns(row.name());
        let style = if is_chosen(row) { BOLD } else { PLAIN };
        let mut spans = vec![cell(style, row.name(), NAME), text(PLAIN, " ")];
        spans.extend(bars(&strip(own, standing, &recorded, span), scene));
        lines.push(line(spans));
    }
    lines.push(scale(view, slots));
    lines.push(key(scene));
    lines
}

/// Slots of one verdict are one piece of text.
fn bars(slots: &[Option<String>], scene: Scene<'_>) -> Vec<Text<'static>> {
    let pieces = slots.chunk_by(|one, other| one == other);
    let piece = |slots: &[Option<String>]| {
        let word = slots.first().and_then(Option::as_deref).unwrap_or_default();
        let style = scene.ink.verdict(word);
        text(style, &bar(word).repeat(slots.len()))
    };
    pieces.map(piece).collect()
}

/// The bar of a verdict: the worse, the higher.
fn bar(word: &str) -> &'static str {
    match verdict(word) {
        Some(Verdict::Up) => "▁",
        Some(Verdict::Degraded) => "▄",
        Some(Verdict::Down) => "█",
        Some(Verdict::Unknown) => "?",
        None => " ",
    }
}

/// When it begins, its middle, and now.
fn scale(view: &View, slots: usize) -> Line<'static> {
    let (name, _) = SPANS[view.zoom];
    let begin = format!("{name} ago");
    let gap = slots.saturating_sub(begin.len() + 3);
    let words = format!("{:NAME$} {begin}{}now", "", " ".repeat(gap));
    line([text(DIM, &words)])
}

fn key(scene: Scene<'_>) -> Line<'static> {
    let mut spans = vec![cell(DIM, "", NAME + 1)];
    for word in Verdict::ALL.map(Verdict::name) {
        spans.push(text(scene.ink.verdict(word), bar(word)));
        spans.push(text(DIM, &format!(" {word}  ")));
    }
    if let Some(since) = &scene.known.kept_since {
        let day = since.get(..10).unwrap_or(since);
        spans.push(text(DIM, &format!("kept since {day}")));
    }
    line(spans)
}
