//! What stands over everything else: the keys, and the form of an order.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget as _};

use super::super::ink::{BOLD, DIM, Ink, PLAIN, line, text};
use super::super::order::{Form, words};
use super::{put, rows_of, wrapped};
use crate::cli::AdminState;

const HELP: [(&str, &str); 17] = [
    ("↑ ↓, k j", "the row above, the row below"),
    ("PgUp PgDn", "a page of the list"),
    ("Home End, g G", "the first row, the last row"),
    ("Tab", "the next pane: details, time line, transitions"),
    ("Enter", "the pane alone, and back"),
    ("Space b", "the pane's next line, and back"),
    ("+ -", "less of the time line, or more: 10 min to 30 days"),
    ("/", "search: names, addresses, causes, roles, admin states"),
    (
        "v",
        "which verdicts: all, not up, down, degraded, unknown, up",
    ),
    ("s", "sort: trouble, name, newest, slowest"),
    (
        "D",
        "drain it: what runs goes on, nothing new is sent there",
    ),
    ("M", "maint: nothing is sent there"),
    ("R", "ready: back as soon as it is fit"),
    ("Esc", "one thing less: pane, search, filter"),
    ("Ctrl-Z", "to the background"),
    ("q Ctrl-C", "quit"),
    (
        "",
        "● up   ▲ degraded   ■ down   ○ unknown   × a probe that failed",
    ),
];

/// All keys.
pub(super) fn draw_help(buffer: &mut Buffer, area: Rect) {
    let row =
        |(key, does): &(&str, &str)| line([text(BOLD, &format!(" {key:<14}")), text(PLAIN, does)]);
    let lines: Vec<_> = HELP.iter().map(row).collect();
    draw(buffer, area, "keys", &lines);
}

/// An order that is being written.
pub(super) fn draw_form(buffer: &mut Buffer, area: Rect, form: &Form, ink: Ink) {
    let (word, does) = words(form.state);
    let field = |name: &str, typed: &str, is_written: bool| {
        // The end of it is what one wants to see.
        let from = typed.chars().count().saturating_sub(52);
        let typed: String = typed.chars().skip(from).collect();
        let style = if is_written { BOLD } else { PLAIN };
        let cursor = if is_written { "▏" } else { "" };
        line([
            text(DIM, &format!(" {name:<8}")),
            text(style, &format!("{typed}{cursor}")),
        ])
    };
    let mut lines = vec![line([text(PLAIN, &format!(" {does}"))])];
    if form.state != AdminState::Ready {
        lines.push(field("for", &form.patience, !form.at_reason));
        if form.patience.is_empty() {
            let words = "         such as 30m; empty: until it is set ready";
            lines.push(line([text(DIM, words)]));
        }
    }
    lines.push(field("reason", &form.reason, form.at_reason));
    if let Some(wrong) = &form.wrong {
        let wrong = wrapped(wrong, 60);
        lines.extend(
            wrong
                .iter()
                .map(|it| line([text(ink.alarm(), &format!(" {it}"))])),
        );
    }
    let keys = " Enter gives the order   Tab other field   Esc leaves it";
    lines.push(line([text(DIM, keys)]));
    draw(buffer, area, &format!("{word} {}", form.name), &lines);
}

/// Draws a box in the middle.
fn draw(buffer: &mut Buffer, area: Rect, title: &str, lines: &[Line<'static>]) {
    let width = area.width.min(76);
    let height = (rows_of(lines) + 2).min(area.height);
    let own = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    Clear.render(own, buffer);
    let title = line([text(BOLD, &format!(" {title} "))]);
    let block = Block::bordered().title(title);
    let body = block.inner(own);
    block.render(own, buffer);
    put(buffer, body, lines);
}
