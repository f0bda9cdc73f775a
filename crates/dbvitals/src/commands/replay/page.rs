//! A replay told to people: both runs side by side, and what they amount to.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anstyle::Style;
use dbvitals_verdict::{Moment, Plan, Verdict};

use super::comparison::{Comparison, Summary};
use crate::duration::{rfc3339, show};
use crate::record::{Conclusion, Record};
use crate::report::colour;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
/// The columns of a conclusion.
const WIDTH: usize = 30;

pub(super) fn write_page(
    out: &mut dyn Write,
    record: &Record,
    comparisons: &[Comparison<'_>],
) -> io::Result<()> {
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}, recorded since {}",
        record.agent, record.at
    )?;
    for comparison in comparisons {
        writeln!(out)?;
        write_backend(out, record, comparison)?;
    }
    Ok(())
}

fn write_backend(
    out: &mut dyn Write,
    record: &Record,
    comparison: &Comparison<'_>,
) -> io::Result<()> {
    let recorded = comparison.recorded;
    let (from, to) = comparison.span;
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}  {} observations in {}{}",
        recorded.name,
        recorded.observations.len(),
        show(to.since(from)),
        differences(recorded.plans.last(), comparison.plans.last())
    )?;
    for (at, plan) in &recorded.plans.later {
        let time = time_of_day(record, *at);
        writeln!(out, "  {DIM}{time:<13} {}{DIM:#}", reloaded(plan))?;
    }
    writeln!(
        out,
        "  {DIM}{:<13} {:<WIDTH$} in the other{DIM:#}",
        "time", "as recorded"
    )?;
    for row in &comparison.rows {
        let first = row.was.or(row.would_be);
        let time = first.map_or_else(String::new, |it| time_of_day(record, it.at));
        write!(out, "  {time:<13} ")?;
        write_conclusion(out, row.was, "")?;
        let shift = row.was.zip(row.would_be);
        let shift = shift.map_or_else(String::new, |(was, other)| shift_of(was.at, other.at));
        write_conclusion(out, row.would_be, &shift)?;
        writeln!(out)?;
    }
    let amounts = |summary: Summary| {
        let times = match summary.flaps {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        match summary.down.is_zero() {
            true => "never down".to_owned(),
            false => format!("down {times}, {}", show(summary.down)),
        }
    };
    let (was, would_be) = (amounts(comparison.was), amounts(comparison.would_be));
    writeln!(
        out,
        "  {:<13} {was:<WIDTH$} {BOLD}{would_be}{BOLD:#}",
        "sum"
    )?;
    for verdict in [Verdict::Down, Verdict::Up] {
        if let Some(later) = comparison.later(verdict) {
            let word = if later < 0.0 { "earlier" } else { "later" };
            let by = show(Duration::from_secs_f64(later.abs()));
            writeln!(
                out,
                "  {:<13} {:<WIDTH$} {verdict} {by} {word} on average",
                "", ""
            )?;
        }
    }
    Ok(())
}

/// A conclusion in as many columns, whatever its colour.
fn write_conclusion(
    out: &mut dyn Write,
    conclusion: Option<Conclusion>,
    note: &str,
) -> io::Result<()> {
    let Some(Conclusion { to, cause, .. }) = conclusion else {
        return write!(out, "{:<WIDTH$} ", "–");
    };
    let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
    let length = to.name().len() + cause.len() + note.chars().count();
    let pad = WIDTH.saturating_sub(length);
    let paint = colour(to);
    write!(out, "{paint}{to}{paint:#}{cause}{note}{:pad$} ", "")
}

fn shift_of(was: Moment, other: Moment) -> String {
    match other >= was {
        true => format!(", {} later", show(other.since(was))),
        false => format!(", {} earlier", show(was.since(other))),
    }
}

/// When it was, to the millisecond; the date is the record's.
fn time_of_day(record: &Record, at: Moment) -> String {
    let wall = wall(record, at);
    let time = wall.split_once('T').map_or("", |(_, time)| time);
    time.trim_end_matches('Z').to_owned()
}

/// The wall-clock time of a moment of the record.
pub(super) fn wall(record: &Record, at: Moment) -> String {
    let origin = record.at.parse::<jiff::Timestamp>();
    let origin = origin.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
    rfc3339(origin + at.since(Moment::ORIGIN))
}

/// That a reload brought another plan.
fn reloaded(plan: &Plan) -> String {
    format!(
        "reloaded: interval {}, timeout {}, rise {}, fall {}",
        show(plan.interval),
        show(plan.timeout),
        plan.rise,
        plan.fall
    )
}

/// What the other plan has that the recorded one has not.
fn differences(was: &Plan, other: &Plan) -> String {
    let durations = [
        ("interval", was.interval, other.interval),
        ("timeout", was.timeout, other.timeout),
        ("fast_interval", was.fast_interval, other.fast_interval),
        ("down_interval", was.down_interval, other.down_interval),
        (
            "confirm_interval",
            was.confirm_interval,
            other.confirm_interval,
        ),
        ("fresh_interval", was.fresh_interval, other.fresh_interval),
        ("stale_after", was.stale_after, other.stale_after),
    ];
    let mut parts: Vec<String> = durations
        .into_iter()
        .filter(|(_, was, other)| was != other)
        .map(|(key, was, other)| format!("{key} {} → {}", show(was), show(other)))
        .collect();
    for (key, was, other) in [
        ("rise", was.rise, other.rise),
        ("fall", was.fall, other.fall),
    ] {
        if was != other {
            parts.push(format!("{key} {was} → {other}"));
        }
    }
    if was.slow_over != other.slow_over {
        let word = |budget: Option<Duration>| budget.map_or_else(|| "none".to_owned(), show);
        parts.push(format!(
            "slow_over {} → {}",
            word(was.slow_over),
            word(other.slow_over)
        ));
    }
    if was.course != other.course {
        parts.push("another course".to_owned());
    }
    if was.classes != other.classes {
        parts.push("other classes".to_owned());
    }
    match parts.is_empty() {
        true => "; the same configuration".to_owned(),
        false => format!("; {}", parts.join(", ")),
    }
}
