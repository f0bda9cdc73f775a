//! Nothing outlives its test: a shell process that ends a server and removes its directory.
//!
//! The guardian waits at the other end of a pipe. The kernel closes the pipe when the test process
//! ends, whether it returned, panicked or was killed, and the guardian cleans up: the server dies,
//! even a stopped one, and the directory vanishes. Dropping a [`Guardian`] does the same and waits
//! for the end. It only touches the process it started and the directory it made. A guardian need
//! not have a server: a directory of certificates or a template in the making is guarded too.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use crate::account;
use crate::process::Process;

/// How long a dropped guardian is waited for.
const CLEAN_UP: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Guardian {
    shell: Child,
    /// Closed to let the guardian clean up.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Guardian {
    /// Starts a guardian with a fresh, empty directory that belongs to the servers' account.
    ///
    /// # Panics
    ///
    /// Panics when the servers' account cannot make a directory in the system's temporary one.
    pub(crate) fn new() -> Self {
        let parent = env::temp_dir();
        // In a session of its own: out of reach of the terminal's Ctrl-C, of a runner that ends a
        // whole process group, and of the SIGHUP by which the kernel ends an orphaned group that
        // has a stopped member, as a frozen server is one.
        let mut shell = account::command("setsid")
            .args(["/bin/sh", "-c", include_str!("guardian.sh"), "guardian"])
            .arg(&parent)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("setsid, of util-linux, can be started");
        let orders = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("standard output is a pipe"));
        let mut guardian = Self {
            shell,
            orders,
            answers,
            directory: PathBuf::new(),
        };
        let directory = guardian.answer();
        assert!(
            !directory.is_empty(),
            "cannot make a directory for a test server in {}: set TMPDIR to one that everybody can \
             write, /tmp for instance",
            parent.display()
        );
        guardian.directory = PathBuf::from(directory);
        guardian
    }

    /// The directory that goes with the guardian.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the server's standard output and standard error are appended.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Starts the server; an earlier one must have been reaped.
    ///
    /// # Panics
    ///
    /// Panics when a word of the command holds a line break.
    pub(crate) fn start(&mut self, command: &[String]) -> Process {
        let mut order = format!("start {}\n", command.len());
        for word in command {
            assert!(
                !word.contains('\n'),
                "a line break in a server's argument: {word:?}"
            );
            order.push_str(word);
            order.push('\n');
        }
        self.order(&order);
        let pid = self.answer().parse().ok().and_then(Pid::from_raw);
        // The guardian is its parent and has not reaped it, so the number is still the server's.
        Process::open(pid.expect("a guardian answers with a number")).expect("the server started")
    }

    /// Frees the process number of a server that has ended.
    pub(crate) fn reap(&mut self) {
        self.order("reap\n");
        self.answer();
    }

    fn order(&mut self, order: &str) {
        let orders = self
            .orders
            .as_mut()
            .expect("a guardian takes orders until dropped");
        orders
            .write_all(order.as_bytes())
            .expect("the guardian lives");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("a guardian answers in UTF-8");
        line.trim_end().to_owned()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = Process::open(Pid::from_child(&self.shell))
            .is_ok_and(|shell| shell.wait_gone(CLEAN_UP));
        if ended {
            let _ = self.shell.wait();
        }
    }
}
