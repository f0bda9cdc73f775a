//! The history in the state directory: what it tells, and what it survives.
//!
//! The agent is the real one; the file is looked at from outside while it is written, broken, taken
//! away and put onto a disk without room. Whatever becomes of it, verdicts are reached in time.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[path = "history/answers.rs"]
mod answers;
#[path = "history/crowd.rs"]
mod crowd;
#[path = "history/disk.rs"]
mod disk;
#[path = "history/files.rs"]
mod files;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/service.rs"]
mod service;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/state_dir.rs"]
mod state_dir;

use std::path::PathBuf;
use std::time::Duration;

use dbvitals_testkit::{Dialect, ScriptedDatabase, eventually};
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::quick::QUICK;
use crate::service::Service;
use crate::state_dir::StateDir;

/// How soon the contract has a silent server down under these: interval + timeout + 50 ms. A crash
/// is noticed much sooner; a busy machine is not the history's fault.
const NOTICED_WITHIN: Duration = Duration::from_millis(50 + 1000 + 50);

const TRANSITIONS: &str = "/api/v1/history/transitions";
const LATENCY: &str = "/api/v1/history/latency";

/// An agent's state directory and configuration, and a server that it watches as `db`.
struct Scene {
    state: StateDir,
    config: ConfigFile,
    service: Service,
}

impl Scene {
    fn new(name: &str) -> Self {
        let (state, service) = (StateDir::new(&format!("hist-{name}")), Service::start());
        let scene = Self {
            config: ConfigFile::new(""),
            state,
            service,
        };
        scene.configure("", "");
        scene
    }

    /// Writes the configuration with more in `[agent]` and at the end.
    fn configure(&self, agent: &str, more: &str) {
        self.config.write(&format!(
            "{}{agent}{QUICK}[backend.db]\nurl = \"{}\"\n{more}",
            self.state.section(),
            self.service.url()
        ));
    }

    fn start(&self) -> Agent {
        let agent = Agent::start(self.config.serve());
        agent.wait_for_verdict("db", "up");
        agent
    }

    fn file(&self) -> PathBuf {
        self.state.path().join("history.db")
    }

    /// What was set aside in the state directory, logs apart.
    fn set_aside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.state.path()).expect("the directory is there");
        let names = entries.map(|it| it.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names
            .filter(|name| name.contains("broken-") && !name.ends_with("-wal"))
            .collect()
    }
}

/// Asks, and reads the answer.
fn ask(agent: &Agent, path: &str) -> (u16, Value) {
    let answer = agent.request("GET", path);
    let body = serde_json::from_str(&answer.body)
        .unwrap_or_else(|error| panic!("{error}: {}", answer.body));
    (answer.status, body)
}

/// Waits until the history tells of `db` what is wanted, and returns the answer.
fn wait_for(agent: &Agent, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut told = (0, Value::Null);
    let heard = eventually(PATIENCE, || {
        told = ask(agent, path);
        told.0 == 200 && wanted(&told.1)
    });
    assert!(heard, "{path}: {told:?}");
    told.1
}

/// The verdicts that were reached, in order.
fn verdicts(told: &Value) -> Vec<&str> {
    let transitions = told["transitions"].as_array().expect("a list");
    let verdicts = transitions.iter().filter(|it| it["change"] == "verdict");
    verdicts
        .map(|it| it["to"].as_str().expect("a verdict"))
        .collect()
}

/// Ends the agent in order.
fn end(mut agent: Agent) {
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
}

/// Crashes a database of its own under an agent that watches it as `victim`, and expects that to be
/// noticed in time.
fn expect_crash_noticed(agent: &Agent, victim: &ScriptedDatabase) {
    agent.wait_for_verdict("victim", "up");
    let clock = dbvitals_probe::Clock::start();
    victim.crash();
    let crashed = clock.now();
    agent.wait_for_verdict("victim", "down");
    // Standard output may be told a moment later than HTTP.
    let mut at = None;
    eventually(PATIENCE, || {
        let told = agent.transitions();
        let down = told
            .iter()
            .rfind(|line| line["backend"] == "victim" && line["to"] == "down");
        at = down.and_then(|line| line["at"].as_str()?.parse::<jiff::Timestamp>().ok());
        at.is_some()
    });
    let at = at.expect("it was told, with its time");
    let crashed = jiff::Timestamp::try_from(clock.wall(crashed)).expect("a year of ours");
    let took = at.duration_since(crashed);
    assert!(
        took.as_millis() <= NOTICED_WITHIN.as_millis() as i128,
        "noticed after {took:?}"
    );
}

/// A database to crash, and the section that has it watched.
fn victim() -> (ScriptedDatabase, String) {
    let database = ScriptedDatabase::start(Dialect::MySql);
    let section = format!(
        "[backend.victim]\nurl = \"mysql://vitals@{}\"\n",
        database.address()
    );
    (database, section)
}
