//! The ladder: phase by phase how far a probe came, for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use dbvitals_verdict::{Connections, Role, ServerFacts, Verdict};

use super::{Finding, remedy, sentence};
use crate::duration;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The colour of a verdict; the word stands beside it always.
pub(crate) fn colour(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Up => AnsiColor::Green,
        Verdict::Degraded => AnsiColor::Yellow,
        Verdict::Down => AnsiColor::Red,
        Verdict::Unknown => AnsiColor::Magenta,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// What a server said of itself: `replica, read-only, 2.0 s behind, 3 of 151 connections`.
fn describe(facts: &ServerFacts, role: Role) -> String {
    let mut parts = vec![role.name().to_owned()];
    parts.extend(match facts.read_only {
        Some(true) => Some("read-only".to_owned()),
        Some(false) => Some("takes writes".to_owned()),
        None => None,
    });
    if let Some(time) = facts.lag.and_then(|lag| lag.time) {
        parts.push(format!("{:.1} s behind", time.as_secs_f64()));
    }
    if let Some(bytes) = facts.lag.and_then(|lag| lag.bytes) {
        parts.push(format!("{bytes} bytes to replay"));
    }
    if let Some(connections) = facts.connections {
        let Connections { used, max } = connections;
        parts.push(format!("{used} of {max} connections"));
    }
    parts.join(", ")
}

/// Writes the ladder of one finding.
pub(crate) fn print_ladder(out: &mut impl Write, finding: &Finding<'_>) -> io::Result<()> {
    let observation = finding.observation;
    let verdict = finding.verdict();
    let paint = colour(verdict);
    write!(
        out,
        "{BOLD}{}{BOLD:#}  {paint}{verdict}{paint:#}",
        finding.target.name
    )?;
    match finding.cause() {
        None => write!(out, ": {}", finding.detail())?,
        Some(cause) => write!(out, ": {cause} ({})", cause.default_class())?,
    }
    if let Some(facts) = &observation.server
        && let (Some(product), Some(version)) = (facts.product, &facts.version)
    {
        write!(out, "  {DIM}{product} {version}{DIM:#}")?;
    }
    writeln!(out)?;
    for (phase, took, failed) in observation.phases.iter() {
        let took = duration::show(took);
        match failed {
            false => writeln!(out, "  {:<9} {took:>9}", phase.name())?,
            true => {
                let why = observation
                    .detail
                    .as_deref()
                    .map(sentence)
                    .unwrap_or_default();
                writeln!(
                    out,
                    "  {:<9} {took:>9}  {paint}failed{paint:#}  {why}",
                    phase.name()
                )?;
            }
        }
    }
    if let Some(facts) = observation.server.as_deref()
        && let Some(role) = facts.role
    {
        writeln!(out, "  {:<9} {}", "server", describe(facts, role))?;
    }
    if let Some(cause) = finding.cause() {
        writeln!(out, "  {:<9} {}", "meaning", cause.meaning())?;
        writeln!(
            out,
            "  {:<9} {}",
            "remedy",
            remedy(cause, finding.target, finding.observation)
        )?;
    }
    Ok(())
}
