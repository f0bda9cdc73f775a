//! What an HTTP client cannot do to the agent: keep it waiting, fill its memory, or take all places.
//!
//! The bounds of time are 10 s each, so most of these tests take as long.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::eventually;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit, setrlimit};

use crate::agent::{Agent, ConfigFile, serve};
use crate::{QUICK, Service};

/// A bound of 10 s, on a busy machine.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(20);
/// No bound is reached sooner.
const PATIENT_FOR: Duration = Duration::from_secs(9);

/// A client that says what it likes.
struct Client {
    stream: TcpStream,
    clock: Clock,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the HTTP port is open");
        let patience = Some(CUT_OFF_WITHIN);
        stream.set_read_timeout(patience).expect("a timeout");
        stream.set_write_timeout(patience).expect("a timeout");
        let clock = Clock::start();
        Self { stream, clock }
    }

    fn say(&mut self, words: &str) -> io::Result<()> {
        self.stream.write_all(words.as_bytes())
    }

    /// All that comes until the server closes, and how long that took since the connection.
    fn hear(&mut self) -> (String, Duration) {
        let before = self.clock.now();
        let mut heard = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut heard) {
            let kind = error.kind();
            assert_eq!(kind, io::ErrorKind::ConnectionReset, "not closed: {error}");
        }
        let took = self.clock.now().since(before);
        (String::from_utf8_lossy(&heard).into_owned(), took)
    }
}

fn agent_of(service: &Service) -> Agent {
    let agent = Agent::start(serve([format!("web={}", service.url())]));
    agent.wait_for_verdict("web", "up");
    agent
}

/// Memory that a process uses, in KiB.
fn resident_kib(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let digits = line.expect("a size").trim().trim_end_matches(" kB");
    digits.parse().expect("a number")
}

/// Lets this process have as many descriptors as it may, and tells how many these are.
fn descriptors_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it may not, the old limit is told.
    let _ = setrlimit(Resource::Nofile, wanted);
    let max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(max).unwrap_or(usize::MAX)
}

/// How many descriptors an agent of one backend allows itself, within these limits.
fn descriptors_within(limits: &str) -> f64 {
    let service = Service::start();
    let plain = serve([service.url()]);
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--nofile={limits}"))
        .arg(plain.get_program())
        .args(plain.get_args())
        .env("DBVITALS_PASSWORD", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Agent::start(limited).metric("process_max_fds")
}

#[test]
fn the_agent_takes_as_many_descriptors_as_it_needs_and_may_have() {
    assert_eq!(descriptors_within("256:600"), 600.0);
    let needed = descriptors_within("256:2048");
    assert!((1024.0..1100.0).contains(&needed), "{needed}");
    assert_eq!(descriptors_within("2000:2048"), 2000.0);
}

#[test]
fn who_sends_no_request_is_closed_after_a_while() {
    let service = Service::start();
    let agent = agent_of(&service);
    let (heard, took) = Client::connect(agent.http()).hear();
    assert_eq!(heard, "");
    assert!(took >= PATIENT_FOR, "{took:?}");
}

#[test]
fn who_sends_a_request_byte_by_byte_is_closed_after_a_while() {
    let service = Service::start();
    let agent = agent_of(&service);
    let mut client = Client::connect(agent.http());
    let clock = Clock::start();
    let started = clock.now();
    let words = "GET /health/web HTTP/1.1\r\nHost: a-long-name-that-takes-its-time\r\n\r\n";
    let cut_off = words.chars().any(|word| {
        std::thread::sleep(Duration::from_millis(500));
        client.say(&word.to_string()).is_err()
    });
    let took = clock.now().since(started);
    assert!(cut_off, "{words:?} was taken in {took:?}");
    assert!(took >= PATIENT_FOR && took <= CUT_OFF_WITHIN, "{took:?}");
}

#[test]
fn a_connection_that_is_kept_alive_is_closed_when_nothing_is_asked() {
    let service = Service::start();
    let agent = agent_of(&service);
    let mut client = Client::connect(agent.http());
    for _ in 0..3 {
        client
            .say("GET /liveness HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
    }
    let (heard, took) = client.hear();
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 3, "{heard}");
    assert!(took >= PATIENT_FOR, "{took:?}");
}

#[test]
fn a_giant_head_is_refused() {
    let service = Service::start();
    let agent = agent_of(&service);
    let mut client = Client::connect(agent.http());
    let giant = "x".repeat(64 * 1024);
    client
        .say(&format!(
            "GET /liveness HTTP/1.1\r\nHost: a\r\nCookie: {giant}"
        ))
        .unwrap();
    let (heard, _) = client.hear();
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
    let mut client = Client::connect(agent.http());
    let fits = "x".repeat(15 * 1024);
    client
        .say(&format!(
            "GET /liveness HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: {fits}\r\n\r\n"
        ))
        .unwrap();
    let (heard, _) = client.hear();
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
}

#[test]
fn a_giant_body_is_refused_whoever_would_have_read_it() {
    let service = Service::start();
    let agent = agent_of(&service);
    let giant = "x".repeat(1024 * 1024);
    for (method, path) in [
        ("POST", "/api/v1/backends/web/state"),
        ("POST", "/nowhere"),
        ("GET", "/health/web"),
    ] {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n");
        for (field, body) in [
            (format!("Content-Length: {}", giant.len()), giant.clone()),
            (
                "Transfer-Encoding: chunked".to_owned(),
                format!("100000\r\n{giant}\r\n0\r\n\r\n"),
            ),
        ] {
            let mut client = Client::connect(agent.http());
            // The server may have enough before all is sent; the answer is there all the same.
            let _ = client.say(&format!("{head}{field}\r\n\r\n{body}"));
            let (heard, _) = client.hear();
            assert!(
                heard.starts_with("HTTP/1.1 413 ") && heard.contains("65536 bytes"),
                "{head}{field}: {heard}"
            );
        }
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let service = Service::start();
    let agent = agent_of(&service);
    let mut client = Client::connect(agent.http());
    client
        .say("POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        .unwrap();
    let (heard, took) = client.hear();
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
    assert!(took >= PATIENT_FOR, "{took:?}");
}

#[test]
fn who_does_not_read_is_cut_off_and_costs_little_memory() {
    let service = Service::start();
    let mut text = QUICK.to_owned();
    for number in 0..500 {
        let host = format!("127.0.{}.{}", number / 250, number % 250 + 1);
        let port = service.address().port();
        writeln!(text, "[backend.b{number}]\nurl = \"tcp://{host}:{port}\"").unwrap();
    }
    let config = ConfigFile::new(&text);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("b499", "down");
    let page = agent.request("GET", "/metrics").body.len();
    let before = resident_kib(&agent);
    let mut clients: Vec<_> = (0..300).map(|_| Client::connect(agent.http())).collect();
    let clock = Clock::start();
    let started = clock.now();
    for client in &mut clients {
        // A client that asks on and on without reading an answer.
        client
            .say(&"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100))
            .unwrap();
    }
    let connections = || {
        let table = fs::read_to_string("/proc/net/tcp").expect("proc can be read");
        let port = format!(":{:04X}", agent.http().port());
        let ours = |line: &&str| {
            let mut fields = line.split_whitespace();
            // The server's side, established.
            fields.nth(1).is_some_and(|it| it.ends_with(&port)) && fields.nth(1) == Some("01")
        };
        table.lines().filter(ours).count()
    };
    assert!(connections() >= 300, "{}", connections());
    let mut most = before;
    assert!(
        eventually(3 * CUT_OFF_WITHIN, || {
            most = most.max(resident_kib(&agent));
            assert_eq!(agent.health("b0").0, 200);
            connections() == 0
        }),
        "{} connections",
        connections()
    );
    assert!(clock.now().since(started) >= PATIENT_FOR);
    // The pages under way have 64 MiB together, and each connection has a slice and its buffers.
    assert!(
        300 * page > 120 * 1024 * 1024,
        "a page has only {page} bytes"
    );
    let bound = before + (64 + 8) * 1024 + 300 * 80;
    assert!(
        most < bound,
        "{before} KiB, then {most}; a page has {page} bytes"
    );
}

#[test]
fn thousands_that_only_sit_there_keep_nobody_from_asking() {
    let crowd = 2000.min(descriptors_max().saturating_sub(100));
    assert!(crowd > 600, "this process may have too few descriptors");
    let service = Service::start();
    let agent = agent_of(&service);
    let clock = Clock::start();
    let mut sitting = Vec::new();
    for number in 0..crowd {
        let mut client = Client::connect(agent.http());
        // Half of them begin a request that never ends.
        if number % 2 == 0 {
            // One that had to leave already is one of the crowd all the same.
            let _ = client.say("POST /api/v1/reload HTTP/1.1\r\nContent-Length: 9\r\n\r\n{");
        }
        sitting.push(client);
        if number % 100 == 0 {
            let before = clock.now();
            assert_eq!(agent.health("web").0, 200, "with {number} connections");
            let took = clock.now().since(before);
            assert!(took < Duration::from_secs(2), "{number}: {took:?}");
        }
    }
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs");
    let open = open.count();
    assert!(open < 600, "{open} descriptors");
    assert_eq!(agent.health("web").0, 200);
}

#[test]
fn where_descriptors_run_out_idle_connections_give_theirs() {
    let service = Service::start();
    let agent = agent_of(&service);
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs");
    // Room for a few connections, and for a probe beside them.
    let few = Some(open.count() as u64 + 12);
    let limit = Rlimit {
        current: few,
        maximum: few,
    };
    let pid = Pid::from_raw(i32::try_from(agent.pid()).expect("a process id"));
    prlimit(pid, Resource::Nofile, limit).expect("a process of ours");
    let sitting: Vec<_> = (0..100).map(|_| Client::connect(agent.http())).collect();
    for _ in 0..10 {
        assert_eq!(agent.health("web").0, 200);
    }
    // An agent that starts beside it may try the control socket, which is a door of its own.
    let complaint = "HTTP takes no connections; tried again all the time door=\"port\"";
    agent.wait_for_log(complaint);
    let told = agent.log().matches(complaint).count();
    assert_eq!(told, 1, "{}", agent.log());
    drop(sitting);
    assert_eq!(agent.health("web").0, 200);
}

#[test]
fn connections_do_not_hold_up_the_end() {
    let service = Service::start();
    let mut agent = agent_of(&service);
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(agent.http())).collect();
    for client in &mut clients[..25] {
        client
            .say("GET /liveness HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
    }
    assert_eq!(agent.health("web").0, 200);
    let clock = Clock::start();
    let before = clock.now();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    // They could sit there for ten.
    let took = clock.now().since(before);
    assert!(took < Duration::from_secs(5), "{took:?}");
    for mut client in clients {
        client.hear();
    }
}
