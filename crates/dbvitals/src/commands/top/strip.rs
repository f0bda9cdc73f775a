//! The time line of one backend: its verdicts, slot by slot, from its transitions.
//!
//! A slot shows the worst that was the case in it, however short it was. What nobody knows stays
//! empty: the time before transitions are known, while no agent watched, and since it is silent.

use std::time::{Duration, SystemTime};

use super::ink::badness;
use super::record::Recorded;

/// A change of verdict.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) at: SystemTime,
    pub(super) from: Option<String>,
    pub(super) to: String,
}

/// What holds now, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) verdict: &'a str,
    pub(super) since: Option<SystemTime>,
}

/// A time that is divided into slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) until: SystemTime,
    pub(super) length: Duration,
    pub(super) slots: usize,
}

/// The worst verdict of each slot; the turns are oldest first.
pub(super) fn strip(
    turns: &[Turn],
    standing: Standing<'_>,
    recorded: &Recorded,
    span: Span,
) -> Vec<Option<String>> {
    let mut slots: Vec<Option<String>> = vec![None; span.slots];
    for (from, until, verdict) in stretches(turns, standing, recorded, span) {
        let (first, last) = (span.slot(from), span.slot(until));
        let touched = slots.iter_mut().take(last + 1).skip(first);
        for slot in touched {
            let is_worse = slot
                .as_deref()
                .is_none_or(|it| badness(it) < badness(&verdict));
            if is_worse {
                *slot = Some(verdict.clone());
            }
        }
    }
    slots
}

/// From when until when which verdict held, within the span.
fn stretches(
    turns: &[Turn],
    standing: Standing<'_>,
    recorded: &Recorded,
    span: Span,
) -> Vec<(SystemTime, SystemTime, String)> {
    let begin = span.begin();
    let end = recorded.until.map_or(span.until, |it| it.min(span.until));
    let mut found = Vec::new();
    let mut add = |from: SystemTime, until: SystemTime, verdict: &str| {
        if until >= begin && from <= end {
            let parts = recorded.watched(from.max(begin), until.min(end));
            found.extend(
                parts
                    .into_iter()
                    .map(|(from, until)| (from, until, verdict.to_owned())),
            );
        }
    };
    if let (Some(first), Some(since)) = (turns.first(), recorded.since)
        && let Some(before) = first.from.as_deref().filter(|it| *it != "unknown")
    {
        // It had been so for a while, and all that changed since then is known.
        add(since.min(first.at), first.at, before);
    }
    for (place, turn) in turns.iter().enumerate() {
        let until = turns.get(place + 1).map_or(end, |next| next.at);
        add(turn.at, until, &turn.to);
    }
    // What the agent says now holds, whatever was kept of the past.
    let last = turns.last();
    if last.is_none_or(|last| last.to != standing.verdict) {
        let since = standing.since.or(last.map(|it| it.at));
        add(since.unwrap_or(end), end, standing.verdict);
    }
    found
}

impl Span {
    fn begin(self) -> SystemTime {
        let begin = self.until.checked_sub(self.length);
        begin.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The slot in which a time falls.
    fn slot(self, at: SystemTime) -> usize {
        let since = at.duration_since(self.begin()).unwrap_or_default();
        let part = since.as_secs_f64() / self.length.as_secs_f64().max(f64::MIN_POSITIVE);
        let place = (part * self.slots as f64) as usize;
        place.min(self.slots.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds)
    }

    fn turn(seconds: u64, from: Option<&str>, to: &str) -> Turn {
        Turn {
            at: at(seconds),
            from: from.map(str::to_owned),
            to: to.to_owned(),
        }
    }

    /// The first letters of ten slots of ten seconds each.
    fn drawn(turns: &[Turn], verdict: &str, since: u64) -> String {
        let all = Recorded {
            since: Some(at(0)),
            ..Recorded::default()
        };
        drawn_of(&all, turns, verdict, since)
    }

    /// The same where not all is known.
    fn drawn_of(recorded: &Recorded, turns: &[Turn], verdict: &str, since: u64) -> String {
        let span = Span {
            until: at(100),
            length: Duration::from_secs(100),
            slots: 10,
        };
        let standing = Standing {
            verdict,
            since: Some(at(since)),
        };
        let letter = |it: Option<String>| it.map_or('.', |it| it.chars().next().unwrap());
        strip(turns, standing, recorded, span)
            .into_iter()
            .map(letter)
            .collect()
    }

    #[test]
    fn a_slot_shows_the_worst_however_short_it_was() {
        let turns = [
            turn(0, None, "up"),
            turn(45, Some("up"), "down"),
            turn(46, Some("down"), "up"),
        ];
        assert_eq!(drawn(&turns, "up", 46), "uuuuduuuuu");
    }

    #[test]
    fn what_nobody_knows_stays_empty_and_what_came_before_the_first_change_does_not() {
        assert_eq!(drawn(&[], "up", 55), ".....uuuuu");
        let found = [turn(55, Some("unknown"), "up")];
        assert_eq!(drawn(&found, "up", 55), ".....uuuuu");
        let fell = [turn(55, Some("up"), "down")];
        assert_eq!(drawn(&fell, "down", 55), "uuuuuddddd");
    }

    #[test]
    fn before_transitions_are_known_and_while_nobody_watched_no_verdict_is_claimed() {
        let fell = [turn(55, Some("up"), "down")];
        let mut recorded = Recorded::default();
        assert_eq!(drawn_of(&recorded, &fell, "down", 55), ".....ddddd");
        recorded.since = Some(at(25));
        assert_eq!(drawn_of(&recorded, &fell, "down", 55), "..uuuddddd");
        recorded.gaps = vec![(at(65), at(85))];
        assert_eq!(drawn_of(&recorded, &fell, "down", 55), "..uuudd.dd");
        recorded.until = Some(at(95));
        assert_eq!(drawn_of(&recorded, &fell, "down", 55), "..uuudd.dd");
        recorded.until = Some(at(75));
        assert_eq!(drawn_of(&recorded, &fell, "down", 55), "..uuudd...");
    }

    #[test]
    fn what_the_agent_says_now_holds_where_a_change_was_missed() {
        let turns = [turn(0, None, "up")];
        assert_eq!(drawn(&turns, "down", 80), "uuuuuuuudd");
    }

    #[test]
    fn what_is_out_of_the_span_is_not_drawn() {
        let turns = [Turn {
            at: at(0) - Duration::from_secs(500),
            from: Some("down".to_owned()),
            to: "up".to_owned(),
        }];
        assert_eq!(drawn(&turns, "up", 0), "uuuuuuuuuu");
    }
}
