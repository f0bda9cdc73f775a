//! Two runs side by side: what was concluded, and what would have been.

use std::time::Duration;

use dbvitals_verdict::{Moment, Plan, Verdict};

use super::past::Past;
use crate::record::{Conclusion, Plans, Recorded};
use crate::rehearsal::Rehearsal;

/// How much further apart than their plans explain two conclusions may be and yet be the same.
const SLACK: Duration = Duration::from_secs(1);

/// Any will do, as long as a replay is the same every time.
const SEED: u64 = 1;

/// One backend under both configurations.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) recorded: &'a Recorded,
    pub(super) plans: &'a Plans,
    /// In the order of time; what both concluded stands in one row.
    pub(super) rows: Vec<Row>,
    pub(super) was: Summary,
    pub(super) would_be: Summary,
    /// From when to when there is a record.
    pub(super) span: (Moment, Moment),
}

/// What was concluded in the recorded run, in the other, or in both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) was: Option<Conclusion>,
    pub(super) would_be: Option<Conclusion>,
}

/// What a run amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// For how long the backend was down.
    pub(super) down: Duration,
    /// How often it went down.
    pub(super) flaps: usize,
}

impl<'a> Comparison<'a> {
    /// Plays the record by other plans.
    pub(super) fn of(recorded: &'a Recorded, plans: &'a Plans) -> Self {
        let observations = &recorded.observations;
        let starts = observations.iter().map(|seen| seen.started);
        let from = starts.min().unwrap_or(Moment::ORIGIN);
        let told = recorded.conclusions.iter().map(|told| told.at);
        let ends = observations.iter().map(|seen| seen.ended);
        let to = ends.chain(told).max().unwrap_or(from);
        let past = Past::of(recorded);
        let mut played = Rehearsal::new(&plans.first, &past, SEED, from);
        let tolerances = recorded.plans.all().chain(plans.all()).map(tolerance);
        let tolerance = tolerances.max().unwrap_or_default();
        for (at, plan) in &plans.later {
            played.play(*at);
            played.handle_plan(plan);
        }
        // What was concluded in time may come later in the other run: for as long as that, the
        // server is taken to stay as it was seen last.
        played.play(to + tolerance);
        let transitions = played.transitions.iter();
        let mut concluded: Vec<_> = transitions.filter_map(Conclusion::of).collect();
        if recorded.verdict != Verdict::Unknown {
            // The record begins in the middle of a run; the way back to its verdict is no news.
            let found = concluded.iter().position(|it| it.to == recorded.verdict);
            concluded.drain(..found.map_or(0, |found| found + 1));
        }
        let mut rows = align(&recorded.conclusions, &concluded, tolerance);
        rows.retain(|row| row.was.is_some() || row.would_be.is_some_and(|it| it.at <= to));
        concluded.retain(|it| it.at <= to);
        Self {
            recorded,
            plans,
            was: Summary::of(&recorded.conclusions, recorded.verdict, from, to),
            would_be: Summary::of(&concluded, recorded.verdict, from, to),
            rows,
            span: (from, to),
        }
    }

    /// Whether both concluded the same, though perhaps at other times.
    pub(super) fn is_same(&self) -> bool {
        let mut rows = self.rows.iter();
        rows.all(|row| row.was.is_some() && row.would_be.is_some())
    }

    /// By how much the other run would have reached a verdict later than the recorded one, in
    /// seconds: the mean over what both concluded.
    pub(super) fn later(&self, verdict: Verdict) -> Option<f64> {
        let pairs = self.rows.iter().filter_map(|row| row.was.zip(row.would_be));
        let shifts: Vec<f64> = pairs
            .filter(|(was, _)| was.to == verdict)
            .map(|(was, would_be)| {
                would_be.at.since(was.at).as_secs_f64() - was.at.since(would_be.at).as_secs_f64()
            })
            .collect();
        (!shifts.is_empty()).then(|| shifts.iter().sum::<f64>() / shifts.len() as f64)
    }
}

impl Summary {
    fn of(conclusions: &[Conclusion], first: Verdict, from: Moment, to: Moment) -> Self {
        let mut summary = Self::default();
        let mut down_since = (first == Verdict::Down).then_some(from);
        for conclusion in conclusions {
            if let Some(since) = down_since.take() {
                summary.down += conclusion.at.since(since);
            }
            if conclusion.to == Verdict::Down {
                summary.flaps += 1;
                down_since = Some(conclusion.at);
            }
        }
        if let Some(since) = down_since {
            summary.down += to.since(since);
        }
        summary
    }
}

/// How far apart the same conclusion may be in two runs: each asks at its own moments.
fn tolerance(plan: &Plan) -> Duration {
    let noticed = plan.black_hole_bound().max(plan.recovery_bound());
    noticed + plan.relief_bound() + plan.fresh_interval + SLACK
}

/// Puts into one row what both concluded: the same change at about the same time, in order.
fn align(was: &[Conclusion], would_be: &[Conclusion], tolerance: Duration) -> Vec<Row> {
    let (mut was, mut would_be) = (was, would_be);
    let mut rows = Vec::new();
    loop {
        let (first, second) = (was.first(), would_be.first());
        let paired = first.zip(second).is_some_and(|(a, b)| {
            is_same(a, b)
                && apart(a, b) <= tolerance
                && !has_nearer(was, b)
                && !has_nearer(would_be, a)
        });
        let (takes_was, takes_would_be) = match (first, second) {
            (None, None) => return rows,
            (Some(_), Some(_)) if paired => (true, true),
            (Some(a), Some(b)) => (a.at <= b.at, b.at < a.at),
            (was, would_be) => (was.is_some(), would_be.is_some()),
        };
        rows.push(Row {
            was: first.copied().filter(|_| takes_was),
            would_be: second.copied().filter(|_| takes_would_be),
        });
        was = was.get(usize::from(takes_was)..).unwrap_or_default();
        would_be = would_be
            .get(usize::from(takes_would_be)..)
            .unwrap_or_default();
    }
}

fn is_same(a: &Conclusion, b: &Conclusion) -> bool {
    (a.from, a.to) == (b.from, b.to)
}

fn apart(a: &Conclusion, b: &Conclusion) -> Duration {
    a.at.since(b.at).max(b.at.since(a.at))
}

/// Whether a later conclusion of a run is the same and nearer in time than its next one.
fn has_nearer(run: &[Conclusion], other: &Conclusion) -> bool {
    let Some((first, later)) = run.split_first() else {
        return false;
    };
    let mut same = later.iter().filter(|it| is_same(it, other));
    same.next()
        .is_some_and(|next| apart(next, other) < apart(first, other))
}

#[cfg(test)]
mod tests;
