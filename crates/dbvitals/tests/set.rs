//! `dbvitals set`: orders that operators type, and what becomes of them.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/gate.rs"]
mod gate;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/scripted_agent.rs"]
mod scripted_agent;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/service.rs"]
mod service;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/state_dir.rs"]
mod state_dir;

use std::fs;

use dbvitals_testkit::eventually;
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::program::{Run, dbvitals};
use crate::quick::QUICK;
use crate::scripted_agent::ScriptedAgent;
use crate::service::Service;
use crate::state_dir::StateDir;

/// Gives an order to the agent of a file.
fn set(config: &ConfigFile, arguments: &[&str]) -> Run {
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let arguments = [&["set"], arguments, &["-c", file]].concat();
    Run::of(&mut dbvitals(&arguments))
}

fn config(service: &Service, state: &StateDir, more: &str) -> ConfigFile {
    ConfigFile::new(&format!(
        "{}{QUICK}[backend.db]\nurl = \"{}\"\n{more}",
        state.section(),
        service.url()
    ))
}

#[test]
fn a_drain_closes_the_gate_and_survives_a_restart_until_the_server_is_set_ready() {
    let (service, state, gate) = (Service::start(), StateDir::new("set"), GatePort::reserve());
    let listen = format!("[gate.db]\nlisten = \"{}\"\nof = \"db\"\n", gate.address());
    let config = config(&service, &state, &listen);
    let mut agent = Agent::start(config.serve());
    gate.opens_within(PATIENCE, gate.now());
    let run = set(&config, &["db", "drain", "--reason", "kernel update"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let told = "db drains until it is set ready (kernel update): what runs goes on, nothing new is sent there.\n";
    assert_eq!(run.stdout, told);
    gate.refuses_within(PATIENCE, gate.now());

    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    let agent = Agent::start(config.serve());
    let (status, health) = agent.wait_for_verdict("db", "up");
    assert_eq!((status, &health["admin"]), (503, &"drain".into()));
    assert!(!gate.is_open());
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let shown = Run::of(&mut dbvitals(&["status", "-c", file]));
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown.stdout.contains("\n  drain: kernel update\n"),
        "{shown:?}"
    );

    let run = set(&config, &["db", "ready"]);
    assert_eq!(
        run.stdout,
        "db is ready: it is used as soon as it is fit.\n"
    );
    gate.opens_within(PATIENCE, gate.now());
}

#[test]
fn maintenance_with_a_time_ends_by_itself() {
    let (service, state) = (Service::start(), StateDir::new("set-ends"));
    let config = config(&service, &state, "");
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let run = set(&config, &["db", "maint", "--for", "1s", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let document: Value = serde_json::from_str(&run.stdout).expect("one document");
    assert_eq!(document["schema"], "dbvitals.state.v1");
    assert_eq!(document["admin"], "maint");
    assert!(
        document["until"]
            .as_str()
            .is_some_and(|it| it.ends_with('Z'))
    );
    assert!(eventually(PATIENCE, || agent.health("db").1["admin"] == "maint"));
    assert!(eventually(PATIENCE, || agent.health("db").1["admin"] == "ready"));
}

#[test]
fn over_http_an_order_takes_the_token_which_is_never_printed() {
    let (service, state) = (Service::start(), StateDir::new("set-token"));
    let token = state.path().join("token");
    // `Run` looks for it in all that is printed.
    fs::write(&token, "hunter2\n").expect("a directory of our own");
    let token = token.to_str().expect("paths of tests are UTF-8");
    let text = |more: &str| {
        format!(
            "{}{more}{QUICK}[backend.db]\nurl = \"{}\"\n",
            state.section(),
            service.url()
        )
    };
    let config = ConfigFile::new(&text(&format!("token_file = \"{token}\"\n")));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let url = format!("http://{}", agent.http());
    let order = |more: &[&str]| {
        let arguments = [&["set", "db", "drain", "--agent", &url], more].concat();
        Run::of(&mut dbvitals(&arguments))
    };
    let run = order(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.contains("--token-file"), "{run:?}");
    let wrong = state.path().join("wrong");
    fs::write(&wrong, "secret\n").expect("a directory of our own");
    let run = order(&["--token-file", wrong.to_str().expect("UTF-8")]);
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(agent.health("db").1["admin"], "ready");
    assert_eq!(order(&["--token-file", token]).code, 0);
    assert!(eventually(PATIENCE, || agent.health("db").1["admin"] == "drain"));
    let run = order(&["--token-file", "/nonexistent"]);
    assert!(run.stderr.contains("/nonexistent"), "{run:?}");
    drop(agent);

    config.write(&text(""));
    let agent = Agent::start(config.serve());
    let url = format!("http://{}", agent.http());
    let run = Run::of(&mut dbvitals(&["set", "db", "ready", "--agent", &url]));
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("control socket"), "{run:?}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_hint() {
    let (service, state) = (Service::start(), StateDir::new("set-wrong"));
    let config = config(&service, &state, "");
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let check = |arguments: &[&str], part: &str| {
        let run = set(&config, arguments);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    };
    check(&["bd", "drain"], "did you mean \"db\"?");
    check(&["somewhere", "drain"], "known are db");
    check(&["db", "off"], "ready, drain, maint");
    check(&["db", "ready", "--for", "1m"], "leave --for out");
    check(&["db", "drain", "--for", "soon"], "500ms, 2s");
    check(&["db", "drain", "--reason", &"x".repeat(501)], "500 bytes");
    assert_eq!(agent.health("db").1["admin"], "ready");
    drop(agent);
    check(&["db", "drain"], "no agent was found");
}

#[test]
fn an_order_about_a_service_names_its_backends_instead() {
    let agent = ScriptedAgent::start(&[
        (
            "/api/v1/backends",
            r#"{"schema":"dbvitals.backends.v1","backends":[{"name":"orders-1"},{"name":"orders-2"}]}"#,
        ),
        (
            "/api/v1/services",
            r#"{"schema":"dbvitals.services.v1","services":[{"name":"orders",
                "backends":[{"name":"orders-1"},{"name":"orders-2"}]}]}"#,
        ),
    ]);
    let run = Run::of(&mut dbvitals(&[
        "set",
        "orders",
        "drain",
        "--agent",
        &agent.url(),
    ]));
    assert_eq!(run.code, 3);
    let told =
        "\"orders\" is a service; orders are given to its backends, one by one: orders-1, orders-2";
    assert!(run.stderr.contains(told), "{run:?}");
}

#[test]
fn a_name_that_is_a_path_can_be_set() {
    let (state, socket) = (StateDir::new("set-path"), StateDir::new("set-path-db"));
    let path = socket.path().join("a b?.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("a directory of our own");
    let name = path.to_str().expect("paths of tests are UTF-8");
    let config = ConfigFile::new(&format!(
        "{}{QUICK}[backend.\"{name}\"]\nurl = \"unix://{}\"\n",
        state.section(),
        name.replace(' ', "%20").replace('?', "%3F")
    ));
    let _agent = Agent::start(config.serve());
    let run = set(&config, &[name, "drain"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.starts_with(&format!("{name} drains")), "{run:?}");
}
