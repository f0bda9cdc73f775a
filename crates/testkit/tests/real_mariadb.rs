//! What is MariaDB's own: its user, its counters, its options, its sessions.

use std::panic::catch_unwind;
use std::process::{Command, Stdio};
use std::time::Duration;

use dbvitals_testkit::{MariaDb, MariaDbOptions, RealServer as _, eventually, require_servers};

/// The `mariadb` client over TCP, as the user `vitals`.
fn client(server: &MariaDb, statement: &str) -> Command {
    let mut client = Command::new("mariadb");
    client
        .args([
            "--no-defaults",
            "--host=127.0.0.1",
            "--user=vitals",
            "--password=secret",
        ])
        .args([
            "--batch",
            "--skip-column-names",
            &format!("--port={}", server.port()),
        ])
        .args(["--execute", statement])
        .stderr(Stdio::null());
    client
}

#[test]
fn vitals_logs_in_over_tcp_and_may_do_nothing() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions::default());
    let output = client(&server, "SELECT CURRENT_USER()")
        .output()
        .expect("a client");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "vitals@%");
    assert!(
        server
            .sql("SHOW GRANTS FOR vitals")
            .starts_with("GRANT USAGE ON *.*")
    );
    let refused = client(&server, "SELECT user FROM mysql.user")
        .status()
        .expect("a client");
    assert!(!refused.success());
}

#[test]
fn options_reach_the_server_and_counters_come_back() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions {
        arguments: vec!["--max-connections=17".to_owned()],
        first_sql: "CREATE DATABASE orders".to_owned(),
        ..Default::default()
    });
    assert_eq!(server.sql("SELECT @@max_connections"), "17");
    assert!(
        server
            .sql("SHOW DATABASES")
            .lines()
            .any(|name| name == "orders")
    );
    let before = server.status("Connections");
    assert_eq!(server.status("Connections"), before + 1);
    assert!(server.socket_path().exists());
}

#[test]
fn sessions_can_be_killed_from_the_servers_side() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions::default());
    let mut session = client(&server, "SELECT SLEEP(60)")
        .spawn()
        .expect("a client");
    let sessions = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT S%'
                    AND user = 'vitals'";
    assert!(eventually(Duration::from_secs(10), || server.sql(sessions) == "1"));
    server.kill_all_sessions();
    assert!(!session.wait().expect("the client ends").success());
}

#[test]
fn a_server_that_does_not_start_panics_with_its_log() {
    require_servers!();
    let arguments = vec!["--no-such-option=1".to_owned()];
    let options = MariaDbOptions {
        arguments,
        ..Default::default()
    };
    let panic = catch_unwind(|| MariaDb::start(options)).expect_err("a server without a start");
    let message = panic.downcast::<String>().expect("a formatted message");
    assert!(
        message.contains("unknown variable 'no-such-option=1'"),
        "{message}"
    );
}
