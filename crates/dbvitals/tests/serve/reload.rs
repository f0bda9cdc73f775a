//! A reload: what did not change goes on, what is gone is left, and a bad file changes nothing.

use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::{QUICK, Service};
use dbvitals_testkit::{Dialect, Moment, Mood, ScriptedDatabase, eventually};

fn backend(name: &str, service: &Service) -> String {
    format!("[backend.{name}]\nurl = \"{}\"\n", service.url())
}

fn gate(name: &str, of: &str, port: &GatePort) -> String {
    format!(
        "[gate.{name}]\nlisten = \"{}\"\nof = \"{of}\"\n",
        port.address()
    )
}

#[test]
fn what_did_not_change_keeps_its_verdict_and_its_listener() {
    let (kept, removed, added) = (Service::start(), Service::start(), Service::start());
    let (old, new) = (GatePort::reserve(), GatePort::reserve());
    let before = [
        QUICK,
        &backend("kept", &kept),
        &backend("gone", &removed),
        &gate("old", "kept", &old),
    ];
    let config = ConfigFile::new(&before.concat());
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("kept", "up");
    agent.wait_for_verdict("gone", "up");
    old.opens_within(PATIENCE, old.now());
    let since = agent.health("kept").1["since"].clone();
    let vigil = old.watch();

    let after = [
        QUICK,
        &backend("kept", &kept),
        &backend("more", &added),
        &gate("old", "kept", &old),
        &gate("new", "more", &new),
    ];
    config.write(&after.concat());
    agent.signal(Signal::HUP);
    agent.wait_for_log("1 backends kept, 0 changed, 1 added, 1 removed");
    agent.wait_for_verdict("more", "up");
    new.opens_within(PATIENCE, new.now());
    assert_eq!(agent.health("kept").1["since"], since);
    assert_eq!(agent.health("gone").0, 404);
    let seen = vigil.end();
    assert_eq!(seen.refused, 0, "{seen:?}");
    let told = agent.transitions();
    let of_kept = told.iter().filter(|line| line["backend"] == "kept");
    assert_eq!(of_kept.count(), 1, "{told:#?}");

    // A gate that is taken out of the file closes.
    config.write(&after[..4].concat());
    agent.signal(Signal::HUP);
    assert!(eventually(PATIENCE, || !new.is_open()));
    assert!(old.is_open());
}

#[test]
fn another_address_under_the_same_name_starts_anew() {
    let (first, second) = (Service::start(), Service::absent());
    let config = ConfigFile::new(&[QUICK, &backend("db", &first)].concat());
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    config.write(&[QUICK, &backend("db", &second)].concat());
    agent.signal(Signal::HUP);
    agent.wait_for_log("0 backends kept, 1 changed");
    agent.wait_for_verdict("db", "down");
}

#[test]
fn a_backend_that_is_asked_in_another_way_is_unknown_until_it_answers_that() {
    let database = ScriptedDatabase::start(Dialect::MySql);
    let asked = |depth: &str| {
        let address = database.address();
        format!(
            "{QUICK}timeout = \"2s\"\n[backend.db]\nurl = \"mysql://vitals@{address}\"\ndepth = \"{depth}\"\n"
        )
    };
    let config = ConfigFile::new(&asked("connect"));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    database.switch(Mood::SilentFrom(Moment::Greeting));
    config.write(&asked("ping"));
    agent.signal(Signal::HUP);
    agent.wait_for_log("0 backends kept, 1 changed");
    // Well before the first probe's deadline: what a connect proved is no proof of a ping.
    agent.wait_for_verdict("db", "unknown");
    agent.wait_for_verdict("db", "down");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let service = Service::start();
    let good = [QUICK, &backend("db", &service)].concat();
    let config = ConfigFile::new(&good);
    let agent = Agent::start(config.serve());
    let since = agent.wait_for_verdict("db", "up").1["since"].clone();
    config.write(&format!("{good}intervall = \"1s\"\n"));
    agent.signal(Signal::HUP);
    agent.wait_for_log("the configuration is not reloaded");
    agent.wait_for_log("unknown key");
    assert_eq!(agent.health("db").1["since"], since);
    config.write(&good);
    agent.signal(Signal::HUP);
    agent.wait_for_log("1 backends kept");
    assert_eq!(agent.health("db").1["since"], since);
}
