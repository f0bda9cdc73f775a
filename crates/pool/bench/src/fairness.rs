//! Who gets how much: 64 tasks on 16 connections, each held for a millisecond, for two seconds.

use std::time::{Duration, Instant};

use crate::peers::{Opener, Peer, for_each_peer};
use crate::runtime;

const TASKS: usize = 64;
const SIZE: usize = 16;
const LASTS: Duration = Duration::from_secs(2);

pub(crate) fn compare() {
    println!("{TASKS} tasks on {SIZE} connections, held for 1 ms, {LASTS:?}");
    println!(
        "{:34} {:>10} {:>8} {:>8} {:>8} {:>14}",
        "pool", "checkouts", "fewest", "most", "apart", "longest wait"
    );
    for (name, counts, longest) in for_each_peer!(measure()) {
        let (fewest, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        let apart = (most - fewest) as f64 / (*most).max(1) as f64 * 100.0;
        println!(
            "{name:34} {:>10} {fewest:>8} {most:>8} {apart:>6.1} % {:>11.1} ms",
            counts.iter().sum::<usize>(),
            longest.as_secs_f64() * 1e3,
        );
    }
    println!();
}

fn measure<P: Peer>() -> (&'static str, Vec<usize>, Duration) {
    let runtime = runtime();
    let seen: Vec<(usize, Duration)> = runtime.block_on(async {
        let pool = P::build(SIZE, Opener::default()).await;
        let until = Instant::now() + LASTS;
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let (mut count, mut longest) = (0, Duration::ZERO);
                    loop {
                        let asked = Instant::now();
                        let left = until.saturating_duration_since(asked);
                        if left.is_zero() {
                            return (count, longest);
                        }
                        let held = tokio::time::timeout(left, pool.get()).await;
                        longest = longest.max(asked.elapsed());
                        let Ok(Some(held)) = held else {
                            return (count, longest);
                        };
                        count += 1;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        drop(held);
                    }
                })
            })
            .collect();
        let mut seen = Vec::new();
        for task in tasks {
            seen.push(task.await.unwrap());
        }
        seen
    });
    let longest = seen.iter().map(|(_, longest)| *longest).max();
    let counts = seen.into_iter().map(|(count, _)| count).collect();
    (P::NAME, counts, longest.unwrap_or_default())
}
