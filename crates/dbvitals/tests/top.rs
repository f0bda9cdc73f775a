//! `dbvitals top` in a terminal: what it shows of a running agent, that it gives orders, and that
//! the terminal is as before whatever ends it.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/scripted_agent.rs"]
mod scripted_agent;
#[path = "support/service.rs"]
mod service;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/state_dir.rs"]
mod state_dir;
#[path = "support/terminal.rs"]
mod terminal;

use std::fs;

use dbvitals_testkit::eventually;
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::program::{Run, dbvitals};
use crate::quick::QUICK;
use crate::scripted_agent::ScriptedAgent;
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

fn top(config: &ConfigFile) -> Terminal {
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    Terminal::run(&mut dbvitals(&["top", "-c", file]), 80, 24)
}

/// Expects the terminal to be as a shell wants it.
fn expect_given_back(terminal: &Terminal) {
    let last = "\u{1b}[?1049l";
    let is_left = || terminal.shown().trim_end().ends_with(last);
    assert!(eventually(PATIENCE, is_left), "{:?}", terminal.shown());
    assert!(
        terminal.shown().contains("\u{1b}[?25h"),
        "the cursor is back"
    );
    assert!(terminal.is_cooked(), "lines are edited again");
}

#[test]
fn a_change_is_shown_as_it_happens_and_an_agent_that_restarts_is_waited_for() {
    let (mut service, state) = (Service::start(), StateDir::new("top-change"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let mut terminal = top(&config);
    terminal.wait_for_screen("● live", PATIENCE);
    terminal.wait_for_screen("● up", PATIENCE);
    assert!(!terminal.is_cooked(), "keys are read one by one");

    service.stop();
    terminal.wait_for_screen("■ down", PATIENCE);
    terminal.wait_for_screen("refused (dead)", PATIENCE);

    drop(agent);
    terminal.wait_for_screen("■ cut off", PATIENCE);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "down");
    terminal.wait_for_screen("● live", PATIENCE);

    terminal.press("q");
    assert_eq!(terminal.wait(PATIENCE), Some(2), "it was down");
    expect_given_back(&terminal);
}

#[test]
fn an_order_is_given_from_within_with_its_reason_and_its_time() {
    let (service, state) = (Service::start(), StateDir::new("top-order"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let mut terminal = top(&config);
    terminal.wait_for_screen("● up", PATIENCE);
    terminal.press("D30m\tdisk swap\r");
    terminal.wait_for_screen("web drains until", PATIENCE);
    let (status, health) = agent.health("web");
    assert_eq!((status, &health["admin"]), (503, &"drain".into()));
    assert_eq!(health["order"]["reason"], "disk swap");
    assert!(health["order"]["until"].is_string(), "{health}");

    terminal.press("R\r");
    terminal.wait_for_screen("web is ready", PATIENCE);
    let is_ready = || agent.health("web").1["admin"] == "ready";
    assert!(eventually(PATIENCE, is_ready));
    // Control-C, as a key.
    terminal.press("\u{3}");
    assert_eq!(terminal.wait(PATIENCE), Some(0));
    expect_given_back(&terminal);
}

#[test]
fn every_signal_that_ends_it_gives_the_terminal_back() {
    let (service, state) = (Service::start(), StateDir::new("top-signals"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut terminal = top(&config);
        terminal.wait_for_screen("● up", PATIENCE);
        terminal.signal(signal);
        assert_eq!(terminal.wait(PATIENCE), Some(0), "{signal:?}");
        expect_given_back(&terminal);
    }
}

#[test]
fn stopped_it_gives_the_terminal_back_and_takes_it_again_when_it_goes_on() {
    let (service, state) = (Service::start(), StateDir::new("top-stopped"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let mut terminal = top(&config);
    terminal.wait_for_screen("● up", PATIENCE);
    terminal.signal(Signal::TSTP);
    let is_stopped = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", terminal.pid()));
        stat.is_ok_and(|stat| stat.contains(") T "))
    };
    assert!(eventually(PATIENCE, is_stopped), "it goes on");
    expect_given_back(&terminal);
    let before = terminal.shown().len();
    terminal.signal(Signal::CONT);
    terminal.wait_for("\u{1b}[?1049h", before, PATIENCE);
    terminal.wait_for_screen("● up", PATIENCE);
    assert!(!terminal.is_cooked(), "it is taken again");
    terminal.press("q");
    assert_eq!(terminal.wait(PATIENCE), Some(0));
    expect_given_back(&terminal);
}

#[test]
fn an_agent_that_tells_of_nothing_as_it_happens_is_asked_every_second() {
    let backend = |verdict: &str| {
        format!(
            r#"{{"schema":"dbvitals.backends.v1","backends":[{{"name":"old","verdict":"{verdict}","since":"","admin":"ready","detail":"\u001b[2J\u001b]0;mine\u0007","cause":"refused"}}]}}"#
        )
    };
    let scripted = ScriptedAgent::start(&[("/api/v1/backends", &backend("up"))]);
    let url = scripted.url();
    let mut terminal = Terminal::run(&mut dbvitals(&["top", "--agent", &url]), 160, 50);
    terminal.wait_for_screen("every second", PATIENCE);
    scripted.answer("/api/v1/backends", &backend("down"));
    terminal.wait_for_screen("■ down", PATIENCE);
    terminal.wait_for_screen("u{1b}[2J", PATIENCE);
    assert!(!terminal.shown().contains("\u{1b}]0;"), "no title is set");
    // No socket, no token.
    terminal.press("D");
    terminal.wait_for_screen("--token-file", PATIENCE);
    terminal.resize(80, 24);
    let is_small = || terminal.screen().lines().all(|it| it.chars().count() <= 80);
    assert!(eventually(PATIENCE, is_small), "{}", terminal.screen());
    terminal.wait_for_screen("dbvitals top", PATIENCE);
    terminal.press("q");
    assert_eq!(terminal.wait(PATIENCE), Some(2));
    expect_given_back(&terminal);
}

#[test]
fn what_an_agent_keeps_of_the_past_is_in_the_time_line_and_beside_the_latencies() {
    let backends = r#"{"schema":"dbvitals.backends.v1","backends":[{"name":"kept","verdict":"up",
        "since":"2026-01-02T03:04:05Z","admin":"ready","held":{"outcome":"pass","took_ms":0.1}}]}"#;
    let transitions = r#"{"schema":"dbvitals.history_transitions.v1","kept_since":"2026-01-01T00:00:00Z",
        "complete":true,"transitions":[{"at":"2026-01-02T03:04:05Z","backend":"kept",
        "change":"verdict","from":"down","to":"up"}]}"#;
    let latency = r#"{"schema":"dbvitals.history_latency.v1","name":"kept","points":[{"at":"2026-01-02T03:04:00Z",
        "path":"held","depth":"ping","phase":"total","count":58,"p50_ms":0.05,"p95_ms":0.08,
        "p99_ms":0.1,"max_ms":0.3}]}"#;
    let scripted = ScriptedAgent::start(&[
        ("/api/v1/backends", backends),
        ("/api/v1/history/transitions", transitions),
        ("/api/v1/history/latency", latency),
    ]);
    let url = scripted.url();
    let mut terminal = Terminal::run(&mut dbvitals(&["top", "--agent", &url]), 160, 50);
    terminal.wait_for_screen("kept since 2026-01-01", PATIENCE);
    terminal.wait_for_screen("kept  down → up", PATIENCE);
    terminal.wait_for_screen("p95 0.08 ms", PATIENCE);
    terminal.press("q");
    assert_eq!(terminal.wait(PATIENCE), Some(0));
}

#[test]
fn with_no_color_set_none_is_sent() {
    let (service, state) = (Service::start(), StateDir::new("top-plain"));
    let config = config(&service, &state);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let file = config.path.to_str().expect("paths of tests are UTF-8");
    let mut command = dbvitals(&["top", "-c", file]);
    command.env("NO_COLOR", "1");
    let terminal = Terminal::run(&mut command, 80, 24);
    terminal.wait_for_screen("● up", PATIENCE);
    let (code, shown) = terminal.end(Signal::TERM, PATIENCE);
    assert_eq!(code, Some(0));
    for colour in ["[31m", "[32m", "[38;5;1m", "[38;5;2m", "[48;5;8m"] {
        assert!(!shown.contains(colour), "{colour}: {shown:?}");
    }
}

#[test]
fn without_a_terminal_or_an_agent_it_says_what_to_do() {
    let run = Run::of(&mut dbvitals(&["top"]));
    assert_eq!((run.code, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.contains("status --watch"), "{run:?}");

    let nowhere = ["top", "--agent", "/nowhere/control.sock"];
    let mut terminal = Terminal::run(&mut dbvitals(&nowhere), 80, 24);
    assert_eq!(terminal.wait(PATIENCE), Some(3));
    terminal.wait_for("no agent was found", 0, PATIENCE);
    assert!(!terminal.shown().contains("\u{1b}[?1049h"), "never taken");
}
