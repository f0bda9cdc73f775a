//! Full disks, which do not do what one expects: `small_disk.rs` tells.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use super::database::{Database, MARIADB_GRANT, POSTGRES_GRANT};
use super::scene::Scene;
use super::truth::{
    NEXT_IN_VAIN, PING, RETURN, ROLE, SHALLOW, Truth, UP, WRITE, at, down, ms, stays, turns,
    watched,
};
use super::{Fault, Need, REAL, Stand};
use crate::account;
use crate::clock::eventually;
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::postgres::{Postgres, PostgresOptions};
use crate::real_server::RealServer as _;
use crate::small_disk::SmallDisk;

const DISK_FULL: Truth = down(&["disk_full"]);
const REFUSED: Truth = down(&["refused"]);
/// How long a server may take for one thing, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A MariaDB's table and row as the depth write has them, written to by root.
const BEAT: &str = "CREATE TABLE IF NOT EXISTS vitals.dbvitals_heartbeat
    (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, beaten_at DATETIME(6) NOT NULL) ENGINE=InnoDB;";
const WRITE_BEAT: &str = "INSERT INTO vitals.dbvitals_heartbeat (id,beaten_at)
    VALUES (1,UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE beaten_at=UTC_TIMESTAMP(6);";
const WAITING: &str = "SELECT id FROM information_schema.processlist
    WHERE state = 'Waiting for someone to free space'";

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "disk_full",
        what: "The disk of the data is full; a row that exists is still written over.",
        on: REAL,
        stage: |stand| {
            let database = match stand {
                Stand::MariaDb | Stand::ScriptedMySql => Database::from(mariadb("data", 64, &[])),
                Stand::PostgreSql | Stand::ScriptedPostgres => postgres("data", 100).into(),
            };
            Scene::at(database.url_to_write()).then(move |stage| {
                // The table for it is there already.
                let beats = [
                    BEAT,
                    "CREATE TABLE dbvitals_heartbeat
                         (id smallint PRIMARY KEY, beaten_at timestamptz NOT NULL);
                     GRANT ALL ON dbvitals_heartbeat TO vitals;
                     INSERT INTO dbvitals_heartbeat VALUES (1, now())",
                ];
                if stage.agent.is_none() {
                    database.sql(beats[usize::from(stand == Stand::PostgreSql)]);
                }
                database.fill_disk();
                stage.keep(database);
            })
        },
        checks: &[at(SHALLOW, UP), at(WRITE, UP)],
        watch: watched("write", &[], &[stays(UP, ms(3500))]),
        needs: Need::Namespaces,
        ..Fault::BLANK
    },
    Fault {
        name: "disk_full_under_log",
        what: "The disk of the binary log is full, and writes wait for room, which comes later.",
        on: &[Stand::MariaDb],
        stage: |stand| {
            let server = Arc::new(mariadb("binlog", 1, &["--log-bin=../binlog/bin"]));
            let full = Arc::clone(&server);
            Scene::at(stand.url_to_write(server.address()))
                .with(Arc::clone(&server))
                .then(move |_| {
                    full.sql(BEAT);
                    full.fill_disk();
                    fill_last_page(&full);
                })
                .then(move |_| server.free_disk())
        },
        checks: &[at(SHALLOW, UP), at(WRITE, DISK_FULL)],
        watch: watched(
            "write",
            &[],
            &[turns(DISK_FULL, NEXT_IN_VAIN), turns(UP, NEXT_IN_VAIN)],
        ),
        needs: Need::Namespaces,
        ..Fault::BLANK
    },
    Fault {
        name: "disk_full_for_others_too",
        what: "The same, while a write of somebody else's waits for room before the check's.",
        on: &[Stand::MariaDb],
        stage: |stand| {
            let server = mariadb("binlog", 1, &["--log-bin=../binlog/bin"]);
            Scene::at(stand.url_to_write(server.address())).then(move |stage| {
                server.sql(BEAT);
                server.fill_disk();
                fill_last_page(&server);
                let writer = start_writer(&server);
                let waits = || !server.sql(WAITING).is_empty();
                assert!(eventually(PATIENCE, waits), "no write waits");
                stage.keep(Writer(writer));
                stage.keep(server);
            })
        },
        // What another session waits for, a user without privileges is not told.
        checks: &[
            at(SHALLOW, UP),
            at(WRITE, down(&["disk_full", "write_failed"])),
        ],
        watch: watched(
            "write",
            &[],
            &[turns(down(&["disk_full", "write_failed"]), NEXT_IN_VAIN)],
        ),
        needs: Need::Namespaces,
        ..Fault::BLANK
    },
    Fault {
        name: "disk_full_under_wal",
        what: "The disk of pg_wal is full; the next write is a PANIC, after which the server is gone.",
        on: &[Stand::PostgreSql],
        stage: |_| {
            let server = postgres("data/pg_wal", 17);
            let database = Database::from(server);
            Scene::at(database.url_to_write()).then(move |stage| {
                database.fill_disk();
                database.sql("SELECT pg_switch_wal()");
                stage.keep(database);
            })
        },
        // The order counts: who reads finds nothing wrong.
        checks: &[at(PING, UP), at(ROLE, UP), at(WRITE, DISK_FULL)],
        watch: watched("write", &[], &[turns(REFUSED, RETURN)]),
        needs: Need::Namespaces,
        ..Fault::BLANK
    },
];

fn mariadb(directory: &str, size_mib: u32, arguments: &[&str]) -> MariaDb {
    MariaDb::start(MariaDbOptions {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        first_sql: MARIADB_GRANT.to_owned(),
        disk: Some(SmallDisk {
            directory: directory.to_owned(),
            size_mib,
        }),
        ..Default::default()
    })
}

fn postgres(directory: &str, size_mib: u32) -> Postgres {
    Postgres::start(PostgresOptions {
        first_sql: POSTGRES_GRANT.to_owned(),
        settings: vec![("max_wal_size".to_owned(), "32MB".to_owned())],
        disk: Some(SmallDisk {
            directory: directory.to_owned(),
            size_mib,
        }),
        ..Default::default()
    })
}

/// Uses up what the last page of a binary log has left, by writes as the check's.
fn fill_last_page(server: &MariaDb) {
    let mut writer = start_writer(server);
    let waiting = || server.sql(WAITING);
    let mut session = String::new();
    let waits = || {
        session = waiting();
        !session.is_empty()
    };
    assert!(eventually(PATIENCE, waits), "no write waits");
    server.sql(&format!("KILL QUERY {session}"));
    writer.wait().expect("the client ends");
}

/// A client whose writes wait for room sooner or later.
fn start_writer(server: &MariaDb) -> std::process::Child {
    let statements = WRITE_BEAT.repeat(200);
    account::command("timeout")
        .args(["60", "mariadb", "--no-defaults", "--user=root"])
        .arg(format!("--socket={}", server.socket_path().display()))
        .args(["--execute", &statements])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a client can be started")
}

/// A client that ends with its scene.
struct Writer(std::process::Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
