//! Programs that behave: what they get, in which order they run, and what is said of them.

use std::fs;

use dbvitals_testkit::eventually;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile};
use crate::exposition;
use crate::service::Service;
use crate::{Desk, PATIENCE, QUICK, agent_with, hook, runs, told_of, wait_for_runs};

#[test]
fn each_transition_runs_its_hooks_once_and_in_order() {
    let desk = Desk::new();
    let note = desk.script(
        "note",
        "echo \"$1 begins\" >>@/notes\nsleep 0.1\necho \"$1 ends\" >>@/notes",
    );
    let hooks = [
        hook("fall", "\"down\"", &[&note, "down"], ""),
        hook("rise", "\"up\"", &[&note, "up"], ""),
    ];
    let mut service = Service::start();
    let agent = agent_with(&service, &hooks.concat());
    for _ in 0..5 {
        service.stop();
        agent.wait_for_verdict("web", "down");
        service.start_again();
        agent.wait_for_verdict("web", "up");
    }
    wait_for_runs(&agent, "rise", "ok", 6);
    let expected = "up begins\nup ends\n".to_owned()
        + &"down begins\ndown ends\nup begins\nup ends\n".repeat(5);
    assert_eq!(desk.read("notes"), expected);
    assert_eq!(
        (runs(&agent, "fall", "ok"), runs(&agent, "rise", "ok")),
        (5, 6)
    );
}

#[test]
fn a_hook_is_told_what_happened_and_why_and_no_secret() {
    let desk = Desk::new();
    let note = desk.script("note", "env >@/environment\ncat >@/evidence\necho \"$@\"");
    let run = [
        &note,
        "{name}",
        "{from}-{to}",
        "{cause}",
        "{class}",
        "{address}",
        "{since}",
    ];
    let mut service = Service::start();
    let agent = agent_with(&service, &hook("note", "\"down\"", &run, "of = [\"web\"]"));
    service.stop();
    wait_for_runs(&agent, "note", "ok", 1);

    let evidence: Value = serde_json::from_str(&desk.read("evidence")).expect("JSON");
    assert_eq!(evidence["schema"], "dbvitals.hook.v1");
    assert_eq!(
        (&evidence["from"], &evidence["to"]),
        (&"up".into(), &"down".into())
    );
    assert_eq!(evidence["fresh"]["cause"], "refused", "{evidence}");
    assert_eq!(
        evidence["fresh"]["phases"][0]["phase"], "connect",
        "{evidence}"
    );
    let environment = desk.read("environment");
    assert!(
        environment.contains("DBVITALS_CAUSE=refused\n"),
        "{environment}"
    );
    assert!(!environment.contains("PASSWORD"), "{environment}");

    let last = told_of(&agent, "note")["last"].clone();
    let at = evidence["at"].as_str().expect("a time");
    let expected = format!("web up-down refused dead {} {at}", service.address());
    assert_eq!(last["output"], *expected, "{last}");
    assert_eq!(
        (&last["outcome"], &last["backend"]),
        (&"ok".into(), &"web".into())
    );
    agent.wait_for_log("the hook ran");
}

#[test]
fn every_outcome_of_every_hook_is_a_counter_from_the_start() {
    let service = Service::start();
    let hooks = hook("\"odd \\\\ name\"", "\"down\"", &["true"], "")
        + &hook("b", "\"role\"", &["true"], "");
    let agent = agent_with(&service, &hooks);
    let samples = exposition::read(&agent.request("GET", "/metrics").body);
    for name in ["odd \\\\ name", "b"] {
        for outcome in ["ok", "failed", "timeout", "missing", "dropped", "observed"] {
            let sample =
                format!("dbvitals_hook_runs_total{{hook=\"{name}\",outcome=\"{outcome}\"}}");
            assert_eq!(samples.get(&sample), Some(&0.0), "{sample} in {samples:?}");
        }
    }
}

#[test]
fn a_hook_that_fails_is_told_of_with_its_words() {
    let desk = Desk::new();
    let fail = desk.script("fail", "echo cannot reach the pager >&2; exit 7");
    let mut service = Service::start();
    let agent = agent_with(&service, &hook("page", "\"down\"", &[&fail], ""));
    service.stop();
    wait_for_runs(&agent, "page", "failed", 1);
    agent.wait_for_log("the hook failed");
    let log = agent.log();
    let line = log.lines().find(|it| it.contains("the hook failed"));
    let line = line.expect("it is in the log");
    for part in [
        "WARN",
        "page",
        "web",
        "exit status: 7",
        "cannot reach the pager",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(log.matches("the hook failed").count(), 1);
}

#[test]
fn a_hook_that_only_observes_is_said_and_not_run() {
    let desk = Desk::new();
    let touch = desk.script("touch", "touch @/touched");
    let mut service = Service::start();
    let observe = hook(
        "dry",
        "\"down\"",
        &[&touch, "{cause}"],
        "mode = \"observe\"",
    );
    let agent = agent_with(
        &service,
        &(observe + &hook("real", "\"down\"", &["true"], "")),
    );
    service.stop();
    wait_for_runs(&agent, "real", "ok", 1);
    wait_for_runs(&agent, "dry", "observed", 1);
    agent.wait_for_log("the hook would run");
    assert!(agent.log().contains("\"refused\"]"), "{}", agent.log());
    assert_eq!(desk.read("touched"), "");
    assert!(!desk.directory.join("touched").exists());
}

#[test]
fn a_missing_program_is_told_at_once_and_again_only_after_it_was_there() {
    let desk = Desk::new();
    let mut service = Service::start();
    let program = desk.path("page");
    let hooks = hook("page", "\"down\", \"up\"", &[&program], "");
    let agent = agent_with(&service, &hooks);
    let said = || agent.log().matches("program is missing").count();
    agent.wait_for_log("program is missing");
    wait_for_runs(&agent, "page", "missing", 1);
    service.stop();
    wait_for_runs(&agent, "page", "missing", 2);
    assert_eq!(said(), 1);

    desk.script("page", "exit 0");
    service.start_again();
    wait_for_runs(&agent, "page", "ok", 1);
    fs::remove_file(&program).expect("it was written");
    service.stop();
    wait_for_runs(&agent, "page", "missing", 3);
    assert!(eventually(PATIENCE, || said() == 2), "{}", agent.log());
}

#[test]
fn a_file_with_a_hook_that_makes_no_sense_starts_nothing() {
    let service = Service::start();
    let hooks = hook("page", "\"down\"", &["page", "{verdikt}"], "of = [\"wep\"]");
    let url = service.url();
    let config = ConfigFile::new(&format!("[backend.web]\nurl = \"{url}\"\n{hooks}"));
    let output = config.serve().output().expect("dbvitals can be started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    for part in [
        ":5:16: ",
        "{verdikt}",
        "\"verdict\"?",
        ":6:7: ",
        "\"wep\"",
        "\"web\"?",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

/// The agent hears of all that happens before its hooks do.
#[test]
fn a_hook_runs_for_a_backend_that_is_down_from_the_start() {
    let desk = Desk::new();
    let note = desk.script("note", "echo \"$@\" >@/note");
    let service = Service::absent();
    let hooks = hook("note", "\"down\"", &[&note, "{from}", "{verdict}"], "");
    let url = service.url();
    let config = ConfigFile::new(&format!("{QUICK}[backend.web]\nurl = \"{url}\"\n{hooks}"));
    let agent = Agent::start(config.serve());
    wait_for_runs(&agent, "note", "ok", 1);
    assert_eq!(desk.read("note"), "unknown down\n");
}
