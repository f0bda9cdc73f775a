//! Servers that answer late: within the deadline they are up, beyond it they are down.

use std::sync::Arc;
use std::time::Duration;

use super::scene::Scene;
use super::truth::{
    ALL, CONNECT, Check, FREEZE, FROM_GREETING, FROM_PING, NEXT, RETURN, UP, at, by_ping, degraded,
    down, ms, stays, turns, watched,
};
use super::{Fault, SCRIPTED};
use crate::scripted::{Mood, ScriptedDatabase};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "slow_300ms",
        what: "Each answer takes 300 ms; a login and a ping have several.",
        on: SCRIPTED,
        stage: |stand| {
            let mut scene = Scene::scripted(stand, |it| it.switch(Mood::Slow(ms(300))));
            scene.timeout = Duration::from_secs(2);
            scene
        },
        checks: &[at(ALL, UP)],
        watch: by_ping(&[stays(UP, ms(3500))]),
        ..Fault::BLANK
    },
    Fault {
        name: "slow_3s",
        what: "Each answer takes 3 s, with a deadline of 1 s.",
        on: SCRIPTED,
        stage: |stand| Scene::scripted(stand, |it| it.switch(Mood::Slow(Duration::from_secs(3)))),
        checks: &[at(CONNECT, UP), at(FROM_GREETING, down(&["no_greeting"]))],
        watch: by_ping(&[turns(down(&["no_greeting", "unresponsive"]), FREEZE)]),
        ..Fault::BLANK
    },
    Fault {
        name: "over_budget",
        what: "Each answer takes 200 ms, with a budget of 100 ms; then none; then 3 s.",
        on: SCRIPTED,
        stage: |stand| {
            let database = Arc::new(ScriptedDatabase::start(stand.dialect()));
            let [quick, slow] = [Arc::clone(&database), Arc::clone(&database)];
            Scene::at(stand.url(database.address()))
                .with(Arc::clone(&database))
                .then(move |_| database.switch(Mood::Slow(ms(200))))
                .then(move |_| quick.switch(Mood::Fine))
                .then(move |_| slow.switch(Mood::Slow(Duration::from_secs(3))))
        },
        checks: &[Check {
            columns: FROM_PING,
            arguments: &["--slow-over", "100ms"],
            truth: degraded(&["over_budget"]),
        }],
        watch: watched(
            "ping",
            &[("slow_over", "100ms")],
            &[
                turns(degraded(&["over_budget"]), ms(400).saturating_add(NEXT)),
                turns(UP, RETURN),
                turns(down(&["no_greeting", "unresponsive"]), FREEZE),
            ],
        ),
        ..Fault::BLANK
    },
];
