//! What can be blocked on order, what hangs then, and that it is undone.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, eventually,
    require_servers,
};

/// How long a client has to stand still to count as hanging.
const STILL: Duration = Duration::from_millis(500);

/// A client of a user without privileges, over TCP.
fn client(program: &str, arguments: &[&str], statement: [&str; 2]) -> Child {
    Command::new("timeout")
        .args(["30", program])
        .args(arguments)
        .args(statement)
        .env("LC_ALL", "C")
        .env("PGPASSWORD", "secret")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a client can be started")
}

fn mariadb(server: &MariaDb, user: &str, statement: &str) -> Child {
    let port = format!("--port={}", server.port());
    let socket = format!("--socket={}", server.socket_path().display());
    let options = ["--no-defaults", "--batch", "--skip-column-names"];
    let login = match user {
        "root" => [&socket, "--user=root", "--protocol=socket", "--unbuffered"],
        _ => [
            &port,
            "--user=vitals",
            "--password=secret",
            "--host=127.0.0.1",
        ],
    };
    client(
        "mariadb",
        &[&options[..], &login].concat(),
        ["--execute", statement],
    )
}

fn psql(server: &Postgres, role: &str, statement: &str) -> Child {
    let port = format!("--port={}", server.port());
    let role = format!("--username={role}");
    let options = [
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--host=127.0.0.1",
    ];
    let login = [&port, &role, "--dbname=vitals"];
    client(
        "psql",
        &[&options[..], &login].concat(),
        ["--command", statement],
    )
}

fn hangs(client: &mut Child) -> bool {
    let ended = || client.try_wait().expect("a child").is_some();
    !eventually(STILL, ended)
}

fn succeeds(client: Child) -> String {
    let output = client.wait_with_output().expect("the client ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn shop() -> MariaDb {
    MariaDb::start(MariaDbOptions {
        first_sql: "CREATE DATABASE shop; CREATE TABLE shop.t (i INT PRIMARY KEY)".to_owned(),
        ..Default::default()
    })
}

#[test]
fn a_mariadb_whose_writes_are_blocked_reads_on() {
    require_servers!();
    let server = shop();
    for block in [MariaDb::block_writes, MariaDb::block_commits] {
        let held = block(&server);
        assert_eq!(server.sql("SELECT COUNT(*) FROM shop.t"), "0");
        assert_eq!(server.sql("SELECT @@global.read_only"), "0");
        let mut write = mariadb(&server, "root", "REPLACE INTO shop.t VALUES (1)");
        assert!(hangs(&mut write));
        let state = "SELECT state FROM information_schema.processlist WHERE info LIKE 'REPLACE%'";
        assert_eq!(server.sql(state), "Waiting for backup lock");
        drop(held);
        succeeds(write);
        assert_eq!(
            server.sql("DELETE FROM shop.t; SELECT COUNT(*) FROM shop.t"),
            "0"
        );
    }
}

#[test]
fn a_blocked_mariadb_says_1205_to_who_does_not_want_to_wait() {
    require_servers!();
    let server = shop();
    for block in [MariaDb::block_writes, MariaDb::block_commits] {
        let held = block(&server);
        for (write, is_refused) in [
            ("REPLACE INTO shop.t VALUES (1)", true),
            ("CREATE TABLE IF NOT EXISTS shop.more (i INT)", true),
            // Nothing to do, so nothing to wait for.
            ("CREATE TABLE IF NOT EXISTS shop.t (i INT)", false),
        ] {
            let write = format!("SET STATEMENT lock_wait_timeout = 1 FOR {write}");
            let output = mariadb(&server, "root", &write).wait_with_output();
            let error = String::from_utf8(output.expect("the client ends").stderr);
            let error = error.expect("UTF-8");
            assert_eq!(
                error.contains("ERROR 1205 (HY000)"),
                is_refused,
                "{write}: {error}"
            );
        }
        drop(held);
    }
}

#[test]
fn a_mariadb_whose_new_sessions_are_blocked_answers_the_login_and_no_more() {
    require_servers!();
    let server = shop();
    let block = server.block_new_sessions();
    // Not a word to the server follows the login.
    let login = mariadb(&server, "vitals", "\\! echo in");
    assert_eq!(succeeds(login), "in");
    let mut session = mariadb(&server, "vitals", "SELECT 1");
    assert!(hangs(&mut session));
    drop(block);
    assert!(!session.wait().expect("the client ends").success());
    assert_eq!(succeeds(mariadb(&server, "vitals", "SELECT 1")), "1");
}

#[test]
fn a_postgres_whose_logins_are_blocked_lets_nobody_in() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    let block = server.block_logins();
    let mut logins =
        ["vitals", "vitals_trust", "vitals_md5"].map(|role| psql(&server, role, "SELECT 1"));
    for login in &mut logins {
        assert!(hangs(login));
    }
    drop(block);
    for login in logins {
        assert_eq!(succeeds(login), "1");
    }
}

#[test]
fn a_postgres_whose_standby_is_missing_reads_and_does_not_commit() {
    require_servers!();
    let server = Postgres::start(PostgresOptions {
        first_sql: "CREATE TABLE t (i int); GRANT ALL ON t TO vitals".to_owned(),
        ..Default::default()
    });
    let block = server.block_commits();
    assert_eq!(server.sql("SELECT count(*) FROM t"), "0");
    let mut write = psql(&server, "vitals", "INSERT INTO t VALUES (1)");
    assert!(hangs(&mut write));
    let waits = "SELECT wait_event FROM pg_stat_activity WHERE query LIKE 'INSERT%'";
    assert_eq!(server.sql(waits), "SyncRep");
    drop(block);
    succeeds(write);
    assert_eq!(server.sql("SELECT count(*) FROM t"), "1");
}
