//! The program as it is started for a report: `serve` with its transitions, and any command.
//!
//! A [`Watcher`] reads what the agent writes all the time and notes when; it ends with its scene.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Pid;
use serde_json::Value;

use crate::clock::Stopwatch;
use crate::faults::scene::Scene;
use crate::faults::truth::Watch;
use crate::guardian::Guardian;
use crate::shared::Port;

/// How long an answer over HTTP may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The program in the scene's surroundings, with its password and nothing else of ours.
pub(super) fn command(program: &Path, scene: &Scene) -> Command {
    let mut words = scene.surroundings.iter();
    let mut command = match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .env_remove("CREDENTIALS_DIRECTORY")
        .env("DBVITALS_PASSWORD", scene.password);
    command
}

/// A change of verdict that the agent told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) at: Duration,
    pub(super) backend: String,
    pub(super) to: String,
    pub(super) cause: String,
}

/// A running `serve`.
#[derive(Debug)]
pub(super) struct Watcher {
    child: Child,
    clock: Stopwatch,
    told: Arc<Mutex<Vec<Told>>>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    http: Port,
    /// Nobody outside of its network reaches its port.
    is_apart: bool,
    _files: Guardian,
}

impl Watcher {
    pub(super) fn start(program: &Path, scene: &Scene, watch: &Watch) -> Self {
        let http = Port::reserve();
        let files = Guardian::new();
        let path = files.directory().join("serve.toml");
        fs::write(&path, config(scene, watch, &http)).expect("a guardian's directory");
        let clock = Stopwatch::start();
        let mut child = command(program, scene)
            .args(["serve", "--json", "-c"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let log: Arc<Mutex<String>> = Arc::default();
        let (lines, words) = (child.stdout.take(), child.stderr.take());
        let (lines_told, words_told) = (Arc::clone(&told), Arc::clone(&log));
        let readers = vec![
            thread::spawn(move || {
                each_line(lines.expect("a pipe"), |line| {
                    note(line, clock, &lines_told)
                });
            }),
            thread::spawn(move || {
                each_line(words.expect("a pipe"), |line| {
                    let mut log = words_told.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(line);
                });
            }),
        ];
        Self {
            child,
            clock,
            told,
            log,
            readers,
            http,
            is_apart: scene.is_apart,
            _files: files,
        }
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The time on the clock by which transitions are noted.
    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// All changes of verdict so far, oldest first.
    pub(super) fn told(&self) -> Vec<Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    pub(super) fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }

    /// The verdict and the cause that `/health/NAME` tells, or the newest transition where that is
    /// out of reach; an empty cause is none.
    pub(super) fn health(&self, name: &str) -> Option<(String, String)> {
        if self.is_apart {
            let mut told = self.told().into_iter();
            let newest = told.rfind(|told| told.backend == name)?;
            return Some((newest.to, newest.cause));
        }
        let body = request(self.http.number(), name).ok()?;
        let (_, body) = body.split_once("\r\n\r\n")?;
        let health: Value = serde_json::from_str(body).ok()?;
        let text = |field: &str| health[field].as_str().unwrap_or_default().to_owned();
        Some((text("verdict"), text("cause")))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended already, and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// The backends of a scene are called `db-1`, `db-2`, …
pub(super) fn name(number: usize) -> String {
    format!("db-{}", number + 1)
}

fn config(scene: &Scene, watch: &Watch, http: &Port) -> String {
    let http = match scene.is_apart {
        true => "off".to_owned(),
        false => format!("127.0.0.1:{}", http.number()),
    };
    let mut text = format!(
        "[agent]\nhttp = \"{http}\"\n\n[defaults]\n\
         interval = \"1s\"\ntimeout = \"1s\"\nfall = 2\nrise = 2\n\n[classes]\n"
    );
    for (cause, class) in watch.classes {
        text.push_str(&format!("{cause} = \"{class}\"\n"));
    }
    for (number, url) in scene.urls.iter().enumerate() {
        let (name, depth) = (name(number), watch.depth);
        text.push_str(&format!(
            "\n[backend.{name}]\nurl = \"{url}\"\ndepth = \"{depth}\"\n\
             password_env = \"DBVITALS_PASSWORD\"\n"
        ));
        for (key, value) in watch.keys {
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
    }
    text
}

fn each_line(pipe: impl Read, mut each: impl FnMut(&str)) {
    let mut pipe = BufReader::new(pipe);
    let mut line = String::new();
    while pipe.read_line(&mut line).is_ok_and(|length| length > 0) {
        each(&line);
        line.clear();
    }
}

fn note(line: &str, clock: Stopwatch, told: &Mutex<Vec<Told>>) {
    let at = clock.elapsed();
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    if line["change"] == "verdict" {
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(Told {
            at,
            backend: text("backend"),
            to: text("to"),
            cause: text("cause"),
        });
    }
}

fn request(port: u16, name: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    write!(
        stream,
        "GET /health/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
