//! What real servers do when a disk is full, which is not what one expects.
//!
//! An update of one row that exists needs no room in the tables of either product. What needs room
//! is the log of changes: MariaDB waits for it without end and without an error, PostgreSQL goes
//! down.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, SmallDisk, eventually,
    require_namespaces,
};

const PATIENCE: Duration = Duration::from_secs(20);

const MARIADB_WRITE: &str =
    "INSERT INTO shop.beat VALUES (1, NOW(6)) ON DUPLICATE KEY UPDATE at = NOW(6)";
const POSTGRES_WRITE: &str =
    "INSERT INTO beat VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET at = now()";

fn mariadb(directory: &str, size_mib: u32, arguments: &[&str]) -> MariaDb {
    MariaDb::start(MariaDbOptions {
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        first_sql: format!(
            "CREATE DATABASE shop;
             CREATE TABLE shop.beat (id INT PRIMARY KEY, at DATETIME(6)) ENGINE=InnoDB;
             {MARIADB_WRITE}"
        ),
        disk: Some(SmallDisk {
            directory: directory.to_owned(),
            size_mib,
        }),
        ..Default::default()
    })
}

fn postgres(directory: &str, size_mib: u32) -> Postgres {
    Postgres::start(PostgresOptions {
        first_sql: format!(
            "CREATE TABLE beat (id int PRIMARY KEY, at timestamptz); {POSTGRES_WRITE}"
        ),
        settings: vec![("max_wal_size".to_owned(), "32MB".to_owned())],
        disk: Some(SmallDisk {
            directory: directory.to_owned(),
            size_mib,
        }),
        ..Default::default()
    })
}

/// The client of MariaDB, on a statement that may fail or hang.
fn start_mariadb(server: &MariaDb, statements: &str) -> Child {
    Command::new("timeout")
        .args(["20", "mariadb", "--no-defaults", "--user=root", "--batch"])
        .arg(format!("--socket={}", server.socket_path().display()))
        .args(["--execute", statements])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a client can be started")
}

fn mariadb_error(server: &MariaDb, statements: &str) -> String {
    let output = start_mariadb(server, statements).wait_with_output();
    String::from_utf8_lossy(&output.expect("a client").stderr).into_owned()
}

/// Runs psql, which tells SQLSTATEs here.
fn psql(server: &Postgres, statements: &str) -> Output {
    Command::new("psql")
        .args(["--no-psqlrc", "--username=postgres", "--dbname=vitals"])
        .args(["--set=VERBOSITY=verbose", "--tuples-only", "--no-align"])
        .arg(format!("--host={}", server.socket_directory().display()))
        .arg(format!("--port={}", server.port()))
        .args(["--command", statements])
        .env("LC_ALL", "C")
        .output()
        .expect("psql can be started")
}

fn postgres_error(server: &Postgres, statements: &str) -> String {
    String::from_utf8_lossy(&psql(server, statements).stderr).into_owned()
}

#[test]
fn a_full_disk_without_a_binary_log_does_not_stop_a_mariadb_that_updates_a_row() {
    require_namespaces!();
    let server = mariadb("data", 64, &[]);
    server.fill_disk();
    server.sql(&format!("{MARIADB_WRITE};").repeat(3000));
    // What needs a file or a page more is refused, each in its own way.
    let error = mariadb_error(&server, "CREATE TABLE shop.more (id INT)");
    assert!(error.contains("ERROR 3 (HY000)"), "{error}");
    assert!(error.contains("Errcode: 28"), "{error}");
    let many = "INSERT INTO shop.beat SELECT seq, NOW() FROM shop.seq_2_to_20000";
    let error = mariadb_error(&server, many);
    assert!(error.contains("ERROR 1114 (HY000)"), "{error}");
    // A table that exists is no news, so nothing has to be written.
    let error = mariadb_error(&server, "CREATE TABLE IF NOT EXISTS shop.beat (id INT)");
    assert_eq!(error, "");

    server.free_disk();
    server.sql(many);
}

#[test]
fn a_full_disk_under_the_binary_log_hangs_a_mariadb_that_writes() {
    require_namespaces!();
    let arguments = ["--log-bin=../binlog/bin"];
    let server = mariadb("binlog", 1, &arguments);
    server.fill_disk();
    // The last page of the log has room for some.
    let writer = start_mariadb(&server, &format!("{MARIADB_WRITE};").repeat(100));
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist
                   WHERE state = 'Waiting for someone to free space'";
    assert!(eventually(PATIENCE, || server.sql(waiting) == "1"));
    assert!(
        server
            .log_text()
            .contains("Waiting for someone to free space")
    );
    // Reads are answered; other writes wait for the one that waits.
    assert_eq!(server.sql("SELECT COUNT(*) FROM shop.beat"), "1");
    let mut second = start_mariadb(&server, "CREATE TABLE shop.more (id INT)");
    let queued = "SELECT COUNT(*) FROM information_schema.processlist
                  WHERE info LIKE 'CREATE TABLE%' AND state = 'Writing to binlog'";
    assert!(eventually(PATIENCE, || server.sql(queued) == "1"));

    // Only a KILL brings the error to light; room is noticed up to a minute after it is made.
    let kill = "SELECT id FROM information_schema.processlist
                WHERE state = 'Waiting for someone to free space'";
    server.sql(&format!("KILL QUERY {}", server.sql(kill)));
    let error = writer.wait_with_output().expect("the client ends").stderr;
    let error = String::from_utf8_lossy(&error);
    assert!(error.contains("ERROR 3 (HY000)"), "{error}");
    assert!(error.contains("Errcode: 28"), "{error}");
    assert!(second.try_wait().expect("a child").is_none());
    second.kill().expect("the client hangs");
    second.wait().expect("the client ends");
}

#[test]
fn a_full_disk_does_not_stop_a_postgres_that_updates_a_row() {
    require_namespaces!();
    let server = postgres("data", 100);
    server.fill_disk();
    server.sql(&format!("{POSTGRES_WRITE};\n").repeat(1000));
    for refused in [
        "CREATE TABLE more (id int PRIMARY KEY)",
        "INSERT INTO beat SELECT n, now() FROM generate_series(2, 100000) n",
    ] {
        let error = postgres_error(&server, refused);
        assert!(error.contains("ERROR:  53100: could not"), "{error}");
    }
    server.free_disk();
    server.sql("CREATE TABLE more (id int PRIMARY KEY)");
}

#[test]
fn a_full_disk_under_its_log_takes_a_postgres_down() {
    require_namespaces!();
    let server = postgres("data/pg_wal", 17);
    server.fill_disk();
    server.sql(POSTGRES_WRITE);
    server.sql("SELECT pg_switch_wal()");
    let error = postgres_error(&server, POSTGRES_WRITE);
    assert!(error.contains("PANIC:  53100: could not write"), "{error}");
    // It wants to recover at once, has no room for that either, and gives up.
    let is_down = || server.log_text().contains("database system is shut down");
    assert!(eventually(PATIENCE, is_down), "{}", server.log_text());
}
