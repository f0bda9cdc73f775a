//! A session of the superuser that stays open and holds its locks, from `hold` until it is dropped.
//!
//! It is a client process that waits for more input, so it ends with the test, however the test
//! ends: then its input is closed. Made by `MariaDb::hold` and `Postgres::hold`, and by what they
//! block on order.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::account;

/// What the session prints once its statements are done.
const DONE: &str = "held";

/// An open session of the superuser; dropping it ends it, and the server undoes what it held.
#[derive(Debug)]
#[must_use = "what a session holds is let go when it is dropped"]
pub struct HeldSession {
    client: Child,
}

impl HeldSession {
    /// Runs statements and leaves the session open.
    ///
    /// # Panics
    ///
    /// Panics when a statement fails. It waits for as long as the statements take.
    pub(crate) fn open(client: &Path, arguments: &[String], statements: &str) -> Self {
        let mut client = account::command(client)
            .args(arguments.iter().map(OsStr::new))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", client.display()));
        let input = client.stdin.as_mut().expect("standard input is a pipe");
        let written = writeln!(input, "{statements};\nSELECT '{DONE}';");
        let output = client.stdout.take().expect("standard output is a pipe");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let done = written.is_ok() && lines.any(|line| line == DONE);
        let session = Self { client };
        assert!(
            done,
            "a session cannot run {statements:?}; its error is above"
        );
        session
    }
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        // A client in the middle of a statement would not see the end of its input.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
