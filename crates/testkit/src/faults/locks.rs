//! Servers that read and do not write, or let nobody new in, because somebody holds a lock.
//!
//! What hangs at such a server stays there; so each scene also counts the sessions of the check.

use std::fs;
use std::thread;
use std::time::Duration;

use super::database::Database;
use super::scene::{Scene, Stage};
use super::truth::{
    CONNECT, FROM_GREETING, FROM_LOGIN, FROM_PING, NEXT_IN_VAIN, QUERY, RETURN, SHALLOW, Step,
    TO_GREETING, TO_LOGIN, Truth, UP, WRITE, Watch, at, down, ms, stays, turns, watched,
};
use super::{Fault, Stand};
use crate::clock::eventually;
use crate::held_session::HeldSession;

const MARIADB: &[Stand] = &[Stand::MariaDb];
const POSTGRESQL: &[Stand] = &[Stand::PostgreSql];
const WRITE_FAILED: Truth = down(&["write_failed"]);
const NO_GREETING: Truth = down(&["no_greeting"]);
const UNRESPONSIVE: Truth = down(&["unresponsive"]);
/// The held one, the fresh one whose write hangs, and the one that ends it.
const SESSIONS_MAX: usize = 3;
/// How long something may take to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const AFRESH_KEYS: &[(&str, &str)] = &[("fresh_interval", "1s")];

/// The truth about writes that hang.
const WRITES_HANG: Fault = Fault {
    checks: &[at(SHALLOW, UP), at(QUERY, UP), at(WRITE, WRITE_FAILED)],
    watch: watched(
        "write",
        &[],
        &[
            turns(WRITE_FAILED, NEXT_IN_VAIN),
            stays(WRITE_FAILED, ms(500)),
            turns(UP, RETURN),
        ],
    ),
    ..Fault::BLANK
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "writes_blocked",
        what: "All writes wait for FLUSH TABLES WITH READ LOCK of somebody's, for a while.",
        on: MARIADB,
        stage: |stand| locked(stand, "FLUSH TABLES WITH READ LOCK"),
        ..WRITES_HANG
    },
    Fault {
        name: "commits_blocked",
        what: "All commits wait for a backup (BACKUP STAGE BLOCK_COMMIT), for a while.",
        on: MARIADB,
        stage: |stand| {
            locked(
                stand,
                "BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL; \
                 BACKUP STAGE BLOCK_COMMIT",
            )
        },
        ..WRITES_HANG
    },
    Fault {
        name: "standby_missing",
        what: "All commits wait for a synchronous standby that is not there, for a while.",
        on: POSTGRESQL,
        stage: |stand| {
            let database = Database::writable(stand);
            let [first, later] = [database.clone(), database.clone()];
            hung_writes(
                &database,
                move |_| wait_for_standby(&first, "absent"),
                move |_| wait_for_standby(&later, ""),
            )
        },
        ..WRITES_HANG
    },
    Fault {
        name: "logins_blocked",
        what: "A lock on pg_authid holds up all logins before the request for a password (scram).",
        on: POSTGRESQL,
        stage: |stand| blocked_logins(stand, "pg_authid"),
        checks: &[at(CONNECT, UP), at(FROM_GREETING, NO_GREETING)],
        // The open session is answered all the time; nobody new gets in.
        watch: afresh(&[turns(NO_GREETING, NEXT_IN_VAIN), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "logins_blocked_late",
        what: "A lock on pg_database holds up all logins after the request for a password.",
        on: POSTGRESQL,
        stage: |stand| blocked_logins(stand, "pg_database"),
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, UNRESPONSIVE)],
        watch: afresh(&[turns(UNRESPONSIVE, NEXT_IN_VAIN), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "new_sessions_blocked",
        what: "Each new session hangs before its first command (init_connect), for a while.",
        on: MARIADB,
        stage: |stand| {
            let database = Database::plain(stand);
            let back = database.clone();
            Scene::of(&database)
                .then(move |_| block_new_sessions(&database))
                .then(move |_| {
                    back.sql("SET GLOBAL init_connect = ''");
                })
        },
        checks: &[at(TO_LOGIN, UP), at(FROM_PING, UNRESPONSIVE)],
        watch: afresh(&[turns(UNRESPONSIVE, NEXT_IN_VAIN), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "logins_blocked_for_long",
        what: "The same as logins_blocked, and 6 s later the check has no more than 3 sessions.",
        on: POSTGRESQL,
        stage: |stand| {
            let database = Database::plain(stand);
            let counted = database.clone();
            Scene::of(&database)
                .then(move |stage| {
                    let lock = "BEGIN; LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE";
                    stage.keep(database.hold(lock));
                })
                .then(move |_| count_for(ms(6000), || processes(&counted)))
        },
        watch: afresh(&[
            turns(NO_GREETING, NEXT_IN_VAIN),
            stays(NO_GREETING, ms(500)),
        ]),
        ..Fault::BLANK
    },
    Fault {
        name: "new_sessions_blocked_for_long",
        what: "The same as new_sessions_blocked, and 6 s later the check has no more than 3 sessions.",
        on: MARIADB,
        stage: |stand| {
            let database = Database::plain(stand);
            let counted = database.clone();
            Scene::of(&database)
                .then(move |_| block_new_sessions(&database))
                .then(move |_| count_for(ms(6000), || counted.sessions()))
        },
        watch: afresh(&[
            turns(UNRESPONSIVE, NEXT_IN_VAIN),
            stays(UNRESPONSIVE, ms(500)),
        ]),
        ..Fault::BLANK
    },
];

/// A watch by pings that opens fresh sessions often.
const fn afresh(steps: &'static [Step]) -> Option<Watch> {
    watched("ping", AFRESH_KEYS, steps)
}

/// Has each session that begins from now on hang before its first command.
fn block_new_sessions(database: &Database) {
    database.sql("SET GLOBAL init_connect = 'DO SLEEP(3600)'");
}

/// A MariaDB whose writes wait for a session that holds a lock.
fn locked(stand: Stand, lock: &'static str) -> Scene {
    let database = Database::writable(stand);
    let locked = database.clone();
    hung_writes(
        &database,
        move |stage| stage.keep(locked.hold(lock)),
        Stage::dismiss::<HeldSession>,
    )
}

/// A scene in which writes begin to hang, hang for 4 s, and go on.
fn hung_writes(
    database: &Database,
    block: impl FnOnce(&mut Stage) + Send + 'static,
    free: impl FnOnce(&mut Stage) + Send + 'static,
) -> Scene {
    let [watched, left] = [database.clone(), database.clone()];
    Scene::at(database.url_to_write())
        .with(database.clone())
        .then(block)
        .then(move |_| {
            count_for(ms(4000), || watched.sessions());
        })
        .then(free)
        .afterwards(move || {
            let is_alone = || left.sessions() == 0;
            assert!(eventually(PATIENCE, is_alone), "a session is left");
        })
}

/// Watches that there are never too many sessions of the check's user.
fn count_for(time: Duration, sessions: impl Fn() -> usize) {
    let pause = ms(50);
    for _ in 0..time.as_millis() / pause.as_millis() {
        let sessions = sessions();
        assert!(
            sessions <= SESSIONS_MAX,
            "the check has {sessions} sessions, {SESSIONS_MAX} are allowed"
        );
        thread::sleep(pause);
    }
}

/// How many of PostgreSQL's processes serve `vitals`, while nobody can log in to ask.
fn processes(database: &Database) -> usize {
    let pid = database.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("the server runs");
    let serves = |child: &&str| {
        let title = fs::read_to_string(format!("/proc/{child}/cmdline"));
        title.is_ok_and(|title| title.starts_with("postgres: vitals "))
    };
    children.split_whitespace().filter(serves).count()
}

fn wait_for_standby(database: &Database, name: &str) {
    database.sql(&format!(
        "ALTER SYSTEM SET synchronous_standby_names = '{name}';\nSELECT pg_reload_conf();"
    ));
    let is_set = || database.sql("SHOW synchronous_standby_names") == name;
    assert!(eventually(PATIENCE, is_set), "no reload");
}

/// A PostgreSQL that lets nobody in for a while, the superuser neither.
fn blocked_logins(stand: Stand, table: &'static str) -> Scene {
    let database = Database::plain(stand);
    Scene::of(&database)
        .then(move |stage| {
            let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
            stage.keep(database.hold(&lock));
        })
        .then(Stage::dismiss::<HeldSession>)
}
