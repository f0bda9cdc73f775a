//! Services of real servers: gates by role through a crash and a promotion, and two primaries.

use std::time::Duration;

use dbvitals_testkit::{
    GaleraNode, MariaDb, MariaDbOptions, Postgres, PostgresOptions, eventually, require_galera,
    require_servers,
};
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::family::crash;
use crate::gate::GatePort;
use crate::{RETURN_BOUND, Watched, alone, on_both, report};

/// An interval, a question, and what a busy machine adds: a role is noticed when it is asked for.
const ROLE_BOUND: Duration = Duration::from_secs(2);

/// Backends of these names at depth role, and the service `db` over all of them.
fn service_of(members: &[(&str, &dyn Watched)]) -> String {
    let sections = members.iter().map(|(name, server)| {
        let url = server.url();
        format!("[backend.{name}]\nurl = \"{url}\"\ndepth = \"role\"\n")
    });
    let names: Vec<_> = members
        .iter()
        .map(|(name, _)| format!("{name:?}"))
        .collect();
    let names = names.join(", ");
    format!(
        "{}[service.db]\nbackends = [{names}]\n",
        sections.collect::<String>()
    )
}

fn gate_of(name: &str, port: &GatePort, keys: &str) -> String {
    format!("[gate.{name}]\nlisten = \"{}\"\n{keys}\n", port.address())
}

fn primaries(agent: &Agent) -> Value {
    let answer = agent.request("GET", "/api/v1/services/db");
    let body: Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
    body["services"][0]["primaries"].clone()
}

#[test]
fn a_killed_server_closes_the_gate_of_its_service_as_soon_as_its_own() {
    require_servers!();
    on_both(|server| {
        let gate = GatePort::reserve();
        let keys = "of = \"db\"\nwant = \"primary\"";
        let config =
            ConfigFile::new(&[service_of(&[("one", server)]), gate_of("db", &gate, keys)].concat());
        let agent = Agent::start(config.serve());
        gate.opens_within(RETURN_BOUND, gate.now());
        for round in 1..=3 {
            crash(server, &gate, &format!("service, round {round}: "));
            assert_eq!(agent.health("db").1["class"], "dead");
            server.kill();
            server.start_again();
            gate.opens_within(RETURN_BOUND, gate.now());
        }
    });
}

/// A primary and its replica, and what makes the replica a primary.
fn check_promotion(primary: &dyn Watched, replica: &dyn Watched, promote: &str) {
    let (writes, reads, careful) = (
        GatePort::reserve(),
        GatePort::reserve(),
        GatePort::reserve(),
    );
    let of_primary = "of = \"db\"\nwant = \"primary\"";
    let config = ConfigFile::new(
        &[
            service_of(&[("first", primary), ("second", replica)]),
            gate_of("writes", &writes, of_primary),
            gate_of("reads", &reads, "of = \"db\"\nwant = \"replica\""),
            gate_of(
                "careful",
                &careful,
                &format!("{of_primary}\non_alarm = \"closed\""),
            ),
        ]
        .concat(),
    );
    let agent = Agent::start(config.serve());
    for gate in [&writes, &reads, &careful] {
        gate.opens_within(RETURN_BOUND, gate.now());
    }
    assert_eq!(primaries(&agent), serde_json::json!(["first"]));

    // The primary dies: nobody writes, everybody reads.
    let vigil = reads.watch();
    crash(primary, &writes, "primary of a service: ");
    primary.kill();
    assert_eq!(vigil.end().refused, 0);
    // The replica takes over: everybody writes, nobody reads.
    replica.sql(promote);
    let since = writes.now();
    let took = writes.opens_within(ROLE_BOUND, since);
    report(replica, "promotion to open", took);
    reads.refuses_within(ROLE_BOUND, since);
    careful.opens_within(RETURN_BOUND, since);
    assert_eq!(primaries(&agent), serde_json::json!(["second"]));
    assert_eq!(
        agent.metric("dbvitals_service_primaries{service=\"db\"}"),
        1.0
    );

    // The old one comes back as what it was.
    primary.start_again();
    let since = careful.now();
    let took = careful.refuses_within(RETURN_BOUND, since);
    report(primary, "second primary to alarm", took);
    agent.wait_for_log("the data of a service may come apart");
    let (status, health) = agent.wait_for_verdict("db", "degraded");
    assert_eq!(
        (status, &health["warning"]),
        (200, &"two_primaries: first, second".into())
    );
    assert!(writes.is_open());
    primary.kill();
    careful.opens_within(RETURN_BOUND, careful.now());
    agent.wait_for_log("the alarm of a service has ended");
}

#[test]
fn gates_follow_the_promotion_of_a_standby_and_two_primaries_are_an_alarm() {
    require_servers!();
    alone(|| {
        let primary = Postgres::start(PostgresOptions::default());
        let standby = Postgres::start_standby_of(&primary, PostgresOptions::default());
        check_promotion(&primary, &standby, "SELECT pg_promote()");
    });
}

#[test]
fn gates_follow_the_promotion_of_a_replica_and_two_primaries_are_an_alarm() {
    require_servers!();
    alone(|| {
        let primary = MariaDb::start(MariaDbOptions::primary());
        let options = MariaDbOptions {
            arguments: vec!["--read-only=1".to_owned()],
            ..MariaDbOptions::default()
        };
        let replica = MariaDb::start_replica_of(&primary, options);
        let promote = "STOP ALL SLAVES; RESET SLAVE ALL; SET GLOBAL read_only = 0";
        check_promotion(&primary, &replica, promote);
    });
}

#[test]
fn the_nodes_of_a_galera_cluster_are_primaries_without_an_alarm() {
    require_galera!();
    alone(|| {
        let first = GaleraNode::start(MariaDbOptions::default());
        let second = GaleraNode::join(&first, MariaDbOptions::default());
        let members: [(&str, &dyn Watched); 2] =
            [("first", first.server()), ("second", second.server())];
        let config = ConfigFile::new(&service_of(&members));
        let agent = Agent::start(config.serve());
        let both = || primaries(&agent) == serde_json::json!(["first", "second"]);
        assert!(eventually(PATIENCE, both), "{}", primaries(&agent));
        agent.wait_for_verdict("db", "up");
        let told = agent.health("db").1;
        assert!(told["warning"].is_null(), "{told}");
        assert!(!agent.log().contains("may come apart"), "{}", agent.log());
    });
}
