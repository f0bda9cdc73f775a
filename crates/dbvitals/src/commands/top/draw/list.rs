//! The list: a line for each service and backend.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::ink::{BOLD, DIM, PLAIN, cell, line, shape, spark};
use super::super::rows::Row;
use super::super::view::View;
use super::{Scene, put, rows_of, since, split};
use crate::commands::status::{Backend, Service, age_of, ms};
use crate::duration;

/// From this width on, latency and cause have columns of their own.
const WIDE: usize = 110;
const SPARK: usize = 20;
const SPARK_NARROW: usize = 8;

/// How wide each column is.
struct Columns {
    name: usize,
    gap: &'static str,
    is_wide: bool,
    /// What is left for latency and cause.
    rest: usize,
}

impl Columns {
    fn new(width: usize, rows: &[Row<'_>]) -> Self {
        let is_wide = width >= WIDE;
        let longest = rows.iter().map(|row| row.name().chars().count()).max();
        let most = if is_wide { 28 } else { 16 };
        let name = longest.unwrap_or_default().clamp(8, most);
        let gap = if is_wide { "  " } else { " " };
        let fixed = 2 + name + 10 + 5 + 7 + 7 + 7 + 6 * gap.len();
        Self {
            name,
            gap,
            is_wide,
            rest: width.saturating_sub(fixed),
        }
    }

    fn line(
        &self,
        mark: &str,
        cells: [(Style, String); 6],
        rest: Vec<Span<'static>>,
    ) -> Line<'static> {
        let widths = [self.name, 10, 5, 7, 7, 7];
        let mut spans = vec![cell(BOLD, mark, 2)];
        for ((style, words), width) in cells.into_iter().zip(widths) {
            spans.push(cell(style, &words, width));
            spans.push(cell(PLAIN, self.gap, self.gap.len()));
        }
        spans.extend(rest);
        line(spans)
    }

    fn heads(&self) -> Line<'static> {
        let head = |words: &str| (DIM, words.to_owned());
        let rest = match self.is_wide {
            true => format!("{:<9} {:<SPARK$}  cause", "latency", "of the last probes"),
            false => "latency, or cause".to_owned(),
        };
        let cells = ["name", "verdict", "admin", "role", "since", "age"].map(head);
        self.line("", cells, vec![cell(DIM, &rest, self.rest)])
    }

    /// Latency and cause, as far as there is room.
    fn rest(&self, latency: &[Option<f64>], cause: Span<'static>) -> Vec<Span<'static>> {
        let newest = latency.last().copied().flatten();
        let took = newest.map_or_else(String::new, |it| duration::show(ms(it)));
        let cause = |width: usize| cell(cause.style, &cause.content, width);
        if self.is_wide {
            let bars = spark(latency, SPARK);
            let mut spans = vec![
                cell(PLAIN, &took, 9),
                cell(PLAIN, " ", 1),
                cell(PLAIN, &bars, SPARK),
                cell(PLAIN, "  ", 2),
            ];
            spans.push(cause(self.rest.saturating_sub(SPARK + 12)));
            return spans;
        }
        if !cause(self.rest).content.trim().is_empty() {
            return vec![cause(self.rest)];
        }
        let bars = spark(latency, SPARK_NARROW);
        let words = format!("{took:<8} {bars}");
        vec![cell(PLAIN, &words, self.rest)]
    }
}

/// Draws as many rows as there is room for, the selected one among them.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, view: &mut View) {
    let (heads, body) = split(area, 1);
    let columns = Columns::new(usize::from(area.width), scene.rows);
    put(buffer, heads, &[columns.heads()]);
    let room = usize::from(body.height);
    view.page = room;
    let place = scene.place.unwrap_or_default();
    let last = scene.rows.len().saturating_sub(room);
    let first = place.saturating_sub(room / 2).min(last);
    let mut lines = Vec::new();
    for (number, row) in scene.rows.iter().enumerate().skip(first).take(room) {
        let is_selected = scene.place == Some(number);
        let mark = if is_selected { "▸" } else { "" };
        lines.push(match row {
            Row::Service(service) => service_line(&columns, mark, service, scene),
            Row::Backend(backend) => backend_line(&columns, mark, backend, scene),
        });
        if is_selected {
            let y = body.y + rows_of(&lines) - 1;
            let own = Rect {
                y,
                height: 1,
                ..body
            };
            buffer.set_style(own, scene.ink.selected());
        }
    }
    if scene.rows.is_empty() {
        let words = "nobody is like that; Esc shows all";
        lines.push(line([cell(DIM, words, columns.rest + 40)]));
    }
    put(buffer, body, &lines);
}

fn verdict(word: &str, scene: Scene<'_>) -> (Style, String) {
    (scene.ink.verdict(word), format!("{} {word}", shape(word)))
}

fn service_line(columns: &Columns, mark: &str, it: &Service, scene: Scene<'_>) -> Line<'static> {
    let fit = it.fit.map(|fit| format!("{fit}/{} fit", it.backends.len()));
    let cells = [
        (BOLD, it.name.clone()),
        verdict(&it.verdict, scene),
        (PLAIN, String::new()),
        (PLAIN, fit.unwrap_or_default()),
        (PLAIN, since(&it.since, scene.now)),
        (PLAIN, String::new()),
    ];
    let primaries = it.primaries.join(", ");
    let (style, why) = match (&it.alarm, &it.cause) {
        (Some(alarm), _) => (scene.ink.alarm(), format!("ALARM {alarm}: {primaries}")),
        (None, Some(cause)) => (scene.ink.verdict(&it.verdict), cause.clone()),
        (None, None) if primaries.is_empty() => (PLAIN, String::new()),
        (None, None) => (DIM, format!("primary {primaries}")),
    };
    columns.line(mark, cells, columns.rest(&[], Span::styled(why, style)))
}

fn backend_line(columns: &Columns, mark: &str, it: &Backend, scene: Scene<'_>) -> Line<'static> {
    let admin = match it.admin.as_str() {
        "ready" => (PLAIN, String::new()),
        other => (BOLD, other.to_owned()),
    };
    let age = scene.known.age(it, scene.now);
    // Tenths of milliseconds are none of an eye's business.
    let age = age.map(|age| Duration::from_millis(age.as_millis().try_into().unwrap_or(u64::MAX)));
    let cells = [
        (PLAIN, it.name.clone()),
        verdict(&it.verdict, scene),
        admin,
        (PLAIN, it.role.clone().unwrap_or_default()),
        (PLAIN, since(&it.since, scene.now)),
        (PLAIN, age.map_or_else(|| "-".to_owned(), age_of)),
    ];
    let style = scene.ink.verdict(&it.verdict);
    let cause = match (&it.cause, &it.warning, columns.is_wide) {
        (Some(cause), _, true) => {
            let class = it.class.as_deref().unwrap_or_default();
            let detail = it.detail.as_deref().unwrap_or_default();
            Span::styled(format!("{cause} ({class}) {detail}"), style)
        }
        (Some(cause), _, false) => Span::styled(cause.clone(), style),
        (None, Some(warning), _) => Span::styled(warning.clone(), scene.ink.alarm()),
        (None, None, _) => Span::raw(""),
    };
    let latency = scene.known.latencies(&it.name);
    columns.line(mark, cells, columns.rest(&latency, cause))
}
