//! The demo, run as a user runs it: what it claims is right, it ends when told, and two of them
//! do not meet.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbvitals"));
    command
        .arg("demo")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The lines of `--once --json`, which ended well.
fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    assert_eq!(errors, "");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        assert_eq!(line["schema"], "dbvitals.demo.v1");
    }
    lines
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// A demo that is ended by a signal.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    seen: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = demo(arguments).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdout,
            seen: String::new(),
        }
    }

    fn read_until(&mut self, words: &str) {
        while !self.seen.contains(words) {
            let length = self.stdout.read_line(&mut self.seen).unwrap();
            assert!(length > 0, "it ended before {words:?}:\n{}", self.seen);
        }
    }

    /// Sends a signal, and returns the exit code and all that was said.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let ended = eventually(Duration::from_secs(3), || {
            self.child.try_wait().unwrap().is_some()
        });
        if !ended {
            self.child.kill().unwrap();
        }
        assert!(ended, "it goes on after {signal:?}:\n{}", self.seen);
        self.stdout.read_to_string(&mut self.seen).unwrap();
        (self.child.wait().unwrap().code(), self.seen)
    }
}

#[test]
fn one_round_ends_with_a_table_in_which_every_row_is_right() {
    let output = demo(&["--once"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
    assert!(text.contains("curl -i http://127.0.0.1:"), "{text}");

    let mut table = text.lines().skip_while(|line| !line.starts_with("scene "));
    let header = table.next().unwrap();
    for column in [
        "server",
        "expected",
        "concluded",
        "cause",
        "noticed",
        "promised",
        "gate",
        "right",
    ] {
        assert!(header.contains(column), "{column}: {header}");
    }
    let rows: Vec<_> = table.take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() >= 16, "{text}");
    for row in &rows {
        assert!(row.chars().count() <= 100, "too wide: {row}");
        assert!(row.ends_with("yes") || row.ends_with("late"), "{row}");
    }
    let told = text.lines().filter(|line| line.contains(", gate ")).count();
    assert_eq!(told, rows.len(), "each is told of as it happens:\n{text}");
    let all_right = format!("{} scenes, all right", rows.len());
    assert!(text.contains(&all_right), "{text}");
}

#[test]
fn it_opens_with_the_address_of_the_dashboard_which_scripts_can_have_alone() {
    let mut running = Running::start(&["--open"]);
    running.read_until("\n");
    let address = running.seen.trim_end().to_owned();
    let host = address
        .strip_prefix("http://")
        .unwrap()
        .trim_end_matches('/');
    // It is the page of an agent that answers already.
    TcpStream::connect(host).unwrap();
    let (code, text) = running.end(Signal::INT);
    assert_eq!((code, text), (Some(0), format!("{address}\n")));

    let mut running = Running::start(&[]);
    running.read_until("the dashboard");
    let first = running.seen.lines().next().unwrap();
    assert!(first.starts_with("http://127.0.0.1:"), "{first}");
    running.end(Signal::INT);
}

#[test]
fn every_mood_is_shown_and_noticed_for_what_it_is_in_both_protocols() {
    let output = demo(&["--once", "--json"]).output().unwrap();
    let lines = lines(&output);
    let outcomes = of_kind(&lines, "outcome");
    assert_eq!(outcomes.len(), of_kind(&lines, "scene").len());
    assert!(outcomes.iter().all(|outcome| outcome["right"] == true));

    let mut seen = BTreeSet::new();
    for outcome in &outcomes {
        let word = |key: &str| outcome[key].as_str().unwrap_or("-").to_owned();
        let cause = match word("cause").as_str() {
            // Who is asked in the moment itself sees it from the other side.
            "reset" => "refused".to_owned(),
            "unresponsive" => "no_greeting".to_owned(),
            cause => cause.to_owned(),
        };
        let followed = format!("{} {cause} {}", word("verdict"), word("gate"));
        seen.insert((word("scene"), followed));
        let stays = outcome["expected"]["stays"] == true;
        assert_eq!(outcome["noticed_after_ms"].is_null(), stays, "{outcome}");
        assert_eq!(outcome["promised_ms"].is_null(), stays, "{outcome}");
    }
    for (scene, followed) in [
        ("fine", "up - open"),
        ("slow", "up - open"),
        ("full", "degraded too_many_connections open"),
        ("frozen", "down no_greeting closed"),
        ("crashed", "down refused closed"),
        ("restarted", "up - open"),
        ("read-only", "down assertion_failed closed"),
    ] {
        let expected = (scene.to_owned(), followed.to_owned());
        assert!(seen.contains(&expected), "{expected:?} in {seen:#?}");
    }
    for server in ["orders", "users"] {
        let own = outcomes.iter().filter(|it| it["server"] == server);
        assert!(own.count() >= 6, "{server}");
    }
    let slow = outcomes.iter().find(|it| it["scene"] == "slow").unwrap();
    assert!(slow["pass_ms_mean"].as_f64().unwrap() >= 200.0, "{slow}");

    let end = lines.last().unwrap();
    assert_eq!(end["kind"], "end");
    assert_eq!(end["right"], outcomes.len());
    assert_eq!(end["wrong"], 0);
}

#[test]
fn two_demos_at_the_same_time_share_no_port_and_are_both_right() {
    let both = [(); 2].map(|()| demo(&["--once", "--json"]).spawn().unwrap());
    let mut addresses = Vec::new();
    for child in both {
        let lines = lines(&child.wait_with_output().unwrap());
        let opening = &lines[0];
        assert_eq!(opening["kind"], "opening");
        addresses.push(opening["http"].to_string());
        for server in opening["servers"].as_array().unwrap() {
            addresses.push(server["address"].to_string());
            addresses.push(server["gate"].to_string());
        }
    }
    let distinct: BTreeSet<_> = addresses.iter().collect();
    assert_eq!(distinct.len(), 10, "{addresses:?}");
}

#[test]
fn control_c_ends_the_endless_form_at_once_and_well_with_what_was_seen() {
    let mut running = Running::start(&[]);
    running.read_until("freezes");
    let (code, text) = running.end(Signal::INT);
    assert_eq!(code, Some(0), "{text}");
    let (_, table) = text.split_once("\nscene ").unwrap();
    assert!(table.contains("\ncrashed "), "{text}");
    assert!(!table.contains("\nfrozen "), "not seen to its end: {text}");
    assert!(text.contains("all right"), "{text}");
}

#[test]
fn a_round_that_is_cut_short_is_not_called_fine() {
    let mut running = Running::start(&["--once", "--json"]);
    running.read_until("outcome");
    let (code, text) = running.end(Signal::TERM);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.lines().last().unwrap().contains("\"kind\":\"end\""));
}
