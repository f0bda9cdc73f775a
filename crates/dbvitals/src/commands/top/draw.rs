//! The whole screen: a head, the list, the panes, and the keys.
//!
//! A small terminal has the list and one pane at a time, a large one has all of them.

mod details;
mod list;
mod popup;
mod time_line;
mod transitions;

use std::time::SystemTime;

use dbvitals_verdict::Verdict;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::ink::{BOLD, DIM, Ink, PLAIN, line, shape, text};
use super::known::Known;
use super::rows::Row;
use super::view::{Pane, SPANS, View};
use crate::commands::status::{ms, since};
use crate::duration::{self, rfc3339};

/// From which size on there is room for all panes.
const LARGE: (u16, u16) = (120, 36);

const KEYS: &str =
    "↑↓ Tab pane  Enter large  / search  v show  s sort  D drain M maint R ready  ? q";
const KEYS_LARGE: &str = "↑ ↓ move   Tab pane   Enter enlarge   / search   v which verdicts   s sort   + - zoom   D drain   M maint   R ready   ? help   q quit";

/// What all panes are drawn from.
#[derive(Clone, Copy)]
struct Scene<'a> {
    known: &'a Known,
    rows: &'a [Row<'a>],
    /// Which row is selected.
    place: Option<usize>,
    ink: Ink,
    now: SystemTime,
}

/// Draws all of it.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    known: &Known,
    view: &mut View,
    ink: Ink,
    now: SystemTime,
) {
    let now = known.agents(now);
    let rows = view.rows(known);
    let scene = Scene {
        known,
        rows: &rows,
        place: view.place(&rows),
        ink,
        now,
    };
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let head = head(scene, view, usize::from(area.width));
    let (top, rest) = split(area, rows_of(&head));
    put(buffer, top, &head);
    let (body, foot) = split(rest, rest.height.saturating_sub(1));
    put(buffer, foot, &[foot_line(view, area.width)]);
    if view.is_large {
        draw_pane(buffer, body, scene, view, view.pane, true);
    } else if area.width >= LARGE.0 && area.height >= LARGE.1 {
        draw_large(buffer, body, scene, view);
    } else {
        draw_small(buffer, body, scene, view);
    }
    if let Some(form) = &view.form {
        popup::draw_form(buffer, area, form, ink);
    } else if view.shows_help {
        popup::draw_help(buffer, area);
    }
}

fn draw_small(buffer: &mut Buffer, body: Rect, scene: Scene<'_>, view: &mut View) {
    let wanted = rows_of(scene.rows).saturating_add(1);
    let height = wanted.min(body.height / 2).max(4).min(body.height);
    let (above, below) = split(body, height);
    list::draw(buffer, above, scene, view);
    draw_pane(buffer, below, scene, view, view.pane, true);
}

fn draw_large(buffer: &mut Buffer, body: Rect, scene: Scene<'_>, view: &mut View) {
    let wanted = rows_of(scene.rows).saturating_add(2);
    let height = wanted.clamp(6, body.height / 2);
    let (above, below) = split(body, height);
    list::draw(buffer, above, scene, view);
    let left = Rect {
        width: below.width / 2 - 1,
        ..below
    };
    let right = Rect {
        x: below.x + below.width / 2,
        width: below.width - below.width / 2,
        ..below
    };
    let (upper, lower) = split(right, right.height / 2);
    for (pane, area) in Pane::ALL.into_iter().zip([left, upper, lower]) {
        draw_pane(buffer, area, scene, view, pane, view.pane == pane);
    }
}

/// A pane below its title.
fn draw_pane(
    buffer: &mut Buffer,
    area: Rect,
    scene: Scene<'_>,
    view: &View,
    pane: Pane,
    is_chosen: bool,
) {
    let (title, body) = split(area, 1);
    let width = usize::from(body.width);
    let lines = match pane {
        Pane::Details => details::lines(scene, width),
        Pane::TimeLine => time_line::lines(scene, view, width, usize::from(body.height)),
        Pane::Transitions => transitions::lines(scene, width),
    };
    let hidden = rows_of(&lines).saturating_sub(body.height);
    let from = match is_chosen {
        true => view.scroll.min(hidden),
        false => 0,
    };
    let about = match pane {
        Pane::Details => String::new(),
        Pane::TimeLine => format!(", {} (+ - zoom)", SPANS[view.zoom].0),
        Pane::Transitions => ", newest first".to_owned(),
    };
    let more = match hidden - from {
        0 => String::new(),
        more => format!(", {more} lines more (Space, b)"),
    };
    let words = format!("─ {}{about}{more} ", pane.title());
    let rule = "─".repeat(usize::from(title.width).saturating_sub(words.chars().count()));
    let style = match is_chosen {
        true => BOLD,
        false => DIM,
    };
    put(
        buffer,
        title,
        &[line([text(style, &words), text(DIM, &rule)])],
    );
    let shown = lines.get(usize::from(from)..).unwrap_or_default();
    put(buffer, body, shown);
}

/// Who tells, how it stands with all, and what is wrong with hearing it.
fn head(scene: Scene<'_>, view: &View, width: usize) -> Vec<Line<'static>> {
    let Scene {
        known, ink, now, ..
    } = scene;
    let picture = &known.picture;
    let agent = &picture.agent;
    let name = agent.name.as_deref().unwrap_or_default();
    let version = agent.version.as_deref().unwrap_or_default();
    let state = match (&known.silence, known.is_live) {
        (Some(_), _) => text(ink.alarm(), "■ cut off"),
        (None, true) => text(ink.verdict("up"), "● live"),
        (None, false) => text(PLAIN, "◌ every second"),
    };
    let clock = text(DIM, &format!("  {}", hour(now)));
    let mut first = line([
        text(BOLD, "dbvitals top  "),
        text(BOLD, name),
        text(DIM, &format!(" {version} at {}", picture.place)),
    ]);
    let room = width.saturating_sub(state.width() + clock.width() + 1);
    fit(&mut first, room);
    first.spans.push(text(PLAIN, " "));
    first.spans.extend([state, clock]);
    let mut lines = vec![first];
    lines.extend(vitals(scene));
    lines.push(summary(scene, view));
    if let Some(silence) = &known.silence {
        let for_how_long = now.duration_since(silence.since).unwrap_or_default();
        let words = format!(
            "cut off for {}; what is shown was the case before. {}",
            duration::show_long(for_how_long),
            silence.why
        );
        lines.push(line([text(ink.alarm(), &words)]));
    }
    lines
}

/// How the agent itself fares, where it says.
fn vitals(scene: Scene<'_>) -> Option<Line<'static>> {
    let agent = &scene.known.picture.agent;
    let vitals = agent.vitals.as_ref()?;
    let mut words = vec![format!(
        "loop lag {}",
        duration::show(ms(vitals.loop_lag_ms))
    )];
    if let Some(rate) = scene.known.probes_per_second {
        words.insert(0, format!("{rate:.*} probes/s", usize::from(rate < 10.0)));
    }
    if let Some(open) = vitals.descriptors {
        let max = vitals.descriptors_max;
        let max = max.map_or_else(String::new, |max| format!(" of {max}"));
        words.push(format!("{open}{max} descriptors"));
    }
    if let Some(started) = &agent.started {
        words.push(format!("up for {}", since(started, scene.now)));
    }
    Some(line([text(DIM, &format!("agent: {}", words.join(", ")))]))
}

/// How many backends have which verdict, and which are shown.
fn summary(scene: Scene<'_>, view: &View) -> Line<'static> {
    let mut spans = Vec::new();
    let backends = &scene.known.picture.backends;
    for verdict in [
        Verdict::Down,
        Verdict::Degraded,
        Verdict::Unknown,
        Verdict::Up,
    ] {
        let word = verdict.name();
        let count = backends.iter().filter(|it| it.told.verdict == word).count();
        let style = match count {
            0 => DIM,
            _ => scene.ink.verdict(word),
        };
        spans.push(text(style, &format!("{} {count} {word}  ", shape(word))));
    }
    let ordered = backends
        .iter()
        .filter(|it| it.told.admin != "ready")
        .count();
    if ordered > 0 {
        spans.push(text(PLAIN, &format!("{ordered} not ready  ")));
    }
    let mut shown = format!("show {}, by {}", view.filter.word(), view.sort.word());
    if !view.search.is_empty() {
        shown += &format!(", search {}", view.search);
    }
    spans.push(text(DIM, &shown));
    line(spans)
}

fn foot_line(view: &View, width: u16) -> Line<'static> {
    if view.is_searching {
        let typed = format!("/{}▏", view.search);
        return line([
            text(BOLD, &typed),
            text(DIM, "   Enter keeps it, Esc clears it"),
        ]);
    }
    if let Some(notice) = &view.notice {
        return line([text(BOLD, notice)]);
    }
    let keys = match usize::from(width) >= KEYS_LARGE.chars().count() {
        true => KEYS_LARGE,
        false => KEYS,
    };
    line([text(DIM, keys)])
}

/// Cuts a line to a width, or fills it up.
fn fit(line: &mut Line<'static>, width: usize) {
    let mut left = width;
    for span in &mut line.spans {
        let has = span.width();
        if has > left {
            span.content = super::ink::fitted(&span.content, left).into();
        }
        left = left.saturating_sub(has);
    }
    line.spans.push(text(PLAIN, &" ".repeat(left)));
}

/// Text in lines of a width, broken between words where that can be.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in words.split_whitespace() {
        let last = lines.last_mut().map_or(0, |it| it.chars().count());
        let has = word.chars().count();
        if last > 0 && last + 1 + has <= width {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
                line.push_str(word);
            }
            continue;
        }
        if last > 0 {
            lines.push(String::new());
        }
        // A word that is longer than a line goes on in the next.
        for letter in word.chars() {
            if lines
                .last()
                .is_some_and(|it| it.chars().count() >= width.max(1))
            {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(letter);
            }
        }
    }
    lines
}

/// The first rows of an area, and the rest.
fn split(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let above = Rect { height, ..area };
    let below = Rect {
        y: area.y + height,
        height: area.height - height,
        ..area
    };
    (above, below)
}

/// Writes lines into an area, as many as it has.
fn put(buffer: &mut Buffer, area: Rect, lines: &[Line<'static>]) {
    for (line, y) in lines.iter().zip(area.y..area.bottom()) {
        buffer.set_line(area.x, y, line, area.width);
    }
}

fn rows_of<T>(lines: &[T]) -> u16 {
    u16::try_from(lines.len()).unwrap_or(u16::MAX)
}

/// `14:30:05Z`
fn hour(at: SystemTime) -> String {
    rfc3339(at)
        .get(11..19)
        .map_or_else(String::new, |it| format!("{it}Z"))
}
