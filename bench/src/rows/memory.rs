//! What a held session costs in memory: the resident memory of an agent, by its sessions.

use std::thread;

use super::Row;
use crate::agent::{self, PINGS_ALONE, Setting};
use crate::bench::Bench;
use crate::scripted::{Protocol, Scripted};
use crate::sheet::{Goal, Sheet};
use crate::side::{Measured, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "memory",
    about: "resident KiB per held session",
    run,
};

const SESSIONS: [u32; 3] = [1000, 5000, 15_000];
const PER_SESSION: &str = "memory a session";

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    for sessions in bench.sessions_or(&SESSIONS) {
        let runs = in_turn(
            bench.rounds,
            &mut [Side::new("dbvitals", || once(bench, sessions))],
        )?;
        let sheet = Sheet::new(format!("{sessions} sessions"), runs);
        sheets.push(sheet.aim(Goal::below(1.0, PER_SESSION)));
    }
    Ok(sheets)
}

/// The whole process, once every session has been pinged for a while, by the sessions that it
/// holds: what it needs with none counts as well.
fn once(bench: &Bench, sessions: u32) -> anyhow::Result<Vec<Measured>> {
    let mut server = Scripted::start(bench, Protocol::MySql)?;
    let setting = Setting {
        backends: sessions,
        defaults: PINGS_ALONE,
        options: "",
    };
    let agent = agent::start(bench, &mut server, setting)?;
    thread::sleep(bench.window);
    let kib = agent.resident_kib()?;
    Ok(vec![
        Measured::new(PER_SESSION, "KiB", kib / f64::from(sessions)),
        Measured::new("memory", "KiB", kib),
    ])
}
