//! `status --watch`: on a terminal, into a pipe, and as lines of JSON.

use std::process::Stdio;
use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::QUICK;
use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::program::dbvitals;
use crate::service::Service;
use crate::state_dir::StateDir;
use crate::terminal::Terminal;

fn config(service: &Service, state: &StateDir) -> ConfigFile {
    ConfigFile::new(&format!(
        "{}{QUICK}[backend.web]\nurl = \"{}\"\n",
        state.section(),
        service.url()
    ))
}

#[test]
fn a_terminal_is_drawn_over_and_put_back_and_an_agent_that_restarts_is_waited_for() {
    let (service, state) = (Service::start(), StateDir::new("watch"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let mut command = dbvitals(&["status", "--watch", "-c", file]);
    let terminal = Terminal::run(&mut command, 60, 20);
    terminal.wait_for("web", 0, PATIENCE);
    let first = terminal.shown();
    assert!(first.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{first:?}");
    assert!(first.contains("\x1b[32mup"), "no colour: {first:?}");

    drop(agent);
    let before = terminal.shown().len();
    terminal.wait_for("cut off since", before, PATIENCE);
    terminal.wait_for("what follows was the case before", before, PATIENCE);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let redrawn = || {
        let shown = terminal.shown();
        let last = shown.rsplit("\x1b[H").next().unwrap_or_default().to_owned();
        last.contains("web") && !last.contains("cut off")
    };
    assert!(eventually(PATIENCE, redrawn), "{:?}", terminal.shown());

    let (code, shown) = terminal.end(Signal::INT, PATIENCE);
    assert_eq!(code, Some(0));
    assert!(shown.ends_with("\x1b[?25h\x1b[?1049l"), "{shown:?}");
}

#[test]
fn a_terminal_that_is_too_small_shows_as_much_as_it_can() {
    let (service, state) = (Service::start(), StateDir::new("small"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let mut command = dbvitals(&["status", "web", "--watch", "-c", file]);
    let terminal = Terminal::run(&mut command, 20, 4);
    terminal.wait_for("lines more", 0, PATIENCE);
    let (_, shown) = terminal.end(Signal::TERM, PATIENCE);
    let drawn = shown.split("\x1b[H").nth(1).expect("it was drawn");
    let drawn = anstream::adapter::strip_str(drawn).to_string();
    let lines: Vec<_> = drawn.split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{drawn:?}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 20),
        "{drawn:?}"
    );
}

#[test]
fn a_pipe_gets_a_block_for_each_change() {
    let (mut service, state) = (Service::start(), StateDir::new("piped"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let mut child = dbvitals(&["status", "--watch", "-c", file])
        .stdout(Stdio::piped())
        .spawn()
        .expect("dbvitals can be started");
    let heard = crate::agent::Transcript::of(child.stdout.take().expect("a pipe"));
    let blocks = || heard.text().matches("backend ").count();
    assert!(eventually(PATIENCE, || blocks() == 1), "{}", heard.text());
    // Nothing changes, and nothing is said.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(blocks(), 1, "{}", heard.text());
    service.stop();
    assert!(eventually(PATIENCE, || blocks() == 2), "{}", heard.text());
    assert!(heard.text().contains("refused (dead)"), "{}", heard.text());
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let status = child.wait().expect("a child can be waited for");
    assert_eq!(status.code(), Some(2));
}

#[test]
fn watching_as_json_is_a_document_a_second_and_says_when_nobody_answers() {
    let (service, state) = (Service::start(), StateDir::new("lines"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let mut child = dbvitals(&["status", "--watch", "--json", "-c", file])
        .stdout(Stdio::piped())
        .spawn()
        .expect("dbvitals can be started");
    let heard = crate::agent::Transcript::of(child.stdout.take().expect("a pipe"));
    assert!(eventually(PATIENCE, || heard.text().lines().count() >= 2));
    drop(agent);
    assert!(eventually(PATIENCE, || heard.text().contains("\"error\":")));
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let status = child.wait().expect("a child can be waited for");
    assert_eq!(status.code(), Some(3));
    for line in heard.text().lines() {
        let document: Value = serde_json::from_str(line).expect("each line is JSON");
        assert_eq!(document["schema"], "dbvitals.status.v1");
        assert_eq!(document["agent"].is_null(), document["error"].is_string());
    }
}
