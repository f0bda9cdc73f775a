//! Replicas: fresh, held up, stopped, and cut off from their primaries.

use std::thread;

use super::database::Database;
use super::pair::Pair;
use super::scene::Scene;
use super::truth::{
    LAG, MAX_LAG, NEXT, PRIMARY, REPLICA, RETURN, ROLE, START, Truth, UP, at, degraded, down, ms,
    stays, turns, watched,
};
use super::{Fault, REAL, Stand};

const MARIADB: &[Stand] = &[Stand::MariaDb];
const POSTGRESQL: &[Stand] = &[Stand::PostgreSql];
const LAGGING: Truth = down(&["lagging"]);
const NOT_PRIMARY: Truth = down(&["not_primary"]);
const BLIND: Truth = degraded(&["bad_query"]);

/// A replica that may be behind by as much as in the column `max_lag`, 2 s.
const KEYS: &[(&str, &str)] = &[("want", "replica"), ("max_lag", "2s")];

/// The truth about a replica that does not follow, for the moment.
const STOPPED: Fault = Fault {
    checks: &[
        at(ROLE, UP),
        at(REPLICA, UP),
        at(LAG, LAGGING),
        at(MAX_LAG, LAGGING),
    ],
    watch: watched("lag", KEYS, &[turns(LAGGING, NEXT), turns(UP, RETURN)]),
    ..Fault::BLANK
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "fresh_replica",
        what: "Nothing was committed for 3 s, 2 s are allowed; then something is.",
        on: REAL,
        stage: |stand| {
            let pair = Pair::start(stand);
            let again = pair.clone();
            Scene::of(&pair.replica)
                .then(|stage| {
                    if stage.agent.is_none() {
                        thread::sleep(ms(3000));
                    }
                })
                .then(move |_| again.write())
                .with(pair)
        },
        checks: &[
            at(ROLE, UP),
            at(PRIMARY, NOT_PRIMARY),
            at(REPLICA, UP),
            at(LAG, UP),
            at(MAX_LAG, UP),
        ],
        watch: watched("lag", KEYS, &[stays(UP, ms(3000)), stays(UP, ms(2000))]),
        ..Fault::BLANK
    },
    Fault {
        name: "held_up",
        what: "A lock on the replica's table holds up the replay, for more than the 2 s allowed.",
        on: REAL,
        stage: |stand| {
            let pair = Pair::start(stand);
            Scene::of(&pair.replica)
                .then(move |stage| {
                    let lock = pair.hold_up();
                    if stage.agent.is_none() {
                        pair.wait_behind(3.0);
                    }
                    stage.keep(lock);
                    stage.keep(pair);
                })
                .then(super::scene::Stage::dismiss::<crate::held_session::HeldSession>)
        },
        // It follows; how far behind it may be, the depth alone does not say.
        checks: &[
            at(ROLE, UP),
            at(REPLICA, UP),
            at(LAG, UP),
            at(MAX_LAG, LAGGING),
        ],
        // MariaDB counts whole seconds.
        watch: watched(
            "lag",
            KEYS,
            &[
                turns(LAGGING, NEXT.saturating_add(ms(3000))),
                turns(UP, RETURN),
            ],
        ),
        ..Fault::BLANK
    },
    Fault {
        name: "held_up_from_start",
        what: "The same lock holds up the replay before the agent is started.",
        on: REAL,
        stage: |stand| {
            let pair = Pair::start(stand);
            let lock = pair.hold_up();
            pair.wait_behind(3.0);
            Scene::of(&pair.replica).with(lock).with(pair)
        },
        watch: watched("lag", KEYS, &[turns(LAGGING, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "sql_thread_stopped",
        what: "The replica's SQL thread is stopped, and started again.",
        on: MARIADB,
        stage: |stand| {
            let [stop, start] = ["STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"];
            told(stand, stop, start)
        },
        ..STOPPED
    },
    Fault {
        name: "io_thread_stopped",
        what: "The replica's IO thread is stopped, and started again.",
        on: MARIADB,
        stage: |stand| {
            let [stop, start] = ["STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD"];
            told(stand, stop, start)
        },
        ..STOPPED
    },
    Fault {
        name: "replay_paused",
        what: "The standby's replay is paused, and resumed.",
        on: POSTGRESQL,
        stage: |stand| {
            let [pause, resume] = [
                "SELECT pg_wal_replay_pause()",
                "SELECT pg_wal_replay_resume()",
            ];
            told(stand, pause, resume)
        },
        ..STOPPED
    },
    Fault {
        name: "primary_killed",
        what: "The primary is killed; 2.5 s later it still is; then it is started again.",
        on: REAL,
        stage: |stand| {
            let pair = Pair::start(stand);
            let back = pair.clone();
            Scene::of(&pair.replica)
                .with(pair.clone())
                .then(move |stage| {
                    pair.primary.kill();
                    pair.wait_cut_off();
                    // Whatever it had last is older than what is allowed.
                    if stage.agent.is_none() {
                        thread::sleep(ms(2500));
                    }
                })
                .then(|_| {})
                .then(move |_| back.primary.start_again())
        },
        checks: &[
            at(ROLE, UP),
            at(REPLICA, UP),
            at(LAG, LAGGING),
            at(MAX_LAG, LAGGING),
        ],
        // As long as it cannot be further behind than allowed, it is fit; then it may be.
        watch: watched(
            "lag",
            &[("want", "replica"), ("max_lag", "4s")],
            &[
                stays(UP, ms(2500)),
                turns(LAGGING, ms(1500).saturating_add(NEXT)),
                turns(UP, RETURN),
            ],
        ),
        ..Fault::BLANK
    },
    Fault {
        name: "replication_hidden",
        what: "The check's user lacks the privilege to see replication (SLAVE MONITOR, 1227).",
        on: MARIADB,
        stage: |stand| {
            let pair = Pair::start(stand);
            pair.replica
                .sql("REVOKE SLAVE MONITOR ON *.* FROM vitals@'%'");
            Scene::of(&pair.replica).with(pair)
        },
        checks: &[
            at(ROLE, UP),
            at(PRIMARY, NOT_PRIMARY),
            at(REPLICA, UP),
            at(LAG, BLIND),
            at(MAX_LAG, BLIND),
        ],
        watch: watched("lag", KEYS, &[turns(BLIND, START)]),
        ..Fault::BLANK
    },
];

/// A replica that is told something, and then to go on.
fn told(stand: Stand, stop: &'static str, start: &'static str) -> Scene {
    let pair = Pair::start(stand);
    let (stopped, back): (Database, Database) = (pair.replica.clone(), pair.replica.clone());
    Scene::of(&pair.replica)
        .with(pair)
        .then(move |_| {
            stopped.sql(stop);
        })
        .then(move |_| {
            back.sql(start);
        })
}
