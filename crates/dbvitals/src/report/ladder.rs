//! The ladder: phase by phase how far a probe came, for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use dbvitals_verdict::Verdict;

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
    if let Some(cause) = finding.cause() {
        writeln!(out, "  {:<9} {}", "meaning", cause.meaning())?;
        writeln!(out, "  {:<9} {}", "remedy", remedy(cause, finding.target))?;
    }
    Ok(())
}
