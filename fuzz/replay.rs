//! Replays the corpus of a fuzz target as a plain test, and mutates it for a few seconds more.
//!
//! The mutations are the same in every run; a failure names its input, which belongs into the
//! corpus. A module of the tests of each crate that is fuzzed.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

const MUTATIONS: usize = 5_000;
const INPUT_LENGTH_MAX: usize = 4096;

/// Drives every input of the corpus, and mutations of them.
pub(crate) fn check(target: &str, drive: fn(&[u8])) {
    let corpus = read_corpus(target);
    for input in &corpus {
        drive_or_name(drive, input);
    }
    let mut random = fastrand::Rng::with_seed(2026);
    for _ in 0..MUTATIONS {
        drive_or_name(drive, &mutate(&corpus, &mut random));
    }
}

fn read_corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("no corpus at {}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "an empty corpus at {}",
        directory.display()
    );
    paths
        .into_iter()
        .map(|path| fs::read(path).unwrap())
        .collect()
}

fn drive_or_name(drive: fn(&[u8]), input: &[u8]) {
    if panic::catch_unwind(AssertUnwindSafe(|| drive(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("the input was {hex}");
    }
}

/// Damages one of the inputs in a few places, in the ways that parsers are weak against.
fn mutate(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = random.choice(corpus).unwrap().clone();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=input.len());
        let end = random.usize(at..=input.len().min(at + 16));
        match random.u8(0..6) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            1 if at < input.len() => {
                let telling = *random
                    .choice(&[0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfe, 0xff])
                    .unwrap();
                input[at] = telling;
            }
            2 => drop(input.drain(at..end)),
            3 => input.insert(at, random.u8(..)),
            4 => input.extend_from_within(at..end),
            _ => {
                let other = random.choice(corpus).unwrap();
                input.truncate(at);
                input.extend_from_slice(&other[random.usize(0..=other.len())..]);
            }
        }
    }
    input.truncate(INPUT_LENGTH_MAX);
    input
}
