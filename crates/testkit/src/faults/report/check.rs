//! `check` against a staged fault, column by column.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::agent::command;
use super::{Cell, Column};
use crate::clock::Stopwatch;
use crate::faults::scene::Scene;
use crate::faults::truth::{Check, told};

/// The contract's bound: a probe ends so long after its timeout at the latest.
const OVERTIME: Duration = Duration::from_millis(100);
/// What starting and ending a process may take beside its probe, on a busy machine.
const PROCESS: Duration = Duration::from_millis(500);

/// Plays the first act, and asks in each column that has a truth.
pub(super) fn play(program: &Path, mut scene: Scene, checks: &[Check]) -> Vec<Cell> {
    // What there is from the start needs no act; where the first act ends it, it waits.
    let acts = std::mem::take(&mut scene.acts);
    if !scene.from_start {
        for act in acts.into_iter().take(1) {
            act(&mut scene.stage);
        }
    }
    let cells = checks.iter().flat_map(|check| {
        let columns = check.columns.iter();
        columns.map(|column| ask(program, &scene, check, column))
    });
    let cells = cells.collect();
    if let Some(look) = scene.afterwards.take() {
        look();
    }
    cells
}

/// The arguments that stand for a column.
fn question(column: &str) -> [&str; 2] {
    match column {
        "primary" | "replica" | "writable" => ["--expect", column],
        "max_lag" => ["--max-lag", "2s"],
        depth => ["--depth", depth],
    }
}

fn ask(program: &Path, scene: &Scene, check: &Check, column: &str) -> Cell {
    let timeout = format!("{}ms", scene.timeout.as_millis());
    let mut command = command(program, scene);
    command
        .args(["check", "--json", "--timeout", &timeout])
        .args(question(column))
        .args(check.arguments)
        .args(&scene.urls)
        .stdin(Stdio::null());
    let watch = Stopwatch::start();
    let output = command.output().expect("the program can be started");
    let wall = watch.elapsed();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let result = &document["results"][0];

    let text = |field: &str| result[field].as_str().unwrap_or_default();
    let took_ms = result["took_ms"].as_f64().unwrap_or(f64::INFINITY);
    let mut wrong = Vec::new();
    let telling = told(text("verdict"), text("cause"));
    let tellings = check.truth.tellings();
    if !tellings.contains(&telling) {
        let words = String::from_utf8_lossy(&output.stderr);
        let detail = text("detail");
        wrong.push(format!(
            "right is {}: {detail} {words}",
            tellings.join(" or ")
        ));
    }
    let bound = scene.timeout + OVERTIME;
    if took_ms > bound.as_secs_f64() * 1000.0 {
        wrong.push(format!("the probe took {took_ms} ms, {bound:?} allowed"));
    }
    if wall > bound + PROCESS {
        wrong.push(format!("the process took {wall:?}"));
    }
    Cell {
        column: Column::of(column),
        said: format!("{telling}, {:.2} s", took_ms / 1000.0),
        wrong,
    }
}
