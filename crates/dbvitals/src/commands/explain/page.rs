//! One backend explained to people.

use std::io::{self, Write};

use anstyle::Style;
use dbvitals_probe::Protocol;
use dbvitals_verdict::{Course, Depth, Plan};

use super::Subject;
use super::cost::{Cost, a_day};
use super::freeze::Freeze;
use super::picture::write_picture;
use super::promise::{Promise, faults, recoveries, relation, show_bound};
use crate::duration::show;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
/// The columns of running text.
const COLUMNS: usize = 80;

/// Writes all there is to say of one backend.
pub(super) fn write_page(out: &mut dyn Write, subject: &Subject) -> io::Result<()> {
    let plan = &subject.plan;
    writeln!(out, "{BOLD}{}{BOLD:#}  {}", subject.name, course(plan))?;
    writeln!(out, "{DIM}{}{DIM:#}", pace(plan))?;
    write_promises(
        out,
        "noticed after, at most",
        &faults(plan, subject.is_here),
    )?;
    write_promises(out, "well again, and up after, at most", &recoveries(plan))?;
    writeln!(out, "{DIM}  answers take their own time on top{DIM:#}")?;
    if let Some(waits) = subject.waits {
        let waits = show_bound(waits);
        writeln!(
            out,
            "{DIM}  and up to {waits} where all backends fail at once: logins take turns{DIM:#}"
        )?;
    }
    write_cost(out, subject, &a_day(subject))?;
    writeln!(out)?;
    for sentence in relation(plan) {
        write_wrapped(out, &sentence)?;
    }
    let Some(freeze) = Freeze::rehearse(plan) else {
        return Ok(());
    };
    writeln!(out, "\n{BOLD}a freeze at the worst moment{BOLD:#}\n")?;
    write_picture(out, plan, &freeze)
}

fn course(plan: &Plan) -> String {
    match plan.course {
        Course::Session { depth } => format!("depth {depth}, on a held session"),
        Course::Sessionless {
            depth,
            deeper: Some(deeper),
        } => format!(
            "depth {depth}, and {deeper} every {}",
            show_bound(plan.fresh_interval)
        ),
        Course::Sessionless {
            depth: Depth::Listening,
            deeper: None,
        } => "depth listening, no connection".to_owned(),
        Course::Sessionless {
            depth,
            deeper: None,
        } => format!("depth {depth}, a connection per probe"),
    }
}

fn pace(plan: &Plan) -> String {
    format!(
        "interval {}, timeout {}, fall {}, rise {}, fresh_interval {}",
        show_bound(plan.interval),
        show_bound(plan.timeout),
        plan.fall,
        plan.rise,
        show_bound(plan.fresh_interval)
    )
}

fn write_promises(out: &mut dyn Write, title: &str, promises: &[Promise]) -> io::Result<()> {
    writeln!(out, "\n{BOLD}{title}{BOLD:#}")?;
    for promise in promises {
        let within = match promise.within {
            None => "–".to_owned(),
            Some(within) if within.is_zero() => "at once".to_owned(),
            Some(within) => show_bound(within),
        };
        writeln!(
            out,
            "  {:<16} {within:>11}   {DIM}{}{DIM:#}",
            promise.title, promise.why
        )?;
    }
    Ok(())
}

fn write_cost(out: &mut dyn Write, subject: &Subject, cost: &Cost) -> io::Result<()> {
    writeln!(out, "\n{BOLD}costs the server a day, about{BOLD:#}")?;
    let mut row = |title: &str, figure: String, note: &str| match note {
        "" => writeln!(out, "  {title:<16} {figure:>11}"),
        note => writeln!(out, "  {title:<16} {figure:>11}   {DIM}{note}{DIM:#}"),
    };
    if cost.pings > 0 {
        row("pings", grouped(cost.pings), "on the held session")?;
    }
    let unseen = match cost.sessions < cost.connections {
        true => "connects that the server never sees, apart from its sessions",
        false => "each a session of its own",
    };
    row("connections", grouped(cost.connections), unseen)?;
    row("sessions", grouped(cost.sessions), "")?;
    row("packets", grouped(cost.packets), "that say something")?;
    row("bytes", grouped(cost.bytes), "both directions, without TLS")?;
    if subject.protocol != Protocol::Opaque {
        row("processor", show(cost.cpu), "an order of magnitude")?;
        row("log lines", grouped(cost.log_lines), "")?;
    }
    Ok(())
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn write_wrapped(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(out, "{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(86_400), "86,400");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
