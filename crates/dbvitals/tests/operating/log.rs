//! The log in its formats: text, text for the journal, JSON.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use dbvitals_testkit::Port;
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, serve};

/// What an agent logs that finds a listener, and is told to end.
fn log_of(options: &[&str], wrap: impl FnOnce(Command) -> Command) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let url = format!("db=tcp://{address}");
    let arguments = options
        .iter()
        .copied()
        .chain([url.as_str(), "--http", "off"]);
    let mut agent = Agent::spawn(wrap(serve(arguments)), Port::reserve());
    agent.wait_for_log("verdict changed");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    agent.log()
}

#[test]
fn json_logs_are_an_object_per_line() {
    let log = log_of(&["--log", "json"], |command| command);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    for line in &lines {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    let up = lines
        .iter()
        .find(|line| line["message"] == "verdict changed");
    let up = up.unwrap_or_else(|| panic!("no verdict in {log}"));
    assert_eq!((&up["backend"], &up["to"]), (&"db".into(), &"up".into()));
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    let log = log_of(&[], |command| {
        let mut shell = journal(&command);
        shell
            .env_remove("DBVITALS_PASSWORD")
            .env_remove("CREDENTIALS_DIRECTORY");
        shell
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        shell
    });
    for line in log.lines() {
        let rest = line.strip_prefix("<6>").or(line.strip_prefix("<4>"));
        let rest = rest.unwrap_or_else(|| panic!("no priority: {line}"));
        assert!(!rest.starts_with("20") && !rest.contains("INFO"), "{line}");
    }
    assert!(log.contains("<6>verdict changed backend=\"db\""), "{log}");
}

/// A command whose standard error the journal reads, as far as the command can tell: systemd puts
/// the numbers of the descriptor that it made for it into the variable.
fn journal(command: &Command) -> Command {
    let set = "JOURNAL_STREAM=$(stat --dereference --format=%d:%i /proc/self/fd/2) exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", set, "sh"]).arg(command.get_program());
    shell.args(command.get_args());
    shell
}

#[test]
fn what_keeps_it_from_starting_is_an_error_in_the_journal() {
    let config = ConfigFile::new("[backend.a]\nurl = \"mysql://u@h\"\nfall = 0\nrise = -1\n");
    let mut command = journal(&config.serve());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().expect("sh can be started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(
        lines.iter().all(|line| line.starts_with("<3>dbvitals: ")),
        "{told}"
    );
}

#[test]
fn text_elsewhere_has_times_even_where_a_journal_is_about() {
    let log = log_of(&[], |mut command| {
        command.env("JOURNAL_STREAM", "8:1234");
        command
    });
    assert!(log.lines().all(|line| line.starts_with("20")), "{log}");
    assert!(
        log.contains(" INFO verdict changed backend=\"db\""),
        "{log}"
    );
}
