//! How long answered probes took, in `/metrics`: a histogram per service, and of each backend its
//! sum and count, or a histogram where that is asked for. And how late probes started, by shard.
//!
//! A histogram has sixteen samples. Per service that is nothing; per backend it is more than all
//! else that is told of one, so it is left to those who need it.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::{Label, head};
use crate::agent::board::LatencyCounts;
use crate::agent::board::{BackendBoard, Board};
use crate::agent::plan::Histograms;

const BY_SERVICE: &str = "dbvitals_probe_duration_seconds";
const BY_BACKEND: &str = "dbvitals_backend_probe_duration_seconds";
const LATENESS: &str = "dbvitals_agent_probe_lateness_seconds";

pub(super) fn write<'a>(
    out: &mut String,
    board: &Board,
    named: impl Iterator<Item = (&'a Arc<BackendBoard>, &'a String)>,
) -> fmt::Result {
    head(
        out,
        BY_SERVICE,
        "histogram",
        "Time that answered probes of a service's backends took; service is empty for those of none.",
    )?;
    for (service, counts) in board.latency_groups() {
        let label = format!("service=\"{}\"", Label(&service));
        write_histogram(out, BY_SERVICE, &label, &counts)?;
    }
    let help = "Time that answered probes of a backend took.";
    match board.histograms() {
        Histograms::Service => {
            head(out, BY_BACKEND, "summary", help)?;
            for (backend, name) in named {
                let label = format!("backend=\"{name}\"");
                write_sum(out, BY_BACKEND, &label, &backend.latency())?;
            }
        }
        Histograms::Backend => {
            head(out, BY_BACKEND, "histogram", help)?;
            for (backend, name) in named {
                let label = format!("backend=\"{name}\"");
                write_histogram(out, BY_BACKEND, &label, &backend.latency())?;
            }
        }
    }
    Ok(())
}

/// How late the agent's own probes started, by event loop.
pub(super) fn write_lateness(out: &mut String, board: &Board) -> fmt::Result {
    let help = "How late probes started, after they were due.";
    head(out, LATENESS, "histogram", help)?;
    for (shard, counts) in board.lateness().iter().enumerate() {
        write_histogram(out, LATENESS, &format!("shard=\"{shard}\""), counts)?;
    }
    Ok(())
}

fn write_histogram(
    out: &mut String,
    metric: &str,
    label: &str,
    counts: &LatencyCounts,
) -> fmt::Result {
    for (bound, count) in counts.cumulated() {
        writeln!(out, "{metric}_bucket{{{label},le=\"{bound}\"}} {count}")?;
    }
    let count = counts.count();
    writeln!(out, "{metric}_bucket{{{label},le=\"+Inf\"}} {count}")?;
    write_sum(out, metric, label, counts)
}

fn write_sum(out: &mut String, metric: &str, label: &str, counts: &LatencyCounts) -> fmt::Result {
    let (sum, count) = (counts.time().as_secs_f64(), counts.count());
    writeln!(out, "{metric}_sum{{{label}}} {sum}")?;
    writeln!(out, "{metric}_count{{{label}}} {count}")
}
