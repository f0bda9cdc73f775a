//! Faults of the checker itself: they prove nothing about the server.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::database::Database;
use super::scene::Scene;
use super::truth::{ALL, Truth, UP, at, by_ping, ms, stays, unknown};
use super::{Fault, REAL, Stand};

/// What was known stays known: its sessions are ended, and no new one can be opened.
const KEEPS: Truth = Truth {
    verdict: "up",
    causes: &["out_of_descriptors", ""],
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "out_of_descriptors",
        what: "The checker has no descriptor left for a socket (RLIMIT_NOFILE).",
        on: REAL,
        stage: |stand| {
            let mut scene = Scene::of(&Database::plain(stand));
            // Enough for what a program opens before it probes, and not for one socket more.
            let words = ["prlimit", "--nofile=5"];
            scene.surroundings = words.map(str::to_owned).into();
            scene
        },
        checks: &[at(ALL, unknown(&["out_of_descriptors"]))],
        ..Fault::BLANK
    },
    Fault {
        name: "descriptors_used_up",
        what: "The agent has no descriptor left while all sessions are ended, then has again.",
        on: REAL,
        stage: descriptors_used_up,
        watch: by_ping(&[stays(KEEPS, ms(2500))]),
        ..Fault::BLANK
    },
    Fault {
        name: "agent_stopped",
        what: "The agent itself is stopped (SIGSTOP) for 5 s.",
        on: REAL,
        stage: |stand| {
            Scene::of(&Database::plain(stand)).then(|stage| {
                if let Some(agent) = stage.agent {
                    signal(agent, Signal::STOP);
                    std::thread::sleep(Duration::from_secs(5));
                    signal(agent, Signal::CONT);
                }
            })
        },
        watch: by_ping(&[stays(UP, ms(4000))]),
        ..Fault::BLANK
    },
];

fn descriptors_used_up(stand: Stand) -> Scene {
    let database = Database::plain(stand);
    Scene::of(&database).then(move |stage| {
        let Some(agent) = stage.agent else { return };
        // The highest descriptor in use is above: nothing more can be opened.
        let before = limit(agent, Some(3));
        database.end_sessions();
        std::thread::sleep(Duration::from_secs(4));
        limit(agent, before);
    })
}

/// Sets an agent's limit of descriptors, and returns what it was.
fn limit(agent: Pid, current: Option<u64>) -> Option<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limits = Rlimit { current, maximum };
    let before = prlimit(Some(agent), Resource::Nofile, limits);
    before.expect("one's own child can be limited").current
}

fn signal(agent: Pid, signal: Signal) {
    kill_process(agent, signal).expect("the agent runs");
}
