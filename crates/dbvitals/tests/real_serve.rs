//! `dbvitals serve` on real servers: what it promises when they crash, freeze, fill up and return.
//!
//! Each scenario is written once, over [`Watched`], and run against MariaDB and PostgreSQL. The
//! bounds asserted are those of the documentation; the figures measured are printed. Nothing else
//! may run beside these tests: the runner sees to that, and [`on_both`] within this binary.

#[path = "support/agent.rs"]
#[expect(
    dead_code,
    reason = "the tests of serve without databases use more of it"
)]
mod agent;
#[path = "real_serve/discovery.rs"]
mod discovery;
#[path = "real_serve/doors.rs"]
mod doors;
#[path = "real_serve/family.rs"]
mod family;
#[path = "real_serve/faults.rs"]
mod faults;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/http.rs"]
#[expect(
    dead_code,
    reason = "the tests of serve without databases use more of it"
)]
mod http;
#[path = "real_serve/queues.rs"]
mod queues;
#[path = "real_serve/quiet.rs"]
mod quiet;
#[path = "real_serve/rotation.rs"]
mod rotation;
#[path = "real_serve/services.rs"]
mod services;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dbvitals_testkit::{MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer};

use crate::agent::{Agent, serve};
use crate::gate::GatePort;

/// How long a gate may take to refuse after its reason, where the kernel tells of it.
const CRASH_BOUND: Duration = Duration::from_millis(50);
/// Interval, timeout and what a busy machine adds.
const FREEZE_BOUND: Duration = Duration::from_millis(2100);
/// How long after a server is ready again its gate may take to open.
const RETURN_BOUND: Duration = Duration::from_secs(3);

/// A real server as the tests of `serve` see it, whichever product it is.
trait Watched: RealServer {
    /// The URL by which `vitals` logs in over TCP, without the target's name.
    fn url(&self) -> String;

    /// Ends all sessions of `vitals`, as an administrator would.
    fn end_sessions(&self);

    /// How many sessions `vitals` has.
    fn sessions(&self) -> u32;

    /// Gives `vitals` another password.
    fn change_password(&self, password: &str);

    /// Everything that the server holds against its clients: counters and the log.
    fn complaints(&self) -> String;
}

impl Watched for MariaDb {
    fn url(&self) -> String {
        format!("mysql://vitals@{}", self.address())
    }

    fn end_sessions(&self) {
        self.kill_all_sessions();
    }

    fn sessions(&self) -> u32 {
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'vitals'";
        self.sql(count).parse().expect("a count")
    }

    fn change_password(&self, password: &str) {
        self.sql(&format!(
            "ALTER USER vitals@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('{password}')"
        ));
    }

    fn complaints(&self) -> String {
        let counters = ["Aborted_clients", "Aborted_connects"];
        let counters = counters.map(|name| format!("{name} {}", self.status(name)));
        format!("{}\n{}", counters.join("\n"), self.log_text())
    }
}

impl Watched for Postgres {
    fn url(&self) -> String {
        format!("postgres://vitals@{}/vitals", self.address())
    }

    fn end_sessions(&self) {
        self.terminate_all_sessions();
    }

    fn sessions(&self) -> u32 {
        let count = "SELECT COUNT(*) FROM pg_stat_activity WHERE usename = 'vitals'";
        self.sql(count).parse().expect("a count")
    }

    fn change_password(&self, password: &str) {
        self.sql(&format!("ALTER ROLE vitals PASSWORD '{password}'"));
    }

    fn complaints(&self) -> String {
        self.log_text()
    }
}

/// Runs a scenario against a fresh server of each product, and nothing of this binary beside it.
fn on_both(scenario: impl Fn(&dyn Watched)) {
    alone(|| {
        scenario(&MariaDb::start(MariaDbOptions::default()));
        scenario(&Postgres::start(PostgresOptions::default()));
    });
}

/// Runs a test that measures time, or that others would disturb, alone in this binary.
fn alone(test: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test();
    drop(turn);
}

/// The agent on one server, named `db`, with a gate that is open.
fn agent_with_open_gate(server: &dyn Watched) -> (Agent, GatePort) {
    let gate = GatePort::reserve();
    let agent = Agent::start(serve([
        "--gate",
        &gate.address().to_string(),
        &format!("db={}", server.url()),
    ]));
    let took = gate.opens_within(RETURN_BOUND, gate.now());
    report(server, "start to open", took);
    (agent, gate)
}

/// Prints a measured figure.
#[expect(
    clippy::print_stdout,
    reason = "the figure is what people run this for"
)]
fn report(server: &dyn Watched, what: impl fmt::Display, took: Duration) {
    let scheme = server.url();
    let scheme = scheme.split(':').next().unwrap_or_default();
    println!(
        "{scheme}: {what} after {:.1} ms",
        took.as_secs_f64() * 1000.0
    );
}
