//! Faults of names: none of them says anything about the server.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::names::{HOST, Names, Service};
use super::scene::Scene;
use super::truth::{ALL, CRASH, RETURN, Truth, UP, at, by_ping, down, ms, stays, turns, unknown};
use super::{Fault, Need, SCRIPTED, Stand};
use crate::scripted::ScriptedDatabase;
use crate::shared::Port;

const UNRESOLVED: Truth = unknown(&["dns_failed"]);
const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How long a name may be believed without asking again.
const NAME: Duration = Duration::from_secs(5);
/// What was known stays known: its sessions are ended, and no new one can be opened.
const KEEPS: Truth = Truth {
    verdict: "up",
    causes: &["dns_failed", ""],
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "dns_fails",
        what: "The name service fails (SERVFAIL), and all sessions are ended, twice in 6 s.",
        on: SCRIPTED,
        stage: |stand| named(stand, Service::Fails),
        checks: &[at(ALL, UNRESOLVED)],
        watch: by_ping(&[stays(KEEPS, ms(4000))]),
        needs: Need::Names,
        ..Fault::BLANK
    },
    Fault {
        name: "dns_silent",
        what: "The name service does not answer, and all sessions are ended, twice in 6 s.",
        on: SCRIPTED,
        stage: |stand| named(stand, Service::Silent),
        checks: &[at(ALL, UNRESOLVED)],
        watch: by_ping(&[stays(KEEPS, ms(4000))]),
        needs: Need::Names,
        ..Fault::BLANK
    },
    Fault {
        name: "dns_slow",
        what: "The name service takes 300 ms, and all sessions are ended, twice in 6 s.",
        on: SCRIPTED,
        // Two questions, for IPv4 and IPv6, one after the other.
        stage: |stand| named(stand, Service::KnowsLate(Ipv4Addr::LOCALHOST, ms(150))),
        checks: &[at(ALL, UP)],
        watch: by_ping(&[stays(UP, ms(3500))]),
        needs: Need::Names,
        ..Fault::BLANK
    },
    Fault {
        name: "dns_moves",
        what: "The name moves to another server, and at once the old one crashes.",
        on: SCRIPTED,
        stage: |stand| {
            let (scene, names, old) = movable(stand);
            scene.then(move |stage| {
                names.switch(Service::Knows(SECOND));
                stage.keep(names);
                drop(old);
            })
        },
        checks: &[at(ALL, UP)],
        watch: by_ping(&[stays(UP, RETURN)]),
        needs: Need::Names,
        ..Fault::BLANK
    },
    Fault {
        name: "dns_follows",
        what: "The server crashes, and 2 s later its name moves to another one.",
        on: SCRIPTED,
        stage: |stand| {
            let (scene, names, old) = movable(stand);
            scene.then(move |_| drop(old)).then(move |stage| {
                std::thread::sleep(Duration::from_secs(2));
                names.switch(Service::Knows(SECOND));
                stage.keep(names);
            })
        },
        watch: by_ping(&[
            turns(down(&["refused"]), CRASH.saturating_mul(4)),
            turns(UP, RETURN.saturating_add(NAME)),
        ]),
        needs: Need::Names,
        ..Fault::BLANK
    },
];

/// A database behind a name; then the name service changes and sessions end.
fn named(stand: Stand, service: Service) -> Scene {
    let names = Names::start(Service::Knows(Ipv4Addr::LOCALHOST));
    let database = ScriptedDatabase::start(stand.dialect());
    let place = format!("{HOST}:{}", database.address().port());
    let mut scene = Scene::at(stand.url_of(&place));
    scene.surroundings = names.surroundings();
    scene.then(move |stage| {
        names.switch(service);
        database.end_sessions();
        if stage.agent.is_some() {
            // Once more when what was known of the name is old.
            std::thread::sleep(NAME + ms(500));
            database.end_sessions();
        }
        stage.keep(names);
        stage.keep(database);
    })
}

/// Two databases at one port, and a name that leads to the first, who may be dropped.
fn movable(stand: Stand) -> (Scene, Names, ScriptedDatabase) {
    let port = Arc::new(Port::reserve());
    let [first, second] =
        [FIRST, SECOND].map(|host| ScriptedDatabase::start_at(stand.dialect(), host.into(), &port));
    let names = Names::start(Service::Knows(FIRST));
    let mut scene = Scene::at(stand.url_of(&format!("{HOST}:{}", port.number())));
    scene.surroundings = names.surroundings();
    (scene.with(second), names, first)
}
