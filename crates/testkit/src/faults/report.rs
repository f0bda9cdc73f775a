//! The report: a program against the whole catalogue, cell by cell.
//!
//! A cell is one fault on one server at one depth of `check`, or under `serve`. What the program
//! said is compared with the truth, and how long it took with what was promised. Scenes run a few
//! at a time; those with tight bounds run alone, after the others. Called by the binary
//! `fault-report` and by the program's own tests.

mod agent;
mod check;
mod table;
mod watch;

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

pub use self::table::Column;
use super::{Fault, Stand, fault_catalogue};

/// Scenes that are played at the same time.
const SCENES_MAX: usize = 4;

/// What a program said of the faults, beside the truth.
#[derive(Debug)]
pub struct FaultReport {
    rows: Vec<Row>,
}

/// One fault on one server.
#[derive(Debug)]
struct Row {
    fault: Fault,
    stand: Stand,
    /// Whether the fault cannot be staged here; why was told.
    is_left_out: bool,
    cells: Vec<Cell>,
}

/// What the program said once.
#[derive(Debug)]
struct Cell {
    column: Column,
    /// `down: refused`, with the seconds it took.
    said: String,
    /// What is wrong with it.
    wrong: Vec<String>,
}

/// A part of a row that is staged on its own.
#[derive(Clone, Copy, Debug)]
struct Job {
    row: usize,
    watches: bool,
}

impl FaultReport {
    /// Runs the program against every fault whose name contains the filter, and every server.
    #[must_use]
    pub fn run(program: &Path, filter: &str) -> Self {
        let faults = fault_catalogue().into_iter();
        let mut rows: Vec<Row> = faults
            .filter(|fault| fault.name.contains(filter))
            .flat_map(|fault| fault.on.iter().map(move |stand| Row::new(&fault, *stand)))
            .collect();
        let jobs: Vec<Job> = (0..rows.len())
            .filter(|row| !rows[*row].is_left_out)
            .flat_map(|row| [false, true].map(|watches| Job { row, watches }))
            .filter(|job| rows[job.row].has(*job))
            .collect();
        let is_alone = |job: &Job| job.watches && rows[job.row].fault.alone;
        let (alone, together): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_alone);
        let mut played = play_all(program, &rows, together, SCENES_MAX);
        played.extend(play_all(program, &rows, alone, 1));
        for (job, cells) in played {
            rows[job.row].cells.extend(cells);
        }
        for row in &mut rows {
            row.cells.sort_by_key(|cell| cell.column);
        }
        Self { rows }
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.rows.iter().map(|row| row.cells.len()).sum()
    }

    /// What is wrong, cell by cell.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let rows = self.rows.iter();
        let cells = rows.flat_map(|row| row.cells.iter().map(move |cell| (row, cell)));
        cells
            .filter(|(_, cell)| !cell.wrong.is_empty())
            .map(|(row, cell)| {
                let Row { fault, stand, .. } = row;
                let (column, wrong) = (cell.column, cell.wrong.join("; "));
                format!(
                    "{} on {stand}, {column}: said {:?}; {wrong}",
                    fault.name, cell.said
                )
            })
            .collect()
    }
}

impl Row {
    fn new(fault: &Fault, stand: Stand) -> Self {
        Self {
            fault: fault.clone(),
            stand,
            is_left_out: !fault.is_available(stand),
            cells: Vec::new(),
        }
    }

    fn has(&self, job: Job) -> bool {
        match job.watches {
            true => self.fault.watch.is_some(),
            false => !self.fault.checks.is_empty(),
        }
    }

    /// Stages the fault once, and asks the program.
    fn play(&self, program: &Path, watches: bool) -> Vec<Cell> {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let scene = (self.fault.stage)(self.stand);
            match (watches, &self.fault.watch) {
                (true, Some(expected)) => vec![watch::play(program, scene, expected)],
                _ => check::play(program, scene, self.fault.checks),
            }
        }));
        attempt.unwrap_or_else(|panic| {
            let column = if watches {
                Column::SERVE
            } else {
                Column::FIRST
            };
            vec![Cell {
                column,
                said: "nothing".to_owned(),
                wrong: vec![format!("the scene broke off: {}", words_of(&*panic))],
            }]
        })
    }
}

/// Plays jobs, a few at a time.
fn play_all(program: &Path, rows: &[Row], jobs: Vec<Job>, at_once: usize) -> Vec<(Job, Vec<Cell>)> {
    let waiting = Mutex::new(VecDeque::from(jobs));
    let played = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                let next = || lock(&waiting).pop_front();
                while let Some(job) = next() {
                    let cells = rows[job.row].play(program, job.watches);
                    lock(&played).push((job, cells));
                }
            });
        }
    });
    played.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}
