//! The services' part of `/metrics`.

use std::fmt::{self, Write};

use dbvitals_verdict::{Alarm, Verdict, Want};

use super::{Label, head};
use crate::agent::board::Board;

/// Writes what is known of all services; nothing where there are none.
pub(super) fn write(out: &mut String, board: &Board) -> fmt::Result {
    let services = board.services();
    if services.is_empty() {
        return Ok(());
    }
    let known: Vec<_> = services
        .iter()
        .map(|it| (Label(&it.name), it.roster(), it.standing(Want::Any)))
        .collect();
    let name = "dbvitals_service_verdict";
    let help = "1 for the verdict that holds, 0 for the others.";
    head(out, name, "gauge", help)?;
    for (service, _, standing) in &known {
        for verdict in Verdict::ALL {
            let value = u8::from(verdict == standing.conclusion.verdict);
            writeln!(
                out,
                "{name}{{service=\"{service}\",verdict=\"{verdict}\"}} {value}"
            )?;
        }
    }
    let name = "dbvitals_service_fit_backends";
    head(out, name, "gauge", "Backends that fit.")?;
    for (service, _, standing) in &known {
        let fit = standing.conclusion.fit_count();
        writeln!(out, "{name}{{service=\"{service}\"}} {fit}")?;
    }
    let name = "dbvitals_service_enough_backends";
    let help = "Backends that have to fit for the service to be up.";
    head(out, name, "gauge", help)?;
    for (service, roster, _) in &known {
        let enough = roster.needs.enough;
        writeln!(out, "{name}{{service=\"{service}\"}} {enough}")?;
    }
    let name = "dbvitals_service_primaries";
    let help = "Backends that are primaries, take writes and may get traffic.";
    head(out, name, "gauge", help)?;
    for (service, _, standing) in &known {
        let primaries = standing.conclusion.primaries.len();
        writeln!(out, "{name}{{service=\"{service}\"}} {primaries}")?;
    }
    let name = "dbvitals_service_alarm";
    head(out, name, "gauge", "1 while there is the alarm, else 0.")?;
    for (service, _, standing) in &known {
        for alarm in Alarm::ALL {
            let value = u8::from(standing.conclusion.alarm == Some(alarm));
            writeln!(
                out,
                "{name}{{service=\"{service}\",alarm=\"{alarm}\"}} {value}"
            )?;
        }
    }
    Ok(())
}
