//! A hundred thousand small worlds, each from a seed, through which the real `Monitor` has to find
//! its way: against a slow and obvious reference, and against bounds that know the hidden truth.
//!
//! - `DBVITALS_SIM_WORLDS=N` plays so many worlds.
//! - `DBVITALS_SIM_SEED=S` plays the one world of that seed and prints all that happens in it.
//!
//! A world that fails prints its seed and its last events. `simulation/world.rs` is the place to
//! begin reading.

#[path = "simulation/bounds.rs"]
mod bounds;
#[path = "simulation/journal.rs"]
mod journal;
#[path = "simulation/reference.rs"]
mod reference;
#[path = "simulation/schedule.rs"]
mod schedule;
#[path = "simulation/server.rs"]
mod server;
#[path = "simulation/site.rs"]
mod site;
#[path = "simulation/story.rs"]
mod story;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use journal::Journal;
use world::World;

const WORLDS: u64 = 100_000;
const WORKERS: u64 = 2;
/// How many lines of a failed world are printed.
const LINES: usize = 80;

#[test]
fn no_world_deceives_the_monitor() {
    if let Some(seed) = number("DBVITALS_SIM_SEED") {
        replay(seed, usize::MAX);
        return;
    }
    let worlds = number("DBVITALS_SIM_WORLDS").unwrap_or(WORLDS);
    let failed = AtomicBool::new(false);
    let played: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|first| (first..worlds).step_by(WORKERS as usize))
            .map(|seeds| scope.spawn(|| play(seeds, &failed)))
            .collect();
        let played = workers.into_iter().map(|worker| worker.join().unwrap());
        played.collect()
    });
    if let Some(Err(seed)) = played.iter().find(|played| played.is_err()) {
        replay(*seed, LINES);
    }
    let rounds: u64 = played.into_iter().flatten().sum();
    println!("{worlds} worlds, {rounds} rounds of the loop");
}

/// Plays worlds; answers how many rounds the loop made in them, or the seed of one that failed.
fn play(seeds: impl Iterator<Item = u64>, failed: &AtomicBool) -> Result<u64, u64> {
    let mut rounds = 0;
    for seed in seeds.take_while(|_| !failed.load(Ordering::Relaxed)) {
        let mut closed = Journal::default();
        let played = catch_unwind(AssertUnwindSafe(|| World::play(seed, &mut closed)));
        rounds += u64::from(played.map_err(|_| {
            failed.store(true, Ordering::Relaxed);
            seed
        })?);
    }
    Ok(rounds)
}

/// Plays one world with the journal open and prints it.
#[expect(
    clippy::print_stdout,
    reason = "what happened in a world is told to whoever runs the test"
)]
fn replay(seed: u64, lines: usize) {
    let mut journal = Journal::keeping(lines);
    let played = catch_unwind(AssertUnwindSafe(|| World::play(seed, &mut journal)));
    println!("{journal}");
    assert!(
        played.is_ok(),
        "world {seed} fails; DBVITALS_SIM_SEED={seed} replays it alone"
    );
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
