//! How soon an agent is of use: from exec to the verdicts, and what it takes to have one.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::ensure;

use super::Row;
use crate::agent::{self, Setting};
use crate::bench::Bench;
use crate::child::Child;
use crate::clock;
use crate::scripted::{Protocol, Scripted};
use crate::sheet::Sheet;
use crate::side::{Measured, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "start",
    about: "from exec to first verdict, and the size of the program",
    run,
};

const BACKENDS: [u32; 3] = [1, 1000, 15_000];
/// How long all verdicts may take.
const WITHIN: Duration = Duration::from_secs(60);

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    for backends in bench.sessions_or(&BACKENDS) {
        let side = Side::new("dbvitals", || once(bench, backends));
        let runs = in_turn(bench.rounds, &mut [side])?;
        sheets.push(Sheet::new(format!("{backends} backends"), runs));
    }
    let mut side = [Side::new("dbvitals", || Ok(vec![size(&bench.program)?]))];
    sheets.push(Sheet::new("the program", in_turn(1, &mut side)?));
    Ok(sheets)
}

/// How large a program is.
pub(super) fn size(program: &Path) -> anyhow::Result<Measured> {
    let bytes = fs::metadata(program)?.len() as f64;
    Ok(Measured::new("size", "MiB", bytes / f64::from(1 << 20)))
}

/// Each transition is a line of `serve --json`: the first line is the first verdict.
fn once(bench: &Bench, backends: u32) -> anyhow::Result<Vec<Measured>> {
    let server = Scripted::start(bench, Protocol::MySql)?;
    let setting = Setting::pings_alone(backends);
    let configuration = agent::configure(bench, &server, setting)?;
    let started = clock::now();
    let mut agent = Child::start(agent::command(bench, &configuration).arg("--json"))?;
    agent.line()?;
    let first = started.elapsed();
    let up = "\"verdict\":\"up\"";
    while agent::fetch(bench, "/api/v1/backends")?.matches(up).count() < backends as usize {
        ensure!(started.elapsed() < WITHIN, "not all backends are up");
        thread::sleep(Duration::from_millis(20));
    }
    let all = started.elapsed();
    Ok(vec![
        Measured::new("to the first verdict", "ms", first.as_secs_f64() * 1e3),
        Measured::new("to all verdicts", "ms", all.as_secs_f64() * 1e3),
    ])
}
