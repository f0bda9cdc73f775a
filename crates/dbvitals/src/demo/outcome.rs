//! What followed a scene, whether that was right, and the ledger of all of it.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Cause, Moment, Verdict};

use crate::demo::script::{Expected, Scene};

/// What dbvitals made of a scene, and what was seen at the gate.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) scene: &'static Scene,
    /// When all of it was seen.
    pub(crate) at: Moment,
    pub(crate) verdict: Verdict,
    pub(crate) cause: Option<Cause>,
    /// The server's own words, or the system's, where something is wrong.
    pub(crate) detail: Option<Arc<str>>,
    /// From the change of mood to the transition; none where there was no transition.
    pub(crate) noticed: Option<Duration>,
    /// The longest that this may take.
    pub(crate) promised: Option<Duration>,
    /// Those of this scene.
    pub(crate) passes: Passes,
    pub(crate) gate: GateSeen,
}

/// Probes that passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passes {
    pub(crate) count: u64,
    /// All together.
    pub(crate) time: Duration,
}

impl Passes {
    /// Those that an earlier count does not have.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            time: self.time.saturating_sub(earlier.time),
        }
    }

    /// How long one took; none where there was none.
    pub(crate) fn mean(self) -> Option<Duration> {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.time.checked_div(count)
    }
}

/// What a client of the gate saw: it could connect, or was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateSeen {
    pub(crate) was_open: bool,
    pub(crate) is_open: bool,
    /// From the change of mood to this sight.
    pub(crate) after: Duration,
}

impl GateSeen {
    /// From the change of mood to the gate's, where it did change.
    pub(crate) fn changed_after(self) -> Option<Duration> {
        (self.was_open != self.is_open).then_some(self.after)
    }

    pub(crate) fn word(self) -> &'static str {
        match self.is_open {
            true => "open",
            false => "closed",
        }
    }
}

impl Outcome {
    /// Whether verdict, cause and gate are what they have to be.
    pub(crate) fn is_right(&self) -> bool {
        let expected = self.scene.expected;
        let concluded = match expected {
            Expected::StaysUp(_) => self.noticed.is_none() && self.passes.count > 0,
            Expected::Becomes(..) => self.noticed.is_some(),
        };
        concluded
            && self.verdict == expected.verdict()
            && expected.allows(self.cause)
            && self.gate.is_open == expected.opens_gate()
    }

    /// Whether it took longer than promised, as can happen on a busy machine.
    pub(crate) fn is_late(&self) -> bool {
        let slowest = self.noticed.max(self.gate.changed_after());
        matches!((slowest, self.promised), (Some(took), Some(bound)) if took > bound)
    }
}

/// All that was seen: the newest outcome of each scene, in the order of the script.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    newest: Vec<Outcome>,
    pub(crate) scenes: u64,
    pub(crate) wrong: u64,
    pub(crate) late: u64,
}

impl Ledger {
    pub(crate) fn note(&mut self, outcome: Outcome) {
        self.scenes += 1;
        self.wrong += u64::from(!outcome.is_right());
        self.late += u64::from(outcome.is_late());
        let same = |older: &&mut Outcome| older.scene == outcome.scene;
        match self.newest.iter_mut().find(same) {
            Some(older) => *older = outcome,
            None => self.newest.push(outcome),
        }
    }

    pub(crate) fn newest(&self) -> &[Outcome] {
        &self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::script::ROUND;

    fn outcome(title: &str, verdict: Verdict, cause: Option<Cause>, is_open: bool) -> Outcome {
        let took = Duration::from_millis(3);
        Outcome {
            scene: ROUND.iter().find(|scene| scene.title == title).unwrap(),
            at: Moment::ORIGIN,
            verdict,
            cause,
            detail: None,
            noticed: Some(took),
            promised: Some(took),
            passes: Passes {
                count: 0,
                time: Duration::ZERO,
            },
            gate: GateSeen {
                was_open: true,
                is_open,
                after: took,
            },
        }
    }

    #[test]
    fn verdict_cause_and_gate_make_an_outcome_right_and_time_alone_does_not_spoil_it() {
        let refused = Some(Cause::Refused);
        let mut right = outcome("crashed", Verdict::Down, refused, false);
        assert!(right.is_right() && !right.is_late());
        right.gate.after += Duration::from_millis(1);
        assert!(right.is_right() && right.is_late());

        assert!(!outcome("crashed", Verdict::Degraded, refused, false).is_right());
        assert!(!outcome("crashed", Verdict::Down, Some(Cause::Closed), false).is_right());
        assert!(!outcome("crashed", Verdict::Down, refused, true).is_right());
    }

    #[test]
    fn a_server_that_stays_up_has_to_be_probed_and_must_not_change() {
        let mut outcome = outcome("slow", Verdict::Up, None, true);
        assert!(!outcome.is_right(), "it changed");
        outcome.noticed = None;
        assert!(!outcome.is_right(), "nobody looked");
        outcome.passes.count = 2;
        assert!(outcome.is_right());
    }

    #[test]
    fn the_ledger_keeps_the_newest_outcome_of_a_scene_and_counts_all() {
        let mut ledger = Ledger::default();
        ledger.note(outcome("crashed", Verdict::Up, None, true));
        ledger.note(outcome(
            "crashed",
            Verdict::Down,
            Some(Cause::Refused),
            false,
        ));
        assert_eq!((ledger.scenes, ledger.wrong), (2, 1));
        assert_eq!(ledger.newest().len(), 1);
        assert!(ledger.newest()[0].is_right());
    }
}
