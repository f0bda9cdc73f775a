//! A running `dbvitals serve`, as its users meet it: arguments in; log, transitions and HTTP out.
//!
//! An [`Agent`] listens on a port of its own and ends with its test, whatever the test's end. What
//! it writes is read all the time, so it never waits for us. Included by every test of `serve`.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_testkit::{Port, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{self, Answer};

/// How long something is waited for that has no bound of its own, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// `dbvitals serve` with these arguments, the password `secret` and nothing else of ours.
pub(crate) fn serve<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbvitals"));
    command
        .arg("serve")
        .args(arguments)
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("RUNTIME_DIRECTORY")
        // Nobody meets agents of tests where those of the machine are.
        .env(
            "XDG_RUNTIME_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/run"),
        )
        .env_remove("CLICOLOR_FORCE")
        .env("DBVITALS_PASSWORD", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A configuration file that is removed with this value.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
}

impl ConfigFile {
    pub(crate) fn new(text: &str) -> Self {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("serve-{}-{number}.toml", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).expect("the target directory can be written");
        Self { path }
    }

    /// Puts another text into the file.
    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("the target directory can be written");
    }

    /// `dbvitals serve -c` with this file.
    pub(crate) fn serve(&self) -> Command {
        serve(["-c".as_ref(), self.path.as_os_str()])
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        // A file too many in the target directory does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    log: Transcript,
    told: Transcript,
    http: Port,
}

impl Agent {
    /// Starts the agent with `--json` and an HTTP port, and waits until it watches.
    pub(crate) fn start(mut command: Command) -> Self {
        let http = Port::reserve();
        let address = SocketAddr::from(([127, 0, 0, 1], http.number()));
        command.args(["--json", "--http", &address.to_string()]);
        Self::spawn(command, http)
    }

    /// Starts the agent as the command says, and waits until it watches. Its HTTP port, if it has
    /// one, is `http`; its standard output is read if it is a pipe of the command's.
    pub(crate) fn spawn(mut command: Command, http: Port) -> Self {
        let mut child = command.spawn().expect("dbvitals can be started");
        // Lets go of the pipes that the command holds.
        drop(command);
        let log = Transcript::of(child.stderr.take().expect("standard error is a pipe"));
        let told = child
            .stdout
            .take()
            .map_or_else(Transcript::default, Transcript::of);
        let agent = Self {
            child,
            log,
            told,
            http,
        };
        agent.wait_for_log("watching");
        agent
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the agent has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("a child can be waited for").is_some()
    }

    /// All that the agent wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        let seen = eventually(PATIENCE, || {
            self.log.text().contains(text) || self.log.has_ended()
        });
        let log = self.log.text();
        assert!(seen && log.contains(text), "no {text:?} in the log:\n{log}");
    }

    /// Expects these verdicts to have been reached, and no other, as standard output tells them.
    pub(crate) fn expect_verdicts(&self, expected: &[&str]) {
        // Standard output may be told a moment later than a gate.
        eventually(PATIENCE, || self.transitions().len() >= expected.len());
        let told = self.transitions();
        let verdicts: Vec<_> = told.iter().map(|line| line["to"].as_str()).collect();
        let expected: Vec<_> = expected.iter().copied().map(Some).collect();
        assert_eq!(verdicts, expected, "{told:#?}");
    }

    /// The transitions so far, oldest first, as standard output told them.
    pub(crate) fn transitions(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).expect("each line is JSON");
        let text = self.told.text();
        // A line that is being written is not there yet.
        let lines = text.split_inclusive('\n');
        lines
            .filter(|line| line.ends_with('\n'))
            .map(parse)
            .collect()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Answer {
        let address = SocketAddr::from(([127, 0, 0, 1], self.http.number()));
        http::request(address, method, path)
    }

    /// The address at which it answers HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.http.number()))
    }

    /// The status and the body of `/health/NAME`.
    pub(crate) fn health(&self, name: &str) -> (u16, Value) {
        let answer = self.request("GET", &format!("/health/{name}"));
        let body = serde_json::from_str(&answer.body).expect("a health answer is JSON");
        (answer.status, body)
    }

    /// Waits until a backend has this verdict, and returns its health.
    pub(crate) fn wait_for_verdict(&self, name: &str, verdict: &str) -> (u16, Value) {
        let mut health = self.health(name);
        let reached = eventually(PATIENCE, || {
            health = self.health(name);
            health.1["verdict"] == verdict
        });
        assert!(reached, "{name} is not {verdict}: {health:?}");
        health
    }

    /// The value of one sample of `/metrics`, named with its labels.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let text = self.request("GET", "/metrics").body;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {sample} in\n{text}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the agent is not reaped");
    }

    /// Waits for the agent's own end, and returns its exit code; all that it wrote has been read.
    pub(crate) fn wait_for_exit(&mut self) -> Option<i32> {
        assert!(
            eventually(PATIENCE, || self.has_ended()),
            "the agent goes on"
        );
        self.log.finish();
        self.told.finish();
        self.child.wait().expect("an exit status is kept").code()
    }
}

impl Drop for Agent {
    #[expect(clippy::print_stderr, reason = "shown where the test failed")]
    fn drop(&mut self) {
        // It may have ended already, and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.finish();
        self.told.finish();
        eprint!("the agent's log:\n{}", self.log.text());
    }
}

/// What somebody writes, read by a thread until its end.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Transcript {
    pub(crate) fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::default();
        let shared = Arc::clone(&text);
        let reader = thread::spawn(move || write_down(pipe, &shared));
        Self {
            text,
            reader: Some(reader),
        }
    }

    pub(crate) fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }

    fn has_ended(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            // A reader that met no UTF-8 has panicked and said so.
            let _ = reader.join();
        }
    }
}

fn write_down(pipe: impl Read, text: &Mutex<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = String::new();
    while pipe.read_line(&mut line).expect("what is written is UTF-8") > 0 {
        let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&line);
        line.clear();
    }
}
