//! A frozen server while clients arrive: told by its accept queue, before any probe has waited for its
//! deadline.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{Postgres, PostgresOptions, RealServer as _, eventually, require_servers};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::family::Family;
use crate::gate::GatePort;
use crate::{Watched, alone, on_both, report};

/// From the first client to the suspicion: two looks, 200 ms apart, and what a busy machine adds.
const SUSPECT_BOUND: Duration = Duration::from_millis(1000);
/// From the first client to down: the suspicion, the next question and its timeout.
const DOWN_BOUND: Duration = Duration::from_millis(3000);
/// Fewer than fit into MariaDB's queue.
const CLIENTS_MAX: usize = 60;
/// From one client to the next.
const ARRIVAL: Duration = Duration::from_millis(40);

/// Clients arrive until the log says this; answers them, and how long it took.
fn clients_until(agent: &Agent, server: &dyn Watched, said: &str) -> (Vec<TcpStream>, Duration) {
    let clock = Clock::start();
    let began = clock.now();
    let mut clients = Vec::new();
    while !agent.log().contains(said) {
        let took = clock.now().since(began);
        assert!(
            took < PATIENCE,
            "no {said:?}, and {} clients",
            clients.len()
        );
        if clients.len() < CLIENTS_MAX {
            let client = TcpStream::connect(server.address());
            clients.push(client.expect("a frozen server lets connect"));
        }
        thread::sleep(ARRIVAL);
    }
    (clients, clock.now().since(began))
}

fn queue(agent: &Agent) -> Value {
    let body = agent.request("GET", "/api/v1/backends/db").body;
    let mut body: Value = serde_json::from_str(&body).expect("the API answers in JSON");
    body["backends"][0]["queue"].take()
}

#[test]
fn a_frozen_server_is_suspected_within_two_looks_without_a_connection_of_our_own() {
    require_servers!();
    on_both(|server| {
        let agent = Agent::start(serve([&format!("db={}?depth=listening", server.url())]));
        agent.wait_for_verdict("db", "up");
        assert!(eventually(PATIENCE, || queue(&agent)["length"] == 0));
        let limit = queue(&agent)["limit"].as_u64();
        assert!(limit >= Some(80), "{limit:?}");

        let family = Family::of(server);
        family.signal(Signal::STOP);
        let (clients, took) = clients_until(&agent, server, "suspected to be frozen");
        report(server, "first client to suspicion", took);
        assert!(took <= SUSPECT_BOUND, "{took:?}");
        assert!(eventually(PATIENCE, || queue(&agent)["length"] == clients.len()));
        let told = queue(&agent);
        assert_eq!(told["cause"], "not_accepting", "{told}");
        let (status, health) = agent.wait_for_verdict("db", "degraded");
        assert_eq!((status, &health["cause"]), (200, &"not_accepting".into()));

        family.signal(Signal::CONT);
        agent.wait_for_verdict("db", "up");
        assert_eq!(server.sessions(), 0, "nobody logged in");
        agent.expect_verdicts(&["up", "degraded", "up"]);
        drop(clients);
    });
}

#[test]
fn a_frozen_server_with_clients_is_down_long_before_its_next_ping_is_due() {
    require_servers!();
    on_both(|server| {
        let gate = GatePort::reserve();
        let config = ConfigFile::new(&format!(
            "[defaults]\ninterval = \"10s\"\n[backend.db]\nurl = \"{}\"\n[gate.db]\nlisten = \"{}\"\nof = \"db\"\n",
            server.url(),
            gate.address()
        ));
        let agent = Agent::start(config.serve());
        agent.wait_for_verdict("db", "up");
        assert!(eventually(PATIENCE, || queue(&agent)["length"] == 0));
        let frozen = gate.now();
        let family = Family::of(server);
        family.signal(Signal::STOP);
        let (clients, took) = clients_until(&agent, server, "suspected to be frozen");
        report(server, "first client to suspicion", took);
        assert!(took <= SUSPECT_BOUND, "{took:?}");
        assert!(!agent.log().contains("to=down"), "no timeout came before");
        let took = gate.refuses_within(DOWN_BOUND, frozen);
        report(server, "first client to refused, interval 10 s", took);
        let (_, health) = agent.wait_for_verdict("db", "down");
        assert_eq!(health["class"], "dead", "{health}");

        family.signal(Signal::CONT);
        agent.wait_for_verdict("db", "up");
        drop(clients);
    });
}

#[test]
fn a_postmaster_that_stands_still_while_its_sessions_go_on_is_noticed_by_its_clients() {
    require_servers!();
    alone(|| {
        let server = Postgres::start(PostgresOptions::default());
        let agent = Agent::start(serve([&format!("db={}", server.url())]));
        agent.wait_for_verdict("db", "up");
        assert!(eventually(PATIENCE, || queue(&agent)["length"] == 0));
        let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw);
        let postmaster = pid.expect("a process");
        kill_process(postmaster, Signal::STOP).expect("it runs");
        let clock = Clock::start();
        let stopped = clock.now();
        let (clients, _) = clients_until(&agent, &server, "suspected to be frozen");
        let (_, health) = agent.wait_for_verdict("db", "down");
        let took = clock.now().since(stopped);
        report(&server, "postmaster stopped to down", took);
        assert_eq!(health["cause"], "no_greeting", "{health}");
        kill_process(postmaster, Signal::CONT).expect("it is there");
        agent.wait_for_verdict("db", "up");
        drop(clients);
    });
}
