//! Faults of servers that are gone, for good or for a while.

use std::time::Duration;

use super::database::Database;
use super::scene::Scene;
use super::truth::{
    ALL, CRASH, RETURN, UP, WRITE, at, by_ping, down, down_and_up, ms, stays, turns,
};
use super::{Fault, REAL, SCRIPTED, Stand};
use crate::scripted::ScriptedDatabase;

const REFUSED: super::Truth = down(&["refused"]);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "stopped",
        what: "The server shuts down in order and stays away.",
        on: REAL,
        stage: |stand| Scene::plain(stand, |server| server.stop_gracefully()),
        checks: &[at(ALL, REFUSED)],
        watch: by_ping(&[turns(REFUSED, CRASH)]),
        alone: true,
        ..Fault::BLANK
    },
    Fault {
        name: "killed",
        what: "All processes of the server are killed (SIGKILL).",
        on: REAL,
        stage: |stand| {
            let database = Database::writable(stand);
            Scene::at(database.url_to_write())
                .with(database.clone())
                .then(move |_| database.kill())
        },
        checks: &[at(ALL, REFUSED), at(WRITE, REFUSED)],
        watch: by_ping(&[turns(REFUSED, CRASH)]),
        alone: true,
        ..Fault::BLANK
    },
    Fault {
        name: "restart",
        what: "The server is restarted in order, as quickly as it can be.",
        on: REAL,
        stage: |stand| {
            Scene::plain(stand, |server| {
                server.stop_gracefully();
                server.start_again();
            })
        },
        watch: by_ping(&[down_and_up(RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "restart_4s",
        what: "The server is killed, and started again after 4 s.",
        on: REAL,
        stage: |stand| {
            let database = Database::plain(stand);
            let back = database.clone();
            Scene::of(&database)
                .then(move |_| database.kill())
                .then(move |_| {
                    std::thread::sleep(Duration::from_secs(4));
                    back.start_again();
                })
        },
        watch: by_ping(&[turns(REFUSED, CRASH.saturating_mul(4)), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "sessions_killed",
        what: "An administrator ends all sessions, five times in 2.5 s.",
        on: REAL,
        stage: |stand| {
            Scene::plain(stand, |server| {
                for _ in 0..5 {
                    server.end_sessions();
                    std::thread::sleep(ms(500));
                }
            })
        },
        watch: by_ping(&[stays(UP, ms(2500))]),
        ..Fault::BLANK
    },
    Fault {
        name: "hundred_at_once",
        what: "A hundred servers crash at the same moment.",
        on: SCRIPTED,
        stage: |stand| a_hundred(stand, ScriptedDatabase::crash),
        watch: by_ping(&[turns(REFUSED, ms(500))]),
        alone: true,
        ..Fault::BLANK
    },
];

/// A hundred databases, to each of which the same is done.
pub(super) fn a_hundred(stand: Stand, act: fn(&ScriptedDatabase)) -> Scene {
    let databases: Vec<_> = (0..100)
        .map(|_| ScriptedDatabase::start(stand.dialect()))
        .collect();
    let urls = databases.iter().map(|it| stand.url(it.address())).collect();
    let mut scene = Scene::at("").then(move |stage| {
        databases.iter().for_each(act);
        stage.keep(databases);
    });
    scene.urls = urls;
    scene
}
