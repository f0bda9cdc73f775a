//! HAProxy in front of two real servers, told by gates or by agent checks: killing, freezing and
//! restoring each of them moves the traffic.
//!
//! The configuration is that of `docs/operating/haproxy.md`, with this machine's addresses; the
//! figures printed are those of its table. The bounds asserted are those of the documentation.

#[expect(dead_code, reason = "an agent can do more than is asked of it here")]
#[path = "support/agent.rs"]
mod agent;
#[path = "real_haproxy/clients.rs"]
mod clients;
#[expect(dead_code, reason = "no header matters here")]
#[path = "support/http.rs"]
mod http;
#[path = "real_haproxy/lines.rs"]
mod lines;
#[path = "real_haproxy/proxy.rs"]
mod proxy;
#[path = "real_haproxy/roles.rs"]
mod roles;
#[path = "support/service.rs"]
mod service;
#[path = "real_haproxy/socket.rs"]
mod socket;
#[path = "support/socket_gate.rs"]
mod socket_gate;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dbvitals_testkit::{MariaDb, MariaDbOptions, Port, RealServer as _, eventually, haproxy_for};
use dbvitals_verdict::Moment;
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile};
use crate::clients::{Clients, SILENCE};
use crate::proxy::{Proxy, example};

/// HAProxy's `inter`.
const INTER: Duration = Duration::from_millis(250);
/// How long attempts may fail after a crash: a check of HAProxy's, and what a busy machine adds.
const CRASH_BOUND: Duration = Duration::from_millis(750);
/// How long attempts may fail after a freeze: interval, timeout, and what a crash takes.
const FREEZE_BOUND: Duration = Duration::from_millis(2750);
/// How long after a server is ready again traffic may take to return: the way back of a gate, and
/// what a crash takes.
const RETURN_BOUND: Duration = Duration::from_millis(3750);
/// How long traffic is looked at after it has moved: no multiple of `inter`, lest what comes next
/// always comes right before a check of HAProxy's.
const LOOK: Duration = Duration::from_millis(1120);
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two servers, an agent on both, HAProxy in front, and clients that connect all the time.
struct Site {
    servers: [MariaDb; 2],
    agent: Agent,
    proxy: Proxy,
    clients: Clients,
    /// Where operators give orders.
    control: PathBuf,
    // Reserved as long as anybody uses them.
    _ports: [Port; 2],
    _config: ConfigFile,
}

impl Site {
    /// Builds a site whose HAProxy is told in this way: `gate` or `agent`.
    fn build(haproxy: &std::path::Path, way: &str) -> Self {
        let servers = ["one", "two"].map(|name| {
            MariaDb::start(MariaDbOptions {
                arguments: vec![format!("--version=10.11.0-{name}")],
                ..Default::default()
            })
        });
        let ports = [Port::reserve(), Port::reserve()];
        let section = match way {
            "gate" => "gate",
            _ => "agent_check",
        };
        // A socket's path may have 107 bytes.
        let name = format!("dbv-haproxy-{way}-{}.sock", std::process::id());
        let control = std::env::temp_dir().join(name);
        let mut text = format!("[agent]\ncontrol = \"{}\"\n", control.display());
        for (number, (server, port)) in (1..).zip(servers.iter().zip(&ports)) {
            let _ = writeln!(
                text,
                "[backend.orders-{number}]\nurl = \"mysql://vitals@{}\"\n\
                 [{section}.orders-{number}]\nlisten = \"127.0.0.1:{}\"\nof = \"orders-{number}\"",
                server.address(),
                port.number()
            );
        }
        let config = ConfigFile::new(&text);
        let agent = Agent::start(config.serve());
        for name in ["orders-1", "orders-2"] {
            agent.wait_for_verdict(name, "up");
        }
        let addresses = [servers[0].address(), servers[1].address()];
        let numbers = [ports[0].number(), ports[1].number()];
        let proxy = Proxy::start(haproxy, &example(way), &addresses, &numbers);
        let clients = Clients::start(proxy.front);
        let site = Self {
            servers,
            agent,
            proxy,
            clients,
            control,
            _ports: ports,
            _config: config,
        };
        site.wait_for_both();
        site
    }

    /// Waits until both servers get traffic, and nothing fails.
    fn wait_for_both(&self) {
        let settled = eventually(PATIENCE, || {
            let since = self.clients.now();
            std::thread::sleep(Duration::from_millis(300));
            let seen = self.clients.seen_since(since);
            seen.failed.is_empty() && seen.served.iter().all(|count| *count > 0)
        });
        assert!(settled, "{:?}", self.proxy.servers());
    }

    /// Expects that after something was done to a server all traffic goes to the other, and tells
    /// since when.
    fn expect_move(&self, from: usize, bound: Duration, act: impl FnOnce(&MariaDb)) -> Moved {
        let began = self.clients.now();
        act(&self.servers[from]);
        let name = format!("orders-{}", from + 1);
        let is_out = || {
            let status = self.proxy.server(&name).status;
            ["DOWN", "DRAIN", "MAINT"]
                .iter()
                .any(|it| status.starts_with(it))
        };
        assert!(eventually(PATIENCE, is_out), "{:?}", self.proxy.servers());
        // What was under way when the server was taken out may fail still.
        std::thread::sleep(SILENCE);
        let moved = self.clients.now();
        std::thread::sleep(LOOK);
        let after = self.clients.seen_since(moved);
        assert!(after.failed.is_empty(), "{:?} after the move", after.failed);
        assert_eq!(after.served[from], 0, "a server that is out got traffic");
        assert!(after.served[1 - from] > 0, "nobody was served");
        let seen = self.clients.seen_since(began);
        let last = seen.failed.iter().map(|at| at.since(began)).max();
        let outage = last.unwrap_or_default();
        assert!(
            outage <= bound,
            "attempts failed for {outage:?}, not {bound:?}"
        );
        Moved {
            outage,
            failed: seen.failed.len(),
        }
    }

    /// Gives an operator's order about a server.
    fn order(&self, index: usize, state: &str) {
        let path = format!("/api/v1/backends/orders-{}/state", index + 1);
        let body = format!("{{\"state\":\"{state}\"}}");
        let answer = http::send_to_socket(&self.control, &path, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Expects that a server which was restored gets traffic again, and tells how soon.
    fn expect_return(&self, to: usize, act: impl FnOnce(&MariaDb)) -> Duration {
        act(&self.servers[to]);
        self.expect_return_since(to, self.clients.now())
    }

    /// The same after an order, which counts from the moment it was given.
    fn expect_return_by_order(&self, to: usize) -> Duration {
        let given = self.clients.now();
        self.order(to, "ready");
        self.expect_return_since(to, given)
    }

    fn expect_return_since(&self, to: usize, ready: Moment) -> Duration {
        let is_back = || self.clients.seen_since(ready).served[to] > 0;
        assert!(eventually(PATIENCE, is_back), "{:?}", self.proxy.servers());
        let took = self.clients.now().since(ready);
        assert!(
            took <= RETURN_BOUND,
            "back after {took:?}, not {RETURN_BOUND:?}"
        );
        self.wait_for_both();
        took
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The agent is killed, and leaves its socket behind.
        let _ = std::fs::remove_file(&self.control);
    }
}

/// How traffic left a server.
#[derive(Debug)]
struct Moved {
    /// When the last attempt that failed began, from the fault on.
    outage: Duration,
    failed: usize,
}

/// The worse of two servers in a row of the table.
#[expect(
    clippy::print_stdout,
    reason = "the figures are what people run this for"
)]
fn report(way: &str, fault: &str, moved: &[Moved], back: &[Duration]) {
    let ms = |duration: Option<&Duration>| duration.map_or(0, Duration::as_millis);
    let outage = moved.iter().map(|it| it.outage).max();
    let failed = moved.iter().map(|it| it.failed).max().unwrap_or_default();
    println!(
        "| {way} | {fault} | {} ms | {failed} | {} ms |",
        ms(outage.as_ref()),
        ms(back.iter().max())
    );
}

/// Puts both servers through every fault, one after the other.
fn put_through(way: &str, haproxy: &std::path::Path) -> Site {
    let site = Site::build(haproxy, way);
    let (mut moved, mut back) = (Vec::new(), Vec::new());
    for index in 0..2 {
        moved.push(site.expect_move(index, CRASH_BOUND, |server| server.kill()));
        back.push(site.expect_return(index, |server| server.start_again()));
    }
    report(way, "killed, started again", &moved, &back);
    let (mut moved, mut back) = (Vec::new(), Vec::new());
    for index in 0..2 {
        moved.push(site.expect_move(index, FREEZE_BOUND, |server| server.freeze()));
        back.push(site.expect_return(index, |server| server.thaw()));
    }
    report(way, "frozen, thawed", &moved, &back);
    let (mut moved, mut back) = (Vec::new(), Vec::new());
    for index in 0..2 {
        moved.push(site.expect_move(index, CRASH_BOUND, |server| server.stop_gracefully()));
        back.push(site.expect_return(index, |server| server.start_again()));
    }
    report(way, "shut down, started again", &moved, &back);
    for state in ["drain", "maint"] {
        // A gate that closes, and maint, end the sessions that are under way; drain does not.
        let bound = match (way, state) {
            ("agent", "drain") => Duration::ZERO,
            _ => CRASH_BOUND,
        };
        let (mut moved, mut back) = (Vec::new(), Vec::new());
        for index in 0..2 {
            moved.push(site.expect_move(index, bound, |_| site.order(index, state)));
            back.push(site.expect_return_by_order(index));
        }
        report(way, &format!("ordered {state}, then ready"), &moved, &back);
    }
    site
}

#[test]
fn with_gates_faults_move_the_traffic_and_their_end_brings_it_back() {
    let Some(haproxy) =
        haproxy_for("with_gates_faults_move_the_traffic_and_their_end_brings_it_back")
    else {
        return;
    };
    alone(|| {
        put_through("gate", &haproxy);
    });
}

#[test]
fn with_agent_checks_faults_move_the_traffic_and_their_end_brings_it_back() {
    let name = "with_agent_checks_faults_move_the_traffic_and_their_end_brings_it_back";
    let Some(haproxy) = haproxy_for(name) else {
        return;
    };
    alone(|| {
        let site = put_through("agent", &haproxy);
        // HAProxy keeps what it was told last, and its own check finds both servers there.
        site.agent.signal(Signal::KILL);
        let since = site.clients.now();
        std::thread::sleep(INTER * 8);
        let seen = site.clients.seen_since(since);
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        assert!(seen.served.iter().all(|count| *count > 0), "{seen:?}");
    });
}

/// Runs a test that measures time alone in this binary.
fn alone(test: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test();
    drop(turn);
}
