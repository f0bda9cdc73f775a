//! Many who ask for the past at once and do not read it: they cost a bounded amount of memory.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use dbvitals_probe::Clock;
use rusqlite::{Connection, params};

use crate::agent::Agent;
use crate::{Scene, TRANSITIONS, ask, end, verdicts, wait_for};

const CLIENTS: usize = 100;
/// An answer of one of them, in bytes.
const ANSWER: u64 = 8 << 20;
/// What all of them may cost, in KiB: 24 MiB of answers that are read, and two that come to be, which
/// are there as lines, as a body that grows, and as what is handed on.
const COST_KIB: u64 = 24 * 1024 + 2 * 5 * 8 * 1024;

/// Memory that a process uses, in KiB.
fn resident_kib(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let digits = line.expect("a size").trim().trim_end_matches(" kB");
    digits.parse().expect("a number")
}

/// Puts a thousand transitions with long evidence into the file of an agent that has ended.
fn fill(scene: &Scene) {
    let mut file = Connection::open(scene.file()).expect("it is there");
    let evidence = format!("{{\"remedy\":\"{}\"}}", "x".repeat(8300));
    let transaction = file.transaction().expect("nobody holds it");
    for _ in 0..1000 {
        let copied = transaction.execute(
            "INSERT INTO transition (at_ms, backend, line, evidence)
             SELECT at_ms, backend, line, ? FROM transition ORDER BY id LIMIT 1",
            params![evidence],
        );
        assert_eq!(copied.expect("it can be written"), 1);
    }
    transaction.commit().expect("it can be written");
}

#[test]
fn a_crowd_that_does_not_read_the_past_it_asked_for_costs_little_memory() {
    let scene = Scene::new("crowd");
    let agent = scene.start();
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up"]);
    end(agent);
    fill(&scene);
    let agent = scene.start();
    let path = format!("{TRANSITIONS}?evidence=true");
    let answer = agent.request("GET", &path).body.len() as u64;
    assert!(
        answer > ANSWER / 10 * 9 && answer < ANSWER + (128 << 10),
        "{answer}"
    );
    let before = resident_kib(&agent);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(agent.http()).expect("the HTTP port is open");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client
            .write_all(request.as_bytes())
            .expect("the kernel takes it");
        clients.push(client);
    }
    let clock = Clock::start();
    let started = clock.now();
    let mut most = before;
    // Until those who do not read have been cut off.
    while clock.now().since(started) < Duration::from_secs(12) {
        most = most.max(resident_kib(&agent));
        // Neither who asks what is known nor who asks for another page waits for them.
        let asked = clock.now();
        assert_eq!(agent.health("db").0, 200);
        assert_eq!(ask(&agent, "/api/v1/backends").0, 200);
        assert!(clock.now().since(asked) < Duration::from_secs(5));
    }
    assert!(most < before + COST_KIB, "{before} KiB, then {most}");
    drop(clients);
    wait_for(&agent, TRANSITIONS, |_| true);
    end(agent);
}
