//! The one line of a monitoring plugin, with performance data.
//!
//! Format: the Monitoring Plugins Development Guidelines, sections on output and on performance
//! data; a label is quoted, a quote in it is doubled.

use super::Finding;
use crate::duration;
use crate::exit::Exit;

/// The line for one or several targets.
pub(crate) fn plugin_line(findings: &[Finding<'_>]) -> String {
    let worst = findings
        .iter()
        .map(Finding::exit)
        .fold(Exit::Fine, Exit::worst);
    let texts: Vec<_> = findings.iter().map(text).collect();
    let data: Vec<_> = findings.iter().map(performance).collect();
    format!(
        "DBVITALS {} - {} | {}",
        worst.word(),
        texts.join(", "),
        data.join(" ")
    )
}

fn text(finding: &Finding<'_>) -> String {
    let verdict = finding.verdict();
    let name = &finding.target.name;
    let took = duration::show(finding.observation.took());
    match finding.cause() {
        None => format!("{name}: {verdict}, {} in {took}", finding.depth),
        Some(cause) => format!("{name}: {verdict}, {cause} after {took}"),
    }
}

fn performance(finding: &Finding<'_>) -> String {
    let label = finding.target.name.replace('\'', "''").replace('=', "_");
    let seconds = finding.observation.took().as_secs_f64();
    format!("'{label}'={seconds:.4}s;;;0")
}
