//! What a ping on a held session costs the client: dbvitals beside a bare epoll loop, on the same
//! scripted server; in the clear, and with TLS.

use std::thread;
use std::time::Duration;

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
const BARE: &str = "bare loop";

/// With TLS a login takes so much longer that all at once would run into their timeouts: the server is
/// one process, and shares the machine with the agent.
const LOGINS: &str = "logins_per_second_max = 600\n";

/// What pings are sent to, and how many sessions there are.
#[derive(Debug, Clone, Copy)]
struct Ground<'a> {
    bench: &'a Bench,
    protocol: Protocol,
    sessions: u32,
    /// Whether the server has TLS for whoever asks for it.
    offers_tls: bool,
}

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    for sessions in bench.sessions_or(&[SESSIONS]) {
        for offers_tls in [false, true] {
            for protocol in [Protocol::MySql, Protocol::Postgres] {
                let ground = Ground {
                    bench,
                    protocol,
                    sessions,
                    offers_tls,
                };
                if bench.wants(&ground.case()) {
                    sheets.push(ground.compare()?);
                }
            }
        }
    }
    Ok(sheets)
}

impl Ground<'_> {
    fn case(self) -> String {
        let tls = if self.offers_tls { " with TLS" } else { "" };
        let protocol = self.protocol.name();
        format!("{protocol}{tls}, {} sessions at 1 s", self.sessions)
    }

    fn compare(self) -> anyhow::Result<Sheet> {
        let mut sides = match self.offers_tls {
            false => vec![
                Side::new("dbvitals", || self.ours("")),
                Side::new(BARE, || self.bare(None)),
            ],
            true => vec![
                Side::new("dbvitals", || self.ours("?tls=require")),
                Side::new("bare loop over OpenSSL", || self.bare(Some("tls"))),
                Side::new("dbvitals, not asking for TLS", || self.ours("?tls=off")),
            ],
        };
        let sheet = Sheet::new(self.case(), in_turn(self.bench.rounds, &mut sides)?);
        Ok(match (self.protocol, self.offers_tls) {
            (Protocol::MySql, false) => sheet.aim(Goal::at_most(1.1, CPU, BARE)),
            _ => sheet,
        })
    }

    fn server(self) -> anyhow::Result<Scripted> {
        match self.offers_tls {
            false => Scripted::start(self.bench, self.protocol),
            true => Scripted::start_with_tls(self.bench, self.protocol),
        }
    }

    /// One run of the agent, with these options of its URLs.
    fn ours(self, options: &'static str) -> anyhow::Result<Vec<Measured>> {
        let mut server = self.server()?;
        let setting = Setting {
            options,
            agent: if self.offers_tls { LOGINS } else { "" },
            ..Setting::pings_alone(self.sessions)
        };
        let agent = agent::start(self.bench, &mut server, setting)?;
        cost(self.bench, &mut server, &agent)
    }

    /// One run of the bare loop.
    fn bare(self, tls: Option<&str>) -> anyhow::Result<Vec<Measured>> {
        let mut server = self.server()?;
        let mut command = self.bench.peers.command("bare_loop");
        let (port, sessions) = (server.port.to_string(), self.sessions.to_string());
        command.args([self.protocol.name(), &port, &sessions, "1000"]);
        let mut client = Child::start(command.args(tls))?;
        client.line()?;
        thread::sleep(Duration::from_secs(2));
        cost(self.bench, &mut server, &client)
    }
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
