//! A gate through the faults of its server: crash, freeze, and the way back.

use std::time::Duration;

use dbvitals_testkit::{Postgres, PostgresOptions, eventually, require_servers};
use rustix::process::Signal;

use crate::agent::{Agent, PATIENCE, serve};
use crate::family::{Family, crash};
use crate::gate::GatePort;
use crate::{
    CRASH_BOUND, FREEZE_BOUND, RETURN_BOUND, Watched, agent_with_open_gate, alone, on_both, report,
};

#[test]
fn a_gate_is_open_while_its_server_is_fine_and_health_says_so() {
    require_servers!();
    on_both(|server| {
        let (agent, gate) = agent_with_open_gate(server);
        let (status, health) = agent.health("db");
        assert_eq!(status, 200, "{health}");
        assert_eq!(health["schema"], "dbvitals.health.v1");
        assert_eq!(health["name"], "db");
        assert_eq!(health["verdict"], "up");
        assert_eq!(health["admin"], "ready");
        for absent in ["class", "cause", "detail"] {
            assert!(health[absent].is_null(), "{health}");
        }
        assert!(health["evidence_age_ms"].is_u64(), "{health}");
        let answer = agent.request("HEAD", "/health/db");
        assert_eq!(answer.header("X-Admin-State"), Some("ready"));
        assert!(gate.is_open());
        agent.expect_verdicts(&["up"]);
    });
}

#[test]
fn a_killed_server_closes_its_gate_in_milliseconds_and_its_return_opens_it() {
    require_servers!();
    on_both(|server| {
        let (agent, gate) = agent_with_open_gate(server);
        for round in 1..=3 {
            crash(server, &gate, &format!("round {round}: "));
            let (status, health) = agent.health("db");
            assert_eq!(status, 503, "{health}");
            assert_eq!(
                (&health["verdict"], &health["class"]),
                (&"down".into(), &"dead".into())
            );

            server.kill();
            server.start_again();
            let took = gate.opens_within(RETURN_BOUND, gate.now());
            report(server, format_args!("round {round}: ready to open"), took);
            assert_eq!(agent.health("db").0, 200);
        }
        agent.expect_verdicts(&["up", "down", "up", "down", "up", "down", "up"]);
    });
}

#[test]
fn a_frozen_server_closes_its_gate_by_its_deadline_and_a_thaw_opens_it() {
    require_servers!();
    on_both(|server| {
        let (agent, gate) = agent_with_open_gate(server);
        for round in 1..=2 {
            let family = Family::of(server);
            let frozen = gate.now();
            family.signal(Signal::STOP);
            let took = gate.refuses_within(FREEZE_BOUND, frozen);
            report(
                server,
                format_args!("round {round}: SIGSTOP to refused"),
                took,
            );
            let (status, health) = agent.health("db");
            assert_eq!(status, 503, "{health}");
            assert_eq!(health["class"], "dead", "{health}");

            let thawed = gate.now();
            family.signal(Signal::CONT);
            let took = gate.opens_within(RETURN_BOUND, thawed);
            report(server, format_args!("round {round}: SIGCONT to open"), took);
        }
        agent.expect_verdicts(&["up", "down", "up", "down", "up"]);
    });
}

#[test]
fn a_server_that_shuts_down_in_order_closes_its_gate() {
    require_servers!();
    on_both(|server| {
        let (agent, gate) = agent_with_open_gate(server);
        server.stop_gracefully();
        gate.refuses_within(CRASH_BOUND, gate.now());
        server.start_again();
        gate.opens_within(RETURN_BOUND, gate.now());
        assert_eq!(agent.health("db").0, 200);
    });
}

#[test]
fn a_gate_does_not_open_before_its_server_is_there() {
    require_servers!();
    on_both(|server| {
        server.kill();
        let gate = GatePort::reserve();
        let vigil = gate.watch();
        let agent = Agent::start(gated(&gate, &server.url()));
        let (status, health) = agent.wait_for_verdict("db", "down");
        assert_eq!((status, &health["cause"]), (503, &"refused".into()));
        let seen = vigil.end();
        assert_eq!(seen.open, 0, "{seen:?}");

        server.start_again();
        let took = gate.opens_within(RETURN_BOUND, gate.now());
        report(server, "late start to open", took);
        agent.expect_verdicts(&["down", "up"]);
    });
}

#[test]
fn a_server_that_is_starting_up_is_not_fit_yet() {
    require_servers!();
    alone(|| {
        let server = Postgres::start_replaying(PostgresOptions::default());
        let gate = GatePort::reserve();
        let vigil = gate.watch();
        let agent = Agent::start(gated(&gate, &server.url()));
        let (status, health) = agent.wait_for_verdict("db", "down");
        assert_eq!(status, 503);
        assert_eq!(health["cause"], "starting_up", "{health}");
        assert_eq!(health["class"], "unfit", "{health}");
        let seen = vigil.end();
        assert_eq!(seen.open, 0, "{seen:?}");

        server.finish_replay();
        let took = gate.opens_within(RETURN_BOUND, gate.now());
        report(&server, "end of recovery to open", took);
    });
}

#[test]
fn an_agent_that_was_stopped_blames_itself_and_not_its_server() {
    require_servers!();
    on_both(|server| {
        let (agent, gate) = agent_with_open_gate(server);
        agent.signal(Signal::STOP);
        // The scenario itself, nothing that is waited for.
        std::thread::sleep(Duration::from_secs(5));
        agent.signal(Signal::CONT);
        let passes = "dbvitals_probe_total{backend=\"db\",outcome=\"pass\",cause=\"\"}";
        let before = agent.metric(passes);
        assert!(eventually(PATIENCE, || agent.metric(passes) >= before + 2.0));
        assert!(gate.is_open());
        agent.expect_verdicts(&["up"]);
    });
}

fn gated(gate: &GatePort, url: &str) -> std::process::Command {
    let listen = gate.address().to_string();
    serve(["--gate", &listen, &format!("db={url}")])
}
