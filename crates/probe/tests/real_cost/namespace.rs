//! A network of its own for a test that wants to see packets.
//!
//! Root may look at the loopback as it is. Everybody else runs the test once more inside of a user
//! and a network namespace, where the kernel lets them: no thread can move there by itself without
//! `unsafe`, so `unshare`, of util-linux, starts this same program again for this one test.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use crate::capture::Capture;

/// Set for the run inside.
const INSIDE: &str = "DBVITALS_COST_INSIDE";
const REQUIRE: &str = "DBVITALS_REQUIRE_SERVERS";

const ENTER: [&str; 4] = ["--user", "--map-current-user", "--keep-caps", "--net"];

/// Whether the test `name` is to be run here and now; where not, it was run inside, or left out.
pub(crate) fn is_here(name: &str) -> bool {
    let Err(error) = Capture::start(0) else {
        return true;
    };
    assert!(
        env::var_os(INSIDE).is_none(),
        "no packets to be seen in a network of our own: {error}"
    );
    match can_enter() {
        Ok(()) => run_inside(name),
        Err(why) => {
            let required = env::var(REQUIRE).is_ok_and(|value| value == "1");
            assert!(!required, "{REQUIRE}=1, but packets cannot be seen: {why}");
            let why = format!("needs root or user namespaces, to see packets ({why})");
            dbvitals_testkit::left_out(name, &why);
        }
    }
    false
}

fn can_enter() -> io::Result<()> {
    let output = Command::new("unshare")
        .args(ENTER)
        .args(["ip", "link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

fn run_inside(name: &str) {
    let program = env::current_exe().expect("a running program has a path");
    let output = Command::new("unshare")
        .args(ENTER)
        .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "the test failed inside of its network:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
