//! `wait` on real servers and processes: it goes on when all are fit, and ends when there is no
//! more hope. What the contract bounds by a retry is measured from the event that it waits for.

#[path = "support/program.rs"]
mod program;
#[path = "support/waiting.rs"]
mod waiting;

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, Script, ScriptedServer,
    require_servers,
};
use serde_json::{Value, json};

use crate::program::{Run, dbvitals};
use crate::waiting::{Waiting, Ward};

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// What a try and the end of a process may take beside it, on a busy machine too.
const PROCESS: Duration = Duration::from_millis(500);

/// Runs a wait to its end.
fn wait(arguments: &[&str]) -> Run {
    let arguments = [&["wait"], arguments].concat();
    Run::of(dbvitals(&arguments).env("DBVITALS_PASSWORD", "secret"))
}

/// A URL at which nothing listens, as long as the socket that holds the port lives.
fn refusing_url() -> (String, OwnedFd) {
    use rustix::net::{AddressFamily, Ipv4Addr, SocketAddrV4, SocketType};
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let socket = socket.expect("a socket");
    let any_port = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    rustix::net::bind(&socket, &any_port).expect("a free port");
    let address = rustix::net::getsockname(&socket).expect("a bound socket has an address");
    let address = SocketAddrV4::try_from(address).expect("an IPv4 socket");
    (format!("mysql://vitals@{address}"), socket)
}

#[test]
fn fit_servers_are_not_waited_for() {
    require_servers!();
    let mariadb = MariaDb::start(MariaDbOptions::default());
    let postgres = Postgres::start(PostgresOptions::default());
    let urls = [
        format!("orders=mysql://vitals@{}", mariadb.address()),
        format!("bills=postgres://vitals@{}", postgres.address()),
    ];
    let run = wait(&[&urls[0], &urls[1]]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{run:?}");
    let mut lines: Vec<&str> = run.stderr.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{run:?}");
    assert!(
        lines[0].starts_with("dbvitals: bills is fit after "),
        "{run:?}"
    );
    assert!(
        lines[1].starts_with("dbvitals: orders is fit after "),
        "{run:?}"
    );
}

#[test]
fn a_server_that_starts_late_is_met_within_one_retry() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions::default());
    server.stop_gracefully();
    let url = format!("db=mysql://vitals@{}", server.address());
    let mut waiting = Waiting::start(&[&url]);
    waiting.listen_for("refused");
    // Long enough for the pauses to have grown to their longest.
    thread::sleep(Duration::from_secs(3));
    server.start_again();
    let ready = waiting.now();
    let (run, took) = waiting.ended_since(ready);
    println!("met {took:?} after its readiness");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(took <= PAUSE_MAX + PROCESS, "{took:?}");
    assert_eq!(told(&run), ["refused", "fit"]);
}

#[test]
fn a_postgresql_that_replays_its_log_is_not_met_early() {
    require_servers!();
    let server = Postgres::start_replaying(PostgresOptions::default());
    let url = format!("db=postgres://vitals@{}", server.address());
    let mut waiting = Waiting::start(&[&url]);
    waiting.listen_for("starting_up");
    assert!(
        waiting.child.is_running(),
        "the wait is over while the server replays"
    );
    server.finish_replay();
    let ready = waiting.now();
    let (run, took) = waiting.ended_since(ready);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(took <= PAUSE_MAX + PROCESS, "{took:?}");
    assert_eq!(told(&run), ["starting_up", "fit"]);
}

#[test]
fn each_change_of_cause_is_told_once() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    server.freeze();
    let url = format!("db=postgres://vitals@{}", server.address());
    let mut waiting = Waiting::start(&[&url]);
    waiting.listen_for("no_greeting");
    server.kill();
    waiting.listen_for("refused");
    server.start_again();
    let ready = waiting.now();
    let (run, _) = waiting.ended_since(ready);
    assert_eq!(run.code, 0, "{run:?}");
    let mut told = told(&run);
    // The server may have been met between its start and its readiness.
    told.retain(|&told| told != "starting_up");
    assert_eq!(told, ["no_greeting", "refused", "fit"]);
}

#[test]
fn all_have_to_be_fit() {
    require_servers!();
    let fit = Postgres::start(PostgresOptions::default());
    let late = Postgres::start_replaying(PostgresOptions::default());
    let urls = [&fit, &late].map(|server| format!("postgres://vitals@{}", server.address()));
    let mut waiting = Waiting::start(&["--json", &urls[0], &urls[1]]);
    waiting.listen_for("starting_up");
    late.finish_replay();
    let ready = waiting.now();
    let (run, _) = waiting.ended_since(ready);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    for line in run.stdout.lines() {
        assert!(
            line.starts_with(r#"{"schema":"dbvitals.wait.v1","target":""#),
            "{line}"
        );
    }
    let told = |url: &str| -> Vec<Value> {
        let events = run
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let events = events.filter(|event: &Value| event["target"] == json!(url));
        events
            .map(|event| json!([event["fit"], event["cause"]]))
            .collect()
    };
    assert_eq!(told(&urls[0]), [json!([true, null])]);
    assert_eq!(
        told(&urls[1]),
        [json!([false, "starting_up"]), json!([true, null])]
    );
}

#[test]
fn the_end_of_the_process_in_the_pid_file_ends_the_wait() {
    let (url, _port) = refusing_url();
    let pid_file = Scratch::new("pid");
    // As PostgreSQL writes it: the number, then other things.
    let process = Command::new("sleep").arg("600").spawn();
    let mut process = Ward(process.expect("sleep can be started"));
    let pid = process.0.id();
    pid_file.write(&format!("{pid}\n/var/lib/data\n"));

    let mut waiting = Waiting::start(&["--pid-file", pid_file.path(), &url]);
    waiting.listen_for("refused");
    assert!(
        waiting.child.is_running(),
        "the wait is over while the process runs"
    );
    process.0.kill().expect("a child can be killed");
    // Dead, but not reaped: the wait must not depend on that.
    let killed = waiting.now();
    let (run, took) = waiting.ended_since(killed);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(took <= PAUSE_MAX + PROCESS, "{took:?}");
    let epitaph = format!("process {pid} of {} is gone; giving up", pid_file.path());
    assert!(run.stderr.ends_with(&format!("{epitaph}\n")), "{run:?}");
}

#[test]
fn a_pid_file_that_vanishes_tells_of_an_orderly_stop() {
    let (url, _port) = refusing_url();
    let pid_file = Scratch::new("pid");
    pid_file.write(&std::process::id().to_string());
    let mut waiting = Waiting::start(&["--pid-file", pid_file.path(), &url]);
    waiting.listen_for("refused");
    fs::remove_file(pid_file.path()).expect("the file can be removed");
    let removed = waiting.now();
    let (run, took) = waiting.ended_since(removed);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(took <= PAUSE_MAX + PROCESS, "{took:?}");
    assert!(run.stderr.contains("is gone; giving up"), "{run:?}");
}

#[test]
fn a_pid_file_that_is_not_there_yet_is_waited_for() {
    let (url, _port) = refusing_url();
    let run = wait(&["--for", "500ms", "--pid-file", "/nonexistent/pid", &url]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("not fit after 500 ms"), "{run:?}");
}

#[test]
fn the_pid_file_of_a_server_that_crashed_ends_the_wait() {
    require_servers!();
    let server = Postgres::start_replaying(PostgresOptions::default());
    let pid_file = server
        .directory()
        .join("data/postmaster.pid")
        .display()
        .to_string();
    let url = format!("postgres://vitals@{}", server.address());
    let mut waiting = Waiting::start(&["--pid-file", &pid_file, &url]);
    waiting.listen_for("starting_up");
    server.kill();
    let killed = waiting.now();
    let (run, took) = waiting.ended_since(killed);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(took <= PAUSE_MAX + PROCESS, "{took:?}");
    assert!(
        run.stderr
            .contains(&format!("process {} of ", server.pid())),
        "{run:?}"
    );
}

#[test]
fn a_pid_file_that_holds_no_number_is_misuse() {
    let (url, _port) = refusing_url();
    let pid_file = Scratch::new("pid");
    pid_file.write("not yet\n");
    let run = wait(&["--pid-file", pid_file.path(), &url]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.stderr
            .contains("begins with \"not yet\", which is no process id"),
        "{run:?}"
    );
}

#[test]
fn patience_ends_on_time() {
    let (refusing, _port) = refusing_url();
    let silent = ScriptedServer::start(Script::Silent);
    let silent = format!("mysql://vitals@{}", silent.address());
    let clock = Clock::start();
    for (url, cause) in [(refusing, "refused"), (silent, "no_greeting")] {
        let began = clock.now();
        let run = wait(&["--for", "700ms", &url, "--", "echo", "never said"]);
        let took = clock.now().since(began);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert!(took >= Duration::from_millis(700), "{took:?}");
        assert!(took <= Duration::from_millis(700) + PROCESS, "{took:?}");
        let (_, place) = url.split_once('@').expect("a user");
        let last = format!("dbvitals: {place} ({cause}) not fit after 700 ms\n");
        assert!(run.stderr.ends_with(&last), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 2, "{run:?}");
    }
}

#[test]
fn the_wait_becomes_its_command() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions::default());
    let url = format!("mysql://vitals@{}", server.address());
    let script = "echo $$ and \"$@\"; echo trouble >&2; exit 7";
    let waiting = Waiting::start(&[
        &url,
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "--port",
        "an argument",
    ]);
    let pid = waiting.child.0.id();
    let began = waiting.now();
    let (run, _) = waiting.ended_since(began);
    assert_eq!(run.code, 7, "{run:?}");
    assert_eq!(run.stdout, format!("{pid} and --port an argument\n"));
    assert!(run.stderr.ends_with("trouble\n"), "{run:?}");
}

#[test]
fn a_command_that_cannot_be_run_is_misuse() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions::default());
    let url = format!("mysql://vitals@{}", server.address());
    let run = wait(&[&url, "--", "/nonexistent/server", "--port", "8080"]);
    assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
    let last = run.stderr.lines().last().expect("a message");
    for words in [
        "cannot become /nonexistent/server",
        "No such file",
        "check the path",
    ] {
        assert!(last.contains(words), "no {words:?} in {last}");
    }
}

/// What each message of a run tells of the target `db`: a cause, or that it is fit.
fn told(run: &Run) -> Vec<&str> {
    run.stderr.lines().map(told_in).collect()
}

fn told_in(line: &str) -> &str {
    let Some(told) = line.strip_prefix("dbvitals: db is ") else {
        return line;
    };
    let (told, end) = match told.strip_prefix("not fit: ") {
        Some(cause) => (cause, '.'),
        None => (told, ' '),
    };
    told.split(end).next().unwrap_or(told)
}

/// A file that is gone when the test is.
struct Scratch(String);

impl Scratch {
    fn new(name: &str) -> Self {
        // Threads of one process have names of their own, the tests'.
        let test = thread::current()
            .name()
            .unwrap_or("test")
            .replace("::", "-");
        let file = format!("dbvitals-{}-{test}-{name}", std::process::id());
        Self(std::env::temp_dir().join(file).display().to_string())
    }

    fn path(&self) -> &str {
        &self.0
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("the temporary directory can be written");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The test may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}
