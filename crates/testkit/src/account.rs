//! The account that servers, their clients and their guardians run under.
//!
//! Neither server wants to be root. Under root, as in most containers, everything the testkit
//! starts therefore becomes `nobody`; otherwise it stays with the caller. Every program starts from
//! an empty environment, so that a developer's `PGHOST` or `MYSQL_PWD` cannot reach a test.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use rustix::process::geteuid;

/// The user and the group `nobody`, the same on every Linux.
const NOBODY: u32 = 65534;

/// How long a command that [`run`] waits for may take, in seconds.
const RUN_SECONDS_MAX: &str = "60";

/// A command that will run under the servers' account, in `/`, in the C locale.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let inherited = env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", format!("{inherited}:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("LC_ALL", "C")
        .current_dir("/");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Runs a program to its end with `input` on its standard input, and returns what it printed.
///
/// # Panics
///
/// Panics with the program's own words when it cannot be started, fails or takes too long.
pub(crate) fn run(program: &Path, arguments: &[&OsStr], input: &str) -> String {
    attempt(program, arguments, input).unwrap_or_else(|words| panic!("{words}"))
}

/// Runs a program that may fail; then its words are returned.
///
/// # Panics
///
/// Panics when it cannot be started.
pub(crate) fn attempt(program: &Path, arguments: &[&OsStr], input: &str) -> Result<String, String> {
    let mut child = command("timeout")
        .args(["--kill-after=1", RUN_SECONDS_MAX])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    // A program that ends early does not read its input; its exit status tells more than EPIPE.
    let _ = child
        .stdin
        .take()
        .expect("standard input is a pipe")
        .write_all(input.as_bytes());
    let output = child
        .wait_with_output()
        .expect("a child's output can be read");
    let [said, complained] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    match output.status.success() {
        true => Ok(said.trim_end().to_owned()),
        false => Err(format!(
            "{} ended with {} (124 stands for more than {RUN_SECONDS_MAX} s)\ninput: {input}\n{said}{complained}",
            program.display(),
            output.status,
        )),
    }
}

/// Writes a file that belongs to the servers' account and that nobody else can read.
///
/// # Panics
///
/// Panics when the file cannot be written.
pub(crate) fn write_private(path: &Path, contents: &[u8]) {
    let written = fs::write(path, contents)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)))
        .and_then(|()| {
            if geteuid().is_root() {
                chown(path, Some(NOBODY), Some(NOBODY))
            } else {
                Ok(())
            }
        });
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
