//! How CPU, memory and punctuality grow with the number of sessions.

use std::thread;
use std::time::Duration;

use super::Row;
use super::ping;
use super::punctuality::Lateness;
use crate::agent;
use crate::bench::Bench;
use crate::sheet::{Sheet, median};
use crate::side::{Measured, Series, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "growth",
    about: "CPU, memory and lateness from 10 to 15,000 sessions, with the slopes",
    run,
};

const SESSIONS: [u32; 6] = [10, 100, 1000, 5000, 10_000, 15_000];

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    let mut points = Vec::new();
    for sessions in bench.sessions_or(&SESSIONS) {
        let side = Side::new("dbvitals", || once(bench, sessions));
        let runs = in_turn(bench.rounds, &mut [side])?;
        points.push((f64::from(sessions), runs.clone()));
        sheets.push(Sheet::new(format!("{sessions} sessions"), runs));
    }
    if points.len() > 1 {
        let mut slopes = Vec::new();
        for (what, unit, per) in [
            ("CPU", "% of a core", "CPU of 1,000 more"),
            ("memory", "KiB", "memory of 1,000 more"),
        ] {
            slopes.push(Series {
                side: "dbvitals".to_owned(),
                what: per,
                unit,
                values: vec![slope(&points, what) * 1000.0],
            });
        }
        sheets.push(Sheet::new("the slope, by least squares", slopes));
    }
    Ok(sheets)
}

fn once(bench: &Bench, sessions: u32) -> anyhow::Result<Vec<Measured>> {
    let (mut server, agent) = agent::start_pinging(bench, sessions)?;
    // As the row of memory has it: an answer as long as all metrics leaves the allocator in another
    // state.
    thread::sleep(bench.window);
    let memory = agent.resident_kib()?;
    let before = Lateness::read(bench)?;
    // What asking for metrics takes is not what a session costs.
    thread::sleep(Duration::from_secs(1));
    let cpu = agent.cpu()?;
    let mut measured = ping::cost(bench, &mut server, &agent)?;
    let share = (agent.cpu()? - cpu).as_secs_f64() / bench.window.as_secs_f64();
    measured.push(Measured::new("CPU", "% of a core", share * 100.0));
    measured.push(Measured::new("memory", "KiB", memory));
    measured.extend(Lateness::read(bench)?.since(&before).measured()?);
    Ok(measured)
}

/// How much a quantity grows with each session, by least squares.
fn slope(points: &[(f64, Vec<Series>)], what: &str) -> f64 {
    let pairs: Vec<_> = points
        .iter()
        .filter_map(|(sessions, series)| {
            let found = series.iter().find(|it| it.what == what)?;
            Some((*sessions, median(&found.values)))
        })
        .collect();
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let over: f64 = pairs.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    over / pairs.iter().map(|it| (it.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_slope() {
        let point = |sessions: f64| {
            let series = Series {
                side: "dbvitals".to_owned(),
                what: "memory",
                unit: "KiB",
                values: vec![7.0 + 2.0 * sessions],
            };
            (sessions, vec![series])
        };
        let slope = slope(&[point(10.0), point(100.0), point(15_000.0)], "memory");
        assert!((slope - 2.0).abs() < 1e-9);
    }
}
