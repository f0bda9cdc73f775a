//! Writes for which the check's user is not equipped: its own fault, and proof of life.

use super::database::Database;
use super::scene::Scene;
use super::truth::{SHALLOW, START, Truth, UP, WRITE, at, degraded, turns, watched};
use super::{Fault, REAL, Stand};

const BAD_QUERY: Truth = degraded(&["bad_query"]);

/// The truth about all of them.
const NOT_ALLOWED: Fault = Fault {
    on: REAL,
    checks: &[at(SHALLOW, UP), at(WRITE, BAD_QUERY)],
    watch: watched("write", &[], &[turns(BAD_QUERY, START)]),
    ..Fault::BLANK
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "write_not_allowed",
        what: "The heartbeat's table is there, and the check's user may only read it.",
        stage: |stand| {
            of(
                stand,
                "CREATE DATABASE vitals;
                 CREATE TABLE vitals.dbvitals_heartbeat (id INT PRIMARY KEY, beaten_at DATETIME(6));
                 GRANT SELECT ON vitals.* TO vitals@'%'",
                "CREATE TABLE dbvitals_heartbeat (id int PRIMARY KEY, beaten_at timestamptz);
                 GRANT SELECT ON dbvitals_heartbeat TO vitals",
            )
        },
        ..NOT_ALLOWED
    },
    Fault {
        name: "write_without_a_table",
        what: "The heartbeat's table is missing, and the check's user may not make it.",
        stage: |stand| {
            of(
                stand,
                "CREATE DATABASE vitals;
                 GRANT SELECT, INSERT, UPDATE ON vitals.* TO vitals@'%'",
                "SELECT 1",
            )
        },
        ..NOT_ALLOWED
    },
];

fn of(stand: Stand, for_mariadb: &str, for_postgres: &str) -> Scene {
    let database = Database::plain(stand);
    database.sql(match stand {
        Stand::MariaDb | Stand::ScriptedMySql => for_mariadb,
        Stand::PostgreSql | Stand::ScriptedPostgres => for_postgres,
    });
    Scene::at(database.url_to_write()).with(database)
}
