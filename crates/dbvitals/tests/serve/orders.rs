//! Operators' orders: given at the control socket or with a token, kept, and ended by themselves.

use std::fs;
use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::http::{self, Answer};
use crate::state_dir::StateDir;
use crate::{QUICK, Service};

fn order(state: &StateDir, body: &str) -> Answer {
    http::send_to_socket(&state.socket(), "/api/v1/backends/db/state", body)
}

#[track_caller]
fn expect_taken(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn an_order_closes_the_gate_whatever_the_evidence_and_survives_a_restart() {
    let (service, state, gate) = (
        Service::start(),
        StateDir::new("orders"),
        GatePort::reserve(),
    );
    let config = ConfigFile::new(&format!(
        "{}{QUICK}[backend.db]\nurl = \"{}\"\n[gate.db]\nlisten = \"{}\"\nof = \"db\"\n",
        state.section(),
        service.url(),
        gate.address()
    ));
    let mut agent = Agent::start(config.serve());
    gate.opens_within(PATIENCE, gate.now());
    expect_taken(&order(&state, r#"{"state":"drain","reason":"disk swap"}"#));
    assert!(eventually(PATIENCE, || !gate.is_open()));
    let answer = agent.request("GET", "/health/db");
    assert_eq!(
        (answer.status, answer.header("X-Admin-State")),
        (503, Some("drain"))
    );
    assert!(
        answer.body.contains("\"verdict\":\"up\""),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("disk swap"), "{}", answer.body);

    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    assert!(!state.socket().exists());
    let agent = Agent::start(config.serve());
    let (status, health) = agent.wait_for_verdict("db", "up");
    assert_eq!((status, &health["admin"]), (503, &"drain".into()));
    assert!(!gate.is_open());
    expect_taken(&order(&state, r#"{"state":"ready"}"#));
    gate.opens_within(PATIENCE, gate.now());
}

#[test]
fn an_order_ends_by_itself() {
    let (service, state) = (Service::start(), StateDir::new("ends"));
    let config = ConfigFile::new(&format!(
        "{}{QUICK}[backend.db]\nurl = \"{}\"\n",
        state.section(),
        service.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    expect_taken(&order(&state, r#"{"state":"maint","for":"500ms"}"#));
    assert!(eventually(PATIENCE, || agent.health("db").1["admin"] == "maint"));
    assert!(eventually(PATIENCE, || agent.health("db").1["admin"] == "ready"));
    agent.wait_for_log("has ended by itself");
}

#[test]
fn orders_that_make_no_sense_are_refused_with_a_reason() {
    let (service, state) = (Service::start(), StateDir::new("wrong"));
    let config = ConfigFile::new(&format!(
        "{}{QUICK}[backend.db]\nurl = \"{}\"\n",
        state.section(),
        service.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let check = |body: &str, part: &str| {
        let answer = order(&state, body);
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.contains(part), "{}", answer.body);
    };
    check("drain", "send JSON");
    check(r#"{"state":"off"}"#, "known are ready, drain and maint");
    check(r#"{"state":"maint","for":"soon"}"#, "500ms, 2s");
    check(r#"{"state":"ready","for":"1m"}"#, "leave `for` out");
    check(r#"{"state":"maint","until":"1m"}"#, "unknown field");
    let elsewhere = http::send_to_socket(
        &state.socket(),
        "/api/v1/backends/bd/state",
        r#"{"state":"drain"}"#,
    );
    assert_eq!(elsewhere.status, 404);
    assert_eq!(agent.health("db").1["admin"], "ready");
}

#[test]
fn over_http_an_order_takes_the_token() {
    let (service, state) = (Service::start(), StateDir::new("token"));
    let token = state.path().join("token");
    fs::write(&token, "open sesame\n").expect("a directory of our own");
    let path = "/api/v1/backends/db/state";
    let wish = r#"{"state":"drain"}"#;
    let text = |more: &str| {
        format!(
            "{}{more}{QUICK}[backend.db]\nurl = \"{}\"\n",
            state.section(),
            service.url()
        )
    };
    let config = ConfigFile::new(&text(&format!("token_file = \"{}\"\n", token.display())));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let status = |fields: &[(&str, &str)]| http::send(agent.http(), path, fields, wish).status;
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&[("Authorization", "Bearer open sesam")]), 401);
    assert_eq!(agent.health("db").1["admin"], "ready");
    assert_eq!(status(&[("Authorization", "Bearer open sesame")]), 200);

    // Another token holds with the reload, and the old one no more; so does none at all.
    let reload = || {
        let answer = http::send_to_socket(&state.socket(), "/api/v1/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    fs::write(&token, "another\n").expect("a directory of our own");
    assert_eq!(status(&[("Authorization", "Bearer another")]), 401);
    reload();
    assert_eq!(status(&[("Authorization", "Bearer open sesame")]), 401);
    assert_eq!(status(&[("Authorization", "Bearer another")]), 200);
    config.write(&text(""));
    reload();
    assert_eq!(status(&[("Authorization", "Bearer another")]), 403);
    drop(agent);

    let agent = Agent::start(config.serve());
    let answer = http::send(agent.http(), path, &[], wish);
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(answer.body.contains("token_file"), "{}", answer.body);
}

#[test]
fn health_may_be_asked_for_a_role_young_evidence_or_a_fresh_probe() {
    let service = Service::start();
    let config = ConfigFile::new(&format!(
        "[defaults]\ninterval = \"20s\"\n[backend.db]\nurl = \"{}\"\n",
        service.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let probes =
        || agent.metric("dbvitals_probe_total{backend=\"db\",outcome=\"pass\",cause=\"\"}");
    // Quick probes settle the verdict; then there is none for 20 s.
    let settled = || {
        let before = probes();
        std::thread::sleep(Duration::from_secs(1));
        probes() == before
    };
    assert!(eventually(PATIENCE, settled));
    let before = probes();
    let ask = |query: &str| agent.request("GET", &format!("/health/db?{query}"));
    assert_eq!(ask("max_age=10s").status, 200);
    assert_eq!(probes(), before);
    // What a fresh probe showed is up before it is told of.
    for asked in 1..=50 {
        assert_eq!(ask("fresh=true").status, 200);
        assert_eq!(probes(), before + f64::from(asked));
    }
    let wanted = ask("want=primary");
    assert_eq!(wanted.status, 503);
    assert!(
        wanted.body.contains("its role is unknown"),
        "{}",
        wanted.body
    );
    for wrong in [
        "fresh=yes",
        "want=leader",
        "max_age=5",
        "max_lag=x",
        "want_=any",
    ] {
        assert_eq!(ask(wrong).status, 400, "{wrong}");
    }
}
