//! Servers that are nearly full, full, full for the check's own user, or full at the door: all of
//! them alive.

use std::sync::Arc;

use super::crowd::Crowd;
use super::database::Database;
use super::scene::{Scene, Stage};
use super::truth::{
    AFRESH, ALL, CONNECT, FROM_GREETING, FROM_LOGIN, NEXT_IN_VAIN, ROLE, TO_GREETING, Truth, UP,
    afresh, at, degraded, down, ms, stays, turns,
};
use super::{Fault, REAL, SCRIPTED, Stand};
use crate::scripted::ScriptedDatabase;

const FULL: Truth = degraded(&["too_many_connections"]);
const LIMIT: Truth = degraded(&["check_user_limit"]);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "nearly_full",
        what: "All places of the server but one are taken.",
        on: REAL,
        stage: |stand| crowded(small(stand, "1"), Crowd::fill_but_one),
        checks: &[at(ALL, UP), at(ROLE, UP)],
        watch: afresh(&[stays(UP, ms(3500)), stays(UP, ms(1500))]),
        ..Fault::BLANK
    },
    Fault {
        name: "full",
        what: "All places are taken: the server refuses after the login (1040, 53300).",
        on: REAL,
        stage: |stand| crowded(small(stand, "1"), Crowd::fill),
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, FULL), at(ROLE, FULL)],
        watch: afresh(&[turns(FULL, AFRESH), turns(UP, AFRESH)]),
        ..Fault::BLANK
    },
    Fault {
        name: "full_at_the_door",
        what: "All places are taken, the administrator's too: it refuses in place of a greeting.",
        on: REAL,
        stage: |stand| {
            crowded(
                small(stand, "0"),
                match stand {
                    Stand::MariaDb | Stand::ScriptedMySql => Crowd::fill_the_door,
                    Stand::PostgreSql | Stand::ScriptedPostgres => Crowd::fill,
                },
            )
        },
        checks: &[at(CONNECT, UP), at(FROM_GREETING, FULL)],
        watch: afresh(&[turns(FULL, AFRESH), turns(UP, AFRESH)]),
        ..Fault::BLANK
    },
    Fault {
        name: "user_limit",
        what: "The check's own user has all the sessions it may have (1226, 53300 of the role).",
        on: REAL,
        stage: |stand| {
            let database = Database::plain(stand);
            database.sql(match stand {
                Stand::MariaDb | Stand::ScriptedMySql => {
                    "GRANT USAGE ON *.* TO vitals WITH MAX_USER_CONNECTIONS 5"
                }
                Stand::PostgreSql | Stand::ScriptedPostgres => {
                    "ALTER ROLE vitals CONNECTION LIMIT 5"
                }
            });
            crowded(database, Crowd::fill)
        },
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, LIMIT)],
        watch: afresh(&[turns(LIMIT, AFRESH), turns(UP, AFRESH)]),
        ..Fault::BLANK
    },
    Fault {
        name: "user_limit_of_all",
        what: "The check's user has all the sessions that any user may have (1203).",
        on: &[Stand::MariaDb],
        stage: |stand| {
            let limit = ["--max-user-connections=5"];
            crowded(Database::with(stand, &limit, &[], None), Crowd::fill)
        },
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, LIMIT)],
        watch: afresh(&[turns(LIMIT, AFRESH), turns(UP, AFRESH)]),
        ..Fault::BLANK
    },
    Fault {
        name: "queue_full",
        what: "The accept queue is full, and open sessions are answered, until there is room.",
        on: SCRIPTED,
        stage: |stand| {
            let database = Arc::new(ScriptedDatabase::start(stand.dialect()));
            let emptied = Arc::clone(&database);
            Scene::at(stand.url(database.address()))
                .with(Arc::clone(&database))
                .then(move |_| database.fill_queue())
                .then(move |_| emptied.empty_queue())
        },
        // Who holds no session cannot tell it from a server that is gone.
        checks: &[at(ALL, down(&["connect_timeout"]))],
        watch: afresh(&[
            turns(degraded(&["queue_full"]), NEXT_IN_VAIN),
            turns(UP, NEXT_IN_VAIN),
        ]),
        ..Fault::BLANK
    },
];

/// A server of few places, of which PostgreSQL keeps some for its superuser.
fn small(stand: Stand, reserved: &str) -> Database {
    // A guest at MariaDB's door may take its time to say who it is.
    let arguments = ["--max-connections=10", "--connect-timeout=600"];
    let settings = [
        ("max_connections", "8"),
        ("superuser_reserved_connections", reserved),
    ];
    Database::with(stand, &arguments, &settings, None)
}

/// A scene in which a crowd comes, and goes.
fn crowded(database: Database, crowd: fn(&Database) -> Crowd) -> Scene {
    Scene::of(&database)
        .then(move |stage| stage.keep(crowd(&database)))
        .then(Stage::dismiss::<Crowd>)
}
