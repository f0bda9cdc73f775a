//! Runs dbvitals as people run it, to its end, and keeps what it said.
//!
//! A run starts without any password in its environment, whatever the developer's holds. None of
//! the passwords that the tests use may ever be printed, so every run is searched for them.

use std::process::{Command, Output, Stdio};

/// The passwords of all tests: the servers', and wrong ones.
const SECRETS: [&str; 2] = ["secret", "hunter2"];

/// What one run left: its exit code and its output.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program with these arguments, ready to be run.
pub(crate) fn dbvitals(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbvitals"));
    command
        .args(arguments)
        .env_remove("DBVITALS_PASSWORD")
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("DBVITALS_AGENT")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

impl Run {
    /// Runs the program to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("dbvitals can be started");
        Self::ended(output)
    }

    /// What a run left that has ended.
    pub(crate) fn ended(output: Output) -> Self {
        let run = Self {
            code: output.status.code().expect("no signal ends dbvitals"),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        };
        for secret in SECRETS {
            let printed = run.stdout.contains(secret) || run.stderr.contains(secret);
            assert!(!printed, "the password {secret} is printed: {run:?}");
        }
        run
    }
}
