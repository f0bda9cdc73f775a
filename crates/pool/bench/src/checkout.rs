//! What a checkout and return cost: alone, and with four or eight tasks for each connection, each
//! of which yields once while it holds one.

use std::time::{Duration, Instant};

use crate::peers::{Opener, Peer, R2d2Opener, for_each_peer};
use crate::{median, runtime};

/// What is measured: tasks, connections, checkouts in all.
const SHAPES: [(usize, u32, usize); 3] = [(1, 1, 400_000), (16, 4, 200_000), (256, 32, 200_000)];

struct Figures {
    name: &'static str,
    /// For each shape: nanoseconds for one, and the middle and 99th percentile of the wait.
    rows: Vec<[f64; 3]>,
}

pub(crate) fn compare(runs: usize) {
    // Runs alternate, so that a slow moment of the machine strikes all alike.
    let rounds: Vec<Vec<Figures>> = (0..runs)
        .map(|_| {
            let mut round = for_each_peer!(measure());
            round.push(measure_r2d2());
            round
        })
        .collect();
    println!("checkout and return, medians of {runs} runs, two workers");
    println!(
        "{:34} {:>10}   {:>26}   {:>26}",
        "", "1 task", "16 tasks on 4", "256 tasks on 32"
    );
    println!(
        "{:34} {:>10}   {:>8} {:>8} {:>8}   {:>8} {:>8} {:>8}",
        "pool", "ns", "ns", "p50 us", "p99 us", "ns", "p50 us", "p99 us"
    );
    for peer in 0..rounds[0].len() {
        let figure = |shape: usize, which: usize| {
            median(
                rounds
                    .iter()
                    .map(|it| it[peer].rows[shape][which])
                    .collect(),
            )
        };
        println!(
            "{:34} {:>10.0}   {:>8.0} {:>8.1} {:>8.1}   {:>8.0} {:>8.1} {:>8.1}",
            rounds[0][peer].name,
            figure(0, 0),
            figure(1, 0),
            figure(1, 1),
            figure(1, 2),
            figure(2, 0),
            figure(2, 1),
            figure(2, 2),
        );
    }
    println!();
}

fn measure<P: Peer>() -> Figures {
    let rows = SHAPES.map(|(tasks, size, checkouts)| match tasks {
        1 => [measure_alone::<P>(checkouts), 0.0, 0.0],
        _ => measure_crowd::<P>(tasks, size, checkouts),
    });
    Figures {
        name: P::NAME,
        rows: rows.into(),
    }
}

fn measure_alone<P: Peer>(checkouts: usize) -> f64 {
    let runtime = runtime();
    runtime.block_on(async {
        let pool = P::build(1, Opener::default()).await;
        // On a worker, as an application's tasks are.
        let task = tokio::spawn(async move {
            drop(pool.get().await);
            let begun = Instant::now();
            for _ in 0..checkouts {
                drop(pool.get().await.unwrap());
            }
            begun.elapsed()
        });
        task.await.unwrap().as_nanos() as f64 / checkouts as f64
    })
}

fn measure_crowd<P: Peer>(tasks: usize, size: u32, checkouts: usize) -> [f64; 3] {
    let runtime = runtime();
    let each = checkouts / tasks;
    let (took, waits) = runtime.block_on(async {
        let pool = P::build(size as usize, Opener::default()).await;
        let warm: Vec<_> = {
            let mut held = Vec::new();
            for _ in 0..size {
                held.push(pool.get().await);
            }
            held
        };
        drop(warm);
        let begun = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let mut waits = Vec::with_capacity(each);
                    for _ in 0..each {
                        let asked = Instant::now();
                        let held = pool.get().await.unwrap();
                        waits.push(asked.elapsed());
                        tokio::task::yield_now().await;
                        drop(held);
                    }
                    waits
                })
            })
            .collect();
        let mut waits: Vec<Duration> = Vec::new();
        for task in tasks {
            waits.extend(task.await.unwrap());
        }
        (begun.elapsed(), waits)
    });
    summarise(took, waits)
}

fn summarise(took: Duration, mut waits: Vec<Duration>) -> [f64; 3] {
    waits.sort_unstable();
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize].as_nanos() as f64 / 1e3;
    [
        took.as_nanos() as f64 / waits.len() as f64,
        at(0.5),
        at(0.99),
    ]
}

/// r2d2 blocks, so its tasks are threads.
fn measure_r2d2() -> Figures {
    let rows = SHAPES.map(|(tasks, size, checkouts)| match tasks {
        1 => [measure_r2d2_alone(checkouts), 0.0, 0.0],
        _ => measure_r2d2_crowd(tasks, size, checkouts),
    });
    Figures {
        name: "r2d2, on threads",
        rows: rows.into(),
    }
}

fn measure_r2d2_alone(checkouts: usize) -> f64 {
    let pool = build_r2d2(1);
    let begun = Instant::now();
    for _ in 0..checkouts {
        drop(pool.get().unwrap());
    }
    begun.elapsed().as_nanos() as f64 / checkouts as f64
}

fn measure_r2d2_crowd(tasks: usize, size: u32, checkouts: usize) -> [f64; 3] {
    let pool = build_r2d2(size);
    let each = checkouts / tasks;
    let begun = Instant::now();
    let waits = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..tasks)
            .map(|_| {
                scope.spawn(|| {
                    let wait = || {
                        let asked = Instant::now();
                        let held = pool.get().unwrap();
                        let waited = asked.elapsed();
                        std::thread::yield_now();
                        drop(held);
                        waited
                    };
                    (0..each).map(|_| wait()).collect::<Vec<_>>()
                })
            })
            .collect();
        let waits = threads.into_iter().flat_map(|it| it.join().unwrap());
        waits.collect::<Vec<_>>()
    });
    summarise(begun.elapsed(), waits)
}

fn build_r2d2(size: u32) -> r2d2::Pool<R2d2Opener> {
    let builder = r2d2::Pool::builder()
        .max_size(size)
        .test_on_check_out(false);
    builder.build(R2d2Opener).unwrap()
}
