//! A process held by a descriptor, so that no signal can reach a stranger who inherited its number.
//!
//! PostgreSQL is a family of processes, MariaDB a single one: [`Process::freeze`],
//! [`Process::thaw`] and [`Process::kill`] act on a process with all its descendants and return
//! when the kernel has carried the order out. Called by the guarded servers only.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::clock::{Deadline, eventually};

/// How long the kernel may take to stop or to end processes.
const OBEDIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    handle: OwnedFd,
}

impl Process {
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, handle })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal; a process that is gone already has no use for it.
    pub(crate) fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => panic!("cannot send {signal:?} to process {}: {error}", self.pid()),
        }
    }

    /// Waits until the process has ended, reaped or not, and says whether it did in time.
    pub(crate) fn wait_gone(&self, timeout: Duration) -> bool {
        let deadline = Deadline::after(timeout);
        loop {
            let left = Timespec::try_from(deadline.remaining()).expect("a timeout is short");
            let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
            match poll(&mut handles, Some(&left)) {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) => {}
                Err(error) => panic!("cannot wait for process {}: {error}", self.pid()),
            }
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.wait_gone(Duration::ZERO)
    }

    /// Stops the process and its descendants; returns when each of their threads stands still.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let descendants = self.descendants();
        descendants
            .iter()
            .for_each(|process| process.signal(Signal::STOP));
        let stopped = || self.is_stopped() && descendants.iter().all(Self::is_stopped);
        assert!(
            eventually(OBEDIENCE, stopped),
            "process {} cannot be stopped",
            self.pid()
        );
    }

    /// Lets a frozen process and its descendants go on.
    pub(crate) fn thaw(&self) {
        self.descendants()
            .iter()
            .for_each(|process| process.signal(Signal::CONT));
        self.signal(Signal::CONT);
    }

    /// Ends the process and its descendants at once; returns when all of them are gone.
    pub(crate) fn kill(&self) {
        // Stopped first, so that it neither starts more children nor notices the loss of one.
        self.signal(Signal::STOP);
        let descendants = self.descendants();
        for process in [self].into_iter().chain(&descendants) {
            process.signal(Signal::KILL);
        }
        for process in [self].into_iter().chain(&descendants) {
            assert!(
                process.wait_gone(OBEDIENCE),
                "process {} survives SIGKILL",
                process.pid()
            );
        }
    }

    fn descendants(&self) -> Vec<Self> {
        let mut descendants = children(self.pid);
        let mut visited = 0;
        while visited < descendants.len() {
            let grandchildren = children(descendants[visited].pid);
            descendants.extend(grandchildren);
            visited += 1;
        }
        descendants
    }

    fn is_stopped(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid())) else {
            return self.is_gone();
        };
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // Stopped (T), dead (X, Z) or gone while we looked.
            fields(&stat)
                .next()
                .is_none_or(|state| matches!(state, "T" | "X" | "Z"))
        })
    }
}

fn children(parent: Pid) -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw)
        .filter_map(|pid| open_child(pid, parent))
        .collect()
}

/// Opens a process if it is a child of `parent`; the second look excludes a recycled number.
fn open_child(pid: Pid, parent: Pid) -> Option<Process> {
    if parent_of(pid)? != parent {
        return None;
    }
    let process = Process::open(pid).ok()?;
    (parent_of(pid)? == parent).then_some(process)
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    Pid::from_raw(fields(&stat).nth(1)?.parse().ok()?)
}

/// The fields of a `stat` file from the state on; the command's name before may hold anything.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn a_commands_name_may_look_like_the_rest_of_the_line() {
        let mut fields = fields("42 (a) S 1 (b) T 7 42 42 0");
        assert_eq!((fields.next(), fields.next()), (Some("T"), Some("7")));
    }

    #[test]
    fn a_process_that_vanished_has_no_fields() {
        assert_eq!(fields("").next(), None);
    }
}
