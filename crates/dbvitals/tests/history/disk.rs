//! A disk that takes nothing, and a file that somebody else holds: told once, survived, gone on with.

use std::fs;
use std::process::{Command, Stdio};

use dbvitals_testkit::{EmptyDisk, eventually, require_namespaces};
use rusqlite::Connection;

use crate::agent::{Agent, PATIENCE};
use crate::{Scene, TRANSITIONS, end, expect_crash_noticed, verdicts, victim, wait_for};

/// Room for a history of some minutes, and what is beside it.
const DISK_KIB: u32 = 4096;

#[test]
fn a_full_disk_is_told_once_and_writing_goes_on_when_there_is_room() {
    require_namespaces!();
    let mut scene = Scene::new("full");
    let (database, section) = victim();
    scene.configure("", &section);
    let disk = EmptyDisk::new(scene.state.path(), DISK_KIB);
    let mut command = disk.confine(&scene.config.serve());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let agent = Agent::start(command);
    wait_for(&agent, &format!("{TRANSITIONS}?of=db"), |told| {
        verdicts(told) == ["up"]
    });
    disk.fill(agent.pid());
    // The log has some room that it took before; transitions with their evidence use it up.
    let mut rounds = 0;
    while !agent.log().contains("the history cannot be written") {
        scene.service.stop();
        agent.wait_for_verdict("db", "down");
        scene.service.start_again();
        agent.wait_for_verdict("db", "up");
        rounds += 1;
        assert!(rounds < 500, "{}", agent.log());
    }
    expect_crash_noticed(&agent, &database);
    scene.service.stop();
    agent.wait_for_verdict("db", "down");
    disk.free(agent.pid());
    agent.wait_for_log("the history is written again");
    // What waited for the disk is there.
    wait_for(&agent, &format!("{TRANSITIONS}?of=victim"), |told| {
        verdicts(told) == ["up", "down"]
    });
    let told = wait_for(&agent, &format!("{TRANSITIONS}?of=db"), |_| true);
    assert_eq!(verdicts(&told).last(), Some(&"down"));
    assert_eq!(
        agent.log().matches("the history cannot be written").count(),
        1
    );
    assert_eq!(agent.metric("dbvitals_agent_stalls_total"), 0.0);
    end(agent);
}

#[test]
fn a_disk_that_is_full_from_the_start_keeps_nobody_from_watching() {
    require_namespaces!();
    let scene = Scene::new("never");
    let (database, section) = victim();
    scene.configure("", &section);
    // The log of SQLite is longer than that before anything is in it.
    let disk = EmptyDisk::new(scene.state.path(), 24);
    let mut command = disk.confine(&scene.config.serve());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let agent = Agent::start(command);
    agent.wait_for_log("the history cannot be written");
    expect_crash_noticed(&agent, &database);
    assert_eq!(agent.log().matches("the history cannot be").count(), 1);
    end(agent);
}

#[test]
fn a_history_on_a_disk_that_is_full_from_the_start_is_told_and_gone_on_with() {
    // A disk that has the file, and no room beside it.
    const FILL: &str =
        "mv \"$2\" \"$1/history.db\" && { cat /dev/zero >\"$1/filler\"; shift 2; exec \"$@\"; }";
    require_namespaces!();
    let mut scene = Scene::new("read");
    let agent = scene.start();
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up"]);
    end(agent);
    let saved = scene.state.path().with_extension("db");
    fs::rename(scene.file(), &saved).expect("it is there");
    let serve = scene.config.serve();
    let mut command = Command::new("sh");
    command.args(["-c", FILL, "sh"]);
    command.arg(scene.state.path()).arg(&saved);
    command.arg(serve.get_program()).args(serve.get_args());
    let disk = EmptyDisk::new(scene.state.path(), DISK_KIB);
    let mut command = disk.confine(&command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    scene.service.stop();
    let agent = Agent::start(command);
    agent.wait_for_log("the history cannot be written");
    agent.wait_for_verdict("db", "down");
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up"]);
    disk.free(agent.pid());
    // The file is not looked at each second.
    let goes_on = eventually(6 * PATIENCE, || {
        agent.log().contains("the history is written again")
    });
    assert!(goes_on, "{}", agent.log());
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up", "down"]);
    assert_eq!(agent.log().matches("the history cannot be").count(), 1);
    end(agent);
}

#[test]
fn a_file_that_somebody_holds_is_written_when_it_is_let_go() {
    let scene = Scene::new("held");
    let (database, section) = victim();
    scene.configure("", &section);
    let agent = scene.start();
    wait_for(&agent, TRANSITIONS, |told| !verdicts(told).is_empty());
    let holder = Connection::open(scene.file()).expect("the file is there");
    holder
        .execute_batch("BEGIN IMMEDIATE")
        .expect("nobody else holds it for long");
    expect_crash_noticed(&agent, &database);
    agent.wait_for_log("the history cannot be written");
    holder.execute_batch("ROLLBACK").expect("it is held");
    agent.wait_for_log("the history is written again");
    wait_for(&agent, &format!("{TRANSITIONS}?of=victim"), |told| {
        verdicts(told) == ["up", "down"]
    });
    assert_eq!(
        agent.log().matches("the history cannot be written").count(),
        1
    );
    end(agent);
}
