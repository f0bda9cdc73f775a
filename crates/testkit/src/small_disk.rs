//! A disk of a given size for one directory of a server, to be filled up and freed.
//!
//! The disk is a tmpfs in a mount namespace that only the server's processes are in, so it is gone
//! when they are: a server that was killed and started again finds the directory as it was before
//! its first start. It takes no privileges, but some kernels and containers forbid it: ask
//! [`require_namespaces!`](crate::require_namespaces) before.
//!
//! What real servers do on a full disk is not what one expects (MariaDB 10.11, PostgreSQL 15; the
//! tests in `real_small_disk.rs` prove it):
//!
//! - An update of one row that exists, by the thousand, succeeds on both, as it needs no more room.
//! - MariaDB: `CREATE TABLE` gets error 3 with `Errcode: 28`, an insert of many rows 1114. With the
//!   binary log on the full disk a write hangs, "Waiting for someone to free space", and all others
//!   behind it, "Writing to binlog"; reads go on. `max_statement_time` does not end it. A `KILL
//!   QUERY` does, with error 3 and `Errcode: 28`; else it notices room within a minute.
//! - PostgreSQL: `CREATE TABLE` and an insert of many rows get 53100. With `pg_wal` on the full disk
//!   the first write after the end of a segment is a PANIC, also 53100; all sessions end, the
//!   recovery that follows fails too, and the server is down.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account;
use crate::network::Network;

/// Run as root of a user namespace, with the directory, the size and the server's command.
///
/// The server gets another user namespace inside, as neither product likes to be root.
const MOUNT: &str = "mkdir -p \"$1\" \"$1.disk\" \
    && mount -t tmpfs -o \"size=$2,mode=0700\" tmpfs \"$1.disk\" \
    && cp -a \"$1/.\" \"$1.disk/\" \
    && mount --bind \"$1.disk\" \"$1\" \
    && shift 2 && exec \"$@\"";

/// Run as root of a user namespace, with the directory, the size and any command.
const MOUNT_EMPTY: &str =
    "mount -t tmpfs -o \"size=$2,mode=0700\" tmpfs \"$1\" && shift 2 && exec \"$@\"";

/// Inside of a namespace whose root one is: becomes an ordinary user.
const AS_USER: [&str; 4] = ["unshare", "--user", "--map-user=65534", "--map-group=65534"];

/// Which directory of a server lies on a disk of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmallDisk {
    /// Relative to the server's directory: `data`, or `binlog` with `--log-bin=../binlog/bin`.
    pub directory: String,
    /// The size, in MiB. What the directory holds at the start has to fit.
    pub size_mib: u32,
}

impl SmallDisk {
    /// Writes a file that takes all room that is left.
    pub(crate) fn fill(&self, server: u32, directory: &Path) {
        let filler = self.filler(server, directory);
        // It ends with an error, or the disk is not full.
        self.run(
            "! dd if=/dev/zero of=\"$1\" bs=4k oflag=append conv=notrunc",
            &filler,
        );
    }

    /// Removes what [`fill`](Self::fill) wrote.
    pub(crate) fn free(&self, server: u32, directory: &Path) {
        self.run("rm \"$1\"", &self.filler(server, directory));
    }

    /// The filler's path, as it is seen from outside of the namespace.
    fn filler(&self, server: u32, directory: &Path) -> String {
        format!(
            "/proc/{server}/root{}/{}/filler",
            directory.display(),
            self.directory
        )
    }

    fn run(&self, script: &str, filler: &str) {
        let words = ["-c", script, "sh", filler].map(OsStr::new);
        account::run(Path::new("/bin/sh"), &words, "");
    }
}

/// A disk for a directory of any program: empty when the program starts, gone when it ends. Ask
/// [`require_namespaces!`](crate::require_namespaces) before.
#[derive(Clone, Debug)]
pub struct EmptyDisk {
    directory: PathBuf,
    size_kib: u32,
}

impl EmptyDisk {
    /// A disk of this size at a directory, which has to exist.
    #[must_use]
    pub fn new(directory: &Path, size_kib: u32) -> Self {
        Self {
            directory: directory.to_owned(),
            size_kib,
        }
    }

    /// The command with the disk in place: the same process, arguments and environment; its
    /// standard streams are the caller's to set.
    #[must_use]
    pub fn confine(&self, command: &Command) -> Command {
        let mut confined = Command::new("unshare");
        confined
            .args(["--user", "--map-root-user", "--mount"])
            .args(["sh", "-c", MOUNT_EMPTY, "sh"])
            .arg(&self.directory)
            .arg(format!("{}k", self.size_kib))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => confined.env(name, value),
                None => confined.env_remove(name),
            };
        }
        confined
    }

    /// Takes all the room that is left to the process.
    ///
    /// # Panics
    ///
    /// Panics when the disk does not fill up.
    pub fn fill(&self, process: u32) {
        let mut filler = File::create(self.filler(process)).expect("the disk can be written");
        for _ in 0..self.size_kib {
            // In small pieces, so that no page is left.
            match filler.write_all(&[0; 1024]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
        panic!("a disk of {} KiB does not fill up", self.size_kib);
    }

    /// Gives the room back.
    ///
    /// # Panics
    ///
    /// Panics when [`fill`](Self::fill) was not called before.
    pub fn free(&self, process: u32) {
        fs::remove_file(self.filler(process)).expect("the disk was filled");
    }

    /// The filler's path, as it is seen from outside of the namespace.
    fn filler(&self, process: u32) -> String {
        format!("/proc/{process}/root{}/filler", self.directory.display())
    }
}

/// Puts a server's command on its disk and into its network; it stays one process.
pub(crate) fn confine(
    command: Vec<String>,
    directory: &Path,
    disk: Option<&SmallDisk>,
    network: Option<&Network>,
) -> Vec<String> {
    if disk.is_none() && network.is_none() {
        return command;
    }
    let mut words = match network {
        Some(network) => [network.entrance(), strings(&["unshare"])].concat(),
        None => strings(&["unshare", "--user", "--map-root-user"]),
    };
    if let Some(disk) = disk {
        // PostgreSQL's shared memory segment has to go with its data.
        words.extend(strings(&["--mount", "--ipc", "sh", "-c", MOUNT, "sh"]));
        words.push(directory.join(&disk.directory).display().to_string());
        words.push(format!("{}m", disk.size_mib));
        words.extend(strings(&["unshare"]));
    }
    words.extend(strings(&AS_USER[1..]));
    words.extend(command);
    words
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
