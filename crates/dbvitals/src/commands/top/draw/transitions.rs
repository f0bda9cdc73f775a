//! What changed, newest first: of those who are listed.

use std::collections::BTreeSet;

use ratatui::text::Line;

use super::super::ink::{BOLD, DIM, PLAIN, line, text};
use super::Scene;
use crate::commands::status::Change;
use crate::duration::rfc3339;

/// How many are shown; the history has more.
const SHOWN_MAX: usize = 500;

pub(super) fn lines(scene: Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let listed: BTreeSet<_> = scene.rows.iter().map(|row| row.name()).collect();
    let today = rfc3339(scene.now);
    let mut lines = Vec::new();
    for change in scene.known.transitions() {
        let who = change.backend.as_deref().or(change.service.as_deref());
        let who = who.unwrap_or_default();
        if listed.contains(who) {
            lines.push(transition(change, who, &today, width, scene));
        }
        if lines.len() == SHOWN_MAX {
            break;
        }
    }
    if lines.is_empty() {
        lines.push(line([text(DIM, "nothing changed, as far as is known")]));
    }
    lines
}

/// `14:30:05  orders-1  up → down  refused (dead): Connection refused`
fn transition(
    change: &Change,
    who: &str,
    today: &str,
    width: usize,
    scene: Scene<'_>,
) -> Line<'static> {
    let from = change.from.as_deref().unwrap_or("-");
    let is_verdict = change.change == "verdict";
    let style = match is_verdict {
        true => scene.ink.verdict(&change.to),
        false => BOLD,
    };
    let mut why = String::new();
    if let (Some(cause), true) = (&change.cause, is_verdict) {
        let class = change.class.as_deref().unwrap_or_default();
        why = format!("  {cause} ({class})");
        if let Some(detail) = &change.detail {
            why += &format!(": {detail}");
        }
    }
    let mut line = line([
        text(DIM, &when(&change.at, today)),
        text(PLAIN, &format!("  {who}  {from} → ")),
        text(style, &change.to),
        text(PLAIN, &why),
    ]);
    super::fit(&mut line, width);
    line
}

/// The time of a change of today, the day and the time of others.
fn when(at: &str, today: &str) -> String {
    let (day, month_on) = (at.get(..10), at.get(5..10));
    match (day, month_on, at.get(11..16), at.get(11..19)) {
        (Some(day), _, _, Some(time)) if today.starts_with(day) => time.to_owned(),
        (_, Some(day), Some(minute), _) => format!("{day} {minute}"),
        _ => at.to_owned(),
    }
}
