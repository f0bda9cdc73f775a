//! Accept queues of local backends, as the agent sees them: without a connection of its own.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_testkit::eventually;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::QUICK;
use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::state_dir::StateDir;

/// Nothing else is asked of these backends: who waits is somebody else's connection.
const LISTENING: &str = "depth = \"listening\"\n";

/// A listener whose queue holds two: a limit of one, and one more.
fn small_listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a free port");
    socket.listen(1).expect("it can listen");
    socket.into()
}

fn agent_on(url: &str) -> (Agent, ConfigFile) {
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.db]\nurl = \"{url}\"\n{LISTENING}"
    ));
    (Agent::start(config.serve()), config)
}

/// What `dbvitals status` shows of the agent's backends.
fn status(agent: &Agent, names: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_dbvitals"))
        .args(["status", "--agent", &format!("http://{}", agent.http())])
        .args(names)
        .output()
        .expect("dbvitals can be started");
    String::from_utf8(run.stdout).expect("text")
}

fn backend(agent: &Agent) -> Value {
    let body = agent.request("GET", "/api/v1/backends/db").body;
    let mut body: Value = serde_json::from_str(&body).expect("the API answers in JSON");
    body["backends"][0].take()
}

/// Waits until the API says this of the backend.
fn wait_for(agent: &Agent, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    let mut told = Value::Null;
    let reached = eventually(PATIENCE, || {
        told = backend(agent);
        is_so(&told)
    });
    assert!(reached, "not {what}: {told:#}");
    told
}

/// Connects another client whenever all before it were seen, until this is so of the backend.
fn crowd(agent: &Agent, to: SocketAddr, is_so: impl Fn(&Value) -> bool) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    wait_for(agent, "that, whoever came", |told| {
        if is_so(told) {
            return true;
        }
        // One after the other: each look is to show more than the one before.
        if told["queue"]["length"] == clients.len() {
            clients.push(TcpStream::connect(to).expect("the kernel lets in"));
        }
        false
    });
    clients
}

#[test]
fn a_server_that_accepts_nobody_is_suspected_and_said_so_without_a_connection() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("it listens");
    let (agent, _config) = agent_on(&format!("tcp://{address}"));
    agent.wait_for_verdict("db", "up");
    let calm = wait_for(&agent, "seen", |told| !told["queue"].is_null());
    assert_eq!(
        (&calm["queue"]["length"], &calm["queue"]["full"]),
        (&0.into(), &false.into())
    );
    assert_eq!(calm["queue"]["overflows"], 0, "{calm:#}");

    let clients = crowd(&agent, address, |told| {
        told["queue"]["cause"] == "not_accepting"
    });
    agent.wait_for_log("suspected to be frozen");
    let told = wait_for(&agent, "all in the queue", |told| {
        told["queue"]["length"] == clients.len()
    });
    assert!(told["queue"]["standstill_ms"].is_u64(), "{told:#}");
    assert_eq!(told["fresh"]["outcome"], "pass", "{told:#}");
    let (_, health) = agent.wait_for_verdict("db", "degraded");
    assert_eq!(
        (&health["cause"], &health["class"]),
        (&"not_accepting".into(), &"full".into())
    );
    assert!(
        health["detail"]
            .as_str()
            .expect("a sentence")
            .contains("nobody was for")
    );
    let gauge =
        |name: &str| agent.metric(&format!("dbvitals_accept_queue_{name}{{backend=\"db\"}}"));
    assert!(gauge("standstill_seconds") > 0.0);
    assert!(gauge("limit") >= gauge("length"));

    let shown = status(&agent, &[]);
    let column = format!(" {}/", clients.len());
    assert!(
        shown.contains("queue") && shown.contains(&column),
        "{shown}"
    );
    let shown = status(&agent, &["db"]);
    assert!(
        shown.contains("wait to be accepted") && shown.contains("nobody accepted for"),
        "{shown}"
    );

    let accepted: Vec<_> = clients
        .iter()
        .map(|_| server.accept().expect("they wait"))
        .collect();
    wait_for(&agent, "empty", |told| told["queue"]["length"] == 0);
    agent.wait_for_verdict("db", "up");
    assert!(backend(&agent)["queue"]["cause"].is_null());
    assert!((gauge("standstill_seconds") - 0.0).abs() < f64::EPSILON);
    agent.expect_verdicts(&["up", "degraded", "up"]);
    drop(accepted);
}

/// A server that takes a millisecond for each client, and clients that come in bursts with rests
/// between: half of the time somebody waits, and nobody for long. It goes on until dropped.
struct BusyServer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyServer {
    fn start() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("it listens");
        let is_over = Arc::new(AtomicBool::new(false));
        let accept = move |_| {
            drop(server.accept().expect("clients come"));
            thread::sleep(Duration::from_millis(1));
        };
        let come = move |round: u64| {
            let burst = (0..=round % 3).map(|_| TcpStream::connect(address));
            let clients: Vec<_> = burst.collect();
            for client in clients {
                // Until the server has closed it.
                let _ = client.expect("there is room").read(&mut [0]);
            }
            thread::sleep(Duration::from_millis(3));
        };
        let threads = vec![go_on(&is_over, accept), go_on(&is_over, come)];
        Self {
            address,
            is_over,
            threads,
        }
    }
}

/// Does this again and again, in a thread of its own.
fn go_on(is_over: &Arc<AtomicBool>, mut act: impl FnMut(u64) + Send + 'static) -> JoinHandle<()> {
    let is_over = Arc::clone(is_over);
    thread::spawn(move || {
        for round in 0.. {
            if is_over.load(Ordering::Acquire) {
                return;
            }
            act(round);
        }
    })
}

impl Drop for BusyServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // One that waits for a client gets a last one.
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_busy_server_that_accepts_is_up_however_often_one_looks_at_its_queue() {
    let server = BusyServer::start();
    let idle = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let idle_address = idle.local_addr().expect("it listens");
    // For the other one's sake all queues are looked at fifty times a second.
    let config = ConfigFile::new(&format!(
        "[backend.db]\nurl = \"tcp://{}\"\n{LISTENING}[backend.idle]\nurl = \"tcp://{idle_address}\"\n{LISTENING}interval = \"20ms\"\n",
        server.address
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    agent.wait_for_verdict("idle", "up");
    let passes = "dbvitals_probe_total{backend=\"db\",outcome=\"pass\",cause=\"\"}";
    let (mut crowded, mut suspected) = (0, 0);
    let for_seconds = eventually(3 * PATIENCE, || {
        let queue = backend(&agent)["queue"].take();
        crowded += u32::from(queue["length"].as_u64() >= Some(1));
        suspected += u32::from(queue["cause"] == "not_accepting");
        agent.metric(passes) >= 10.0
    });
    // A busy machine may stand still for a look or two.
    let seen = format!("crowded at {crowded} answers, suspected at {suspected}");
    assert!(
        for_seconds && crowded >= 10 && suspected * 10 <= crowded,
        "{seen}"
    );
    agent.expect_verdicts(&["up", "up"]);
}

#[test]
fn a_full_queue_that_does_not_move_is_down_and_its_overflows_are_counted() {
    let server = small_listener();
    let address = server.local_addr().expect("it listens");
    let (agent, _config) = agent_on(&format!("tcp://{address}"));
    agent.wait_for_verdict("db", "up");
    wait_for(&agent, "seen", |told| !told["queue"].is_null());
    let mut clients: Vec<_> = (0..2)
        .map(|_| TcpStream::connect(address).expect("there is room"))
        .collect();
    let told = wait_for(&agent, "full", |told| told["queue"]["full"] == true);
    assert_eq!(
        (&told["queue"]["length"], &told["queue"]["limit"]),
        (&2.into(), &1.into())
    );
    let (_, health) = agent.wait_for_verdict("db", "down");
    assert_eq!(
        (&health["cause"], &health["class"]),
        (&"queue_full".into(), &"dead".into())
    );
    let late = TcpStream::connect_timeout(&address, Duration::from_millis(300));
    assert!(late.is_err(), "a SYN at a full queue is not answered");
    wait_for(&agent, "counted", |told| {
        told["queue"]["overflows"].as_u64() >= Some(1)
    });
    let overflows = "dbvitals_accept_queue_overflows_total{backend=\"db\"}";
    assert!(agent.metric(overflows) >= 1.0);

    // Its clients keep their places until they are accepted, also those that have gone.
    clients.clear();
    for _ in 0..2 {
        server.accept().expect("they wait");
    }
    agent.wait_for_verdict("db", "up");
}

#[test]
fn a_unix_socket_has_a_queue_as_well_and_nothing_that_counts_its_overflows() {
    let directory = StateDir::new("queues");
    let path = directory.path().join("server.sock");
    let server = UnixListener::bind(&path).expect("the directory can be written");
    let (agent, _config) = agent_on(&format!("unix://{}", path.display()));
    agent.wait_for_verdict("db", "up");
    let client = |path: &Path| UnixStream::connect(path).expect("there is room");
    let _first = client(&path);
    let told = wait_for(&agent, "one", |told| told["queue"]["length"] == 1);
    assert!(told["queue"]["overflows"].is_null(), "{told:#}");
    assert!(told["queue"]["cause"].is_null(), "{told:#}");
    let _second = client(&path);
    wait_for(&agent, "suspected", |told| {
        told["queue"]["cause"] == "not_accepting"
    });

    drop(server);
    let (_, health) = agent.wait_for_verdict("db", "down");
    assert_eq!(health["cause"], "refused");
    wait_for(&agent, "gone", |told| told["queue"].is_null());
}

#[test]
fn nothing_is_told_of_queues_on_other_machines() {
    // Nobody answers there, and a listener of this machine at the same port is another's.
    let server = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = server.local_addr().expect("it listens").port();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.db]\nurl = \"tcp://192.0.2.1:{port}\"\n[backend.here]\nurl = \"tcp://127.0.0.1:{port}\"\n"
    ));
    let agent = Agent::start(config.serve());
    let here = "dbvitals_accept_queue_length{backend=\"here\"}";
    let metrics = || agent.request("GET", "/metrics").body;
    assert!(eventually(PATIENCE, || metrics().contains(here)));
    assert!(backend(&agent)["queue"].is_null());
    assert!(!metrics().contains("dbvitals_accept_queue_length{backend=\"db\"}"));
}
