//! The corpora of the fuzz targets of `pings`, replayed as plain tests and mutated a little.
//!
//! What has to hold for each input is in `fuzz/capture.rs`, which the fuzz targets share.

use std::fs;
use std::path::Path;

use super::capture;

const MUTATIONS: usize = 3000;

#[test]
fn capture_file_stands_whatever_a_file_holds() {
    check("capture_file", capture::capture_file);
}

#[test]
fn packets_are_read_or_passed_over_whatever_they_are() {
    check("packets", capture::packets);
}

#[test]
fn reassembly_stands_whatever_the_numbers() {
    check("reassembly", capture::reassembly);
}

fn check(target: &str, drive: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&directory).expect("each target has a corpus");
    let mut inputs: Vec<_> = entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "an empty corpus for {target}");
    inputs.iter().for_each(|input| drive(input));
    let mut random = fastrand::Rng::with_seed(2026);
    for _ in 0..MUTATIONS {
        let mut input = inputs[random.usize(..inputs.len())].clone();
        for _ in 0..random.usize(1..=4) {
            let at = random.usize(0..=input.len());
            match random.u8(0..3) {
                0 if at < input.len() => input[at] = random.u8(..),
                1 => input.insert(at, random.u8(..)),
                _ => input.truncate(at),
            }
        }
        drive(&input);
    }
}
