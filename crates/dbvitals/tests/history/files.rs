//! Files that are no history, or not whole: they are set aside, and the agent goes on.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use dbvitals_testkit::eventually;
use rusqlite::Connection;

use crate::agent::{Agent, PATIENCE};
use crate::{
    LATENCY, Scene, TRANSITIONS, ask, end, expect_crash_noticed, verdicts, victim, wait_for,
};

fn random_bytes(count: usize) -> Vec<u8> {
    // Of a small generator, always the same.
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn put_random(path: &Path) {
    fs::write(path, random_bytes(200_000)).expect("the directory can be written");
}

/// Breaks the file of a run that has ended, and expects the next one to begin anew.
fn check_set_aside(name: &str, break_it: impl Fn(&Path)) {
    let scene = Scene::new(name);
    let agent = scene.start();
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up"]);
    end(agent);
    break_it(&scene.file());
    let (database, section) = victim();
    scene.configure("", &section);
    let agent = scene.start();
    expect_crash_noticed(&agent, &database);
    agent.wait_for_log("the history cannot be read; it is set aside as");
    wait_for(&agent, &format!("{TRANSITIONS}?of=db"), |told| {
        verdicts(told) == ["up"]
    });
    assert_eq!(scene.set_aside().len(), 1, "{:?}", scene.set_aside());
    assert_eq!(agent.log().matches("the history cannot be").count(), 1);
    end(agent);
    // The new one is fine.
    let agent = scene.start();
    wait_for(&agent, &format!("{TRANSITIONS}?of=db"), |told| {
        verdicts(told).len() == 2
    });
    assert!(!agent.log().contains("the history cannot be"));
    end(agent);
}

#[test]
fn a_file_of_random_bytes_is_set_aside() {
    check_set_aside("random", put_random);
}

#[test]
fn a_truncated_file_is_set_aside() {
    check_set_aside("truncated", |path| {
        let file = File::options().write(true).open(path).expect("it is there");
        let length = file.metadata().expect("a length").len();
        assert!(length > 16_384, "{length}");
        file.set_len(10_000).expect("it can be cut");
    });
}

#[test]
fn a_database_of_somebody_else_is_set_aside_whole() {
    check_set_aside("foreign", |path| {
        fs::remove_file(path).expect("it is there");
        let other = Connection::open(path).expect("a new one");
        let made = other.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (42)");
        made.expect("a table can be made");
    });
}

#[test]
fn a_file_that_is_scribbled_over_or_cut_while_it_is_written_is_begun_anew() {
    for (name, length) in [("scribbled", None), ("cut", Some(5000))] {
        let scene = Scene::new(name);
        let (database, section) = victim();
        scene.configure("", &section);
        // At the end of a run all is in the file, and nothing in the log beside it.
        end(scene.start());
        let agent = scene.start();
        wait_for(&agent, TRANSITIONS, |told| !verdicts(told).is_empty());
        let file = File::options()
            .write(true)
            .open(scene.file())
            .expect("it is there");
        match length {
            Some(length) => file.set_len(length).expect("it can be cut"),
            None => file
                .write_all_at(&random_bytes(60_000), 0)
                .expect("it can be written"),
        }
        expect_crash_noticed(&agent, &database);
        // Somebody who reads finds out, if the writer does not.
        let begun = eventually(PATIENCE, || {
            ask(&agent, &format!("{LATENCY}?of=db"));
            agent
                .log()
                .contains("the history cannot be read; it is set aside as")
        });
        assert!(begun, "{}", agent.log());
        wait_for(&agent, TRANSITIONS, |_| true);
        end(agent);
    }
}

#[test]
fn a_file_that_is_taken_away_is_begun_anew() {
    let mut scene = Scene::new("taken");
    let agent = scene.start();
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up"]);
    fs::remove_file(scene.file()).expect("it is there");
    agent.wait_for_log("was taken away; another one is begun");
    scene.service.stop();
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["down"]);
    end(agent);
}

#[test]
fn a_kill_at_any_moment_leaves_a_file_that_is_gone_on_with() {
    const ROUNDS: u64 = 12;
    let scene = Scene::new("killed");
    // Two hundred ports at which nobody listens: each is a transition within the first second.
    let port = scene.service.address().port();
    let absent =
        (2..202).map(|it| format!("[backend.b{it}]\nurl = \"tcp://127.0.0.{it}:{port}\"\n"));
    scene.configure("", &absent.collect::<String>());
    let mut known = 0;
    for round in 0..ROUNDS {
        let agent = Agent::start(scene.config.serve());
        // From before the file is there until after its second batch.
        let wait = std::time::Duration::from_millis(round * 190);
        std::thread::sleep(wait);
        // A kill.
        drop(agent);
        assert_eq!(scene.set_aside(), [""; 0], "round {round}");
        let Ok(file) = Connection::open(scene.file()) else {
            continue;
        };
        let found: String = file
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("it can be checked");
        assert_eq!(found, "ok", "round {round}");
        let count = "SELECT count(*) FROM transition";
        let there: i64 = file.query_row(count, [], |row| row.get(0)).unwrap_or(0);
        assert!(
            there >= known,
            "round {round}: {known} were there, now {there}"
        );
        known = there;
    }
    assert!(known >= 200, "{known}");
    let agent = scene.start();
    wait_for(&agent, TRANSITIONS, |told| {
        told["transitions"].as_array().map(Vec::len) == Some(1000)
    });
    assert!(!agent.log().contains("the history cannot be"));
    end(agent);
}
