//! What a server is: a primary, a replica, or one that takes no writes.
//!
//! Nothing is wrong with any of these servers; what is right to say depends on what is wanted.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::database::Database;
use super::pair::Pair;
use super::scene::Scene;
use super::truth::{
    CONNECT, CRASH, FROM_GREETING, NEXT, PRIMARY, REPLICA, RETURN, ROLE, SHALLOW, START, Step,
    Truth, UP, WRITABLE, WRITE, Watch, at, by_ping, degraded, down, turns, watched,
};
use super::{Fault, REAL, Stand};
use crate::clock::eventually;

const MARIADB: &[Stand] = &[Stand::MariaDb];
const POSTGRESQL: &[Stand] = &[Stand::PostgreSql];
const NOT_PRIMARY: Truth = down(&["not_primary"]);
const NOT_REPLICA: Truth = down(&["not_replica"]);
const READ_ONLY: Truth = down(&["read_only"]);
const IN_RECOVERY: Truth = down(&["in_recovery"]);
/// How long a server may take to restart or to recover, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

const REPLICA_THERE: &str = "The server is a replica that takes no writes.";

/// A watch for a server that has to be the primary.
const fn for_primary(steps: &'static [Step]) -> Option<Watch> {
    watched("role", &[("want", "primary")], steps)
}

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "primary",
        what: "The server is a primary; under serve, a replica is wanted.",
        on: REAL,
        stage: |stand| {
            let database = Database::writable(stand);
            Scene::at(database.url_to_write()).with(database)
        },
        checks: &[
            at(SHALLOW, UP),
            at(PRIMARY, UP),
            at(REPLICA, NOT_REPLICA),
            at(WRITABLE, UP),
            at(WRITE, UP),
        ],
        watch: watched("role", &[("want", "replica")], &[turns(NOT_REPLICA, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "replica",
        what: REPLICA_THERE,
        on: MARIADB,
        stage: |stand| replica(Pair::start(stand)),
        checks: &[
            at(SHALLOW, UP),
            at(PRIMARY, NOT_PRIMARY),
            at(REPLICA, UP),
            at(WRITABLE, READ_ONLY),
            at(WRITE, READ_ONLY),
        ],
        watch: for_primary(&[turns(NOT_PRIMARY, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "replica",
        what: REPLICA_THERE,
        on: POSTGRESQL,
        stage: |stand| replica(Pair::start(stand)),
        checks: &[
            at(SHALLOW, UP),
            at(PRIMARY, NOT_PRIMARY),
            at(REPLICA, UP),
            at(WRITABLE, IN_RECOVERY),
            at(WRITE, IN_RECOVERY),
        ],
        watch: watched(
            "role",
            &[("want", "writable")],
            &[turns(IN_RECOVERY, START)],
        ),
        ..Fault::BLANK
    },
    Fault {
        name: "writable_replica",
        what: "The server is a replica that would take writes (read_only is off).",
        on: MARIADB,
        stage: |stand| replica(Pair::with(stand, &[])),
        checks: &[
            at(SHALLOW, UP),
            at(PRIMARY, NOT_PRIMARY),
            at(REPLICA, UP),
            at(WRITABLE, UP),
            // A row of its own would part it from its primary.
            at(WRITE, NOT_PRIMARY),
        ],
        watch: for_primary(&[turns(NOT_PRIMARY, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "made_read_only",
        what: "A primary is set to take no writes, and to take them again.",
        on: REAL,
        stage: made_read_only,
        checks: &[
            at(SHALLOW, UP),
            at(PRIMARY, READ_ONLY),
            at(REPLICA, NOT_REPLICA),
            at(WRITABLE, READ_ONLY),
            at(WRITE, READ_ONLY),
        ],
        watch: for_primary(&[turns(READ_ONLY, NEXT), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "made_read_only_unseen",
        what: "The same, where the check's user may not see replication (no SLAVE MONITOR).",
        on: MARIADB,
        stage: |stand| read_only_for_a_while(Database::writable(stand)),
        checks: &[
            at(SHALLOW, UP),
            at(PRIMARY, READ_ONLY),
            at(REPLICA, NOT_REPLICA),
            at(WRITABLE, READ_ONLY),
            at(WRITE, READ_ONLY),
        ],
        watch: for_primary(&[turns(READ_ONLY, NEXT), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "made_read_only_for_slow",
        what: "The same, where the operator says that this only degrades (read_only = \"slow\").",
        on: REAL,
        stage: made_read_only,
        watch: Some(Watch {
            depth: "role",
            keys: &[("want", "primary")],
            classes: &[("read_only", "slow")],
            steps: &[turns(degraded(&["read_only"]), NEXT), turns(UP, RETURN)],
        }),
        ..Fault::BLANK
    },
    Fault {
        name: "promoted",
        what: "A replica is wanted as primary, and is promoted.",
        on: REAL,
        stage: |stand| {
            let pair = Pair::start(stand);
            Scene::of(&pair.replica)
                .with(pair.clone())
                .there_already()
                .then(move |_| {
                    pair.primary.kill();
                    pair.promote();
                })
        },
        checks: &[at(ROLE, UP), at(PRIMARY, NOT_PRIMARY)],
        watch: for_primary(&[turns(NOT_PRIMARY, START), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "demoted",
        what: "A primary becomes the replica of another server.",
        on: MARIADB,
        stage: |stand| {
            // The one that has been followed so far follows, and still takes writes.
            let pair = Pair::with(stand, &["--log-bin=bin", "--log-slave-updates"]);
            Scene::of(&pair.primary).then(move |stage| {
                pair.promote();
                pair.primary.sql(&format!(
                    "CHANGE MASTER TO master_host = '127.0.0.1', master_port = {},
                     master_user = 'replication', master_password = 'secret',
                     master_use_gtid = slave_pos; START SLAVE",
                    pair.replica.port()
                ));
                stage.keep(pair);
            })
        },
        checks: &[
            at(ROLE, UP),
            at(PRIMARY, NOT_PRIMARY),
            at(REPLICA, UP),
            at(WRITABLE, UP),
        ],
        watch: for_primary(&[turns(NOT_PRIMARY, NEXT)]),
        ..Fault::BLANK
    },
    Fault {
        name: "demoted",
        what: "A primary is restarted as a standby.",
        on: POSTGRESQL,
        stage: |stand| {
            let database = Database::plain(stand);
            Scene::of(&database).then(move |_| {
                database.stop_gracefully();
                let signal = database.directory().join("data/standby.signal");
                crate::account::write_private(&signal, b"");
                let log = database.log_text().len();
                database.process().start_again();
                let is_ready = || database.log_text()[log..].contains("accept read-only");
                assert!(eventually(PATIENCE, is_ready), "{}", database.log_text());
            })
        },
        checks: &[
            at(ROLE, UP),
            at(PRIMARY, NOT_PRIMARY),
            at(REPLICA, UP),
            at(WRITABLE, IN_RECOVERY),
        ],
        watch: for_primary(&[turns(NOT_PRIMARY, NEXT)]),
        ..Fault::BLANK
    },
    Fault {
        name: "crash_recovery",
        what: "A process of the server is killed; all others have to end, which takes 5 s (57P03).",
        on: POSTGRESQL,
        stage: |stand| {
            let database = Database::plain(stand);
            let back = database.clone();
            Scene::of(&database)
                .then(move |_| recover(&database))
                .then(move |_| {
                    let is_back = || {
                        let log = back.log_text();
                        let (_, since) = log
                            .split_once("was terminated by signal")
                            .unwrap_or_default();
                        since.contains("ready to accept connections")
                    };
                    assert!(eventually(PATIENCE, is_back), "{}", back.log_text());
                })
        },
        checks: &[
            at(CONNECT, UP),
            at(FROM_GREETING, IN_RECOVERY),
            at(ROLE, IN_RECOVERY),
        ],
        watch: by_ping(&[
            turns(IN_RECOVERY, CRASH.saturating_mul(10)),
            turns(UP, RETURN),
        ]),
        ..Fault::BLANK
    },
];

fn replica(pair: Pair) -> Scene {
    Scene::at(pair.replica.url_to_write()).with(pair)
}

/// A primary whose user may see that it does not follow another one.
fn made_read_only(stand: Stand) -> Scene {
    let database = Database::writable(stand);
    if stand == Stand::MariaDb {
        database.sql("GRANT SLAVE MONITOR ON *.* TO vitals@'%'");
    }
    read_only_for_a_while(database)
}

fn read_only_for_a_while(database: Database) -> Scene {
    let back = database.clone();
    Scene::at(database.url_to_write())
        .with(database.clone())
        .then(move |_| set_read_only(&database, true))
        .then(move |_| set_read_only(&back, false))
}

fn set_read_only(database: &Database, on: bool) {
    let on = u8::from(on);
    match database.stand {
        Stand::MariaDb | Stand::ScriptedMySql => {
            database.sql(&format!("SET GLOBAL read_only = {on}"));
        }
        Stand::PostgreSql | Stand::ScriptedPostgres => {
            database.sql(&format!(
                "ALTER SYSTEM SET default_transaction_read_only = {on};\nSELECT pg_reload_conf();"
            ));
            let word = ["off", "on"][usize::from(on)];
            let is_set = || database.sql("SHOW default_transaction_read_only") == word;
            assert!(eventually(PATIENCE, is_set), "no reload");
        }
    }
}

/// Kills one process of PostgreSQL's, and holds up another, which is given 5 s to end.
fn recover(database: &Database) {
    let pid = |kind: &str| {
        let pid = "SELECT pid FROM pg_stat_activity WHERE backend_type =";
        let pid = database.sql(&format!("{pid} '{kind}'")).parse().ok();
        pid.and_then(Pid::from_raw).expect("PostgreSQL has one")
    };
    let (held_up, killed) = (pid("checkpointer"), pid("walwriter"));
    kill_process(held_up, Signal::STOP).expect("it runs");
    kill_process(killed, Signal::KILL).expect("it runs");
    let has_noticed = || database.log_text().contains("was terminated by signal");
    assert!(eventually(PATIENCE, has_noticed), "{}", database.log_text());
}
