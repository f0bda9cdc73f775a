//! The agent check as HAProxy meets it: a line for each connection, whatever the client does.
//!
//! What is watched is a plain listener or a scripted server. How HAProxy itself takes the lines is
//! in `real_haproxy.rs`.

#[expect(dead_code, reason = "an agent can do more than is asked of it here")]
#[path = "support/agent.rs"]
mod agent;
#[expect(dead_code, reason = "no header matters here")]
#[path = "support/http.rs"]
mod http;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/service.rs"]
mod service;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dbvitals_testkit::{Dialect, Mood, Port, Script, ScriptedDatabase, ScriptedServer, eventually};
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::quick::QUICK;
use crate::service::Service;

/// MySQL's first words when all connections are taken: error 1040.
const TOO_MANY_CONNECTIONS: &[u8] = b"\x17\0\0\0\xff\x10\x04Too many connections";

/// An agent that watches one URL as `web`, with an agent check that this is added to.
fn agent_with_check(url: &str, more: &str) -> (Agent, Port) {
    let port = Port::reserve();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.web]\nurl = \"{url}\"\n\
         [agent_check.web]\nlisten = \"127.0.0.1:{}\"\nof = \"web\"\n{more}",
        port.number()
    ));
    let agent = Agent::start(config.serve());
    wait_until_it_listens(&port);
    (agent, port)
}

/// The agent says that it watches, and answers HTTP, a moment before.
fn wait_until_it_listens(port: &Port) {
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    assert!(eventually(PATIENCE, || TcpStream::connect(address).is_ok()));
}

fn connect(port: &Port) -> TcpStream {
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let stream = TcpStream::connect(address).expect("the agent check listens");
    let patience = Some(PATIENCE);
    stream
        .set_read_timeout(patience)
        .expect("a socket takes a timeout");
    stream
}

/// All that is heard on a connection until its end, which comes in order.
fn hear(stream: &mut TcpStream) -> String {
    let mut heard = String::new();
    let end = stream.read_to_string(&mut heard);
    end.expect("an end in order, not a reset");
    heard
}

fn ask(port: &Port) -> String {
    hear(&mut connect(port))
}

fn wait_for_line(port: &Port, expected: &str) {
    let mut line = String::new();
    let told = eventually(PATIENCE, || {
        line = ask(port);
        line == expected
    });
    assert!(told, "{line:?} and never {expected:?}");
}

#[test]
fn a_line_follows_the_verdict_and_says_why_and_since_when() {
    let mut service = Service::start();
    let (agent, port) = agent_with_check(&service.url(), "");
    wait_for_line(&port, "ready up 100%\n");
    service.stop();
    agent.wait_for_verdict("web", "down");
    let line = ask(&port);
    let age = line.strip_prefix("ready down #refused for ");
    let age = age.and_then(|it| it.strip_suffix("ms\n").or(it.strip_suffix("s\n")));
    let age = age.and_then(|it| it.parse::<f64>().ok());
    assert!(age.is_some_and(|it| it >= 0.0), "{line:?}");
    service.start_again();
    wait_for_line(&port, "ready up 100%\n");
    agent.expect_verdicts(&["up", "down", "up"]);
}

#[test]
fn nothing_is_said_before_there_is_evidence() {
    // A server that never says a word, and has a minute to say it.
    let silent = ScriptedServer::start(Script::Silent);
    let more = "[defaults]\ntimeout = \"20s\"\nfresh_interval = \"20s\"\nstale_after = \"90s\"\n";
    let port = Port::reserve();
    let config = ConfigFile::new(&format!(
        "{more}[backend.web]\nurl = \"mysql://v@{}\"\n\
         [agent_check.web]\nlisten = \"127.0.0.1:{}\"\nof = \"web\"\n",
        silent.address(),
        port.number()
    ));
    let agent = Agent::start(config.serve());
    wait_until_it_listens(&port);
    assert_eq!(ask(&port), "");
    assert_eq!(agent.health("web").1["verdict"], "unknown");
}

#[test]
fn a_degraded_backend_keeps_its_weight_unless_the_file_says_otherwise() {
    let full = ScriptedServer::start(Script::Bytes(TOO_MANY_CONNECTIONS.to_vec()));
    let url = format!("mysql://u@{}", full.address());
    for (more, expected) in [
        ("", "ready up 100%\n"),
        ("weight = { degraded = 30 }\n", "ready up 30%\n"),
    ] {
        let (agent, port) = agent_with_check(&url, more);
        agent.wait_for_verdict("web", "degraded");
        assert_eq!(ask(&port), expected);
    }
}

#[test]
fn a_slow_server_loses_weight_and_gets_it_back() {
    let database = ScriptedDatabase::start(Dialect::MySql);
    let weight = "weight = { by = \"latency\", from = \"100ms\", to = \"300ms\", min = 5 }\n";
    let url = format!("mysql://vitals@{}", database.address());
    let (_agent, port) = agent_with_check(&url, weight);
    wait_for_line(&port, "ready up 100%\n");
    database.switch(Mood::Slow(Duration::from_millis(400)));
    wait_for_line(&port, "ready up 5%\n");
    database.switch(Mood::Fine);
    wait_for_line(&port, "ready up 100%\n");
}

#[test]
fn a_service_is_told_as_a_backend_is_for_whoever_wants_what() {
    let (first, second) = (
        ScriptedDatabase::start(Dialect::Postgres),
        ScriptedDatabase::start(Dialect::Postgres),
    );
    second.take_role(true);
    let backend = |name: &str, database: &ScriptedDatabase| {
        let address = database.address();
        format!("[backend.{name}]\nurl = \"postgres://vitals@{address}/d\"\ndepth = \"role\"\n")
    };
    let ports = [Port::reserve(), Port::reserve(), Port::reserve()];
    let check = |name: &str, port: &Port, keys: &str| {
        let number = port.number();
        format!("[agent_check.{name}]\nlisten = \"127.0.0.1:{number}\"\n{keys}\n")
    };
    let [writes, reads, own] = &ports;
    let config = ConfigFile::new(
        &[
            QUICK,
            &backend("first", &first),
            &backend("second", &second),
            "[service.db]\nbackends = [\"first\", \"second\"]\n",
            &check("writes", writes, "of = \"db\"\nwant = \"primary\""),
            &check("reads", reads, "of = \"db\"\nwant = \"replica\""),
            &check("own", own, "of = \"second\"\nwant = \"primary\""),
        ]
        .concat(),
    );
    let _agent = Agent::start(config.serve());
    ports.iter().for_each(wait_until_it_listens);
    wait_for_line(writes, "ready up 100%\n");
    wait_for_line(reads, "ready up 100%\n");
    wait_for_line(own, "ready down #not_primary\n");
    first.crash();
    let lost = || ask(writes).starts_with("ready down #refused for ");
    assert!(eventually(PATIENCE, lost), "{}", ask(writes));
    second.take_role(false);
    wait_for_line(writes, "ready up 100%\n");
    wait_for_line(own, "ready up 100%\n");
    let alone = || ask(reads).starts_with("ready down #refused for ");
    assert!(eventually(PATIENCE, alone), "{}", ask(reads));
}

#[test]
fn unknown_and_degraded_can_be_made_to_count_as_down() {
    let silent = ScriptedServer::start(Script::Silent);
    let full = ScriptedServer::start(Script::Bytes(TOO_MANY_CONNECTIONS.to_vec()));
    let strict = "on_unknown = \"closed\"\non_degraded = \"closed\"\n";
    let pace = "timeout = \"20s\"\nfresh_interval = \"20s\"\nstale_after = \"90s\"\n";
    let (agent, port) = agent_with_check(&format!("mysql://u@{}", full.address()), strict);
    agent.wait_for_verdict("web", "degraded");
    let line = ask(&port);
    let start = "ready down #too_many_connections for ";
    assert!(line.starts_with(start), "{line:?}");
    let port = Port::reserve();
    let config = ConfigFile::new(&format!(
        "[backend.web]\nurl = \"mysql://v@{}\"\n{pace}\
         [agent_check.web]\nlisten = \"127.0.0.1:{}\"\nof = \"web\"\n{strict}",
        silent.address(),
        port.number()
    ));
    let _agent = Agent::start(config.serve());
    wait_until_it_listens(&port);
    let line = ask(&port);
    assert!(line.starts_with("ready down #unknown for "), "{line:?}");
}

#[test]
fn clients_are_answered_alike_whether_they_speak_first_listen_or_leave() {
    let service = Service::start();
    let (_agent, port) = agent_with_check(&service.url(), "");
    wait_for_line(&port, "ready up 100%\n");
    for _ in 0..20 {
        let mut stream = connect(&port);
        stream.write_all(b"web\n").expect("the kernel takes bytes");
        assert_eq!(hear(&mut stream), "ready up 100%\n");
        drop(connect(&port));
    }
}

#[test]
fn clients_that_stay_are_cut_off_and_keep_nobody_out() {
    let service = Service::start();
    let (agent, port) = agent_with_check(&service.url(), "");
    wait_for_line(&port, "ready up 100%\n");
    let descriptors = || {
        let path = format!("/proc/{}/fd", agent.pid());
        std::fs::read_dir(path).expect("the agent runs").count()
    };
    let before = descriptors();
    let mut visitors: Vec<_> = (0..500).map(|_| connect(&port)).collect();
    // Who is too much is closed unanswered; who is answered gets the whole line.
    let lines: Vec<_> = visitors.iter_mut().map(hear).collect();
    let answered = lines.iter().filter(|it| *it == "ready up 100%\n").count();
    let unanswered = lines.iter().filter(|it| it.is_empty()).count();
    assert!(
        answered >= 200 && answered + unanswered == 500,
        "{answered} {unanswered}"
    );
    wait_for_line(&port, "ready up 100%\n");
    // Nobody has closed, and yet all are gone.
    assert!(
        eventually(PATIENCE, || descriptors() <= before),
        "{}",
        descriptors()
    );
    drop(visitors);
}

#[test]
fn a_crowd_that_waited_while_the_agent_stood_still_is_answered() {
    let service = Service::start();
    let (agent, port) = agent_with_check(&service.url(), "");
    wait_for_line(&port, "ready up 100%\n");
    agent.signal(Signal::STOP);
    let mut visitors: Vec<_> = (0..100).map(|_| connect(&port)).collect();
    agent.signal(Signal::CONT);
    for visitor in &mut visitors {
        assert_eq!(hear(visitor), "ready up 100%\n");
    }
}

#[test]
fn an_address_that_is_taken_is_told_at_start() {
    let service = Service::start();
    let port = Port::reserve();
    let _taken = TcpListener::bind(("127.0.0.1", port.number())).expect("it is reserved");
    let config = ConfigFile::new(&format!(
        "[backend.web]\nurl = \"{}\"\n\
         [agent_check.web]\nlisten = \"127.0.0.1:{}\"\nof = \"web\"\n",
        service.url(),
        port.number()
    ));
    let mut command = config.serve();
    command.args(["--http", "off"]);
    let output = command.output().expect("dbvitals can be started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("cannot listen at 127.0.0.1"), "{told}");
}
