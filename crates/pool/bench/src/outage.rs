//! A server that is away for a second: 64 tasks on 16 connections, 5 ms for each refusal, tasks ask
//! again 10 ms after an error. How often is it tried, and how soon is it noticed to be back?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::peers::{Opener, Peer, for_each_peer};
use crate::{median, runtime};

const TASKS: usize = 64;
const SIZE: usize = 16;
const OUTAGE: Duration = Duration::from_secs(1);
/// Who was not served by then is not any more.
const PATIENCE: Duration = Duration::from_secs(3);
const RUNS: usize = 5;

struct Figures {
    attempts: f64,
    at_once: f64,
    errors: f64,
    /// In milliseconds after the recovery.
    first: f64,
    served_all: f64,
}

pub(crate) fn compare() {
    println!("an outage of {OUTAGE:?}, medians of {RUNS} runs (worst first success in brackets)");
    println!(
        "{:34} {:>10} {:>8} {:>8} {:>22} {:>16}",
        "pool", "attempts/s", "at once", "errors", "first success", "all served"
    );
    let rounds: Vec<Vec<(&str, Figures)>> = (0..RUNS).map(|_| for_each_peer!(measure())).collect();
    for peer in 0..rounds[0].len() {
        let of = |figure: fn(&Figures) -> f64| -> Vec<f64> {
            rounds.iter().map(|round| figure(&round[peer].1)).collect()
        };
        let worst = of(|it| it.first).into_iter().fold(0.0, f64::max);
        let all = median(of(|it| it.served_all));
        println!(
            "{:34} {:>10.0} {:>8.0} {:>8.0} {:>9.1} ms ({worst:>6.1}) {:>16}",
            rounds[0][peer].0,
            median(of(|it| it.attempts)),
            median(of(|it| it.at_once)),
            median(of(|it| it.errors)),
            median(of(|it| it.first)),
            match all.is_finite() {
                true => format!("{all:.1} ms"),
                false => format!("not in {PATIENCE:?}"),
            },
        );
    }
    println!();
}

fn measure<P: Peer>() -> (&'static str, Figures) {
    let runtime = runtime();
    let figures = runtime.block_on(async {
        let opener = Opener::default();
        let world = Arc::clone(&opener.0);
        let pool = P::build(SIZE, opener).await;
        world.down.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let stop = Arc::new(AtomicBool::new(false));
        let errors = Arc::new(AtomicUsize::new(0));
        let first = Arc::new(AtomicU64::new(u64::MAX));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (pool, stop) = (pool.clone(), Arc::clone(&stop));
                let (errors, first) = (Arc::clone(&errors), Arc::clone(&first));
                tokio::spawn(async move {
                    let mut served = None;
                    while !stop.load(Ordering::SeqCst) {
                        match tokio::time::timeout(PATIENCE, pool.get()).await {
                            Ok(Some(held)) => {
                                let at = begun.elapsed();
                                first.fetch_min(at.as_nanos() as u64, Ordering::SeqCst);
                                served.get_or_insert(at);
                                tokio::time::sleep(Duration::from_millis(1)).await;
                                drop(held);
                            }
                            Ok(None) => {
                                errors.fetch_add(1, Ordering::SeqCst);
                                tokio::time::sleep(Duration::from_millis(10)).await;
                            }
                            Err(_) => return served,
                        }
                    }
                    served
                })
            })
            .collect();
        tokio::time::sleep(OUTAGE).await;
        let attempts = world.attempts.load(Ordering::SeqCst);
        let recovered = begun.elapsed();
        world.down.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(800)).await;
        stop.store(true, Ordering::SeqCst);
        let mut last = Some(Duration::ZERO);
        for task in tasks {
            let served = task.await.unwrap();
            last = last.zip(served).map(|(last, served)| last.max(served));
        }
        let after = |at: Duration| at.saturating_sub(recovered).as_secs_f64() * 1e3;
        Figures {
            attempts: attempts as f64 / recovered.as_secs_f64(),
            at_once: world.most_under_way.load(Ordering::SeqCst) as f64,
            errors: errors.load(Ordering::SeqCst) as f64,
            first: after(Duration::from_nanos(first.load(Ordering::SeqCst))),
            served_all: last.map_or(f64::INFINITY, after),
        }
    });
    (P::NAME, figures)
}
