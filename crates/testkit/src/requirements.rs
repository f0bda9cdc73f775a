//! Whether real servers can be started here, and what happens to a test when they cannot.
//!
//! Plain `cargo test` works on a machine without databases and says of each test that it was left
//! out. `scripts/test` installs the servers and sets `DBVITALS_REQUIRE_SERVERS`, which turns every
//! omission into a failure, so that nothing is left out in silence where it counts.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::account;
use crate::programs;

/// When set to `1`, a missing server fails a test instead of leaving it out.
const REQUIRE: &str = "DBVITALS_REQUIRE_SERVERS";

/// Says whether all programs of the real servers are installed, and if not, which are missing.
///
/// # Errors
///
/// The error is a sentence fragment that names the missing programs.
pub fn servers_available() -> Result<(), String> {
    let is_missing = |name: &&str| programs::find(name).is_none();
    let missing: Vec<&str> = programs::NEEDED.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("not installed: {}", missing.join(", ")))
    }
}

/// Says whether the test `name` can use real servers, and if not, tells so on standard error.
///
/// Tests call it through [`require_servers!`](crate::require_servers).
///
/// # Panics
///
/// Panics instead when servers are missing and `DBVITALS_REQUIRE_SERVERS` is `1`.
#[must_use]
pub fn servers_ready_for(name: &str) -> bool {
    let Err(missing) = servers_available() else {
        return true;
    };
    let required = env::var(REQUIRE).is_ok_and(|value| value == "1");
    assert!(!required, "{REQUIRE}=1, but {missing}: run scripts/servers");
    let why = format!("needs mariadbd and postgres; scripts/test installs them ({missing})");
    left_out(name, &why);
    false
}

/// Says whether the test `name` can use Galera, and if not, tells so on standard error.
///
/// Tests call it through [`require_galera!`](crate::require_galera).
///
/// # Panics
///
/// Panics instead when it is missing and `DBVITALS_REQUIRE_SERVERS` is `1`.
#[must_use]
pub fn galera_ready_for(name: &str) -> bool {
    if programs::find_galera().is_some() {
        return servers_ready_for(name);
    }
    lacks(name, "libgalera_smm.so", "galera-4");
    false
}

/// Says whether the test `name` can have servers in namespaces of their own, and if not, tells so
/// on standard error. No package brings them, so they are never required.
///
/// Tests call it through [`require_namespaces!`](crate::require_namespaces).
#[must_use]
pub fn namespaces_ready_for(name: &str) -> bool {
    if !servers_ready_for(name) {
        return false;
    }
    let tried = account::command("unshare")
        .args(["--user", "--map-root-user", "--mount", "--net", "--ipc"])
        .args([
            "unshare",
            "--user",
            "--map-user=65534",
            "--map-group=65534",
            "true",
        ])
        .output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let needs =
        format!("needs user, mount and network namespaces, which are forbidden here ({why})");
    left_out(name, &needs);
    false
}

/// The path of HAProxy for the test `name`, which needs real servers as well; where one of them is
/// missing, that is told on standard error.
///
/// # Panics
///
/// Panics instead when something is missing and `DBVITALS_REQUIRE_SERVERS` is `1`.
#[must_use]
pub fn haproxy_for(name: &str) -> Option<PathBuf> {
    if let Some(haproxy) = programs::find("haproxy") {
        return servers_ready_for(name).then_some(haproxy);
    }
    lacks(name, "haproxy", "haproxy");
    None
}

/// The path of PgBouncer for the test `name`, which needs real servers as well; where one of them is
/// missing, that is told on standard error.
///
/// # Panics
///
/// Panics instead when something is missing and `DBVITALS_REQUIRE_SERVERS` is `1`.
#[must_use]
pub fn pgbouncer_for(name: &str) -> Option<PathBuf> {
    if let Some(pgbouncer) = programs::find("pgbouncer") {
        return servers_ready_for(name).then_some(pgbouncer);
    }
    lacks(name, "pgbouncer", "pgbouncer");
    None
}

/// The path of Chromium for the test `name`; where there is none, that is told on standard error.
///
/// # Panics
///
/// Panics instead when it is missing and `DBVITALS_REQUIRE_SERVERS` is `1`.
#[must_use]
pub fn chromium_for(name: &str) -> Option<PathBuf> {
    let chromium = programs::CHROMIUM.into_iter().find_map(programs::find);
    if chromium.is_some() {
        return chromium;
    }
    lacks(name, "Chromium", "chromium-headless-shell");
    None
}

/// The path of the system's Python for the test `name`, which needs this module of it and real
/// servers; where one of them is missing, that is told on standard error.
///
/// # Panics
///
/// Panics instead when something is missing and `DBVITALS_REQUIRE_SERVERS` is `1`.
#[must_use]
pub fn python_for(name: &str, module: &str) -> Option<PathBuf> {
    // Packages of the system are known to the system's Python alone.
    let python = PathBuf::from("/usr/bin/python3");
    let import = format!("import {module}");
    let tried = account::command("/usr/bin/python3")
        .args(["-c", &import])
        .output();
    if tried.is_ok_and(|output| output.status.success()) {
        return servers_ready_for(name).then_some(python);
    }
    let package = format!("python3-{module}");
    lacks(name, &format!("Python's {module}"), &package);
    None
}

/// The path of Go's tools for the test `name`, which needs this package among the system's and
/// real servers; where one of them is missing, that is told on standard error.
///
/// # Panics
///
/// Panics instead when something is missing and `DBVITALS_REQUIRE_SERVERS` is `1`.
#[must_use]
pub fn go_for(name: &str, import: &str) -> Option<PathBuf> {
    let source = Path::new(GO_PATH).join("src").join(import);
    match programs::find("go").filter(|_| source.is_dir()) {
        Some(go) => servers_ready_for(name).then_some(go),
        None => {
            let debian = import.replace(['.', '/'], "-").replace("-com-", "-");
            lacks(name, "Go", &format!("golang-go, golang-{debian}-dev"));
            None
        }
    }
}

/// Where the system keeps the sources of Go's packages.
pub const GO_PATH: &str = "/usr/share/gocode";

/// Something that packages bring is missing for the test `name`: that fails it, or is told.
fn lacks(name: &str, what: &str, package: &str) {
    let required = env::var(REQUIRE).is_ok_and(|value| value == "1");
    assert!(!required, "{REQUIRE}=1, but no {what}: run scripts/servers");
    let why = format!("needs {what}; scripts/test installs it (package {package})");
    left_out(name, &why);
}

/// Says on standard error that the test `name`, or a part of it, was left out, and why: "needs …".
pub fn left_out(name: &str, why: &str) {
    // Written past the capture of test output; who cannot read it does not mind.
    let _ = writeln!(io::stderr(), "left out: {name} {why}");
}

/// Leaves the calling test, saying so, unless real servers can be started.
///
/// ```
/// fn a_frozen_server_does_not_answer() {
///     dbvitals_testkit::require_servers!();
///     // … MariaDb::start(MariaDbOptions::default())
/// }
/// # a_frozen_server_does_not_answer();
/// ```
#[macro_export]
macro_rules! require_servers {
    () => {
        $crate::require_with!($crate::servers_ready_for);
    };
}

/// Leaves the calling test, saying so, unless real servers can form a Galera cluster.
#[macro_export]
macro_rules! require_galera {
    () => {
        $crate::require_with!($crate::galera_ready_for);
    };
}

/// Leaves the calling test, saying so, unless real servers can have namespaces of their own.
#[macro_export]
macro_rules! require_namespaces {
    () => {
        $crate::require_with!($crate::namespaces_ready_for);
    };
}

/// Asks a function of this crate whether the calling test may go on, by the test's name.
#[doc(hidden)]
#[macro_export]
macro_rules! require_with {
    ($ready_for:path) => {{
        fn here() {}
        let name = ::std::any::type_name_of_val(&here).trim_end_matches("::here");
        if !$ready_for(name.trim_end_matches("::{{closure}}")) {
            return;
        }
    }};
}
