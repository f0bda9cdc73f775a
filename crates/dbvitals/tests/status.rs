//! `dbvitals status`: what it shows of a running agent, and how it ends.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/scripted_agent.rs"]
mod scripted_agent;
#[path = "support/service.rs"]
mod service;
#[path = "support/state_dir.rs"]
mod state_dir;
#[expect(dead_code, reason = "the tests of top need more of it")]
#[path = "support/terminal.rs"]
mod terminal;
#[path = "status/watching.rs"]
mod watching;

use std::path::Path;

use dbvitals_testkit::{Dialect, Mood, Script, ScriptedDatabase, ScriptedServer};
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, serve};
use crate::program::{Run, dbvitals};
use crate::quick::QUICK;
use crate::scripted_agent::ScriptedAgent;
use crate::service::Service;
use crate::state_dir::StateDir;

/// Asks an agent at its HTTP port.
fn status(agent: &Agent, arguments: &[&str]) -> Run {
    let url = format!("http://{}", agent.http());
    let arguments = [&["status", "--agent", &url], arguments].concat();
    Run::of(&mut dbvitals(&arguments))
}

fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

/// The words of the line that begins with a name.
fn row<'a>(run: &'a Run, name: &str) -> Vec<&'a str> {
    let mut lines = run.stdout.lines();
    let line = lines.find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name}: {run:?}"))
        .split_whitespace()
        .collect()
}

#[test]
fn a_table_has_every_server_and_the_worst_decides() {
    let (up, mut changing) = (Service::start(), Service::start());
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.one]\nurl = \"{}\"\n[backend.two]\nurl = \"{}\"\n",
        up.url(),
        changing.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("one", "up");
    agent.wait_for_verdict("two", "up");
    let run = status(&agent, &[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let heads = "backend verdict since age held fresh";
    // Whose queue is seen, and when first, is for the looks at it.
    let told = row(&run, "backend").join(" ");
    assert_eq!(told.trim_end_matches(" queue"), heads);
    assert_eq!(row(&run, "one")[1], "up");

    changing.stop();
    agent.wait_for_verdict("two", "down");
    let run = status(&agent, &[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert_eq!(row(&run, "two")[1], "down");
    let why = "  refused (dead): Connection refused";
    assert!(run.stdout.lines().any(|line| line == why), "{run:?}");
    let last = run.stdout.lines().last().unwrap_or_default();
    assert!(
        last.ends_with("Z  two  up → down  refused (dead)"),
        "{run:?}"
    );
    assert!(!run.stdout.contains('\x1b'), "colours in a pipe: {run:?}");
    let widest = run.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{run:?}");
}

#[test]
fn the_exit_code_is_that_of_the_monitoring_plugins() {
    let (fine, refusing) = (
        ScriptedDatabase::start(Dialect::MySql),
        ScriptedDatabase::start(Dialect::MySql),
    );
    refusing.switch(Mood::Refusing("1040"));
    let config = ConfigFile::new(&format!(
        "{QUICK}fresh_interval = \"100ms\"\n\
         [backend.fine]\nurl = \"mysql://vitals@{}\"\n[backend.other]\nurl = \"mysql://vitals@{}\"\n",
        fine.address(),
        refusing.address()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("fine", "up");
    agent.wait_for_verdict("other", "degraded");
    assert_eq!(status(&agent, &["fine"]).code, 0);
    assert_eq!(status(&agent, &["other"]).code, 1);
    assert_eq!(status(&agent, &[]).code, 1);
    // The check's own fault: nobody knows how the server is.
    refusing.switch(Mood::Refusing("1130"));
    let is_ours = || agent.health("other").1["class"] == "ours";
    assert!(dbvitals_testkit::eventually(agent::PATIENCE, is_ours));
    let run = status(&agent, &[]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stdout.contains("the check itself fails"), "{run:?}");
    drop(refusing);
    agent.wait_for_verdict("other", "down");
    assert_eq!(status(&agent, &[]).code, 2);
}

#[test]
fn a_server_that_is_named_is_told_in_full() {
    let (up, down) = (
        ScriptedDatabase::start(Dialect::Postgres),
        Service::absent(),
    );
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.one]\nurl = \"postgres://vitals@{}\"\n[backend.two]\nurl = \"{}\"\n",
        up.address(),
        down.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("one", "up");
    agent.wait_for_verdict("two", "down");
    let run = status(&agent, &["two"]);
    assert_eq!(run.code, 2);
    assert!(!run.stdout.contains("\none "), "{run:?}");
    for part in [
        "fresh     refused (dead) after",
        "connect ",
        "failed  Connection refused",
        "meaning   Nothing listens",
        "remedy    Start the server, or correct the address",
        &down.address().to_string(),
    ] {
        assert!(run.stdout.contains(part), "{part}: {run:?}");
    }
    let run = status(&agent, &["one"]);
    assert_eq!(run.code, 0);
    for part in ["held      pass", "fresh     pass", "login ", "ping "] {
        assert!(run.stdout.contains(part), "{part}: {run:?}");
    }
    let run = status(&agent, &["tow"]);
    assert_eq!((run.code, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.contains("did you mean \"two\"?"), "{run:?}");
}

#[test]
fn the_document_has_what_the_agent_told_word_for_word() {
    let service = Service::start();
    let agent = Agent::start(serve([format!("web={}", service.url())]));
    agent.wait_for_verdict("web", "up");
    let run = status(&agent, &["--json"]);
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(
        run.stdout
            .starts_with(r#"{"schema":"dbvitals.status.v1","agent":{"name":"#)
    );
    let document = document(&run);
    assert_eq!(document["agent"]["at"], format!("http://{}", agent.http()));
    assert_eq!(document["agent"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        document["backends"][0]["fresh"]["phases"][0]["phase"],
        "connect"
    );
    assert_eq!(
        document["backends"][0]["address"],
        service.address().to_string()
    );
    assert_eq!(document["services"], Value::Array(Vec::new()));
}

#[test]
fn a_service_that_is_named_is_told_with_its_backends() {
    let (one, mut two, other) = (Service::start(), Service::start(), Service::start());
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.one]\nurl = \"{}\"\n[backend.two]\nurl = \"{}\"\n\
         [backend.other]\nurl = \"{}\"\n[service.pair]\nbackends = [\"one\", \"two\"]\n",
        one.url(),
        two.url(),
        other.url()
    ));
    let agent = Agent::start(config.serve());
    for name in ["one", "two", "pair"] {
        agent.wait_for_verdict(name, "up");
    }
    let run = status(&agent, &["pair"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(row(&run, "pair")[1..4], ["up", "2/2", "any"]);
    assert_eq!(row(&run, "two")[1], "up");
    assert!(!run.stdout.contains("\nother "), "{run:?}");

    // The service is fit still; without names all count.
    two.stop();
    agent.wait_for_verdict("two", "down");
    let one_is_left = || row(&status(&agent, &["pair"]), "pair")[2] == "1/2";
    assert!(dbvitals_testkit::eventually(agent::PATIENCE, one_is_left));
    assert_eq!(status(&agent, &[]).code, 2);
    assert_eq!(status(&agent, &["pair"]).code, 1);
    assert_eq!(status(&agent, &["pair", "two"]).code, 2);
    let run = status(&agent, &["pair", "--json"]);
    let document = document(&run);
    assert_eq!(document["services"][0]["fit"], 1);
    assert_eq!(document["backends"].as_array().map(Vec::len), Some(2));
}

/// A service with two primaries, as an agent tells of it.
const SERVICES: &str = r#"{"schema":"dbvitals.services.v1","services":[{"name":"orders",
    "verdict":"up","class":null,"cause":null,"since":"2026-07-03T14:30:00.000Z","evidence_age_ms":3,
    "role":null,"admin":"ready","detail":null,"warning":null,"want":"primary","enough":1,"fit":2,
    "primaries":["orders-1","orders-2"],"alarm":ALARM,"later":7,
    "backends":[{"name":"orders-1","verdict":"up","role":"primary","admin":"ready","fit":true}]}]}"#;
const BACKENDS: &str = r#"{"schema":"dbvitals.backends.v1","backends":[
    {"name":"orders-1","verdict":"up","since":"2026-07-03T14:30:00.000Z","admin":"ready","role":"primary"},
    {"name":"other","verdict":"up","since":"2026-07-03T14:30:00.000Z","admin":"ready"}]}"#;
const TRANSITIONS: &str = r#"{"schema":"dbvitals.transitions.v1","transitions":[
    {"schema":"dbvitals.transition.v1","at":"2026-07-03T14:30:00.000Z","backend":"orders-1",
     "change":"verdict","from":"up","to":"down","cause":"refused","class":"dead"},
    {"schema":"dbvitals.transition.v1","at":"2026-07-03T14:31:00.000Z","backend":"orders-1",
     "change":"role","from":null,"to":"primary","cause":null,"class":null}]}"#;

#[test]
fn services_come_first_with_their_alarms_and_changes_come_last() {
    let agent = ScriptedAgent::start(&[
        ("/api/v1/backends", BACKENDS),
        ("/api/v1/services", &SERVICES.replace("ALARM", "null")),
        ("/api/v1/transitions", TRANSITIONS),
    ]);
    let url = agent.url();
    let run = Run::of(&mut dbvitals(&["status", "--agent", &url]));
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(row(&run, "orders")[1..4], ["up", "2/1", "primary"]);
    let place = |text: &str| {
        run.stdout
            .find(text)
            .unwrap_or_else(|| panic!("no {text}: {run:?}"))
    };
    assert!(place("service ") < place("backend "), "{run:?}");
    let last = "2026-07-03 14:30:00Z  orders-1  up → down  refused (dead)";
    assert!(place("backend ") < place(last), "{run:?}");
    assert!(
        place(last) < place("14:31:00Z  orders-1  - → primary"),
        "{run:?}"
    );

    agent.answer(
        "/api/v1/services",
        &SERVICES.replace("ALARM", "\"two_primaries\""),
    );
    let run = Run::of(&mut dbvitals(&["status", "--agent", &url, "orders"]));
    assert_eq!(run.code, 2);
    assert!(
        run.stdout
            .contains("ALARM two_primaries: orders-1, orders-2"),
        "{run:?}"
    );
    // The backends of a service that is named, and no others.
    assert!(!run.stdout.contains("other"), "{run:?}");
    let run = Run::of(&mut dbvitals(&["status", "--agent", &url, "--json"]));
    assert_eq!(document(&run)["services"][0]["later"], 7);
    assert_eq!(document(&run)["transitions"][1]["to"], "primary");
}

#[test]
fn what_servers_say_cannot_steer_the_terminal() {
    let words = b"\xff\x10\x04Too many\x1b[2J\xc2\x9b1m connections";
    let mut packet = vec![u8::try_from(words.len()).unwrap(), 0, 0, 0];
    packet.extend(words);
    let server = ScriptedServer::start(Script::Bytes(packet));
    let agent = Agent::start(serve([format!("db=mysql://u@{}", server.address())]));
    agent.wait_for_verdict("db", "degraded");
    for arguments in [&[] as &[&str], &["db"]] {
        let run = status(&agent, arguments);
        assert!(run.stdout.contains("too_many_connections"), "{run:?}");
        let obeyed = run.stdout.chars().find(|it| it.is_control() && *it != '\n');
        assert_eq!(obeyed, None, "{run:?}");
    }
}

#[test]
fn an_agent_is_found_by_its_file_by_the_environment_and_where_agents_are() {
    let (service, state, run_dir) = (
        Service::start(),
        StateDir::new("found"),
        StateDir::new("found-run"),
    );
    let config = ConfigFile::new(&format!(
        "{}{QUICK}[backend.web]\nurl = \"{}\"\n",
        state.section(),
        service.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let place = |command: &mut std::process::Command| {
        let run = Run::of(command.arg("--json"));
        assert_eq!(run.code, 0, "{run:?}");
        document(&run)["agent"]["at"]
            .as_str()
            .expect("a place")
            .to_owned()
    };
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let socket = state.socket();
    let socket = socket.to_str().expect("paths of tests are UTF-8");
    assert_eq!(place(&mut dbvitals(&["status", "-c", file])), socket);
    assert_eq!(
        place(dbvitals(&["status"]).env("DBVITALS_AGENT", socket)),
        socket
    );

    // One that was told of no place is where those of its user are.
    let mut command = serve([format!("web={}", service.url())]);
    command.env("XDG_RUNTIME_DIR", run_dir.path());
    let other = Agent::start(command);
    other.wait_for_verdict("web", "up");
    let usual = run_dir.path().join("dbvitals/control.sock");
    let usual = usual.to_str().expect("paths of tests are UTF-8");
    let mut ask = dbvitals(&["status"]);
    assert_eq!(place(ask.env("XDG_RUNTIME_DIR", run_dir.path())), usual);

    // The file's agent is away, and another's answer is not taken for its.
    drop(agent);
    let mut ask = dbvitals(&["status", "-c", file]);
    let run = Run::of(ask.env("XDG_RUNTIME_DIR", run_dir.path()));
    assert_eq!(run.code, 3, "{run:?}");
    let told = [
        format!("{socket} (left behind by an agent that is gone)"),
        format!("{usual} (another agent's)"),
    ];
    for part in told {
        assert!(run.stderr.contains(&part), "{part}: {run:?}");
    }
}

#[test]
fn where_no_agent_is_the_sentence_says_what_to_do() {
    let run = Run::of(&mut dbvitals(&["status", "--agent", "/nonexistent.sock"]));
    assert_eq!((run.code, run.stdout.as_str()), (3, ""));
    assert_eq!(run.stderr.lines().count(), 1);
    for part in [
        "/nonexistent.sock (not there)",
        "--agent SOCKET|URL",
        "-c FILE",
    ] {
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    }
    let absent = Service::absent();
    let url = format!("http://{}", absent.address());
    let run = Run::of(&mut dbvitals(&["status", "--agent", &url]));
    assert!(run.stderr.contains("Connection refused"), "{run:?}");
    let run = Run::of(&mut dbvitals(&["status", "--agent", "https://db-a"]));
    assert!(run.stderr.contains("https is not spoken here"), "{run:?}");
    let run = Run::of(&mut dbvitals(&["status", "-c", "/nonexistent.toml"]));
    assert!(run.stderr.contains("/nonexistent.toml"), "{run:?}");
    let web = ScriptedAgent::start(&[("/api/v1/backends", "<html>")]);
    let run = Run::of(&mut dbvitals(&["status", "--agent", &web.url()]));
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("no dbvitals agent"), "{run:?}");
    assert!(!Path::new("/nonexistent.sock").exists());
}

#[test]
fn an_agent_that_never_answers_is_waited_for_no_longer_than_promised() {
    let silent = ScriptedServer::start(Script::Silent);
    let clock = dbvitals_probe::Clock::start();
    let url = format!("http://{}", silent.address());
    let run = Run::of(&mut dbvitals(&["status", "--agent", &url]));
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("in time"), "{run:?}");
    let took = clock.now().since(dbvitals_verdict::Moment::ORIGIN);
    assert!(took.as_secs() < 8, "{took:?}");
}
