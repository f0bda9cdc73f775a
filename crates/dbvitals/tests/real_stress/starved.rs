//! An agent that is stopped, or gets next to no time, blames nobody else for it, and says so.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use dbvitals_testkit::ScriptedFleet;
use rustix::process::Signal;

use crate::program::{Run, dbvitals};
use crate::site::Site;

const BACKENDS: usize = 200;

/// None of the servers was ever anything but up.
fn expect_nobody_blamed(site: &Site) {
    site.wait_for_all("up");
    let told = site.agent.transitions();
    let others: Vec<_> = told.iter().filter(|line| line["to"] != "up").collect();
    assert!(others.is_empty(), "{others:#?}");
}

/// The stall is counted in the metrics and in the API, and shown to people.
fn expect_it_said(site: &Site) {
    let stalls = site.vital("stalls");
    assert!(stalls > 0, "no stall was noticed");
    assert!(site.agent.metric("dbvitals_agent_stalls_total") >= stalls as f64);
    site.agent.wait_for_log("too late to judge anybody");
    let url = format!("http://{}", site.agent.http());
    let shown = Run::of(&mut dbvitals(&["status", "--agent", &url]));
    let line = shown.stdout.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with("  agent_stalled: "), "{line:?}");
    let json = Run::of(&mut dbvitals(&["status", "--json", "--agent", &url]));
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("one document");
    assert!(
        json["agent"]["stalls"].as_u64() >= Some(stalls),
        "{}",
        json["agent"]
    );
}

#[test]
fn an_agent_that_was_stopped_for_five_seconds_takes_nobody_down() {
    let site = Site::start(BACKENDS, "");
    let before = site.vital("stalls");
    for _ in 0..2 {
        site.agent.signal(Signal::STOP);
        thread::sleep(Duration::from_secs(5));
        site.agent.signal(Signal::CONT);
        thread::sleep(Duration::from_secs(2));
    }
    expect_nobody_blamed(&site);
    assert!(site.vital("stalls") > before, "nobody noticed");
    expect_it_said(&site);
}

#[test]
fn deadlines_that_ended_while_the_agent_was_stopped_are_its_own() {
    let site = Site::start(BACKENDS, "[defaults]\ninterval = \"200ms\"\n");
    let moment = Duration::from_millis(300);
    site.fleets.iter().for_each(ScriptedFleet::freeze);
    // All are asked by then, and none has run out of time.
    thread::sleep(moment);
    site.agent.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(5));
    site.agent.signal(Signal::CONT);
    // They are given up, and what is asked anew has its time before it.
    thread::sleep(moment);
    site.fleets.iter().for_each(ScriptedFleet::thaw);
    expect_nobody_blamed(&site);
    let metrics = site.agent.request("GET", "/metrics").body;
    let counts = |cause: &str| metrics.matches(&format!("cause=\"{cause}\"")).count();
    assert!(counts("agent_stalled") > 0, "{metrics}");
    assert_eq!(
        counts("unresponsive") + counts("no_greeting"),
        0,
        "{metrics}"
    );
}

#[test]
fn an_agent_that_gets_next_to_no_time_takes_nobody_down() {
    let site = Site::start(BACKENDS, "");
    let pid = site.agent.pid().to_string();
    let idle = ["--all-tasks", "--idle", "--pid", "0", &pid];
    let demoted = Command::new("chrt").args(idle).status();
    assert!(demoted.expect("util-linux has chrt").success());
    {
        let _hogs = Hogs::start();
        thread::sleep(Duration::from_secs(10));
    }
    expect_nobody_blamed(&site);
    expect_it_said(&site);
}

/// More busy processes than there are cores, each of which goes before the agent.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let hogs = (0..cores * 4).map(|_| {
            let mut hog = Command::new("sh");
            hog.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            hog.spawn().expect("there is a shell")
        });
        Self(hogs.collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            // A hog knows no other end.
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}
