//! What `serve` writes: transitions and gates in the log, probes on request, JSON lines for
//! programs, and none of it in anybody's way.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use dbvitals_testkit::{Port, eventually};
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::gate::GatePort;
use crate::{QUICK, Service};

#[test]
fn only_transitions_and_gates_are_logged_unless_probes_are_asked_for() {
    let service = Service::start();
    let gate = GatePort::reserve();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.web]\nurl = \"{}\"\n[gate.g]\nlisten = \"{}\"\nof = \"web\"\n",
        service.url(),
        gate.address()
    ));
    let passes = "dbvitals_probe_total{backend=\"web\",outcome=\"pass\",cause=\"\"}";

    let mut agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    assert!(eventually(PATIENCE, || agent.metric(passes) >= 10.0));
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    let log = agent.log();
    let lines = ["watching", "verdict changed", "gate opened", "ending"];
    assert_eq!(log.lines().count(), lines.len(), "{log}");
    assert!(lines.iter().all(|words| log.contains(words)), "{log}");

    let mut command = config.serve();
    command.arg("--debug");
    let agent = Agent::start(command);
    agent.wait_for_verdict("web", "up");
    assert!(eventually(PATIENCE, || agent.metric(passes) >= 10.0));
    assert!(eventually(PATIENCE, || agent
        .log()
        .matches("probe ended")
        .count()
        >= 10));
    let log = agent.log();
    let line = log
        .lines()
        .find(|line| line.contains("probe ended"))
        .unwrap();
    for part in [
        "DEBUG",
        "backend=\"web\"",
        "path=\"fresh\"",
        "outcome=\"pass\"",
        "took=",
        "connect ",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn transitions_are_told_as_lines_of_json() {
    let mut service = Service::start();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.web]\nurl = \"{}\"\n",
        service.url()
    ));
    let agent = Agent::start(config.serve());
    agent.expect_verdicts(&["up"]);
    service.stop();
    agent.expect_verdicts(&["up", "down"]);
    let transitions = agent.transitions();
    for (line, from) in transitions.iter().zip(["unknown", "up"]) {
        assert_eq!(line["schema"], "dbvitals.transition.v1");
        assert_eq!(line["backend"], "web");
        assert_eq!(line["change"], "verdict");
        assert_eq!(line["from"], from);
        assert!(line["at"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    assert_eq!(transitions[1]["class"], "dead");
    assert_eq!(transitions[1]["cause"], "refused");
    assert_eq!(transitions[1]["detail"], "Connection refused");
}

#[test]
fn the_first_transition_is_told_however_soon_it_comes() {
    let service = Service::start();
    let config = ConfigFile::new(&format!(
        "[backend.web]\nurl = \"{}\"\nrise = 1\n",
        service.url()
    ));
    for _ in 0..20 {
        Agent::start(config.serve()).expect_verdicts(&["up"]);
    }
}

#[test]
fn without_json_standard_output_stays_empty() {
    let service = Service::start();
    let http = Port::reserve();
    let mut command = serve([format!("web={}", service.url())]);
    command.args(["--http", &format!("127.0.0.1:{}", http.number())]);
    let mut agent = Agent::spawn(command, http);
    agent.wait_for_verdict("web", "up");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    agent.expect_verdicts(&[]);
}

#[test]
fn a_reader_of_transitions_who_does_not_read_holds_up_nobody() {
    let mut service = Service::start();
    let gate = GatePort::reserve();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.web]\nurl = \"{}\"\n[gate.g]\nlisten = \"{}\"\nof = \"web\"\n",
        service.url(),
        gate.address()
    ));
    let (_reader, writer) = UnixStream::pair().unwrap();
    fill(&writer);
    let mut command = config.serve();
    command.stdout(OwnedFd::from(writer));
    let mut agent = Agent::start(command);
    gate.opens_within(PATIENCE, gate.now());
    service.stop();
    gate.refuses_within(PATIENCE, gate.now());
    assert_eq!(agent.health("web").0, 503);
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
}

/// Writes until not a byte more is taken.
fn fill(mut stream: &UnixStream) {
    stream.set_nonblocking(true).expect("a socket takes a mode");
    while stream.write(b" ").is_ok() {}
    stream
        .set_nonblocking(false)
        .expect("a socket takes a mode");
}

#[test]
fn a_reader_of_transitions_who_has_gone_stops_nothing() {
    let mut service = Service::start();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.web]\nurl = \"{}\"\n",
        service.url()
    ));
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let mut command = config.serve();
    command.stdout(OwnedFd::from(writer));
    let agent = Agent::start(command);
    agent.wait_for_verdict("web", "up");
    service.stop();
    agent.wait_for_verdict("web", "down");
}
