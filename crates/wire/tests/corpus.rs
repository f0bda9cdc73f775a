//! The fuzz corpora replayed as a plain test, and mutated for a few seconds more.
//!
//! What has to hold for each input is in `fuzz/drive.rs` and `fuzz/listen.rs`, which the fuzz
//! targets share. The mutations are the same in every run; a failure names its input, which belongs
//! into the corpus.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(
    unreachable_pub,
    reason = "public for the fuzz targets, to which it is a library"
)]
#[path = "../../../fuzz/drive.rs"]
mod drive;
#[expect(
    unreachable_pub,
    reason = "public for the fuzz targets, to which it is a library"
)]
#[path = "../../../fuzz/listen.rs"]
mod listen;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

const MUTATIONS: usize = 5_000;
const INPUT_LENGTH_MAX: usize = 4096;

#[test]
fn mysql_client_stands_whatever_a_server_sends() {
    check("mysql_client", drive::mysql_client);
}

#[test]
fn mysql_server_stands_whatever_a_client_sends() {
    check("mysql_server", drive::mysql_server);
}

#[test]
fn postgres_client_stands_whatever_a_server_sends() {
    check("postgres_client", drive::postgres_client);
}

#[test]
fn postgres_server_stands_whatever_a_client_sends() {
    check("postgres_server", drive::postgres_server);
}

#[test]
fn a_listener_stands_whatever_is_said_in_mysqls_protocol() {
    check("passive_mysql", listen::passive_mysql);
}

#[test]
fn a_listener_stands_whatever_is_said_in_postgresqls_protocol() {
    check("passive_postgres", listen::passive_postgres);
}

fn check(target: &str, drive: fn(&[u8])) {
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

#[expect(
    clippy::print_stderr,
    reason = "the panic that follows does not name the input"
)]
fn drive_or_name(drive: fn(&[u8]), input: &[u8]) {
    if let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| drive(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("the input was {hex}");
        panic::resume_unwind(cause);
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
