//! `dbvitals serve` without arguments: it finds what listens on this machine.
//!
//! These tests run in a network namespace of their own, where nobody else's servers are found or
//! disturbed: the test starts itself again inside `unshare --net`. That takes root; without it
//! they are left out and say so.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, eventually,
    require_servers,
};

use crate::agent::{Agent, PATIENCE, serve};
use crate::alone;

/// Set for the copy of the test that runs inside the namespace.
const INSIDE: &str = "DBVITALS_TEST_IN_NAMESPACE";

/// Where a server of the system would be found without a port.
const SYSTEM_SOCKETS: [&str; 4] = [
    "/run/mysqld/mysqld.sock",
    "/tmp/mysql.sock",
    "/run/postgresql/.s.PGSQL.5432",
    "/tmp/.s.PGSQL.5432",
];

#[test]
fn servers_of_this_machine_are_found_and_watched() {
    require_servers!();
    in_own_network(
        "discovery::servers_of_this_machine_are_found_and_watched",
        || {
            let mariadb = MariaDb::start(MariaDbOptions::default());
            let postgres = Postgres::start(PostgresOptions::default());
            let names = [mariadb.address(), postgres.address()].map(|address| address.to_string());
            let log_before = mariadb.log_text();

            let agent = Agent::start(serve::<&str>([]));
            let log = agent.log();
            assert!(log.contains("found on this machine"), "{log}");
            assert!(
                log.contains("CREATE USER"),
                "how to get more is not said: {log}"
            );
            for name in &names {
                agent.wait_for_verdict(name, "up");
            }
            // Ten connects later MariaDB has still been greeted once or twice, a line each.
            let sample = format!(
                "dbvitals_probe_total{{backend=\"{}\",outcome=\"pass\",cause=\"\"}}",
                names[0]
            );
            assert!(eventually(PATIENCE, || agent.metric(&sample) >= 8.0));
            let log = mariadb.log_text();
            let lines = log.strip_prefix(&log_before).unwrap().lines().count();
            assert!((1..=2).contains(&lines), "{log}");
            let aborted = mariadb.status("Aborted_connects") + mariadb.status("Aborted_clients");
            assert!(aborted <= lines as u64, "{aborted} aborted, {lines} lines");
            agent.expect_verdicts(&["up", "up"]);
        },
    );
}

#[test]
fn where_no_server_is_found_the_agent_says_what_to_do() {
    let name = "discovery::where_no_server_is_found_the_agent_says_what_to_do";
    if let Some(socket) = SYSTEM_SOCKETS.iter().find(|path| Path::new(path).exists()) {
        leave_out(name, &format!("a server's socket is at {socket}"));
        return;
    }
    in_own_network(name, || {
        let mut command = serve(["--http", "off"]);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        for part in ["no MySQL or PostgreSQL server", "dbvitals serve mysql://"] {
            assert!(told.contains(part), "{told}");
        }
    });
}

/// Runs a test of this binary, known by its full name, in a network of its own.
fn in_own_network(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        test();
        return;
    }
    let possible = Command::new("unshare")
        .args(["--net", "ip", "link", "set", "lo", "up"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !possible {
        leave_out(name, "it needs root, unshare and ip");
        return;
    }
    alone(|| {
        let status = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && exec \"$0\" \"$@\"",
            ])
            .arg(env::current_exe().expect("this program has a path"))
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status();
        assert!(status.expect("unshare was there a moment ago").success());
    });
}

/// Says past the capture of test output that a test did not happen.
fn leave_out(name: &str, why: &str) {
    let _ = writeln!(io::stderr(), "left out: {name}: {why}");
}
