//! Nothing outlives its test, however the test ends.
//!
//! The program `hold-server` stands for a test process; it is killed with SIGKILL, which leaves it
//! no chance to clean up.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, RealServer as _, TestAuthority, eventually, require_namespaces,
    require_servers,
};
use rustix::process::{Pid, Signal, kill_process};

const CLEAN_UP: Duration = Duration::from_secs(10);

/// A server held by another process.
struct Held {
    holder: Child,
    /// The server and its children.
    family: Vec<Pid>,
    directory: PathBuf,
}

impl Held {
    fn start(product: &str) -> Self {
        let mut holder = Command::new(env!("CARGO_BIN_EXE_hold-server"))
            .arg(product)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the holder can be started");
        let mut line = String::new();
        let output = holder.stdout.take().expect("standard output is a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the holder says what it holds");
        let mut words = line.split_whitespace();
        let server = words
            .next()
            .and_then(|word| word.parse().ok())
            .and_then(Pid::from_raw);
        let directory = PathBuf::from(words.nth(1).expect("a directory"));
        let server = server.expect("a process number");
        let family = [server].into_iter().chain(children(server)).collect();
        Self {
            holder,
            family,
            directory,
        }
    }

    fn kill_holder(&mut self) {
        self.holder.kill().expect("the holder can be killed");
        self.holder.wait().expect("the holder ends");
    }

    fn assert_vanishes(&self) {
        assert!(self.directory.is_absolute() && !self.family.is_empty());
        assert!(
            eventually(CLEAN_UP, || self.family.iter().all(has_ended)),
            "a process survives"
        );
        assert!(
            eventually(CLEAN_UP, || !self.directory.exists()),
            "the directory survives"
        );
    }
}

/// Whether a process is gone, or at least dead: not every container's init reaps orphans promptly.
fn has_ended(pid: &Pid) -> bool {
    fs::read_to_string(status_file(*pid)).map_or(true, |status| status.contains("State:\tZ"))
}

fn status_file(pid: Pid) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("status")
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = format!("PPid:\t{parent}\n");
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child =
        |pid: &Pid| fs::read_to_string(status_file(*pid)).is_ok_and(|s| s.contains(&parent));
    pids.filter_map(Pid::from_raw).filter(is_child).collect()
}

#[test]
fn a_server_goes_with_a_killed_test_process() {
    require_servers!();
    for product in ["mariadb", "postgres"] {
        let mut held = Held::start(product);
        held.kill_holder();
        held.assert_vanishes();
    }
}

#[test]
fn a_frozen_server_goes_with_a_killed_test_process_too() {
    require_servers!();
    for product in ["mariadb", "postgres"] {
        let mut held = Held::start(product);
        for process in &held.family {
            kill_process(*process, Signal::STOP).expect("the server lives");
        }
        held.kill_holder();
        held.assert_vanishes();
    }
}

#[test]
fn a_servers_disk_and_network_go_with_a_killed_test_process_too() {
    require_namespaces!();
    let mut held = Held::start("confined");
    let server = Path::new("/proc").join(held.family[0].to_string());
    let namespaces = ["ns/mnt", "ns/net", "ns/ipc"].map(|name| {
        let namespace = fs::read_link(server.join(name)).expect("the server lives");
        assert_ne!(
            fs::read_link(Path::new("/proc/self").join(name)).ok(),
            Some(namespace.clone())
        );
        (name, namespace)
    });
    held.kill_holder();
    held.assert_vanishes();
    // The network has a process of its own, and a guardian of its own.
    let is_left = || {
        namespaces
            .iter()
            .any(|(name, namespace)| is_used(name, namespace))
    };
    assert!(eventually(CLEAN_UP, || !is_left()), "a namespace survives");
}

/// Whether any process is in a namespace.
fn is_used(name: &str, namespace: &Path) -> bool {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path().join(name)).ok())
        .any(|other| other == namespace)
}

#[test]
fn a_server_goes_with_a_panic() {
    require_servers!();
    let panicked = catch_unwind(|| {
        let server = MariaDb::start(MariaDbOptions::default());
        std::panic::panic_any(server.directory().to_owned());
    });
    let directory = panicked
        .expect_err("a panic")
        .downcast::<PathBuf>()
        .expect("a path");
    assert!(directory.is_absolute() && !directory.exists());
}

#[test]
fn certificates_go_with_their_authority() {
    let authority = TestAuthority::new();
    let file = authority.certificate();
    assert!(file.exists());
    drop(authority);
    assert!(!file.exists());
}
