//! How late probes start: by the agent's own count, which `/metrics` tells.

use std::collections::BTreeMap;
use std::thread;

use anyhow::Context;

use super::Row;
use crate::agent;
use crate::bench::Bench;
use crate::sheet::{Goal, Sheet};
use crate::side::{Measured, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "punctuality",
    about: "how late probes start, at 15,000 sessions and 1 s",
    run,
};

const SESSIONS: u32 = 15_000;
const METRIC: &str = "dbvitals_agent_probe_lateness_seconds_bucket";
const P99: &str = "lateness, p99";

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    for sessions in bench.sessions_or(&[SESSIONS]) {
        let side = Side::new("dbvitals", || once(bench, sessions));
        let runs = in_turn(bench.rounds, &mut [side])?;
        let sheet = Sheet::new(format!("{sessions} sessions at 1 s"), runs);
        sheets.push(sheet.aim(Goal::below(5.0, P99)));
    }
    Ok(sheets)
}

fn once(bench: &Bench, sessions: u32) -> anyhow::Result<Vec<Measured>> {
    let (_server, _agent) = agent::start_pinging(bench, sessions)?;
    let before = Lateness::read(bench)?;
    thread::sleep(bench.window);
    Lateness::read(bench)?.since(&before).measured()
}

/// How many probes started no later than each bound, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Lateness(BTreeMap<u64, u64>);

impl Lateness {
    /// Reads it, all shards together.
    pub(super) fn read(bench: &Bench) -> anyhow::Result<Self> {
        Self::parse(&agent::fetch(bench, "/metrics")?)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with(METRIC)) {
            let (_, bound) = line.split_once("le=\"").context("a bound")?;
            let (bound, count) = bound.split_once("\"} ").context("a count")?;
            let seconds = match bound {
                "+Inf" => f64::INFINITY,
                bound => bound.parse()?,
            };
            *counts.entry((seconds * 1e9) as u64).or_default() += count.parse::<u64>()?;
        }
        Ok(Self(counts))
    }

    /// What came to it since then.
    pub(super) fn since(&self, before: &Self) -> Self {
        let more = |(bound, count): (&u64, &u64)| {
            (*bound, count - before.0.get(bound).copied().unwrap_or(0))
        };
        Self(self.0.iter().map(more).collect())
    }

    /// The lateness that such a share does not exceed, in milliseconds; between the bounds it is
    /// taken to grow evenly, as Prometheus does.
    fn quantile(&self, share: f64) -> f64 {
        let all = self.0.values().next_back().copied().unwrap_or(0) as f64;
        let (mut below, mut from) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let (bound, count) = (*bound as f64 / 1e6, *count as f64);
            if count >= all * share {
                let part = (all * share - below) / (count - below).max(1.0);
                return from + (bound - from) * part;
            }
            (below, from) = (count, bound);
        }
        f64::NAN
    }

    pub(super) fn measured(&self) -> anyhow::Result<Vec<Measured>> {
        let all = self.0.values().next_back().copied().unwrap_or(0);
        anyhow::ensure!(all > 0, "no probe started");
        Ok(vec![
            Measured::new("lateness, p50", "ms", self.quantile(0.5)),
            Measured::new(P99, "ms", self.quantile(0.99)),
            Measured::new("lateness, at most", "ms", self.quantile(1.0)),
            Measured::new("probes", "", all as f64),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_the_bounds_where_it_falls() {
        let line = |bound: &str, count| format!("{METRIC}{{shard=\"0\",le=\"{bound}\"}} {count}\n");
        let text = [
            line("0.001", 50),
            line("0.002", 100),
            line("0.005", 100),
            line("+Inf", 100),
        ];
        let lateness = Lateness::parse(&text.concat()).unwrap();
        assert_eq!(lateness.quantile(0.5), 1.0);
        assert_eq!(lateness.quantile(0.75), 1.5);
        assert_eq!(lateness.quantile(1.0), 2.0);
        let nothing = lateness.since(&lateness);
        assert!(nothing.measured().is_err());
    }
}
