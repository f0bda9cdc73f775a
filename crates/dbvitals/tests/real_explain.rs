//! What `explain` promises, held against real servers and the real agent at three configurations.
//!
//! The promise is read from `explain --json` of the very file that `serve` is given. What is asserted
//! is the promise and what a busy machine adds; the figures measured are printed.

#[expect(dead_code, reason = "other tests look at the process")]
#[path = "support/agent.rs"]
mod agent;
#[path = "support/http.rs"]
#[expect(dead_code, reason = "headers are for other tests")]
mod http;
#[path = "support/program.rs"]
mod program;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, eventually, require_servers,
};
use dbvitals_verdict::Moment;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::program::{Run, dbvitals};

/// What answers and a busy machine may add to a promise.
const BUSY: Duration = Duration::from_millis(200);
const PASSES: &str = "dbvitals_probe_total{backend=\"db\",outcome=\"pass\",cause=\"\"}";

/// One configuration: what is promised, and the agent that has to keep it.
struct Watch {
    promised: Value,
    agent: Agent,
    clock: Clock,
    /// Serves as long as the agent reads it.
    _config: ConfigFile,
}

impl Watch {
    fn start(pace: &str, url: &str) -> Self {
        let text = format!("[defaults]\n{pace}\n[backend.db]\nurl = \"{url}\"\n");
        let config = ConfigFile::new(&text);
        let file = config.path.to_str().expect("a path of ours");
        let explained = Run::of(
            dbvitals(&["explain", "--json", "-c", file]).env("DBVITALS_PASSWORD", "secret"),
        );
        assert_eq!(explained.code, 0, "{explained:?}");
        let mut document: Value = serde_json::from_str(&explained.stdout).expect("one document");
        let agent = Agent::start(config.serve());
        let watch = Self {
            promised: document["backends"][0].take(),
            agent,
            clock: Clock::start(),
            _config: config,
        };
        watch.agent.wait_for_verdict("db", "up");
        watch.settle();
        watch
    }

    /// Waits until nothing speaks against the verdict any more.
    fn settle(&self) {
        let before = self.agent.metric(PASSES);
        let settled = || self.agent.metric(PASSES) >= before + 5.0;
        assert!(eventually(PATIENCE, settled), "the probes do not go on");
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Waits for a verdict, and expects it within what is promised since a moment.
    fn keeps(&self, what: &str, key: &str, verdict: &str, since: Moment) {
        let promised = self.promised[what][key].as_f64();
        let promised = Duration::from_secs_f64(promised.expect("a promise") / 1000.0);
        self.agent.wait_for_verdict("db", verdict);
        let took = self.now().since(since);
        report(key, verdict, promised, took);
        assert!(took <= promised + BUSY, "{key}: {took:?}, not {promised:?}");
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figure is what people run this for"
)]
fn report(fault: &str, verdict: &str, promised: Duration, took: Duration) {
    println!("{fault} to {verdict}: promised {promised:?}, took {took:?}");
}

/// Runs a test alone in this binary, since others would disturb its times.
fn alone(test: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test();
    drop(turn);
}

/// Freezes, thaws and kills a server that is watched so.
fn freeze_thaw_and_kill(server: &dyn RealServer, pace: &str, url: &str) {
    let watch = Watch::start(pace, url);
    for _ in 0..2 {
        let frozen = watch.now();
        server.freeze();
        watch.keeps("noticed_ms", "freeze", "down", frozen);
        let thawed = watch.now();
        server.thaw();
        watch.keeps("recovered_ms", "down", "up", thawed);
        watch.settle();
    }
    // From when the kernel is done with it, which on a busy machine takes its time.
    server.kill();
    watch.keeps("noticed_ms", "crash", "down", watch.now());
}

#[test]
fn a_held_session_with_a_fall_of_three_keeps_what_is_promised() {
    require_servers!();
    alone(|| {
        let server = MariaDb::start(MariaDbOptions::default());
        let url = format!("mysql://vitals@{}", server.address());
        let pace =
            "interval = \"500ms\"\ntimeout = \"800ms\"\nfall = 3\nconfirm_interval = \"20ms\"";
        freeze_thaw_and_kill(&server, pace, &url);
    });
}

#[test]
fn connections_without_a_session_keep_what_is_promised() {
    require_servers!();
    alone(|| {
        let server = Postgres::start(PostgresOptions::default());
        let url = format!("postgres://{}", server.address());
        let pace = "interval = \"400ms\"\ntimeout = \"600ms\"\nfast_interval = \"100ms\"\nrise = 3";
        freeze_thaw_and_kill(&server, pace, &url);
    });
}

#[test]
fn a_server_that_fills_up_is_degraded_and_up_again_as_promised() {
    require_servers!();
    alone(|| {
        let server = MariaDb::start(MariaDbOptions {
            arguments: vec!["--max-connections=10".to_owned()],
            ..MariaDbOptions::default()
        });
        let url = format!("mysql://vitals@{}?depth=role", server.address());
        let pace = "fresh_interval = \"2s\"\ndown_interval = \"500ms\"\nfall = 2";
        let watch = Watch::start(pace, &url);
        // The agent holds the tenth session.
        let sessions: Vec<_> = (0..9).map(|_| server.hold("SELECT 1")).collect();
        watch.keeps("noticed_ms", "full", "degraded", watch.now());
        let (_, health) = watch.agent.health("db");
        assert_eq!(health["cause"], "too_many_connections", "{health}");
        drop(sessions);
        watch.keeps("recovered_ms", "degraded", "up", watch.now());
    });
}
