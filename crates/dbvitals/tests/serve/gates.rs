//! What a gate is to those who connect to it, and what it does with a verdict that is neither.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use dbvitals_testkit::{Script, ScriptedServer, eventually};
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::gate::GatePort;
use crate::{QUICK, Service};

/// How long after its reason a gate may take here; nothing is measured.
const SOON: Duration = Duration::from_secs(5);

/// MySQL's first words when all connections are taken: error 1040.
const TOO_MANY_CONNECTIONS: &[u8] = b"\x17\0\0\0\xff\x10\x04Too many connections";

fn agent_with_open_gate(service: &Service) -> (Agent, GatePort) {
    let gate = GatePort::reserve();
    let listen = gate.address().to_string();
    let agent = Agent::start(serve(["--gate", &listen, &service.url()]));
    gate.opens_within(SOON, gate.now());
    (agent, gate)
}

/// Connects to a gate and reads to the end, which comes in order.
fn visit(gate: &GatePort, words: &[u8]) {
    let mut stream = connect(gate);
    stream.write_all(words).expect("the kernel takes bytes");
    expect_end(&mut stream);
}

fn connect(gate: &GatePort) -> TcpStream {
    let stream = TcpStream::connect(gate.address()).expect("the gate is open");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket takes a timeout");
    stream
}

fn expect_end(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    let end = stream.read_to_end(&mut heard);
    end.expect("an end in order, not a reset");
    assert_eq!(heard, b"");
}

#[test]
fn an_open_gate_accepts_and_closes_in_order_also_when_spoken_to() {
    let service = Service::start();
    let (agent, gate) = agent_with_open_gate(&service);
    for _ in 0..20 {
        visit(&gate, b"");
        visit(&gate, b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n");
        visit(&gate, &[0; 4000]);
    }
    agent.expect_verdicts(&["up"]);
}

#[test]
fn five_hundred_connects_at_once_are_accepted_and_closed_in_order() {
    let service = Service::start();
    let (agent, gate) = agent_with_open_gate(&service);
    for words in [&b""[..], b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n"] {
        // While the agent stands still, all of them wait in the gate's accept queue.
        agent.signal(Signal::STOP);
        let mut streams: Vec<TcpStream> = (0..500).map(|_| connect(&gate)).collect();
        for stream in &mut streams {
            stream.write_all(words).expect("the kernel takes bytes");
        }
        agent.signal(Signal::CONT);
        streams.iter_mut().for_each(expect_end);
    }
    visit(&gate, b"");
}

#[test]
fn a_visitor_who_stays_does_not_keep_a_gate_from_closing_or_opening_again() {
    let mut service = Service::start();
    let (_agent, gate) = agent_with_open_gate(&service);
    let visitor = connect(&gate);
    service.stop();
    gate.refuses_within(SOON, gate.now());
    service.start_again();
    gate.opens_within(SOON, gate.now());
    drop(visitor);
}

#[test]
fn a_gate_given_as_a_port_is_open_for_both_families() {
    let service = Service::start();
    let gate = GatePort::reserve();
    let port = gate.address().port();
    let _agent = Agent::start(serve(["--gate", &port.to_string(), &service.url()]));
    gate.opens_within(SOON, gate.now());
    assert!(TcpStream::connect(("::1", port)).is_ok());
}

#[test]
fn what_a_gate_makes_of_degraded_is_for_the_configuration_to_say() {
    let full = ScriptedServer::start(Script::Bytes(TOO_MANY_CONNECTIONS.to_vec()));
    let (lenient, strict) = (GatePort::reserve(), GatePort::reserve());
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.full]\nurl = \"mysql://u@{}\"\n\
         [gate.lenient]\nlisten = \"{}\"\nof = \"full\"\n\
         [gate.strict]\nlisten = \"{}\"\nof = \"full\"\non_degraded = \"closed\"\n",
        full.address(),
        lenient.address(),
        strict.address()
    ));
    let vigil = strict.watch();
    let agent = Agent::start(config.serve());
    lenient.opens_within(SOON, lenient.now());
    let (status, health) = agent.wait_for_verdict("full", "degraded");
    assert_eq!(
        (status, &health["cause"]),
        (200, &"too_many_connections".into())
    );
    let seen = vigil.end();
    assert_eq!(seen.open, 0, "{seen:?}");
}

#[test]
fn what_a_gate_makes_of_unknown_is_for_the_configuration_to_say() {
    let service = Service::start();
    let (holding, closing) = (GatePort::reserve(), GatePort::reserve());
    let config = ConfigFile::new(&format!(
        "{QUICK}timeout = \"100ms\"\nstale_after = \"300ms\"\n\
         [backend.web]\nurl = \"{}\"\n\
         [gate.holding]\nlisten = \"{}\"\nof = \"web\"\non_unknown = \"hold\"\n\
         [gate.closing]\nlisten = \"{}\"\nof = \"web\"\n",
        service.url(),
        holding.address(),
        closing.address()
    ));
    let agent = Agent::start(config.serve());
    for gate in [&holding, &closing] {
        gate.opens_within(SOON, gate.now());
    }
    // While the agent stands still its evidence grows too old to mean anything.
    agent.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(600));
    agent.signal(Signal::CONT);
    agent.expect_verdicts(&["up", "unknown", "up"]);
    agent.wait_for_log("gate closed gate=\"closing\"");
    closing.opens_within(SOON, closing.now());
    let log = agent.log();
    assert!(!log.contains("gate closed gate=\"holding\""), "{log}");
}

#[test]
fn a_gate_whose_address_was_taken_says_so_once_and_opens_when_it_is_free() {
    let mut service = Service::start();
    let (agent, gate) = agent_with_open_gate(&service);
    service.stop();
    gate.refuses_within(SOON, gate.now());
    let squatter = TcpListener::bind(gate.address()).unwrap();
    service.start_again();
    agent.wait_for_log("the gate cannot open");
    let log = agent.log();
    let error = log
        .lines()
        .find(|line| line.contains("cannot open"))
        .unwrap();
    assert!(
        error.contains("ERROR") && error.contains("in use"),
        "{error}"
    );
    // Long enough for a second try, which is not worth a second line.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(agent.log().matches("the gate cannot open").count(), 1);

    drop(squatter);
    assert!(eventually(SOON, || agent
        .log()
        .matches("gate opened")
        .count()
        == 2));
    gate.opens_within(SOON, gate.now());
}
