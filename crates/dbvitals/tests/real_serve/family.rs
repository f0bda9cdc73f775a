//! All processes of a server, to be signalled in one go.
//!
//! The testkit stops a server before it kills it, to be thorough. Whoever measures wants the bare
//! signal, sent to everybody at once, and the moment at which the kernel is done with them.

use std::fs;
use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};

use crate::agent::PATIENCE;
use crate::gate::GatePort;
use crate::{CRASH_BOUND, Watched, report};

/// A server's main process and its children.
#[derive(Debug)]
pub(crate) struct Family(Vec<i32>);

impl Family {
    pub(crate) fn of(server: &dyn Watched) -> Self {
        let pid = server.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let pids = format!("{pid} {}", children.expect("the kernel lists children"));
        let pids = pids.split_whitespace();
        Self(pids.map(|pid| pid.parse().expect("a number")).collect())
    }

    /// Sends a signal to all of them, the main process first.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.0.iter().copied().filter_map(Pid::from_raw) {
            // A short-lived child may have ended since.
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether the kernel has closed all that they had open.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.iter().all(|pid| has_ended(*pid))
    }
}

/// Whether a process is gone, or a zombie without a thread: its first thread may be one while
/// others still hold what it had open.
fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_zombie = |state: &str| state.starts_with(['Z', 'X']);
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    match stat.rsplit_once(") ") {
        Some((_, state)) => is_zombie(state) && threads <= 1,
        None => true,
    }
}

/// Kills a server and expects its gate to refuse soon after the kernel is done with it, which on
/// a busy machine takes the kernel its time. The figure reported is from the signal on.
pub(crate) fn crash(server: &dyn Watched, gate: &GatePort, what: &str) {
    let family = Family::of(server);
    let killed = gate.now();
    family.signal(Signal::KILL);
    let mut gone = None;
    while gate.is_open() {
        let now = gate.now();
        if gone.is_none() && family.is_gone() {
            gone = Some(now);
        }
        let late = gone.map(|gone| now.since(gone));
        assert!(
            late.is_none_or(|late| late <= CRASH_BOUND),
            "open {late:?} after the end"
        );
        assert!(now.since(killed) <= PATIENCE, "the server survives SIGKILL");
        std::thread::sleep(Duration::from_millis(1));
    }
    report(
        server,
        format_args!("{what}SIGKILL to refused"),
        gate.now().since(killed),
    );
    // A child that is still dying would keep PostgreSQL from starting again.
    assert!(eventually(PATIENCE, || family.is_gone()));
}
