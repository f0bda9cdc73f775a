//! What of the past is known at all: since when transitions are, and when an agent watched.
//!
//! The time line shows nothing but that: where nobody watched, or nobody kept what changed, no
//! verdict is claimed.

use std::collections::BTreeMap;
use std::time::SystemTime;

/// What was told of it so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Since when all transitions are known.
    since: Option<SystemTime>,
    /// Up to when they had to be dropped again.
    dropped: Option<SystemTime>,
    /// When the agent was heard last before it was silent.
    heard: Option<SystemTime>,
    /// The ends of the agent's runs, by their beginnings.
    runs: BTreeMap<SystemTime, SystemTime>,
}

/// The times of which something is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) since: Option<SystemTime>,
    /// Nobody was heard after that.
    pub(super) until: Option<SystemTime>,
    /// When nobody watched, one after the other.
    pub(super) gaps: Vec<(SystemTime, SystemTime)>,
}

impl Record {
    /// Transitions are known since then, on to now or on to what was known already.
    pub(super) fn note_since(&mut self, since: SystemTime, is_newest: bool) {
        let heard = self.heard.filter(|_| is_newest);
        // What was known before stays so where nothing is missing in between.
        let is_apart = heard.is_some_and(|heard| since > heard);
        let known = self.since.filter(|_| !is_apart);
        let since = known.map_or(since, |known| known.min(since));
        self.since = Some(self.dropped.map_or(since, |dropped| since.max(dropped)));
        if is_newest {
            self.heard = None;
        }
    }

    /// A transition of that time was dropped.
    pub(super) fn note_dropped(&mut self, at: SystemTime) {
        self.dropped = self.dropped.max(Some(at));
        self.since = self.since.map(|since| since.max(at));
    }

    /// An agent that began at one time still watched at another.
    pub(super) fn note_run(&mut self, began: SystemTime, seen: SystemTime) {
        let end = self.runs.entry(began).or_insert(seen);
        *end = (*end).max(seen);
    }

    /// Nobody answers since then.
    pub(super) fn note_silence(&mut self, since: SystemTime) {
        self.heard = Some(since);
    }

    /// What is known, of an agent that is silent since then or is not.
    pub(super) fn recorded(&self, silent_since: Option<SystemTime>) -> Recorded {
        Recorded {
            since: self.since,
            until: silent_since,
            gaps: self.gaps(),
        }
    }

    /// Between the end of all runs before and the next beginning: a run that both the history and
    /// the agent itself tell of may begin twice.
    fn gaps(&self) -> Vec<(SystemTime, SystemTime)> {
        let mut gaps = Vec::new();
        let mut end: Option<SystemTime> = None;
        for (began, seen) in &self.runs {
            if let Some(end) = end.filter(|end| began > end) {
                gaps.push((end, *began));
            }
            end = end.max(Some(*seen));
        }
        gaps
    }
}

impl Recorded {
    /// The parts of a time in which somebody watched.
    pub(super) fn watched(
        &self,
        mut from: SystemTime,
        until: SystemTime,
    ) -> Vec<(SystemTime, SystemTime)> {
        let mut parts = Vec::new();
        for (left, back) in &self.gaps {
            if *back <= from || *left >= until {
                continue;
            }
            if *left > from {
                parts.push((from, *left));
            }
            from = *back;
        }
        // What lasted no time was the case all the same.
        if from < until || (from == until && parts.is_empty()) {
            parts.push((from, until));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn between_runs_nobody_watched_however_often_a_run_is_told_of() {
        let mut record = Record::default();
        record.note_run(at(10), at(20));
        record.note_run(at(11), at(15));
        record.note_run(at(30), at(31));
        record.note_run(at(30), at(40));
        let recorded = record.recorded(None);
        assert_eq!(recorded.gaps, [(at(20), at(30))]);
        let parts = recorded.watched(at(12), at(35));
        assert_eq!(parts, [(at(12), at(20)), (at(30), at(35))]);
        assert_eq!(recorded.watched(at(22), at(28)), []);
        assert_eq!(recorded.watched(at(32), at(32)), [(at(32), at(32))]);
    }

    #[test]
    fn what_was_known_before_a_silence_stays_known_where_nothing_is_missing() {
        let mut record = Record::default();
        record.note_since(at(100), true);
        record.note_since(at(50), false);
        assert_eq!(record.recorded(None).since, Some(at(50)));
        record.note_silence(at(200));
        record.note_since(at(150), true);
        assert_eq!(record.recorded(None).since, Some(at(50)));
        record.note_silence(at(300));
        record.note_since(at(310), true);
        assert_eq!(record.recorded(None).since, Some(at(310)));
    }

    #[test]
    fn what_was_dropped_is_not_known_again() {
        let mut record = Record::default();
        record.note_since(at(100), true);
        record.note_dropped(at(120));
        record.note_since(at(90), false);
        assert_eq!(record.recorded(None).since, Some(at(120)));
    }
}
