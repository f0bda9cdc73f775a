//! The table of `queues` for people, its sentences below it, and the table of a watch.

use std::io::{self, Write};
use std::ops::RangeInclusive;

use anstyle::{AnsiColor, Style};
use dbvitals_acceptqueue::{Peer, Waiting};

use super::document::peer_name;
use super::explanation::explain;
use super::history::History;
use super::judgement;
use super::scope::{Entry, Snapshot};
use crate::exit::Exit;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
/// How many of those who wait are named.
const NAMED_MAX: usize = 3;
/// Heights of a tick, for so many eighths of what fits.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Which column is the queue's, and has the judgement's colour.
const QUEUE: usize = 2;

/// Writes the table of one look, and what is to be said of it.
pub(super) fn write_page(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    is_named: bool,
) -> io::Result<()> {
    let entries = by_urgency(snapshot);
    let head = ["listener", "process", "queue", "overflows", "waiting"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| row(entry, snapshot)));
    let colours: Vec<_> = entries.iter().map(|entry| colour(entry)).collect();
    write_table(out, &rows, &colours, usize::MAX)?;
    for entry in entries {
        let said = explain(entry, snapshot, is_named);
        if said.is_empty() {
            continue;
        }
        writeln!(out, "\n{BOLD}{}{BOLD:#}", name(entry, snapshot))?;
        for sentence in said {
            writeln!(out, "  {sentence}")?;
        }
    }
    Ok(())
}

/// Writes the table of a watch, in so many columns, and says how many lines it has.
pub(super) fn write_watch(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    history: &History,
    (columns, lines): (usize, usize),
) -> io::Result<usize> {
    let mut entries = by_urgency(snapshot);
    entries.truncate(lines.saturating_sub(1).max(1));
    let head = [
        "listener",
        "process",
        "queue",
        "peak",
        "lately",
        "overflows",
        "per s",
        "waiting",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(
        entries
            .iter()
            .map(|entry| watch_row(entry, snapshot, history)),
    );
    let colours: Vec<_> = entries.iter().map(|entry| colour(entry)).collect();
    write_table(out, &rows, &colours, columns)?;
    Ok(rows.len())
}

/// Writes the lines of a watch that is not on a terminal: of those where something is going on.
pub(super) fn write_lines(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    history: &History,
    time: &str,
    is_named: bool,
) -> io::Result<()> {
    for entry in by_urgency(snapshot) {
        let listener = &entry.found.listener;
        let facts = snapshot.namespaces.get(entry.found.namespace);
        let marks = facts.and_then(|it| history.marks(it.id, listener.inode));
        let Some(marks) = marks else { continue };
        let lately = marks.ticks.back().copied().unwrap_or_default();
        if !is_named && lately == 0 && marks.overflows_per_second == 0.0 {
            continue;
        }
        let [name, _, queue, peak, _, overflows, rate, waiting] =
            watch_cells(entry, snapshot, history);
        let overflows = match overflows.as_str() {
            "–" | "0" => String::new(),
            overflows => format!("  {overflows} overflows, {rate} a second"),
        };
        writeln!(
            out,
            "{time}  {name}  {queue}  peak {peak}{overflows}  {waiting}"
        )?;
    }
    Ok(())
}

/// The fullest first, then as they came.
fn by_urgency(snapshot: &Snapshot) -> Vec<&Entry> {
    let mut entries: Vec<_> = snapshot.entries.iter().collect();
    let fill = |entry: &&Entry| {
        let listener = &entry.found.listener;
        let capacity = u64::from(listener.capacity().unwrap_or(u32::MAX)).max(1);
        u64::from(listener.length) * 1_000_000 / capacity
    };
    entries.sort_by_key(|entry| std::cmp::Reverse(fill(entry)));
    entries
}

fn row(entry: &Entry, snapshot: &Snapshot) -> Vec<String> {
    let overflows = entry.overflows(snapshot);
    let overflows = overflows.map_or_else(|| "–".to_owned(), |it| range(&it));
    vec![
        name(entry, snapshot),
        process(entry),
        queue(entry),
        overflows,
        waiting(entry, snapshot),
    ]
}

fn watch_row(entry: &Entry, snapshot: &Snapshot, history: &History) -> Vec<String> {
    watch_cells(entry, snapshot, history).to_vec()
}

fn watch_cells(entry: &Entry, snapshot: &Snapshot, history: &History) -> [String; 8] {
    let listener = &entry.found.listener;
    let facts = snapshot.namespaces.get(entry.found.namespace);
    let marks = facts.and_then(|it| history.marks(it.id, listener.inode));
    let none = || "–".to_owned();
    let (peak, lately, overflows, rate) = match marks {
        Some(marks) => (
            marks.peak.to_string(),
            sparkline(marks.ticks.iter().copied(), listener.capacity()),
            marks.overflows().as_ref().map_or_else(none, range),
            match marks.overflows() {
                Some(_) => format!("{:.1}", marks.overflows_per_second),
                None => none(),
            },
        ),
        None => (none(), String::new(), none(), none()),
    };
    [
        name(entry, snapshot),
        process(entry),
        queue(entry),
        peak,
        lately,
        overflows,
        rate,
        waiting(entry, snapshot),
    ]
}

fn name(entry: &Entry, snapshot: &Snapshot) -> String {
    let facts = snapshot.namespaces.get(entry.found.namespace);
    let local = &entry.found.listener.local;
    match facts.and_then(|facts| facts.name.as_deref()) {
        Some(namespace) => format!("{local} of {namespace}"),
        None => local.to_string(),
    }
}

fn process(entry: &Entry) -> String {
    match (&entry.processes[..], entry.found.listener.uid) {
        ([], Some(uid)) => format!("(user {uid})"),
        ([], None) => "–".to_owned(),
        ([process], _) => format!("{} {}", process.command, process.pid),
        ([process, others @ ..], _) => {
            format!("{} {} +{}", process.command, process.pid, others.len())
        }
    }
}

fn queue(entry: &Entry) -> String {
    let listener = &entry.found.listener;
    let limit = listener.limit;
    let limit = limit.map_or_else(|| "?".to_owned(), |limit| limit.to_string());
    format!("{}/{limit}", listener.length)
}

/// How many wait outside of the queue, then some of those in it.
fn waiting(entry: &Entry, snapshot: &Snapshot) -> String {
    let none = Waiting::default();
    let waiting = entry.waiting.as_ref().unwrap_or(&none);
    let (closed, there): (Vec<&Peer>, Vec<_>) = waiting.peers.iter().partition(|it| it.has_closed);
    let unnamed = there.len().saturating_sub(NAMED_MAX);
    let mut parts = Vec::new();
    for (count, what) in [
        (entry.blocked.unwrap_or_default(), "blocked in connect"),
        (waiting.knocking.len(), "not answered"),
        (waiting.ghosts.len(), "connected to nobody"),
        (closed.len(), "closed already"),
    ] {
        parts.extend((count > 0).then(|| format!("{count} {what}")));
    }
    let named = there.into_iter().take(NAMED_MAX);
    parts.extend(named.map(|peer| peer_name(peer, snapshot)));
    parts.extend((unnamed > 0).then(|| format!("{unnamed} more")));
    parts.join(", ")
}

/// So many overflows.
pub(super) fn range(range: &RangeInclusive<u64>) -> String {
    match range.start() == range.end() {
        true => range.end().to_string(),
        false => format!("{}–{}", range.start(), range.end()),
    }
}

/// The longest of each tick, against what fits.
fn sparkline(ticks: impl Iterator<Item = u32>, capacity: Option<u32>) -> String {
    let capacity = u64::from(capacity.unwrap_or(u32::MAX)).max(1);
    let height = |length: u32| match length {
        0 => '·',
        length => {
            let eighths = (u64::from(length) * 8).div_ceil(capacity).clamp(1, 8);
            let at = usize::try_from(eighths - 1).unwrap_or_default();
            HEIGHTS.get(at).copied().unwrap_or('█')
        }
    };
    ticks.map(height).collect()
}

fn colour(entry: &Entry) -> Style {
    let colour = match judgement::of(&entry.found.listener) {
        Exit::Fine | Exit::Unknown => return Style::new(),
        Exit::Warning => AnsiColor::Yellow,
        Exit::Critical => AnsiColor::Red,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// Writes rows of which the first is the head, each as wide as its widest cell.
fn write_table(
    out: &mut dyn Write,
    rows: &[Vec<String>],
    colours: &[Style],
    columns: usize,
) -> io::Result<()> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..count).map(width).collect();
    for (index, row) in rows.iter().enumerate() {
        let mut left = columns;
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let style = match (index.checked_sub(1), column) {
                (None, _) => DIM,
                (Some(entry), QUEUE) => colours.get(entry).copied().unwrap_or_default(),
                (Some(_), _) => Style::new(),
            };
            // The last needs no blanks behind it.
            let is_last = column + 1 == count;
            let text: String = cell.chars().take(left).collect();
            left -= text.chars().count();
            let blanks = match is_last {
                true => 0,
                false => (width + 2 - text.chars().count()).min(left),
            };
            left -= blanks;
            write!(out, "{style}{text}{style:#}{:blanks$}", "")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_the_full_as_full_and_the_empty_as_empty() {
        let line = sparkline([0, 1, 50, 100, 101].into_iter(), Some(101));
        assert_eq!(line, "·▁▄██");
        assert_eq!(sparkline([1].into_iter(), Some(1)), "█");
    }

    #[test]
    fn a_table_ends_where_the_terminal_does() {
        let rows = [["listener", "queue"], ["/run/a/long/path", "1/2"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        write_table(&mut out, &rows, &[Style::new()], 10).expect("memory");
        let text = anstream::adapter::strip_bytes(&out).into_vec();
        assert_eq!(text, b"listener  \n/run/a/lon\n");
    }

    #[test]
    fn overflows_are_one_number_where_they_are_known() {
        assert_eq!(
            (range(&(1..=1)), range(&(9..=18))),
            ("1".into(), "9–18".into())
        );
    }
}
