//! Metrics in Prometheus' text format, written from the board when somebody asks.
//!
//! Format: Prometheus' "Exposition formats", text-based, version 0.0.4. Written here rather than
//! by a metrics library, because the board already holds the numbers: a registry would keep a
//! second copy of them on the path of every ping.

mod durations;
mod history;
mod hooks;
mod process;
mod queues;
mod services;

use std::fmt::{self, Write};

use dbvitals_verdict::Verdict;

pub(crate) use self::process::{descriptors, descriptors_max, resident_bytes};
use crate::agent::board::Board;
use crate::agent::history::Kept;
use crate::agent::hooks::HookRecords;

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as one text.
pub(crate) fn text(board: &Board, hooks: &HookRecords, history: Option<&Kept>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut text, board, hooks, history);
    text
}

fn write_all(
    out: &mut String,
    board: &Board,
    hooks: &HookRecords,
    history: Option<&Kept>,
) -> fmt::Result {
    let now = board.clock().now();
    let backends = board.backends();
    // Escaped once for all the places where they stand.
    let names: Vec<_> = backends
        .iter()
        .map(|it| Label(&it.name).to_string())
        .collect();
    let named = || backends.iter().zip(&names);
    head(
        out,
        "dbvitals_backend_verdict",
        "gauge",
        "1 for the verdict that holds, 0 for the others.",
    )?;
    for (backend, name) in named() {
        let holds = backend.standing().verdict;
        for verdict in Verdict::ALL {
            let value = u8::from(verdict == holds);
            writeln!(
                out,
                "dbvitals_backend_verdict{{backend=\"{name}\",verdict=\"{verdict}\"}} {value}"
            )?;
        }
    }
    head(
        out,
        "dbvitals_backend_cause",
        "gauge",
        "1 for the cause of what is wrong; class ours is the check's own fault.",
    )?;
    for (backend, name) in named() {
        let evidence = &backend.standing().evidence;
        if let (Some(cause), Some(class)) = (evidence.cause, evidence.class) {
            writeln!(
                out,
                "dbvitals_backend_cause{{backend=\"{name}\",cause=\"{cause}\",class=\"{class}\"}} 1"
            )?;
        }
    }
    head(
        out,
        "dbvitals_probe_total",
        "counter",
        "Probes ended, by outcome and cause.",
    )?;
    for (backend, name) in named() {
        let passes = backend.passes();
        writeln!(
            out,
            "dbvitals_probe_total{{backend=\"{name}\",outcome=\"pass\",cause=\"\"}} {passes}"
        )?;
        for (cause, count) in backend.failures() {
            writeln!(
                out,
                "dbvitals_probe_total{{backend=\"{name}\",outcome=\"fail\",cause=\"{cause}\"}} {count}"
            )?;
        }
    }
    durations::write(out, board, named())?;
    head(
        out,
        "dbvitals_evidence_age_seconds",
        "gauge",
        "Age of the newest proof behind the verdict; absent before there is any.",
    )?;
    for (backend, name) in named() {
        if let Some(age) = backend.evidence_age(now) {
            let age = age.as_secs_f64();
            writeln!(
                out,
                "dbvitals_evidence_age_seconds{{backend=\"{name}\"}} {age}"
            )?;
        }
    }
    head(
        out,
        "dbvitals_transitions_total",
        "counter",
        "Changes of the verdict, by what it became.",
    )?;
    for (backend, name) in named() {
        for (to, count) in backend.transitions() {
            writeln!(
                out,
                "dbvitals_transitions_total{{backend=\"{name}\",to=\"{to}\"}} {count}"
            )?;
        }
    }
    head(
        out,
        "dbvitals_sessions_lost_total",
        "counter",
        "Held sessions that died while a fresh one worked.",
    )?;
    for (backend, name) in named() {
        let lost = backend.standing().sessions_lost;
        writeln!(
            out,
            "dbvitals_sessions_lost_total{{backend=\"{name}\"}} {lost}"
        )?;
    }
    queues::write(out, named(), now)?;
    head(
        out,
        "dbvitals_agent_loop_lag_seconds",
        "gauge",
        "How late the slowest event loop's newest timer was.",
    )?;
    writeln!(
        out,
        "dbvitals_agent_loop_lag_seconds {}",
        board.loop_lag().as_secs_f64()
    )?;
    durations::write_lateness(out, board)?;
    head(
        out,
        "dbvitals_agent_stalls_total",
        "counter",
        "How often the agent was too late to judge anybody.",
    )?;
    writeln!(out, "dbvitals_agent_stalls_total {}", board.stalls())?;
    let name = "dbvitals_agent_logins_deferred_total";
    head(out, name, "counter", "Logins that waited for their turn.")?;
    writeln!(out, "{name} {}", board.logins_deferred())?;
    services::write(out, board)?;
    process::write(out, board)?;
    hooks::write(out, hooks)?;
    history::write(out, history)
}

pub(super) fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}")?;
    writeln!(out, "# TYPE {name} {kind}")
}

/// A label's value, escaped.
pub(super) struct Label<'a>(pub(super) &'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
