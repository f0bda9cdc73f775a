//! The demo in words for people: what happens, line by line, and a table of it at the end.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Table, presets};
use dbvitals_verdict::{Cause, Moment};

use crate::demo::outcome::{Ledger, Outcome};
use crate::demo::script::{Expected, Scene};
use crate::demo::stage::Stage;
use crate::duration::show;
use crate::report::colour;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const ALARM: Style = AnsiColor::Red.on_default().bold();
const NOTHING: &str = "-";

pub(super) fn write_opening(out: &mut dyn Write, stage: &Stage) -> io::Result<()> {
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}  the dashboard, in a browser\n\
         dbvitals top --agent {}  the same in a terminal\n",
        stage.page(),
        stage.page().trim_end_matches('/')
    )?;
    writeln!(
        out,
        "Two servers inside this process, and the agent of `dbvitals serve` watching them.\n\
         They will slow down, freeze and crash; you see what it concludes, and how soon.\n"
    )?;
    for member in stage.cast() {
        let name = member.name;
        writeln!(
            out,
            "  {BOLD}{name:<6}{BOLD:#}  {:<10} at {:<15}  gate at {}",
            name.dialect().product(),
            member.server.address(),
            member.gate()
        )?;
    }
    writeln!(
        out,
        "\nA gate is a port that is open only while its server is fit: all that a load\n\
         balancer needs to know. Ask for yourself, from another terminal:\n"
    )?;
    for member in stage.cast() {
        writeln!(
            out,
            "  curl -i http://{}/health/{}",
            stage.http, member.name
        )?;
    }
    if let Some(member) = stage.cast().first() {
        let (plan, gate) = (&member.plan, member.gate());
        writeln!(
            out,
            "  nc -vz {} {}\n\n\
             {DIM}The settings are the defaults (interval {}, timeout {}), but for a fresh session\n\
             every {}. Ctrl-C ends it all.{DIM:#}\n",
            gate.ip(),
            gate.port(),
            show(plan.interval),
            show(plan.timeout),
            show(plan.fresh_interval)
        )?;
    }
    Ok(())
}

pub(super) fn write_scene(out: &mut dyn Write, at: Moment, scene: &Scene) -> io::Result<()> {
    let (server, sentence) = (scene.server, scene.sentence);
    write_time(out, at)?;
    writeln!(out, "{BOLD}{server:<6}{BOLD:#}  {sentence}")
}

pub(super) fn write_outcome(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let paint = colour(outcome.verdict);
    write_time(out, outcome.at)?;
    write!(out, "{:6}  {paint}", "")?;
    match outcome.noticed {
        None => write!(out, "stays {}{paint:#}", outcome.verdict)?,
        Some(_) => write!(out, "{}{paint:#}", outcome.verdict)?,
    }
    if let Some(cause) = outcome.cause {
        write!(out, " ({cause})")?;
    }
    if let Some(noticed) = outcome.noticed {
        write!(out, " after {}", show(noticed))?;
    }
    let (gate, changed) = (outcome.gate, outcome.gate.changed_after());
    match changed {
        None => write!(out, ", gate stays {}", gate.word())?,
        Some(after) if gate.is_open => write!(out, ", gate opened after {}", show(after))?,
        Some(after) => write!(out, ", gate closed after {}", show(after))?,
    }
    if let Some(promised) = outcome.promised {
        write!(out, "{DIM}; promised: {}{DIM:#}", show(promised))?;
    }
    if let (Expected::StaysUp(_), Some(mean)) = (outcome.scene.expected, outcome.passes.mean()) {
        let count = outcome.passes.count;
        write!(
            out,
            "{DIM}; {count} probes passed, in {} on average{DIM:#}",
            show(mean)
        )?;
    }
    if outcome.is_late() {
        write!(out, " {ALARM}late{ALARM:#}")?;
    }
    if !outcome.is_right() {
        let expected = outcome.scene.expected;
        write!(out, " {ALARM}WRONG, expected: {expected}{ALARM:#}")?;
    }
    writeln!(out)
}

pub(super) fn write_end(out: &mut dyn Write, ledger: &Ledger) -> io::Result<()> {
    writeln!(out)?;
    if ledger.scenes > 0 {
        write_table(out, ledger)?;
    }
    let Ledger {
        scenes,
        wrong,
        late,
        ..
    } = ledger;
    match wrong {
        0 => write!(out, "{scenes} scenes, all right")?,
        _ => write!(out, "{scenes} scenes, {ALARM}{wrong} wrong{ALARM:#}")?,
    }
    match late {
        0 => writeln!(out, ", none late.")?,
        _ => writeln!(out, ", {late} late: this machine is busy.")?,
    }
    writeln!(
        out,
        "Your own servers: `dbvitals check URL` asks once, `dbvitals serve URL` watches."
    )
}

fn write_table(out: &mut dyn Write, ledger: &Ledger) -> io::Result<()> {
    let table = table(ledger);
    let mut lines = table.lines();
    if let Some(header) = lines.next() {
        writeln!(out, "{BOLD}{}{BOLD:#}", header.trim_end())?;
    }
    for (line, outcome) in lines.zip(ledger.newest()) {
        let paint = match outcome.is_right() {
            true => Style::new(),
            false => ALARM,
        };
        writeln!(out, "{paint}{}{paint:#}", line.trim_end())?;
    }
    writeln!(out)
}

fn table(ledger: &Ledger) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "scene",
        "server",
        "expected",
        "concluded",
        "cause",
        "noticed",
        "promised",
        "gate",
        "right",
    ]);
    for outcome in ledger.newest() {
        table.add_row(row(outcome));
    }
    // As wide as a hundred characters allow.
    for (column, gap) in table.column_iter_mut().zip([2, 2, 2, 2, 1, 1, 2, 1, 0]) {
        column.set_padding((0, gap));
    }
    table
}

fn row(outcome: &Outcome) -> [Cell; 9] {
    let scene = outcome.scene;
    let right_aligned = |text: Option<String>| {
        Cell::new(text.as_deref().unwrap_or(NOTHING)).set_alignment(CellAlignment::Right)
    };
    let concluded = match outcome.noticed {
        None => format!("stays {}", outcome.verdict),
        Some(_) => outcome.verdict.to_string(),
    };
    let gate = match outcome.gate.changed_after() {
        None => outcome.gate.word().to_owned(),
        Some(after) => format!("{} {}", outcome.gate.word(), show(after)),
    };
    let right = match (outcome.is_right(), outcome.is_late()) {
        (false, _) => "NO",
        (true, false) => "yes",
        (true, true) => "late",
    };
    [
        Cell::new(scene.title),
        Cell::new(scene.server),
        Cell::new(scene.expected),
        Cell::new(concluded),
        Cell::new(outcome.cause.map_or(NOTHING, Cause::name)),
        right_aligned(outcome.noticed.map(show)),
        right_aligned(outcome.promised.map(show)),
        Cell::new(gate),
        Cell::new(right),
    ]
}

fn write_time(out: &mut dyn Write, at: Moment) -> io::Result<()> {
    let seconds = at.since(Moment::ORIGIN).as_secs_f64();
    write!(out, "{DIM}{seconds:6.2} s{DIM:#}  ")
}
