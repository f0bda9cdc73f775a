//! What is PostgreSQL's own: its roles, its recovery, its sessions.

use std::process::{Command, Output};
use std::time::Duration;

use dbvitals_testkit::{Postgres, PostgresOptions, RealServer as _, eventually, require_servers};

/// Runs `psql` over TCP as one of the roles.
fn psql(server: &Postgres, role: &str, statement: &str) -> Output {
    command(server, role, statement)
        .output()
        .expect("psql can be started")
}

fn command(server: &Postgres, role: &str, statement: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.args([
        "--no-psqlrc",
        "--no-align",
        "--tuples-only",
        "--no-password",
    ])
    .args(["--host=127.0.0.1", &format!("--port={}", server.port())])
    .args([
        "--dbname=vitals",
        &format!("--username={role}"),
        "--command",
        statement,
    ])
    .env("LC_ALL", "C");
    psql
}

#[test]
fn each_role_logs_in_its_own_way() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    for role in ["vitals", "vitals_md5", "vitals_clear", "vitals_trust"] {
        let mut with_password = command(&server, role, "SELECT current_user");
        let output = with_password
            .env("PGPASSWORD", "secret")
            .output()
            .expect("psql");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            role,
            "{output:?}"
        );
        let without = psql(&server, role, "SELECT 1");
        assert_eq!(
            without.status.success(),
            role == "vitals_trust",
            "{without:?}"
        );
    }
    let stored = server.sql("SELECT left(rolpassword, 3) FROM pg_authid WHERE rolname = 'vitals'");
    assert_eq!(stored, "SCR");
}

#[test]
fn settings_and_admission_reach_the_server() {
    require_servers!();
    let server = Postgres::start(PostgresOptions {
        settings: vec![("cluster_name".to_owned(), "it's".to_owned())],
        hba: vec!["host all vitals_trust all reject".to_owned()],
        first_sql: "CREATE TABLE orders ()".to_owned(),
        ..Default::default()
    });
    assert_eq!(server.sql("SHOW cluster_name"), "it's");
    assert_eq!(server.sql("SELECT to_regclass('orders')"), "orders");
    let refused = psql(&server, "vitals_trust", "SELECT 1");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pg_hba.conf rejects"));
    assert!(server.socket_path().exists());
}

#[test]
fn a_replaying_server_is_starting_up_until_it_may_finish() {
    require_servers!();
    let server = Postgres::start_replaying(PostgresOptions::default());
    let pid = server.pid();
    for _ in 0..3 {
        let refused = psql(&server, "vitals_trust", "SELECT 1");
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            message.contains("the database system is starting up"),
            "{message}"
        );
    }
    server.finish_replay();
    assert_eq!(server.sql("SELECT pg_is_in_recovery()"), "f");
    assert_eq!(server.pid(), pid);
}

#[test]
fn a_replaying_server_can_be_killed_and_started_again() {
    require_servers!();
    let server = Postgres::start_replaying(PostgresOptions::default());
    server.kill();
    std::fs::remove_file(server.directory().join("replaying")).expect("a replaying server");
    server.start_again();
    assert_eq!(server.sql("SELECT 1"), "1");
}

#[test]
fn a_freeze_reaches_sessions_and_a_termination_ends_them() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    let mut session = command(
        &server,
        "vitals_trust",
        "SELECT pg_sleep(0.5), pg_sleep(60)",
    );
    let mut session = session.spawn().expect("psql can be started");
    let backend = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    let backend = || server.sql(backend);
    assert!(eventually(Duration::from_secs(10), || !backend().is_empty()));
    let status = format!("/proc/{}/status", backend());

    server.freeze();
    let status = std::fs::read_to_string(status).expect("the session lives");
    assert!(status.contains("State:\tT (stopped)"), "{status}");
    server.thaw();
    server.terminate_all_sessions();
    assert!(!session.wait().expect("psql ends").success());
}
