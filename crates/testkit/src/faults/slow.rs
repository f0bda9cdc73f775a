//! Servers that answer late: within the deadline they are up, beyond it they are down.

use std::time::Duration;

use super::scene::Scene;
use super::truth::{ALL, CONNECT, FREEZE, FROM_GREETING, UP, at, by_ping, down, ms, stays, turns};
use super::{Fault, SCRIPTED};
use crate::scripted::Mood;

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
];
