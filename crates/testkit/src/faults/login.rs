//! Servers that are well and do not let the check in: its own fault, and proof of life.

use super::database::Database;
use super::scene::Scene;
use super::truth::{
    CONNECT, CRASH, FROM_GREETING, FROM_LOGIN, QUERY, START, TO_GREETING, TO_PING, Truth, UP,
    Watch, at, by_ping, degraded, down, turns,
};
use super::{Fault, REAL, Stand};
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::postgres::{Postgres, PostgresOptions};
use crate::scripted::Mood;

const DENIED: Truth = degraded(&["access_denied"]);

/// The truth about a login that is refused while sessions are ended.
const REFUSED_LOGIN: Fault = Fault {
    checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, DENIED)],
    watch: by_ping(&[turns(DENIED, CRASH.saturating_mul(10))]),
    ..Fault::BLANK
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "wrong_password",
        what: "The check's password was changed on the server, and its sessions were ended.",
        on: REAL,
        stage: |stand| Scene::plain(stand, change_password),
        ..REFUSED_LOGIN
    },
    Fault {
        name: "wrong_password_is_dead",
        what: "The same, where the operator counts that as death (access_denied = \"dead\").",
        on: REAL,
        stage: |stand| Scene::plain(stand, change_password),
        watch: Some(Watch {
            depth: "ping",
            keys: &[],
            classes: &[("access_denied", "dead")],
            steps: &[turns(down(&["access_denied"]), CRASH.saturating_mul(10))],
        }),
        ..Fault::BLANK
    },
    Fault {
        name: "expired_password",
        what: "The password of the check's user has expired, and its sessions were ended.",
        on: REAL,
        stage: |stand| {
            // Without it, MariaDB lets the user in and waits for a new password.
            let strict = ["--disconnect-on-expired-password=on"];
            expiring(Database::with(stand, &strict, &[], None))
        },
        ..REFUSED_LOGIN
    },
    Fault {
        name: "expired_password_let_in",
        what: "The password has expired; the server lets its user in and refuses statements (1820).",
        on: &[Stand::MariaDb],
        stage: |stand| expiring(Database::plain(stand)),
        checks: &[at(TO_PING, UP), at(QUERY, DENIED)],
        watch: Some(Watch {
            depth: "query",
            keys: &[],
            classes: &[],
            steps: &[turns(DENIED, CRASH.saturating_mul(10))],
        }),
        ..Fault::BLANK
    },
    Fault {
        name: "unknown_database",
        what: "The URL names a database that does not exist.",
        on: REAL,
        stage: |stand| {
            let database = Database::plain(stand);
            let place = database.address();
            let url = format!("{}://vitals@{place}/nowhere", scheme(stand));
            Scene::at(url).with(database)
        },
        watch: by_ping(&[turns(DENIED, START)]),
        ..REFUSED_LOGIN
    },
    Fault {
        name: "host_not_allowed",
        what: "No user of the server may come from this host (1130, pg_hba.conf).",
        on: REAL,
        stage: |stand| Scene::of(&not_from_here(stand)),
        checks: &[at(CONNECT, UP), at(FROM_GREETING, DENIED)],
        watch: by_ping(&[turns(DENIED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "host_blocked",
        what: "The server has blocked this host for its many broken connects (1129).",
        on: &[Stand::ScriptedMySql],
        stage: |stand| {
            Scene::scripted(stand, |it| {
                it.switch(Mood::Refusing("1129"));
                it.end_sessions();
            })
        },
        checks: &[
            at(CONNECT, UP),
            at(FROM_GREETING, degraded(&["host_blocked"])),
        ],
        watch: by_ping(&[turns(degraded(&["host_blocked"]), CRASH.saturating_mul(10))]),
        ..Fault::BLANK
    },
];

fn change_password(server: &Database) {
    server.sql(match server.stand {
        Stand::MariaDb | Stand::ScriptedMySql => {
            "ALTER USER vitals IDENTIFIED VIA mysql_native_password USING PASSWORD('rotated')"
        }
        Stand::PostgreSql | Stand::ScriptedPostgres => "ALTER ROLE vitals PASSWORD 'rotated'",
    });
    server.end_sessions();
}

/// A server on which the password of the check's user expires.
fn expiring(database: Database) -> Scene {
    Scene::of(&database).then(move |_| {
        database.sql(match database.stand {
            Stand::MariaDb | Stand::ScriptedMySql => "ALTER USER vitals PASSWORD EXPIRE",
            Stand::PostgreSql | Stand::ScriptedPostgres => {
                "ALTER ROLE vitals VALID UNTIL 'yesterday'"
            }
        });
        database.end_sessions();
    })
}

fn scheme(stand: Stand) -> &'static str {
    match stand {
        Stand::MariaDb | Stand::ScriptedMySql => "mysql",
        Stand::PostgreSql | Stand::ScriptedPostgres => "postgres",
    }
}

/// A server that lets nobody in over TCP.
fn not_from_here(stand: Stand) -> Database {
    match stand {
        Stand::MariaDb | Stand::ScriptedMySql => MariaDb::start(MariaDbOptions {
            // Without it, this host is `localhost`, where root may come from.
            arguments: vec!["--skip-name-resolve".to_owned()],
            first_sql: "DELETE FROM mysql.global_priv WHERE host <> 'localhost'; FLUSH PRIVILEGES"
                .to_owned(),
            ..Default::default()
        })
        .into(),
        Stand::PostgreSql | Stand::ScriptedPostgres => Postgres::start(PostgresOptions {
            hba: vec!["host all all all reject".to_owned()],
            ..Default::default()
        })
        .into(),
    }
}
