//! A network of its own for a server and its clients, with a loopback that can be counted and cut.
//!
//! A [`Network`] is a network namespace held by a guarded process, so it vanishes with the test.
//! Servers move in with the option `network`; their unix sockets are files and stay reachable from
//! outside. It is made in a user namespace and needs no privileges, but some kernels and containers
//! forbid that: ask [`require_namespaces!`](crate::require_namespaces) before. Needs `unshare` and
//! `nsenter` of util-linux and `ip` of iproute2.
//!
//! A black hole is `ip link set lo down`. One might expect errors instead, and a `tc` queue that
//! drops everything (`tc qdisc add dev lo root blackhole`) does the same, but this is what Linux
//! does to 127.0.0.1 (seen on 6.x): a session that is connected takes what is sent and hears
//! nothing, a new connect hears nothing, and after the heal TCP's next repetition gets through.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::account;
use crate::clock::eventually;
use crate::guardian::Guardian;
use crate::process::Process;

/// How long a namespace may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A network namespace with a loopback and nothing else; copies share it, the last one ends it.
#[derive(Clone, Debug)]
pub struct Network {
    holder: Arc<Holder>,
}

#[derive(Debug)]
struct Holder {
    process: Process,
    /// Ends the holding process, and with it the namespace.
    _guardian: Guardian,
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    /// Makes a network whose loopback is up.
    ///
    /// # Panics
    ///
    /// Panics when the kernel does not allow it; ask
    /// [`require_namespaces!`](crate::require_namespaces) before.
    #[must_use]
    pub fn new() -> Self {
        let mut guardian = Guardian::new();
        let hold = "ip link set lo up && echo up && exec sleep infinity";
        let unshare = [
            "unshare",
            "--user",
            "--map-root-user",
            "--net",
            "sh",
            "-c",
            hold,
        ];
        let process = guardian.start(&unshare.map(str::to_owned));
        let log = guardian.log_file();
        let is_up = || fs::read_to_string(&log).is_ok_and(|text| text.trim_end() == "up");
        assert!(
            eventually(PATIENCE, is_up),
            "no network namespace: {}",
            fs::read_to_string(&log).unwrap_or_default()
        );
        Self {
            holder: Arc::new(Holder {
                process,
                _guardian: guardian,
            }),
        }
    }

    /// Returns a command that will run inside of the network, under the caller's account.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("env");
        command.args(self.surroundings()).arg(program);
        command
    }

    /// Moves the calling thread inside, for good: the sockets that it opens from now on are there.
    ///
    /// # Panics
    ///
    /// Panics when the kernel does not allow it, as it does for root alone.
    pub fn enter(&self) {
        let path = format!("/proc/{}/ns/net", self.holder.process.pid());
        let namespace = fs::File::open(path).expect("a network has a namespace");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may move into a network");
    }

    /// The words that put a command of the caller's account inside.
    pub(crate) fn surroundings(&self) -> Vec<String> {
        let mut words = match geteuid().is_root() {
            true => vec![
                "nsenter".to_owned(),
                format!("--net={}", self.file().display()),
            ],
            false => self.entrance(),
        };
        words.push("--".to_owned());
        words
    }

    /// The file that stands for the namespace, for those who may enter it themselves.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid()))
    }

    /// A process that lives in the namespace as long as it exists.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.process.pid()
    }

    /// Lets every packet of the loopback vanish, those of connected sessions too, without a word
    /// to anybody, until [`heal`](Self::heal).
    pub fn black_hole(&self) {
        self.set_loopback("down");
    }

    /// Lets packets pass again; sessions that the black hole did not outlive go on.
    pub fn heal(&self) {
        self.set_loopback("up");
    }

    /// Returns how many packets were sent over the loopback, in either direction, since it is there.
    ///
    /// # Panics
    ///
    /// Panics when the kernel does not tell.
    #[must_use]
    pub fn packets(&self) -> u64 {
        loopback_packets(&self.pid().to_string())
    }

    /// The words that put a command of the servers' account inside; it is root of the namespace.
    pub(crate) fn entrance(&self) -> Vec<String> {
        let target = format!("--target={}", self.pid());
        [
            "nsenter",
            &target,
            "--user",
            "--net",
            "--preserve-credentials",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn set_loopback(&self, state: &str) {
        let entrance = self.entrance();
        let words = entrance.iter().map(String::as_str);
        let words = words.chain(["ip", "link", "set", "lo", state]);
        let words: Vec<&OsStr> = words.map(OsStr::new).collect();
        account::run(Path::new("env"), &words, "");
    }
}

/// The packets that the loopback has carried in the network of a process: its number, or `self`.
///
/// # Panics
///
/// Panics when the kernel does not tell.
#[must_use]
pub fn loopback_packets(process: &str) -> u64 {
    let counters = fs::read_to_string(format!("/proc/{process}/net/dev"));
    let counters = counters.expect("a namespace has counters");
    let loopback = counters
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"));
    // Each packet is received as well as sent; the tenth number counts those sent.
    loopback
        .and_then(|numbers| numbers.split_whitespace().nth(9)?.parse().ok())
        .expect("a namespace has a loopback")
}
