//! What a ping on a held session costs the client: dbvitals beside a bare epoll loop, on the same
//! scripted server.

use std::thread;

use super::Row;
use crate::agent::{self, Setting};
use crate::bench::Bench;
use crate::child::Child;
use crate::scripted::{Protocol, Scripted};
use crate::sheet::{Goal, Sheet};
use crate::side::{Measured, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "ping",
    about: "client CPU of a held-session ping, beside a bare epoll loop",
    run,
};

const SESSIONS: u32 = 9000;
const CPU: &str = "client CPU a ping";

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    for protocol in [Protocol::MySql, Protocol::Postgres] {
        for sessions in bench.sessions_or(&[SESSIONS]) {
            let sheet = compare(bench, protocol, sessions)?;
            sheets.push(match protocol {
                Protocol::MySql => sheet.aim(Goal::at_most(1.1, CPU, "bare loop")),
                Protocol::Postgres => sheet,
            });
        }
    }
    Ok(sheets)
}

fn compare(bench: &Bench, protocol: Protocol, sessions: u32) -> anyhow::Result<Sheet> {
    let mut sides = [
        Side::new("dbvitals", || ours(bench, protocol, sessions)),
        Side::new("bare loop", || bare(bench, protocol, sessions)),
    ];
    let runs = in_turn(bench.rounds, &mut sides)?;
    let case = format!("{}, {sessions} sessions at 1 s", protocol.name());
    Ok(Sheet::new(case, runs))
}

/// One run of the agent.
fn ours(bench: &Bench, protocol: Protocol, sessions: u32) -> anyhow::Result<Vec<Measured>> {
    let mut server = Scripted::start(bench, protocol)?;
    let setting = Setting::pings_alone(sessions);
    let agent = agent::start(bench, &mut server, setting)?;
    cost(bench, &mut server, &agent)
}

/// One run of the bare loop.
fn bare(bench: &Bench, protocol: Protocol, sessions: u32) -> anyhow::Result<Vec<Measured>> {
    let mut server = Scripted::start(bench, protocol)?;
    let mut command = bench.peers.command("bare_loop");
    let (port, sessions) = (server.port.to_string(), sessions.to_string());
    command.args([protocol.name(), &port, &sessions, "1000"]);
    let mut client = Child::start(&mut command)?;
    client.line()?;
    thread::sleep(std::time::Duration::from_secs(2));
    cost(bench, &mut server, &client)
}

/// What a client spends, by the pings that the server answers meanwhile.
pub(super) fn cost(
    bench: &Bench,
    server: &mut Scripted,
    client: &Child,
) -> anyhow::Result<Vec<Measured>> {
    let (pings, cpu) = (server.pings()?, client.cpu()?);
    thread::sleep(bench.window);
    let (pings, cpu) = (server.pings()? - pings, client.cpu()? - cpu);
    let nanos = cpu.as_nanos() as f64 / pings as f64;
    let rate = pings as f64 / bench.window.as_secs_f64();
    Ok(vec![
        Measured::new(CPU, "ns", nanos),
        Measured::new("pings", "/s", rate),
    ])
}
