//! How an agent ends, and what the next one begins with.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dbvitals_testkit::{Dialect, Moment, Mood, ScriptedDatabase, eventually};
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::http;
use crate::misuse::refusal;
use crate::socket_gate::SocketGate;
use crate::state_dir::StateDir;
use crate::{Service, exposition};

/// Gates at a port and at a socket, of a backend that is called `db`.
struct Gates {
    port: GatePort,
    held: GatePort,
    socket: SocketGate,
}

impl Gates {
    fn new(name: &str) -> Self {
        Self {
            port: GatePort::reserve(),
            held: GatePort::reserve(),
            socket: SocketGate::new(name),
        }
    }

    fn sections(&self) -> String {
        let listen = [
            ("port", self.port.address().to_string(), "closed"),
            ("held", self.held.address().to_string(), "hold"),
            ("socket", self.socket.address(), "closed"),
        ];
        let sections = listen.map(|(name, listen, on_unknown)| {
            format!(
                "[gate.{name}]\nlisten = \"{listen}\"\nof = \"db\"\non_unknown = \"{on_unknown}\"\n"
            )
        });
        sections.concat()
    }

    /// Which of them are open.
    fn open(&self) -> [bool; 3] {
        let (port, held) = (self.port.is_open(), self.held.is_open());
        [port, held, self.socket.is_open()]
    }
}

fn order(state: &StateDir, order: &str) {
    let path = "/api/v1/backends/db/state";
    let body = format!("{{\"state\":\"{order}\"}}");
    let answer = http::send_to_socket(&state.socket(), path, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Asks an agent that may be gone any moment.
fn ask(socket: &Path, path: &str, body: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Ends an agent as the kernel does when memory is out.
fn kill(mut agent: Agent) {
    agent.signal(Signal::KILL);
    assert_eq!(agent.wait_for_exit(), None);
}

#[test]
fn a_killed_agent_s_gates_are_gone_at_once_and_its_leavings_hinder_nobody() {
    let (service, state) = (Service::start(), StateDir::new("killed"));
    let gates = Gates::new("ends");
    let config = ConfigFile::new(&format!(
        "{}[backend.db]\nurl = \"{}\"\n{}",
        state.section(),
        service.url(),
        gates.sections()
    ));
    for _ in 0..3 {
        let agent = Agent::start(config.serve());
        assert!(eventually(PATIENCE, || gates.open() == [true; 3]));
        order(&state, "ready");
        kill(agent);
        // No waiting: the kernel closes what the process had open before it is seen to end.
        assert_eq!(gates.open(), [false; 3]);
        assert!(state.socket().exists() && gates.socket.path().exists());
    }
}

#[test]
fn no_order_that_was_answered_is_lost_whenever_the_agent_is_killed() {
    let (service, state) = (Service::start(), StateDir::new("orders-kill"));
    let config = ConfigFile::new(&format!(
        "{}[backend.db]\nurl = \"{}\"\n",
        state.section(),
        service.url()
    ));
    let mut last = 0;
    for round in 1..=8 {
        let agent = Agent::start(config.serve());
        let is_known = || agent.health("db").1["admin"] == "drain";
        assert!(round == 1 || eventually(PATIENCE, is_known));
        let reason = agent.health("db").1["order"]["reason"].to_string();
        let given = (last..=last + 1).any(|number| reason.contains(&format!("order {number}.")));
        assert!(round == 1 || given, "{last} was answered, not {reason}");
        assert!(
            !agent.log().contains("operators' orders"),
            "{}",
            agent.log()
        );
        let socket = state.socket();
        let from = last + 1;
        let answered = Arc::new(AtomicU64::new(0));
        let noted = Arc::clone(&answered);
        let giver = std::thread::spawn(move || {
            let path = "/api/v1/backends/db/state";
            let give = |number| {
                let body = format!("{{\"state\":\"drain\",\"reason\":\"order {number}.\"}}");
                let answer = ask(&socket, path, &body).ok()?;
                answer.contains("\"warning\":null").then_some(number)
            };
            let given = (from..).map_while(give);
            given.for_each(|number| noted.store(number, Ordering::Release));
        });
        assert!(eventually(PATIENCE, || answered.load(Ordering::Acquire) >= from));
        // At another moment each time, whatever is being written then.
        std::thread::sleep(std::time::Duration::from_micros(round * 1_700));
        kill(agent);
        giver.join().expect("an order is answered or cut off");
        last = answered.load(Ordering::Acquire);
    }
}

#[test]
fn two_agents_do_not_share_a_state_directory() {
    let (service, state) = (Service::start(), StateDir::new("shared"));
    let section = state.section();
    // Each with a control socket of its own: it is not what keeps them apart.
    let sockets = ["one", "other"].map(SocketGate::new);
    let configs = sockets.each_ref().map(|socket| {
        let (control, url) = (socket.path().display(), service.url());
        ConfigFile::new(&format!(
            "{section}control = \"{control}\"\n[backend.db]\nurl = \"{url}\"\n"
        ))
    });
    let agent = Agent::start(configs[0].serve());
    let mut second = configs[1].serve();
    second.args(["--http", "off"]);
    let told = refusal(second);
    let expected = format!("another agent uses it, process {}", agent.pid());
    assert!(told.concat().contains(&expected), "{told:?}");
    kill(agent);
    Agent::start(configs[1].serve());
}

#[test]
fn after_a_kill_orders_are_back_and_nothing_is_up_before_evidence() {
    let database = ScriptedDatabase::start(Dialect::MySql);
    let state = StateDir::new("evidence");
    let gates = Gates::new("evidence");
    // Long enough for all looks below to fall into the first probe.
    let config = ConfigFile::new(&format!(
        "{}[defaults]\ntimeout = \"2s\"\n[backend.db]\nurl = \"mysql://vitals@{}\"\n{}",
        state.section(),
        database.address(),
        gates.sections()
    ));
    let agent = Agent::start(config.serve());
    assert!(eventually(PATIENCE, || gates.open() == [true; 3]));
    order(&state, "drain");
    assert!(eventually(PATIENCE, || gates.open() == [false; 3]));
    kill(agent);

    database.switch(Mood::SilentFrom(Moment::Greeting));
    let vigils = [gates.port.watch(), gates.held.watch()];
    let agent = Agent::start(config.serve());
    let look = |admin: &str| {
        let (status, health) = agent.health("db");
        assert_eq!(status, 503, "{health}");
        assert_eq!(
            (&health["verdict"], &health["admin"]),
            (&"unknown".into(), &admin.into())
        );
        assert!(health["evidence_age_ms"].is_null(), "{health}");
        let samples = exposition::read(&agent.request("GET", "/metrics").body);
        for verdict in ["unknown", "up", "degraded", "down"] {
            let sample =
                format!("dbvitals_backend_verdict{{backend=\"db\",verdict=\"{verdict}\"}}");
            let expected = f64::from(u8::from(verdict == "unknown"));
            assert_eq!(samples[&sample], expected, "{sample}");
        }
        assert_eq!(gates.open(), [false; 3]);
    };
    look("drain");
    order(&state, "ready");
    let is_ready = || agent.health("db").1["admin"] == "ready";
    assert!(eventually(PATIENCE, is_ready));
    look("ready");
    // Two such probes, and it is known to be down; nobody ever took it for up.
    let is_down = || agent.health("db").1["verdict"] == "down";
    assert!(eventually(PATIENCE * 2, is_down));
    for vigil in vigils {
        let seen = vigil.end();
        assert!(seen.open == 0 && seen.refused > 0, "{seen:?}");
    }
    assert!(gates.socket.is_gone());

    database.switch(Mood::Fine);
    assert!(eventually(PATIENCE * 2, || gates.open() == [true; 3]));
}
