//! Many transitions at once, many one after the other, and the agent's own end amid them.

use dbvitals_testkit::{Port, eventually};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::net::TcpListener;

use crate::agent::{Agent, ConfigFile};
use crate::service::Service;
use crate::{
    Desk, PATIENCE, QUICK, agent_with, children, descriptors, hook, is_running, runs, wait_for_runs,
};

/// More backends than hooks can run or wait for: 8 and 64.
const BACKENDS: u32 = 80;

#[test]
fn a_crowd_of_transitions_is_bounded_and_its_rest_said_to_be_dropped() {
    let desk = Desk::new();
    // Ended by TERM, as everything in its group.
    let hang = desk.script("hang", "echo $$ >>@/pids\nsleep 600");
    let port = Port::reserve();
    let listener = TcpListener::bind(("0.0.0.0", port.number())).expect("a reserved port is free");
    let mut text = QUICK.to_owned();
    for number in 1..=BACKENDS {
        let url = format!("tcp://127.0.0.{number}:{}", port.number());
        let _ = writeln!(text, "[backend.b{number}]\nurl = \"{url}\"");
    }
    let config =
        ConfigFile::new(&(text + &hook("hang", "\"down\"", &[&hang], "timeout = \"60s\"")));
    let mut agent = Agent::start(config.serve());
    agent.wait_for_verdict("b80", "up");
    drop(listener);
    wait_for_runs(&agent, "hang", "dropped", BACKENDS - 72);
    assert_eq!(runs(&agent, "hang", "dropped"), BACKENDS - 72);
    assert!(eventually(PATIENCE, || desk.pids("pids").len() == 8));
    assert_eq!(children(&agent), 8);
    assert_eq!(
        agent.log().matches("was dropped").count(),
        8,
        "{}",
        agent.log()
    );

    agent.signal(Signal::TERM);
    assert!(
        eventually(PATIENCE, || agent.has_ended()),
        "{}",
        agent.log()
    );
    assert_eq!(agent.wait_for_exit(), Some(0));
    let pids = desk.pids("pids");
    assert_eq!(pids.len(), 8, "nothing is started after the end began");
    assert!(!pids.iter().any(|pid| is_running(*pid)), "{pids:?}");
    let log = agent.log();
    assert_eq!(log.matches("does not run any more").count(), 64, "{log}");
    assert_eq!(log.matches("it was ended too").count(), 8, "{log}");
}

#[test]
fn a_program_that_is_nearly_done_may_finish_while_the_agent_ends() {
    let desk = Desk::new();
    let note = desk.script("note", "touch @/begun\nsleep 1\necho done >@/note");
    let mut service = Service::start();
    let mut agent = agent_with(&service, &hook("note", "\"down\"", &[&note], ""));
    service.stop();
    assert!(eventually(PATIENCE, || desk
        .directory
        .join("begun")
        .exists()));
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    assert_eq!(desk.read("note"), "done\n");
}

#[test]
fn two_hundred_runs_leave_no_process_and_no_descriptor() {
    let mut service = Service::start();
    let hooks: String = (0..10)
        .map(|number| hook(&format!("h{number}"), "\"down\", \"up\"", &["true"], ""))
        .collect();
    let agent = agent_with(&service, &hooks);
    wait_for_runs(&agent, "h9", "ok", 1);
    let before = descriptors(&agent);
    for round in 1..=10 {
        service.stop();
        wait_for_runs(&agent, "h9", "ok", 2 * round);
        service.start_again();
        wait_for_runs(&agent, "h9", "ok", 2 * round + 1);
    }
    let cleared = eventually(PATIENCE, || {
        children(&agent) == 0 && descriptors(&agent) <= before
    });
    assert!(
        cleared,
        "{} and {} left",
        descriptors(&agent),
        children(&agent)
    );
    for number in 0..10 {
        assert_eq!(runs(&agent, &format!("h{number}"), "ok"), 21);
    }
}
