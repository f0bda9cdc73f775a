//! The pool beside its peers: the same work on each in one run, with a manager that does nothing.
//!
//! ```text
//! cargo run --release                 all rows: checkout, fairness, outage
//! cargo run --release -- checkout 9   one row, so many runs of each, medians
//! cargo run --release -- checkout 9 dbvitals   only pools of this name, for a profiler
//! ```
//!
//! `floor` is a semaphore and a vector under a mutex: what waiting in turn costs by itself. Peers
//! are set to test nothing at checkout where they can be; what they do besides is their own.

mod checkout;
mod fairness;
mod outage;
mod peers;
mod sqlx_peer;

use std::env;

fn main() {
    let row = env::args().nth(1);
    let runs = env::args().nth(2);
    let runs = runs.and_then(|it| it.parse().ok()).unwrap_or(9);
    let wants = |name: &str| row.as_deref().is_none_or(|row| row == name);
    if wants("checkout") {
        checkout::compare(runs);
    }
    if wants("fairness") {
        fairness::compare();
    }
    if wants("outage") {
        outage::compare();
    }
}

/// Whether a pool is to be measured, by the third argument.
fn is_wanted(name: &str) -> bool {
    env::args().nth(3).is_none_or(|part| name.contains(&part))
}

/// A runtime with two workers, as all rows use.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The value in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
