//! A capture's pings told to people: each server, its clients, and what to change.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use dbvitals_wire::passive::PingForm;

use super::Report;
use super::comparison::{Comparison, Since};
use super::document::{by_server, name_of, rate, share};
use crate::duration::show;
use crate::pings::{Asker, Connections, Death, Group, Habit, IDLE_ENDS, Tally};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
/// So many groups are shown, those with the most pings.
const GROUPS_SHOWN: usize = 20;

pub(super) fn write_page(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let account = &report.account;
    let seconds = report.seconds();
    let mut all = Connections::default();
    for (_, _, groups) in by_server(account) {
        all = sum(groups).connections.plus(&all);
    }
    writeln!(
        out,
        "{BOLD}{}{BOLD:#} in {}, {}{}",
        counted(account.packets, "packet"),
        show(Duration::from_secs_f64(seconds)),
        counted(all.seen, "connection"),
        opaque(&all)
    )?;
    if account.groups.is_empty() {
        match account.settings.port {
            None => writeln!(out, "no MySQL and no PostgreSQL was recognised")?,
            Some(port) => writeln!(out, "no MySQL and no PostgreSQL was heard on port {port}")?,
        }
    }
    for (server, protocol, groups) in by_server(account) {
        let tally = sum(groups);
        writeln!(out, "\n{BOLD}{server}{BOLD:#}  {}", protocol.name())?;
        write_counts(out, &tally, seconds, account.settings.idle_threshold)?;
        write_idle(out, &tally)?;
        write_groups(out, groups)?;
        write_habit(out, groups, &tally)?;
    }
    if let Some(comparison) = &report.comparison {
        write_comparison(out, comparison, seconds)?;
    }
    Ok(())
}

fn sum(groups: &[Group]) -> Tally {
    let mut tally = Tally::default();
    groups.iter().for_each(|group| tally.merge(&group.tally));
    tally
}

fn opaque(connections: &Connections) -> String {
    let Connections {
        tls, gss, unread, ..
    } = *connections;
    let kinds = [(tls, "TLS"), (gss, "GSSAPI"), (unread, "not understood")];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    match connections.opaque() {
        0 => String::new(),
        count => format!("; {count} opaque ({}), not counted", kinds.join(", ")),
    }
}

fn write_counts(
    out: &mut dyn Write,
    tally: &Tally,
    seconds: f64,
    idle_threshold: u64,
) -> io::Result<()> {
    let pings = tally.pings();
    let a_second = |count| format!("{:.1}/s", rate(count, seconds));
    row(
        out,
        "commands",
        &format!("{}, {}", tally.commands, a_second(tally.commands)),
    )?;
    let percent = 100.0 * share(pings, tally.commands);
    row(
        out,
        "pings",
        &format!(
            "{pings}, {percent:.1} % of all commands, {}",
            a_second(pings)
        ),
    )?;
    for (form, count) in PingForm::ALL.iter().zip(tally.pings) {
        if count > 0 {
            row(out, "", &format!("{:<22}{count}", form.name()))?;
        }
    }
    if pings > 0 {
        write_latency(out, tally)?;
        write_use(out, tally, idle_threshold)?;
    }
    write_connections(out, &tally.connections, seconds)
}

fn write_latency(out: &mut dyn Write, tally: &Tally) -> io::Result<()> {
    let percentiles: Vec<String> = [50, 95, 99]
        .iter()
        .filter_map(|percent| {
            let time = tally.latency.percentile(*percent)?;
            Some(format!("p{percent} {} µs", time / 1000))
        })
        .collect();
    if !percentiles.is_empty() {
        let spent = show(Duration::from_nanos(tally.latency.sum()));
        let text = format!("{}; {spent} spent waiting", percentiles.join(", "));
        row(out, "latency", &text)?;
    }
    Ok(())
}

/// How many of the pings are useless, and what the others caught.
fn write_use(out: &mut dyn Write, tally: &Tally, idle_threshold: u64) -> io::Result<()> {
    let percent = 100.0 * share(tally.useless, tally.pings());
    let saved = show(Duration::from_nanos(tally.useless_time));
    row(
        out,
        "useless",
        &format!(
            "{}, {percent:.1} % of the pings: the server had answered within the last {}, and another command",
            tally.useless,
            show(Duration::from_nanos(idle_threshold))
        ),
    )?;
    row(
        out,
        "",
        &format!("followed within 10 ms; without them clients would have waited {saved} less"),
    )?;
    row(out, "caught", &caught(tally))
}

fn write_connections(
    out: &mut dyn Write,
    connections: &Connections,
    seconds: f64,
) -> io::Result<()> {
    let a_second = |count| format!("{:.1}/s", rate(count, seconds));
    let refused = match connections.refused {
        0 => String::new(),
        count => format!("; {count} more refused"),
    };
    let text = format!(
        "{} seen, {} opened ({}), {} closed ({}); {} used for one command, {} for none{refused}{}",
        connections.seen,
        connections.opened,
        a_second(connections.opened),
        connections.closed,
        a_second(connections.closed),
        connections.used_once,
        connections.unused,
        opaque(connections)
    );
    row(out, "connections", &text)
}

fn caught(tally: &Tally) -> String {
    if tally.dead() == 0 {
        return "nothing: every connection that was pinged was alive".to_owned();
    }
    let words = |death| match death {
        Death::Closed => "closed by the server before",
        Death::Reset => "reset or closed in place of an answer",
        Death::Error => "answered by an error that ends the session",
    };
    let causes: Vec<String> = Death::ALL
        .iter()
        .zip(tally.dead)
        .filter(|(_, count)| *count > 0)
        .map(|(death, count)| format!("{count} {}", words(*death)))
        .collect();
    format!("{} dead when used: {}", tally.dead(), causes.join(", "))
}

/// The idle times before pings; where deaths begin is where a ping begins to pay.
fn write_idle(out: &mut dyn Write, tally: &Tally) -> io::Result<()> {
    if tally.idle.iter().all(|count| *count == 0) {
        return Ok(());
    }
    writeln!(
        out,
        "  {DIM}{:<14}{:>10}{:>8}{DIM:#}",
        "idle before", "pings", "dead"
    )?;
    let end = |at: usize| IDLE_ENDS.get(at).map(|end| show_short(*end));
    for (at, (count, dead)) in tally.idle.iter().zip(tally.idle_dead).enumerate() {
        let label = match end(at) {
            Some(end) => format!("up to {end}"),
            None => "longer".to_owned(),
        };
        if *count > 0 {
            writeln!(out, "  {label:<14}{count:>10}{dead:>8}")?;
        }
    }
    if tally.idle_unknown > 0 {
        writeln!(out, "  {:<14}{:>10}", "unknown", tally.idle_unknown)?;
    }
    Ok(())
}

fn show_short(nanoseconds: u64) -> String {
    match nanoseconds / 1_000_000 {
        0 => "0.1 ms".to_owned(),
        ms @ 1..1000 => format!("{ms} ms"),
        ms @ 1000..60_000 => format!("{} s", ms / 1000),
        ms => format!("{} min", ms / 60_000),
    }
}

fn write_groups(out: &mut dyn Write, groups: &[Group]) -> io::Result<()> {
    let mut shown: Vec<&Group> = groups
        .iter()
        .filter(|group| group.asker != Asker::Everybody)
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    shown.sort_by_key(|group| std::cmp::Reverse((group.tally.pings(), group.tally.commands)));
    writeln!(
        out,
        "  {DIM}{:<24}{:>10}{:>10}{:>8}{:>10}{:>6}{:>10}  habit{DIM:#}",
        "client", "commands", "pings", "share", "useless", "dead", "p95"
    )?;
    for group in shown.iter().take(GROUPS_SHOWN) {
        let tally = &group.tally;
        let name = name_of(group.asker).unwrap_or_default();
        let share = format!("{:.1} %", 100.0 * share(tally.pings(), tally.commands));
        let p95 = tally.latency.percentile(95);
        let p95 = p95.map_or_else(|| "–".to_owned(), |time| format!("{} µs", time / 1000));
        let habit = Habit::of(tally).map_or("–", Habit::name);
        writeln!(
            out,
            "  {name:<24}{:>10}{:>10}{share:>8}{:>10}{:>6}{p95:>10}  {habit}",
            tally.commands,
            tally.pings(),
            tally.useless,
            tally.dead()
        )?;
    }
    match shown.len().saturating_sub(GROUPS_SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "  {DIM}and {more} more; --json has all{DIM:#}"),
    }
}

/// What the pings look like, habit by habit, and what changes each.
fn write_habit(out: &mut dyn Write, groups: &[Group], tally: &Tally) -> io::Result<()> {
    let mut habits: Vec<Habit> = groups
        .iter()
        .filter_map(|group| Habit::of(&group.tally))
        .collect();
    if habits.is_empty() {
        habits.extend(Habit::of(tally));
    }
    habits.sort_unstable();
    habits.dedup();
    // Where one is known, "none that is known" says nothing.
    if habits.len() > 1 {
        habits.retain(|habit| *habit != Habit::Mixed);
    }
    for habit in habits {
        row(out, "looks like", habit.explanation())?;
        for setting in habit.settings() {
            row(out, "", setting)?;
        }
    }
    Ok(())
}

/// The server's own counters beside what was heard.
fn write_comparison(out: &mut dyn Write, comparison: &Comparison, seconds: f64) -> io::Result<()> {
    let since = match comparison.since {
        Since::Listening => "while it was listened to".to_owned(),
        Since::Start(None) => "since its statistics began".to_owned(),
        Since::Start(Some(ago)) => format!(
            "since it started {} ago; the capture is of {}",
            show(Duration::from_secs(ago)),
            show(Duration::from_secs_f64(seconds))
        ),
    };
    let target = &comparison.target;
    writeln!(
        out,
        "\n{BOLD}{target}{BOLD:#}  what it has counted itself, {since}"
    )?;
    writeln!(
        out,
        "  {DIM}{:<30}{:>12}{:>12}{:>12}{DIM:#}",
        "counter", "server", "heard", "difference"
    )?;
    for counter in &comparison.rows {
        let difference = counter.difference();
        writeln!(
            out,
            "  {:<30}{:>12}{:>12}{difference:>12}",
            counter.name, counter.server, counter.heard
        )?;
    }
    for (source, why) in &comparison.silent {
        row(out, "not read", &format!("{source}: {why}"))?;
    }
    if comparison.servers.is_empty() {
        row(
            out,
            "heard of",
            "nothing: no server of this capture has that port",
        )?;
    }
    let outside = match comparison.since {
        Since::Listening => "",
        Since::Start(_) => ", what was before and after",
    };
    let unheard = "what went unheard: opaque connections, other ways to the server";
    row(out, "difference", &format!("{unheard}{outside}"))
}

fn row(out: &mut dyn Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {name:<12}{text}")
}

fn counted(count: u64, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}
