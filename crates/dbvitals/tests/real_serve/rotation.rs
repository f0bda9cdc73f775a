//! What takes nothing out of rotation: lost sessions, a full server, a check that is refused.

use std::io::Write as _;
use std::net::TcpStream;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, eventually, require_servers,
};

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::gate::GatePort;
use crate::{RETURN_BOUND, Watched, agent_with_open_gate, alone, on_both, report};

/// More connections than the servers of these tests take.
const CROWD: usize = 16;

#[test]
fn sessions_ended_by_an_administrator_leave_the_gate_open() {
    require_servers!();
    on_both(|server| {
        let (agent, gate) = agent_with_open_gate(server);
        let lost = || agent.metric("dbvitals_sessions_lost_total{backend=\"db\"}");
        let vigil = gate.watch();
        let started = gate.now();
        for killed in 1..=5 {
            server.end_sessions();
            assert!(eventually(PATIENCE, || lost() >= f64::from(killed)));
            assert_eq!(server.sessions(), 1);
        }
        report(
            server,
            "all sessions lost five times",
            gate.now().since(started),
        );
        let seen = vigil.end();
        assert_eq!(seen.refused, 0, "{seen:?}");
        agent.expect_verdicts(&["up"]);
        assert_eq!(agent.health("db").0, 200);
    });
}

#[test]
fn a_full_server_is_degraded_and_stays_in_rotation() {
    require_servers!();
    let check = |server: &dyn Watched, newcomer: &[u8]| {
        let gate = GatePort::reserve();
        let config = ConfigFile::new(&format!(
            "[backend.db]\nurl = \"{}\"\nfresh_interval = \"300ms\"\n\
             [gate.db]\nlisten = \"{}\"\nof = \"db\"\n",
            server.url(),
            gate.address()
        ));
        let agent = Agent::start(config.serve());
        gate.opens_within(RETURN_BOUND, gate.now());
        let vigil = gate.watch();

        let crowd: Vec<TcpStream> = (0..CROWD)
            .map(|_| TcpStream::connect(server.address()).expect("the kernel accepts"))
            .inspect(|mut stream| stream.write_all(newcomer).expect("the kernel takes bytes"))
            .collect();
        let (status, health) = agent.wait_for_verdict("db", "degraded");
        assert_eq!(status, 200, "{health}");
        assert_eq!(health["cause"], "too_many_connections", "{health}");
        assert_eq!(health["class"], "full", "{health}");

        drop(crowd);
        assert_eq!(agent.wait_for_verdict("db", "up").0, 200);
        let seen = vigil.end();
        assert_eq!(seen.refused, 0, "{seen:?}");
        agent.expect_verdicts(&["up", "degraded", "up"]);
    };
    alone(|| {
        // A connection that says nothing takes a place in MariaDB; it gets a minute to speak.
        let arguments = ["--max-connections=10", "--connect-timeout=60"].map(str::to_owned);
        let mariadb = MariaDb::start(MariaDbOptions {
            arguments: arguments.to_vec(),
            ..Default::default()
        });
        check(&mariadb, b"");
        // In PostgreSQL one that has named its user takes a place, before its password.
        let settings = vec![("max_connections".to_owned(), "10".to_owned())];
        let postgres = Postgres::start(PostgresOptions {
            settings,
            ..Default::default()
        });
        check(
            &postgres,
            b"\0\0\0\x25\0\x03\0\0user\0vitals\0database\0vitals\0\0",
        );
    });
}

#[test]
fn a_wrong_password_from_the_start_keeps_nothing_out_of_rotation() {
    require_servers!();
    on_both(|server| {
        let gate = GatePort::reserve();
        let listen = gate.address().to_string();
        let mut command = serve(["--gate", &listen, &format!("db={}", server.url())]);
        command.env("DBVITALS_PASSWORD", "hunter2");
        let agent = Agent::start(command);
        let took = gate.opens_within(RETURN_BOUND, gate.now());
        report(server, "wrong password: start to open", took);

        let (status, health) = agent.wait_for_verdict("db", "degraded");
        assert_eq!(status, 200, "{health}");
        assert_eq!(health["cause"], "access_denied", "{health}");
        assert_eq!(health["class"], "ours", "{health}");
        expect_loud_warning(&agent, &health);
        agent.wait_for_log("the check itself fails");
        let log = agent.log();
        let warning = log
            .lines()
            .find(|line| line.contains("the check itself fails"));
        assert!(warning.is_some_and(|line| line.contains("WARN")), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
        agent.expect_verdicts(&["degraded"]);
    });
}

#[test]
fn a_password_changed_under_way_takes_nothing_out_of_rotation() {
    require_servers!();
    on_both(|server| {
        let (agent, gate) = agent_with_open_gate(server);
        let vigil = gate.watch();
        server.change_password("rotated");
        server.end_sessions();
        let (status, health) = agent.wait_for_verdict("db", "degraded");
        assert_eq!((status, &health["cause"]), (200, &"access_denied".into()));
        expect_loud_warning(&agent, &health);
        let seen = vigil.end();
        assert_eq!(seen.refused, 0, "{seen:?}");
        agent.expect_verdicts(&["up", "degraded"]);
    });
}

/// Expects that nobody can overlook that the check itself fails: log, API and metrics say so.
fn expect_loud_warning(agent: &Agent, health: &serde_json::Value) {
    agent.wait_for_log("the check itself fails");
    let warning = health["warning"].as_str();
    assert!(
        warning.is_some_and(|text| text.contains("access_denied")),
        "{health}"
    );
    let api = agent.request("GET", "/api/v1/backends/db").body;
    assert!(api.contains("the check itself fails"), "{api}");
    let cause = "dbvitals_backend_cause{backend=\"db\",cause=\"access_denied\",class=\"ours\"}";
    assert_eq!(agent.metric(cause), 1.0);
}
