//! How long it takes until a fault of a real server is noticed: by dbvitals, by HAProxy with a fast
//! pace on trouble, and, at PostgreSQL, by pgpool.
//!
//! All of them watch the same server in a network of its own, so each fault meets all alike. The
//! servers of a case are all up and watched before the first fault, and their faults are spread over
//! time, and over the interval. A verdict is there when its line is read: a transition, a server that
//! `is DOWN`, a backend that is degenerated. Who has none within the bound never had one: it counts
//! for infinitely late, and is counted by itself.

mod fault;
mod watcher;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use dbvitals_testkit::{Network, RealServer};

use self::fault::{Crowd, Fault};
use self::watcher::Watcher;
use super::Row;
use crate::bench::Bench;
use crate::clock;
use crate::real;
use crate::scripted::Protocol;
use crate::sheet::{Goal, Sheet};
use crate::side::Series;

pub(crate) const MYSQL: Row = Row {
    name: "verdict-mysql",
    about: "time from a fault of MariaDB to the verdict, beside HAProxy",
    run: |bench| run(bench, Protocol::MySql),
};

pub(crate) const POSTGRES: Row = Row {
    name: "verdict-postgres",
    about: "time from a fault of PostgreSQL to the verdict, beside HAProxy and pgpool",
    run: |bench| run(bench, Protocol::Postgres),
};

const AFTER: &str = "verdict after";
const UNNOTICED: &str = "unnoticed";
/// How often each fault comes: to as many servers.
const TIMES: u32 = 20;
const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// What each of the three waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Over how long the faults of a case are spread: a multiple of each interval, and long enough that
/// they do not wait for each other.
const SPREAD: Duration = Duration::from_secs(10);
/// Sessions that a server takes.
const SESSIONS_MAX: u32 = 12;

/// A fault at a pace of checks.
#[derive(Debug, Clone, Copy)]
struct Case {
    protocol: Protocol,
    fault: Fault,
    interval: Duration,
}

/// A server, and those who watch it.
struct Scene {
    watchers: Vec<Watcher>,
    server: Box<dyn RealServer + Send>,
    network: Network,
}

/// When each watcher had its verdict.
type Verdicts = Vec<(&'static str, Option<Duration>)>;

fn run(bench: &Bench, protocol: Protocol) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    for fault in Fault::ALL {
        for interval in INTERVALS {
            let case = Case {
                protocol,
                fault,
                interval,
            };
            if bench.wants(&case.name()) {
                sheets.push(measure(bench, case)?);
            }
        }
    }
    Ok(sheets)
}

fn measure(bench: &Bench, case: Case) -> anyhow::Result<Sheet> {
    let times = bench.sessions.unwrap_or(TIMES);
    let setters: Vec<_> = (0..times).map(|_| || Scene::set(bench, case)).collect();
    let scenes = all_at_once(setters)?;
    let start = clock::now() + TIMEOUT + case.interval;
    let players = scenes.into_iter().zip(0..);
    let players = players.map(|(scene, number)| move || scene.play(case, start + phase(number)));
    let verdicts = all_at_once(players.collect())?;
    let title = format!("{}, {times} times", case.name());
    let sheet =
        Sheet::new(title, series(&verdicts.concat())).aim(Goal::always_below(0.0, UNNOTICED));
    Ok(match case.fault.goal(case.interval) {
        Some(goal) => sheet.aim(Goal::always_below(goal.as_secs_f64() * 1e3, AFTER)),
        None => sheet,
    })
}

/// All values of each side, in the order in which they are first named.
fn series(verdicts: &[(&'static str, Option<Duration>)]) -> Vec<Series> {
    let mut sides: Vec<&str> = Vec::new();
    for (side, _) in verdicts {
        if !sides.contains(side) {
            sides.push(side);
        }
    }
    let of_side = |side: &str| {
        let own = verdicts.iter().filter(|(name, _)| *name == side);
        let millis = own.map(|(_, after)| after.map_or(f64::INFINITY, |it| it.as_secs_f64() * 1e3));
        let values: Vec<_> = millis.collect();
        let never = values.iter().filter(|value| value.is_infinite()).count();
        let series = |what, unit, values| Series {
            side: side.to_owned(),
            what,
            unit,
            values,
        };
        [
            series(AFTER, "ms", values),
            series(UNNOTICED, "times", vec![never as f64]),
        ]
    };
    sides.into_iter().flat_map(of_side).collect()
}

/// Has each of these done in a thread of its own, until the last one is.
fn all_at_once<T: Send>(
    tasks: Vec<impl FnOnce() -> anyhow::Result<T> + Send>,
) -> anyhow::Result<Vec<T>> {
    thread::scope(|scope| {
        let threads: Vec<_> = tasks.into_iter().map(|task| scope.spawn(task)).collect();
        let joined = threads.into_iter().map(|thread| {
            let done = thread.join();
            done.map_err(|_| anyhow!("a server failed"))?
        });
        joined.collect()
    })
}

/// How long after the first a fault comes: evenly spread, however many there are.
fn phase(number: u32) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    SPREAD.mul_f64((f64::from(number) * GOLDEN).fract())
}

impl Case {
    fn name(&self) -> String {
        let (protocol, fault) = (self.protocol.name(), self.fault.name());
        format!("{protocol}, {fault}, interval {:?}", self.interval)
    }
}

impl Scene {
    fn set(bench: &Bench, case: Case) -> anyhow::Result<Self> {
        let network = Network::new();
        let server = real::start(case.protocol, SESSIONS_MAX, Some(network.clone()))?;
        let address = format!("127.0.0.1:{}", server.port());
        Ok(Self {
            watchers: watcher::start_all(bench, case, address, &network)?,
            server,
            network,
        })
    }

    /// Has the fault come at that moment, and waits for all verdicts.
    fn play(self, case: Case, at: Instant) -> anyhow::Result<Verdicts> {
        thread::sleep(at.saturating_duration_since(clock::now()));
        let mut crowd = Crowd::new(case.protocol);
        let begun = case.fault.begin(&*self.server, &self.network, &mut crowd)?;
        let until = begun + case.fault.bound(case.interval);
        let watchers = self.watchers.iter();
        let verdicts = watchers.map(|it| (it.name, it.verdict(case.fault, begun, until)));
        Ok(verdicts.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_unnoticed_is_counted_and_misses_the_goal() {
        let quick = Some(Duration::from_millis(5));
        let verdicts = [("dbvitals", quick), ("peer", quick), ("dbvitals", None)];
        let sheet = Sheet::new("few", series(&verdicts))
            .aim(Goal::always_below(0.0, UNNOTICED))
            .aim(Goal::always_below(15.0, AFTER));
        let lines = sheet.json("verdict");
        assert_eq!(
            (&lines[0]["what"], &lines[0]["met"]),
            (&AFTER.into(), &false.into())
        );
        assert_eq!(lines[1]["values"], serde_json::json!([1.0]));
        assert_eq!(lines[1]["met"], false);
        assert_eq!(lines[3]["values"], serde_json::json!([0.0]));
    }

    #[test]
    fn faults_come_apart_from_each_other() {
        let mut phases: Vec<_> = (0..TIMES).map(phase).collect();
        phases.sort();
        let gap = |pair: &[Duration]| pair[1] - pair[0];
        assert!(phases.windows(2).map(gap).min() > Some(Duration::from_millis(200)));
        assert!(phases.last() < Some(&SPREAD));
    }
}
