//! The JSON of `replay`: schema `dbvitals.replay.v1`. Fields are only ever added.

use dbvitals_verdict::{Cause, Verdict};
use serde::Serialize;

use super::comparison::{Comparison, Row, Summary};
use super::page::wall;
use crate::record::{Conclusion, Record};
use crate::report::rounded_ms;

/// A whole replay.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: &'static str,
    agent: String,
    at: String,
    same: bool,
    notices: Vec<String>,
    backends: Vec<BackendEntry>,
}

#[derive(Debug, Serialize)]
struct BackendEntry {
    name: String,
    same: bool,
    /// When the backend was seen first.
    from: String,
    observations: usize,
    span_ms: f64,
    /// When reloads brought the recorded run another plan.
    reloads: Vec<String>,
    transitions: Vec<RowEntry>,
    recorded: SummaryEntry,
    other: SummaryEntry,
    /// By how much the other configuration is later on average; negative where it is earlier.
    down_later_ms: Option<f64>,
    up_later_ms: Option<f64>,
}

/// What both concluded, or one alone.
#[derive(Debug, Serialize)]
struct RowEntry {
    recorded: Option<ConclusionEntry>,
    other: Option<ConclusionEntry>,
}

#[derive(Debug, Serialize)]
struct ConclusionEntry {
    at: String,
    from: &'static str,
    to: &'static str,
    cause: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct SummaryEntry {
    down_ms: f64,
    flaps: usize,
}

pub(super) fn document(record: &Record, comparisons: &[Comparison<'_>]) -> Document {
    Document {
        schema: "dbvitals.replay.v1",
        agent: record.agent.clone(),
        at: record.at.clone(),
        same: comparisons.iter().all(Comparison::is_same),
        notices: record.notices.clone(),
        backends: comparisons.iter().map(|it| entry(record, it)).collect(),
    }
}

fn entry(record: &Record, comparison: &Comparison<'_>) -> BackendEntry {
    let (from, to) = comparison.span;
    let later = |verdict| {
        comparison
            .later(verdict)
            .map(|seconds| (seconds * 1e6).round() / 1e3)
    };
    BackendEntry {
        name: comparison.recorded.name.clone(),
        same: comparison.is_same(),
        from: wall(record, from),
        observations: comparison.recorded.observations.len(),
        span_ms: rounded_ms(to.since(from)),
        reloads: comparison
            .recorded
            .plans
            .later
            .iter()
            .map(|(at, _)| wall(record, *at))
            .collect(),
        transitions: comparison
            .rows
            .iter()
            .map(|row| row_entry(record, *row))
            .collect(),
        recorded: summary_entry(comparison.was),
        other: summary_entry(comparison.would_be),
        down_later_ms: later(Verdict::Down),
        up_later_ms: later(Verdict::Up),
    }
}

fn row_entry(record: &Record, row: Row) -> RowEntry {
    let entry = |conclusion: Conclusion| ConclusionEntry {
        at: wall(record, conclusion.at),
        from: conclusion.from.name(),
        to: conclusion.to.name(),
        cause: conclusion.cause.map(Cause::name),
    };
    RowEntry {
        recorded: row.was.map(entry),
        other: row.would_be.map(entry),
    }
}

fn summary_entry(summary: Summary) -> SummaryEntry {
    SummaryEntry {
        down_ms: rounded_ms(summary.down),
        flaps: summary.flaps,
    }
}
