//! Services: what several backends are worth together, to gates, over HTTP and in metrics.
//!
//! Backends whose roles matter are scripted PostgreSQL servers, which can be promoted.

use std::time::Duration;

use dbvitals_testkit::{Dialect, ScriptedDatabase, eventually};
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::state_dir::StateDir;
use crate::{QUICK, Service, http};

/// How long after its reason a gate may take here; nothing is measured.
const SOON: Duration = Duration::from_secs(5);

fn web(name: &str, service: &Service) -> String {
    format!("[backend.{name}]\nurl = \"{}\"\n", service.url())
}

fn gate(name: &str, port: &GatePort, keys: &str) -> String {
    format!("[gate.{name}]\nlisten = \"{}\"\n{keys}\n", port.address())
}

/// Two servers of one database, a primary and its standby.
struct Pair {
    first: ScriptedDatabase,
    second: ScriptedDatabase,
}

impl Pair {
    fn start() -> Self {
        let pair = Self {
            first: ScriptedDatabase::start(Dialect::Postgres),
            second: ScriptedDatabase::start(Dialect::Postgres),
        };
        pair.second.take_role(true);
        pair
    }

    /// Both as backends, and a service over them with these keys.
    fn config(&self, keys: &str) -> String {
        let backend = |name: &str, database: &ScriptedDatabase| {
            format!(
                "[backend.{name}]\nurl = \"postgres://vitals@{}/d\"\ndepth = \"role\"\n",
                database.address()
            )
        };
        let (first, second) = (
            backend("first", &self.first),
            backend("second", &self.second),
        );
        format!("{QUICK}{first}{second}[service.db]\nbackends = [\"first\", \"second\"]\n{keys}\n")
    }
}

fn service(agent: &Agent) -> Value {
    let answer = agent.request("GET", "/api/v1/services/db");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
    body["services"][0].clone()
}

#[test]
fn a_service_is_as_well_as_its_members_make_it() {
    let (mut one, mut other) = (Service::start(), Service::start());
    let open = GatePort::reserve();
    let config = ConfigFile::new(
        &[
            QUICK,
            &web("one", &one),
            &web("other", &other),
            "[service.db]\nbackends = [\"one\", \"other\"]\nenough = 2\n",
            &gate("db", &open, "of = \"db\""),
        ]
        .concat(),
    );
    let agent = Agent::start(config.serve());
    open.opens_within(SOON, open.now());
    assert_eq!(agent.wait_for_verdict("db", "up").0, 200);

    one.stop();
    let (status, health) = agent.wait_for_verdict("db", "degraded");
    let detail = "1 of 2 fit, 2 are enough: one is down (refused)";
    assert_eq!((status, &health["detail"]), (200, &detail.into()));
    assert_eq!(
        (&health["cause"], &health["class"]),
        (&"refused".into(), &"dead".into())
    );
    assert!(open.is_open());

    other.stop();
    open.refuses_within(SOON, open.now());
    assert_eq!(agent.wait_for_verdict("db", "down").0, 503);
    one.start_again();
    open.opens_within(SOON, open.now());
    other.start_again();
    agent.wait_for_verdict("db", "up");
    let told = "verdict of a service changed service=\"db\" from=";
    for change in [
        "unknown to=",
        "up to=degraded",
        "degraded to=down",
        "down to=degraded",
    ] {
        agent.wait_for_log(&format!("{told}{change}"));
    }
}

#[test]
fn the_api_tells_the_service_with_its_members() {
    let pair = Pair::start();
    let config = ConfigFile::new(&pair.config("enough = 2"));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let told = service(&agent);
    let expected = serde_json::json!({
        "name": "db", "verdict": "up", "class": null, "cause": null, "role": null,
        "admin": "ready", "detail": null, "warning": null, "want": "any", "enough": 2, "fit": 2,
        "primaries": ["first"], "alarm": null,
        "backends": [
            {"name": "first", "verdict": "up", "role": "primary", "admin": "ready", "fit": true},
            {"name": "second", "verdict": "up", "role": "replica", "admin": "ready", "fit": true},
        ],
    });
    let mut rest = told.clone();
    let fields = rest.as_object_mut().expect("an object");
    assert!(fields.remove("since").is_some_and(|it| it.is_string()));
    let age = fields.remove("evidence_age_ms");
    assert!(age.is_some_and(|it| it.is_u64()), "{told}");
    assert_eq!(rest, expected);
    let all = agent.request("GET", "/api/v1/services").body;
    assert!(
        all.starts_with("{\"schema\":\"dbvitals.services.v1\",\"services\":[{\"name\":\"db\""),
        "{all}"
    );
    let unknown = agent.request("GET", "/api/v1/services/first");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("known are db"), "{}", unknown.body);
}

#[test]
fn gates_of_roles_follow_a_promotion() {
    let pair = Pair::start();
    let (writes, reads, first) = (
        GatePort::reserve(),
        GatePort::reserve(),
        GatePort::reserve(),
    );
    let config = ConfigFile::new(
        &[
            pair.config(""),
            gate("writes", &writes, "of = \"db\"\nwant = \"primary\""),
            gate("reads", &reads, "of = \"db\"\nwant = \"replica\""),
            gate("first", &first, "of = \"first\"\nwant = \"primary\""),
        ]
        .concat(),
    );
    let agent = Agent::start(config.serve());
    for gate in [&writes, &reads, &first] {
        gate.opens_within(SOON, gate.now());
    }
    // The primary steps down, well as it is.
    pair.first.take_role(true);
    first.refuses_within(SOON, first.now());
    writes.refuses_within(SOON, writes.now());
    let ask = |path: &str| {
        let answer = agent.request("GET", path);
        let body: Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
        (answer.status, body)
    };
    let (status, health) = ask("/health/db?want=primary");
    let detail =
        "0 of 2 fit, 1 is enough: first is a read-only replica, second is a read-only replica";
    assert_eq!((status, &health["detail"]), (503, &detail.into()));
    assert!(reads.is_open());
    assert_eq!(ask("/health/db").0, 200);
    assert_eq!(ask("/health/db?want=replica").0, 200);

    pair.second.take_role(false);
    writes.opens_within(SOON, writes.now());
    assert!(reads.is_open() && !first.is_open());
    pair.first.crash();
    reads.refuses_within(SOON, reads.now());
    assert_eq!(ask("/health/db?want=replica").1["cause"], "refused");
    assert!(writes.is_open());
}

#[test]
fn two_primaries_are_an_alarm_until_there_is_one() {
    let pair = Pair::start();
    let (careful, strict) = (GatePort::reserve(), GatePort::reserve());
    let keys = "of = \"db\"\nwant = \"primary\"";
    let config = ConfigFile::new(
        &[
            pair.config(""),
            gate("w", &careful, &format!("{keys}\non_alarm = \"closed\"")),
            gate("v", &strict, &format!("{keys}\non_degraded = \"closed\"")),
        ]
        .concat(),
    );
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    careful.opens_within(SOON, careful.now());
    let alarm = "dbvitals_service_alarm{service=\"db\",alarm=\"two_primaries\"}";
    assert_eq!(agent.metric(alarm), 0.0);

    pair.second.take_role(false);
    let (status, health) = agent.wait_for_verdict("db", "degraded");
    assert_eq!(status, 200);
    assert_eq!(health["warning"], "two_primaries: first, second");
    let told = service(&agent);
    assert_eq!(told["alarm"], "two_primaries");
    assert_eq!(told["primaries"], serde_json::json!(["first", "second"]));
    careful.refuses_within(SOON, careful.now());
    strict.refuses_within(SOON, strict.now());
    assert_eq!(agent.metric(alarm), 1.0);
    assert_eq!(
        agent.metric("dbvitals_service_primaries{service=\"db\"}"),
        2.0
    );
    agent.wait_for_log("the data of a service may come apart");
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("come apart"));
    let line = line.expect("it was waited for");
    assert!(
        line.contains("ERROR") && line.contains("alarm=two_primaries"),
        "{line}"
    );
    assert!(line.contains("first and second are primaries"), "{line}");

    pair.first.take_role(true);
    agent.wait_for_verdict("db", "up");
    agent.wait_for_log("the alarm of a service has ended");
    careful.opens_within(SOON, careful.now());
}

#[test]
fn who_may_write_beside_others_by_order_of_the_file_makes_no_alarm() {
    let pair = Pair::start();
    pair.second.take_role(false);
    let config = ConfigFile::new(&pair.config("multi_primary = true\nenough = 2"));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let told = service(&agent);
    assert_eq!((&told["alarm"], &told["fit"]), (&Value::Null, &2.into()));
    assert_eq!(
        agent.metric("dbvitals_service_primaries{service=\"db\"}"),
        2.0
    );
}

#[test]
fn a_request_says_which_members_count_and_how_old_their_evidence_may_be() {
    let pair = Pair::start();
    let config = ConfigFile::new(&pair.config(""));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("first", "up");
    agent.wait_for_verdict("second", "up");
    // A scripted standby does not tell how far it is behind; a primary is never behind.
    let ask = |query: &str| agent.request("GET", &format!("/health/db?{query}"));
    assert_eq!(ask("max_lag=10s").status, 200);
    let late = ask("want=replica&max_lag=10s");
    assert_eq!(late.status, 503);
    assert!(late.body.contains("second: how far it is"), "{}", late.body);
    assert_eq!(ask("lag=10s").status, 400);

    let fresh = |name: &str| {
        let answer = agent.request("GET", &format!("/api/v1/backends/{name}"));
        let body: Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
        body["backends"][0]["fresh"]["ended"].clone()
    };
    let before = [fresh("first"), fresh("second")];
    let answer = ask("fresh=true");
    assert_eq!(
        (answer.status, answer.header("X-Admin-State")),
        (200, Some("ready"))
    );
    let renewed = || {
        let after = [fresh("first"), fresh("second")];
        after
            .iter()
            .zip(&before)
            .all(|(after, before)| after != before)
    };
    assert!(eventually(PATIENCE, renewed), "{before:?}");
}

#[test]
fn a_service_is_ordered_out_when_all_of_its_members_are() {
    let (one, other) = (Service::start(), Service::start());
    let (state, open) = (StateDir::new("service"), GatePort::reserve());
    let config = ConfigFile::new(
        &[
            &state.section(),
            QUICK,
            &web("one", &one),
            &web("other", &other),
            "[service.db]\nbackends = [\"one\", \"other\"]\n",
            &gate("db", &open, "of = \"db\""),
        ]
        .concat(),
    );
    let agent = Agent::start(config.serve());
    open.opens_within(SOON, open.now());
    let order = |name: &str, state_wanted: &str| {
        let path = format!("/api/v1/backends/{name}/state");
        let body = format!("{{\"state\":\"{state_wanted}\"}}");
        let answer = http::send_to_socket(&state.socket(), &path, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    order("one", "drain");
    assert!(eventually(PATIENCE, || service(&agent)["fit"] == 1));
    assert_eq!(agent.health("db").0, 200);
    assert!(open.is_open());
    order("other", "maint");
    open.refuses_within(SOON, open.now());
    let (status, health) = agent.health("db");
    assert_eq!((status, &health["admin"]), (503, &"drain".into()));
    order("one", "ready");
    open.opens_within(SOON, open.now());
}

#[test]
fn a_service_keeps_its_gate_through_a_reload_that_gives_it_another_member() {
    let (one, other) = (Service::start(), Service::start());
    let open = GatePort::reserve();
    let text = |members: &str, more: &str| {
        [
            QUICK,
            &web("one", &one),
            &web("other", &other),
            &format!("[service.db]\nbackends = [{members}]\n"),
            &gate("db", &open, "of = \"db\""),
            more,
        ]
        .concat()
    };
    let config = ConfigFile::new(&text("\"one\"", ""));
    let agent = Agent::start(config.serve());
    open.opens_within(SOON, open.now());
    let since = agent.health("db").1["since"].clone();
    let vigil = open.watch();
    config.write(&text("\"one\", \"other\"", ""));
    agent.signal(Signal::HUP);
    assert!(eventually(PATIENCE, || service(&agent)["fit"] == 2));
    // The first is gone from the service, and from the file.
    config.write(&text("\"other\"", "").replace(&web("one", &one), ""));
    agent.signal(Signal::HUP);
    agent.wait_for_log("1 backends kept, 0 changed, 0 added, 1 removed");
    assert!(eventually(PATIENCE, || service(&agent)["fit"] == 1));
    assert_eq!(agent.health("db").1["since"], since);
    let seen = vigil.end();
    assert_eq!(seen.refused, 0, "{seen:?}");
    // A service that is taken out is not answered for any more, and its gate closes.
    config.write(&[QUICK, &web("other", &other)].concat());
    agent.signal(Signal::HUP);
    open.refuses_within(SOON, open.now());
    assert!(eventually(PATIENCE, || agent
        .request("GET", "/health/db")
        .status
        == 404));
}

#[test]
fn a_hook_of_a_service_runs_for_its_members() {
    let pair = Pair::start();
    let other = Service::absent();
    let hook = "[hook.h]\non = [\"up\", \"down\"]\nof = [\"db\"]\nrun = [\"true\", \"{name}\"]\nmode = \"observe\"\n";
    let config = ConfigFile::new(&[&pair.config(""), &web("web", &other), hook].concat());
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "down");
    for name in ["first", "second"] {
        agent.wait_for_log(&format!("command=[\"true\", \"{name}\"]"));
    }
    assert!(!agent.log().contains("command=[\"true\", \"web\"]"));
}
