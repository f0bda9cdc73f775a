//! How an agent ends, and what the next one begins with.

use dbvitals_testkit::{Dialect, Moment, Mood, ScriptedDatabase, eventually};
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::http;
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
