//! Gates at unix sockets: the file is there and listens while the backend is fit, and only then.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use dbvitals_testkit::eventually;
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::socket_gate::SocketGate;
use crate::{QUICK, Service};

fn agent_with_open_gate(service: &Service, gate: &SocketGate) -> Agent {
    let agent = Agent::start(serve(["--gate", &gate.address(), &service.url()]));
    assert!(eventually(PATIENCE, || gate.is_open()), "{gate:?}");
    agent
}

/// Says something and reads to the end, which comes in order.
fn visit(gate: &SocketGate, words: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(gate.path()).expect("the gate is open");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket takes a timeout");
    stream.write_all(words).expect("the kernel takes bytes");
    let mut heard = Vec::new();
    let end = stream.read_to_end(&mut heard);
    end.expect("an end in order, not a reset");
    heard
}

fn config(gates: &str, service: &Service) -> ConfigFile {
    let url = service.url();
    ConfigFile::new(&format!("{QUICK}[backend.db]\nurl = \"{url}\"\n{gates}"))
}

fn section(kind: &str, gate: &SocketGate) -> String {
    let listen = gate.address();
    format!("[{kind}.db]\nlisten = \"{listen}\"\nof = \"db\"\n")
}

#[test]
fn a_gate_s_file_is_there_for_everybody_while_the_backend_is_fit_and_gone_while_not() {
    let mut service = Service::absent();
    let gate = SocketGate::new("gate");
    let config = config(&section("gate", &gate), &service);
    let mut agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "down");
    assert!(gate.is_gone(), "{:?}", gate.refusal());
    for _ in 0..2 {
        service.start_again();
        assert!(eventually(PATIENCE, || gate.is_open()));
        let mode = fs::metadata(gate.path())
            .expect("it is there")
            .permissions();
        assert_eq!(mode.mode() & 0o7777, 0o666);
        for words in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 4000]] {
            assert_eq!(visit(&gate, words), b"");
        }
        service.stop();
        assert!(eventually(PATIENCE, || gate.is_gone()));
    }
    service.start_again();
    assert!(eventually(PATIENCE, || gate.is_open()));
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    assert!(gate.is_gone(), "{:?}", gate.refusal());
}

#[test]
fn what_a_killed_agent_leaves_refuses_and_does_not_hinder_the_next() {
    let service = Service::start();
    let gate = SocketGate::new("killed");
    let mut agent = agent_with_open_gate(&service, &gate);
    agent.signal(Signal::KILL);
    agent.wait_for_exit();
    assert!(gate.path().exists());
    let refused = Some(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(gate.refusal(), refused);
    let mut agent = agent_with_open_gate(&service, &gate);
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    assert!(gate.is_gone());
}

#[test]
fn a_path_that_was_taken_while_the_gate_was_closed_is_told_and_not_taken_away() {
    let mut service = Service::start();
    let gate = SocketGate::new("taken");
    let agent = agent_with_open_gate(&service, &gate);
    service.stop();
    assert!(eventually(PATIENCE, || gate.is_gone()));
    let squatter = UnixListener::bind(gate.path()).expect("it is free");
    service.start_again();
    agent.wait_for_log("the gate cannot open");
    agent.wait_for_log("somebody listens there");
    let visitor = UnixStream::connect(gate.path());
    assert!(visitor.is_ok() && squatter.accept().is_ok());
    // A file that nobody listens at any more is what a dead agent leaves, too.
    drop(squatter);
    let opened = || agent.log().matches("gate opened").count() == 2;
    assert!(eventually(PATIENCE, opened), "{}", agent.log());
    assert!(gate.is_open());
}

#[test]
fn a_reload_moves_a_gate_from_one_path_to_another_and_refuses_one_that_is_taken() {
    let service = Service::start();
    let (old, new) = (SocketGate::new("old"), SocketGate::new("new"));
    let config = config(&section("gate", &old), &service);
    let agent = Agent::start(config.serve());
    assert!(eventually(PATIENCE, || old.is_open()));
    let text = fs::read_to_string(&config.path).expect("it is there");
    fs::write(new.path(), "a will").expect("the temporary directory can be written");
    config.write(&text.replace(&old.address(), &new.address()));
    agent.signal(Signal::HUP);
    agent.wait_for_log("a file that is no socket is there");
    assert!(old.is_open());
    fs::remove_file(new.path()).expect("it is still there");
    agent.signal(Signal::HUP);
    assert!(eventually(PATIENCE, || new.is_open() && old.is_gone()));
}

#[test]
fn an_agent_check_may_answer_at_a_socket_too() {
    let service = Service::start();
    let check = SocketGate::new("check");
    let config = config(&section("agent_check", &check), &service);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    assert_eq!(visit(&check, b"orders\n"), b"ready up 100%\n");
}
