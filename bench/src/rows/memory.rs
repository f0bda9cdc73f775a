//! What a held session costs in memory: the resident memory of an agent, by its sessions.

use std::thread;

use super::Row;
use crate::agent;
use crate::bench::Bench;
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

/// What the process has beyond one with a single session, by its sessions, once each has been
/// pinged for a while.
fn once(bench: &Bench, sessions: u32) -> anyhow::Result<Vec<Measured>> {
    let least = resident_kib(bench, 1)?;
    let kib = resident_kib(bench, sessions)?;
    let each = (kib - least) / f64::from(sessions.saturating_sub(1).max(1));
    Ok(vec![
        Measured::new(PER_SESSION, "KiB", each),
        Measured::new("memory in all", "KiB", kib),
        Measured::new("memory with one session", "KiB", least),
    ])
}

/// The resident memory of an agent that holds so many sessions.
fn resident_kib(bench: &Bench, sessions: u32) -> anyhow::Result<f64> {
    let (_server, agent) = agent::start_pinging(bench, sessions)?;
    thread::sleep(bench.window);
    agent.resident_kib()
}
