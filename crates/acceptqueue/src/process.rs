//! Whose a socket is: the processes that hold it, found by walking through their descriptors.
//!
//! Only the processes of the same user may be looked into without privileges; the others are
//! counted. The walk costs about 2 µs per descriptor of the machine, so it is for people who ask,
//! not for each probe.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessState {
    /// It runs, sleeps, or waits for work.
    Alive,
    /// It waits for a disk, and cannot be disturbed.
    Waiting,
    /// It was stopped by a signal or a debugger: it accepts nothing until it is continued.
    Stopped,
    /// It has ended.
    Dead,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, of 15 bytes at most; control characters are escaped.
    pub command: String,
    /// What it did when it was looked at.
    pub state: ProcessState,
}

impl Process {
    /// Looks at a process; everybody may.
    #[must_use]
    pub fn look_at(pid: u32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(pid, &String::from_utf8_lossy(&stat))
    }

    /// Reads `/proc/PID/stat`: the command stands in parentheses and may hold anything.
    #[must_use]
    pub fn parse(pid: u32, stat: &str) -> Option<Self> {
        let (_, rest) = stat.split_once('(')?;
        let (command, rest) = rest.rsplit_once(')')?;
        let state = match rest.trim_start().chars().next()? {
            'T' | 't' => ProcessState::Stopped,
            'D' => ProcessState::Waiting,
            'Z' | 'X' | 'x' => ProcessState::Dead,
            _ => ProcessState::Alive,
        };
        let escape = |letter: char| match letter.is_control() {
            true => letter.escape_default().to_string(),
            false => letter.to_string(),
        };
        Some(Self {
            pid,
            command: command.chars().map(escape).collect(),
            state,
        })
    }
}

/// Which processes hold which sockets.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    by_inode: BTreeMap<u32, Vec<Process>>,
    /// How many processes could not be looked into: other users'.
    pub hidden: usize,
}

impl Owners {
    /// Looks for the holders of these sockets in all processes.
    ///
    /// # Errors
    ///
    /// Fails where there is no /proc.
    pub fn find(inodes: &BTreeSet<u32>) -> io::Result<Self> {
        let mut owners = Self::default();
        if inodes.is_empty() {
            return Ok(owners);
        }
        for pid in pids()? {
            match held_by(pid, inodes) {
                Ok(held) if held.is_empty() => {}
                Ok(held) => owners.add(pid, held),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    owners.hidden += 1;
                }
                // It ended meanwhile.
                Err(_) => {}
            }
        }
        Ok(owners)
    }

    /// Those that hold this socket, by their numbers. None of a socket that exists means that its
    /// holders are hidden, or that it was closed meanwhile.
    #[must_use]
    pub fn of(&self, inode: u32) -> &[Process] {
        self.by_inode.get(&inode).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, pid: u32, held: BTreeSet<u32>) {
        let Some(process) = Process::look_at(pid) else {
            return;
        };
        for inode in held {
            self.by_inode
                .entry(inode)
                .or_default()
                .push(process.clone());
        }
    }
}

/// The processes that can be seen, in the order of their numbers.
pub(crate) fn pids() -> io::Result<BTreeSet<u32>> {
    let entries = fs::read_dir("/proc")?;
    let names = entries.flatten().map(|entry| entry.file_name());
    Ok(names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect())
}

fn held_by(pid: u32, inodes: &BTreeSet<u32>) -> io::Result<BTreeSet<u32>> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed while one looks.
        let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else {
            continue;
        };
        let inode = target.to_str().and_then(socket_inode);
        held.extend(inode.filter(|inode| inodes.contains(inode)));
    }
    Ok(held)
}

/// `socket:[4242]`.
fn socket_inode(target: &str) -> Option<u32> {
    let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    inode.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_hold_anything_and_the_state_follows_it() {
        let process = Process::parse(7, "7 (a) T (\x1b[b) S 1 7").unwrap();
        assert_eq!(
            (process.command.as_str(), process.state),
            ("a) T (\\u{1b}[b", ProcessState::Alive)
        );
        let process = Process::parse(7, "7 (mariadbd) T 1 7").unwrap();
        assert_eq!(process.state, ProcessState::Stopped);
        assert_eq!(Process::parse(7, "7 (mariadbd"), None);
    }

    #[test]
    fn descriptors_that_are_no_sockets_have_no_inode() {
        assert_eq!(socket_inode("socket:[4242]"), Some(4242));
        assert_eq!(socket_inode("pipe:[4242]"), None);
        assert_eq!(socket_inode("/tmp/socket:[1]"), None);
    }
}
