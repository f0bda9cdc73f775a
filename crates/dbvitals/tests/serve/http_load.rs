//! What many clients cost the databases, and their probes: nothing that nobody asked for.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{Dialect, Script, ScriptedDatabase, ScriptedServer};

use crate::Service;
use crate::agent::{Agent, ConfigFile};

/// How long a probe of the slow server takes at the least.
const PROBE: Duration = Duration::from_millis(160);
/// As many as ask in the documents.
const CLIENTS: usize = 64;

/// Asks again and again with many clients at once; how many answers there were, and in what time.
fn crowd(address: SocketAddr, path: &str, asking: Duration) -> (u64, Duration) {
    let clock = Clock::start();
    let (started, answers) = (clock.now(), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while clock.now().since(started) < asking {
                    let answer = crate::http::request(address, "GET", path);
                    assert_eq!(answer.status, 503, "{}", answer.body);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (answers.into_inner(), clock.now().since(started))
}

/// An agent on a server that takes its time to say what no server of MySQL says; by itself it asks
/// once in twenty seconds. Each probe is a connection that the server counts.
fn agent_on_a_slow_server() -> (ScriptedServer, Agent) {
    let slow = ScriptedServer::start(Script::Trickle {
        bytes: b"\x05\x00\x00\x00WRONG".to_vec(),
        // It is found out with the first byte behind the head.
        every: PROBE / 4,
    });
    let config = ConfigFile::new(&format!(
        "[defaults]\ninterval = \"20s\"\ndown_interval = \"20s\"\nstale_after = \"60s\"\n\
         [backend.db]\nurl = \"mysql://u@{}\"\n",
        slow.address()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "down");
    (slow, agent)
}

#[test]
fn a_crowd_that_wants_fresh_probes_shares_one_after_the_other() {
    let (slow, agent) = agent_on_a_slow_server();
    let before = slow.accepted();
    let asking = Duration::from_secs(5);
    let (answers, took) = crowd(agent.http(), "/health/db?fresh=true", asking);
    let probes = slow.accepted() - before;
    // One may have been under way, and one begins as the last answers go out.
    let most = took.as_millis() / PROBE.as_millis() + 2;
    assert!(probes as u128 <= most, "{probes} probes in {took:?}");
    assert!(probes >= 10, "{probes} probes, {answers} answers");
    assert!(answers > 3 * probes as u64, "{answers} answers of {probes}");
}

#[test]
fn a_crowd_that_asks_what_is_known_costs_the_server_nothing() {
    let (slow, agent) = agent_on_a_slow_server();
    for path in [
        "/health/db",
        "/health",
        "/health/db?max_age=50s",
        "/metrics",
    ] {
        let before = slow.accepted();
        let asking = Duration::from_millis(700);
        let answers = match path {
            "/metrics" => (0..50)
                .map(|_| agent.request("GET", path))
                .filter(|answer| answer.status == 200)
                .count() as u64,
            _ => crowd(agent.http(), path, asking).0,
        };
        assert!(answers > 49, "{path}: {answers}");
        assert_eq!(slow.accepted(), before, "{path}");
    }
}

#[test]
fn readers_that_are_stuck_delay_no_probe() {
    const INTERVAL: Duration = Duration::from_millis(50);
    let database = ScriptedDatabase::start(Dialect::MySql);
    let config = ConfigFile::new(&format!(
        "[defaults]\ninterval = \"{}ms\"\n[backend.db]\nurl = \"mysql://vitals@{}\"\n",
        INTERVAL.as_millis(),
        database.address()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let mut stuck = Vec::new();
    for number in 0..2 * CLIENTS {
        let mut stream = TcpStream::connect(agent.http()).expect("the HTTP port is open");
        let request = match number % 2 {
            0 => "GET /api/v1/events HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            _ => "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200),
        };
        stream
            .write_all(request.as_bytes())
            .expect("the kernel takes it");
        stuck.push(stream);
    }
    let passes = "dbvitals_probe_total{backend=\"db\",outcome=\"pass\",cause=\"\"}";
    let clock = Clock::start();
    let (before, started) = (agent.metric(passes), clock.now());
    thread::sleep(Duration::from_secs(4));
    let (after, took) = (agent.metric(passes), clock.now().since(started));
    let due = took.as_secs_f64() / INTERVAL.as_secs_f64();
    // On a machine that does much else a few may be late.
    assert!(
        after - before >= due * 0.8,
        "{} of {due} probes",
        after - before
    );
    assert_eq!(agent.metric("dbvitals_agent_stalls_total"), 0.0);
    assert_eq!(agent.health("db").1["verdict"], "up");
    drop(stuck);
}

#[test]
fn who_asked_for_a_fresh_probe_is_told_what_it_found() {
    let service = Service::start();
    // Half of the shortest pace has to pass between two that are asked for.
    let config = ConfigFile::new(&format!(
        "[defaults]\ninterval = \"20s\"\nfast_interval = \"20s\"\ndown_interval = \"20ms\"\nrise = 1\n\
         [backend.db]\nurl = \"{}\"\n",
        service.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    let clock = Clock::start();
    for _ in 0..500 {
        // What was known before is older than a question takes.
        thread::sleep(Duration::from_millis(5));
        let asked = clock.now();
        let answer = agent.request("GET", "/health/db?fresh=true");
        let took = clock.now().since(asked);
        let age = answer.header("X-Evidence-Age-Ms").expect("an age");
        let age = Duration::from_millis(age.parse().expect("a number"));
        assert!(age <= took, "{age:?} old after {took:?}");
    }
}
