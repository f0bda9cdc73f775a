//! How many instructions the hot path takes: a ping asked and answered, a failed probe, a transition,
//! a greeting. A guard against growth, not a benchmark: no clock is asked, and counts are the same to
//! half a hundredth on every run, however busy the machine.
//!
//! ```text
//! cargo bench -p dbvitals-probe --bench hot_path               compares with hot_path/counts.txt
//! cargo bench -p dbvitals-probe --bench hot_path -- --record   writes that file anew
//! ```
//!
//! Runs itself under callgrind (Debian's package valgrind), once for each case, and has it count what
//! happens inside of [`measured`] alone. Fails where a count is more than a tenth above the committed
//! one; a count that fell as much is told, so that the file can follow. Counts depend on the compiler
//! a little and on the kind of processor altogether. Sockets are real, their other ends are in the
//! same thread; what the kernel does for them is not counted. Called by scripts/test.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a command of its own"
)]

#[path = "hot_path/cases.rs"]
mod cases;
#[path = "hot_path/peer.rs"]
mod peer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// How often each case is played before and while it is counted.
const ROUNDS: u64 = 100;
/// How much a count may grow.
const GROWTH_MAX: f64 = 1.10;
/// The kind of processor that the committed counts are of.
const COMMITTED_OF: &str = "x86_64";
/// What writes the committed counts.
const RECORD: &str = "cargo bench -p dbvitals-probe --bench hot_path -- --record";

/// What callgrind counts: whatever is called from here. Its name is what callgrind looks for.
#[inline(never)]
fn measured<T>(what: impl FnOnce() -> T) -> T {
    std::hint::black_box(what())
}

fn main() -> ExitCode {
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let word = words.first().map(String::as_str);
    if let Some((_, play)) = cases::ALL.iter().find(|(name, _)| Some(*name) == word) {
        play(ROUNDS);
        return ExitCode::SUCCESS;
    }
    let done = match word {
        None => count_all().and_then(|counts| compare(&counts)),
        Some("--record") => count_all().and_then(|counts| record(&counts)),
        Some(word) => Err(format!("{word} is neither --record nor a case")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hot path: {why}");
            ExitCode::FAILURE
        }
    }
}

fn count_all() -> Result<BTreeMap<&'static str, u64>, String> {
    let counts = cases::ALL.iter().map(|(name, _)| Ok((*name, count(name)?)));
    counts.collect()
}

/// Plays one case under callgrind, and answers how many instructions one round of it takes.
fn count(case: &str) -> Result<u64, String> {
    let ourselves = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured*"])
        .arg(ourselves)
        .arg(case)
        // A malloc with as many arenas as cores would make counts depend on the machine.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected :"));
    let total = collected.and_then(|(_, count)| count.trim().parse::<u64>().ok());
    match total.filter(|total| output.status.success() && *total > 0) {
        Some(total) => Ok(total / ROUNDS),
        None => Err(format!("valgrind counted nothing:\n{told}")),
    }
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/hot_path/counts.txt")
}

fn record(counts: &BTreeMap<&str, u64>) -> Result<(), String> {
    if env::consts::ARCH != COMMITTED_OF {
        return Err(format!("counts are committed of {COMMITTED_OF} alone"));
    }
    let mut text =
        format!("# Instructions of one round of each case, on {COMMITTED_OF}; made by\n");
    text.push_str(&format!("# {RECORD}\n"));
    for (case, count) in counts {
        text.push_str(&format!("{case} {count}\n"));
    }
    print!("{text}");
    let path = committed();
    fs::write(&path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))
}

/// Tells each count beside the committed one; an error where one of them grew, or is unknown.
fn compare(counts: &BTreeMap<&str, u64>) -> Result<(), String> {
    let text = fs::read_to_string(committed()).unwrap_or_default();
    let known: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(case, count)| Some((case, count.parse::<u64>().ok()?)))
        .collect();
    let mut grown = false;
    println!("{:16} {:>10} {:>10}   ratio", "case", "committed", "now");
    for (case, now) in counts {
        let before = known.get(case).copied().unwrap_or_default();
        let ratio = *now as f64 / before as f64;
        let word = match ratio {
            _ if before == 0 => "not committed",
            ratio if ratio > GROWTH_MAX => "GREW",
            ratio if ratio < 1.0 / GROWTH_MAX => "fell: record it",
            _ => "",
        };
        grown |= before == 0 || ratio > GROWTH_MAX;
        println!("{case:16} {before:>10} {now:>10}   {ratio:.3} {word}");
    }
    if env::consts::ARCH != COMMITTED_OF {
        println!("left out: the committed counts are of {COMMITTED_OF}, not of this processor");
        return Ok(());
    }
    match grown {
        true => Err(format!(
            "it grew by more than a tenth; make it shorter, or commit new counts with the reason: {RECORD}"
        )),
        false => Ok(()),
    }
}
