//! Hooks through a running agent: programs that hang, fork, print without end, fail, are not there
//! or do not listen; and what all of that does to the probes, which is nothing.
//!
//! What is watched is a plain listener; the hooks are shell scripts that write down what they got.

#[expect(dead_code, reason = "an agent can do more than is asked of it here")]
#[path = "support/agent.rs"]
mod agent;
#[path = "hooks/conduct.rs"]
mod conduct;
#[path = "hooks/crowd.rs"]
mod crowd;
#[path = "hooks/ends.rs"]
mod ends;
#[path = "support/exposition.rs"]
mod exposition;
#[expect(dead_code, reason = "nothing is posted here")]
#[path = "support/http.rs"]
mod http;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/service.rs"]
mod service;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dbvitals_testkit::eventually;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile};
use crate::quick::QUICK;
use crate::service::Service;

/// How long a hook may take here, its ends by force included.
const PATIENCE: Duration = Duration::from_secs(40);

/// A directory for a hook's script and what it writes, removed with this value.
struct Desk {
    directory: PathBuf,
}

impl Desk {
    fn new() -> Self {
        static DESKS: AtomicU32 = AtomicU32::new(0);
        let number = DESKS.fetch_add(1, Ordering::Relaxed);
        let name = format!("hooks-{}-{number}", process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("the target directory can be written");
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        let path = self.directory.join(name);
        path.to_str().expect("the path is UTF-8").to_owned()
    }

    /// Writes a script that can be run; `@/` in it stands for the directory.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        let text = text.replace("@/", &self.path(""));
        // Written under another name, so that nobody runs a file that is open for writing.
        let unfinished = self.path("unfinished");
        fs::write(&unfinished, format!("#!/bin/sh\n{text}\n")).expect("a file can be written");
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::rename(&unfinished, &path).expect("a file can be renamed");
        path
    }

    /// What a script wrote; nothing before it did.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    /// The numbers of processes that a script wrote down.
    fn pids(&self, name: &str) -> Vec<u32> {
        let text = self.read(name);
        let words = text.split_whitespace();
        words.map(|it| it.parse().expect("a number")).collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // A directory too many in the target directory does no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The section of a hook that runs a script with these arguments on these transitions.
fn hook(name: &str, on: &str, run: &[&str], more: &str) -> String {
    format!("[hook.{name}]\non = [{on}]\nrun = {run:?}\n{more}\n")
}

/// An agent that watches a service as `web`, with these hooks, and has seen that it is up.
fn agent_with(service: &Service, hooks: &str) -> Agent {
    let url = service.url();
    let config = ConfigFile::new(&format!("{QUICK}[backend.web]\nurl = \"{url}\"\n{hooks}"));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    agent
}

fn runs(agent: &Agent, hook: &str, outcome: &str) -> u32 {
    let sample = format!("dbvitals_hook_runs_total{{hook=\"{hook}\",outcome=\"{outcome}\"}}");
    let value = agent.metric(&sample);
    format!("{value}")
        .parse()
        .expect("a counter is a whole number")
}

/// Waits until a hook has so many runs with an outcome.
fn wait_for_runs(agent: &Agent, hook: &str, outcome: &str, count: u32) {
    let reached = eventually(PATIENCE, || runs(agent, hook, outcome) >= count);
    let log = agent.log();
    assert!(reached, "{hook} has no {count} runs {outcome}:\n{log}");
}

/// What the API tells of a hook.
fn told_of(agent: &Agent, hook: &str) -> Value {
    let answer = agent.request("GET", "/api/v1/hooks");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let body: Value = serde_json::from_str(&answer.body).expect("the API answers JSON");
    assert_eq!(body["schema"], "dbvitals.hooks.v1");
    let hooks = body["hooks"].as_array().expect("a list");
    let found = hooks.iter().find(|it| it["name"] == hook);
    found.expect("the hook is known").clone()
}

/// Whether a process runs; one that has ended and that nobody waited for does not.
fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|(state, _)| state != "Z")
}

/// A process' state and its parent.
fn state(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// The agent's children, those that ended and were not waited for included.
fn children(agent: &Agent) -> usize {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    let pids = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(state)
        .filter(|(_, parent)| *parent == agent.pid())
        .count()
}

/// The agent's open descriptors.
fn descriptors(agent: &Agent) -> usize {
    let path = format!("/proc/{}/fd", agent.pid());
    fs::read_dir(path).expect("the agent runs").count()
}

fn probes(agent: &Agent) -> f64 {
    let sample = |labels: &str| {
        let text = agent.request("GET", "/metrics").body;
        let name = format!("dbvitals_probe_total{{backend=\"web\",{labels}}}");
        let line = text
            .lines()
            .find_map(|it| it.strip_prefix(&name)?.trim().parse::<f64>().ok());
        line.unwrap_or_default()
    };
    sample("outcome=\"pass\",cause=\"\"") + sample("outcome=\"fail\",cause=\"refused\"")
}
