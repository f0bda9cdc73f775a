//! What a look at an accept queue tells a shard, and how often the log says it.
//!
//! Made by `queues/`, taken by the event loop. A queue may fill and drain many times a second: its
//! shard hears of each, the log of one now and then.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::Target;
use dbvitals_verdict::{Cause, Depth, Moment, Observation, Outcome, Path, Phases};

use crate::agent::board::BackendBoard;

/// From one line on a trouble to the next on the same, while it comes and goes.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What a look tells, and whose queue it was.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) backend: Arc<BackendBoard>,
    /// Where that was looked for.
    pub(crate) target: Arc<Target>,
    pub(crate) observation: Observation,
}

impl Look {
    /// Whether this backend is still the one that was looked at: by a new set of backends another one
    /// may have come into its place, or its address may be another.
    pub(crate) fn is_of(&self, backend: &Arc<BackendBoard>) -> bool {
        Arc::ptr_eq(&self.backend, backend) && self.target.address == backend.target().address
    }
}

/// What was seen of a queue from one moment to another.
pub(crate) fn observation(during: (Moment, Moment), outcome: Outcome) -> Observation {
    let (started, ended) = during;
    Observation {
        path: Path::Queue,
        probe: None,
        started,
        ended,
        depth: Some(Depth::Listening),
        outcome,
        phases: Phases::default(),
        session: false,
        server: None,
        detail: None,
    }
}

/// What is wrong with a queue, and what the log has said of it.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    found: Option<Cause>,
    /// What the log says is wrong.
    said: Option<Cause>,
    /// What it has said, and when.
    lines: Vec<(Cause, Moment)>,
}

impl Trouble {
    /// What the newest look found wrong.
    pub(crate) fn found(&self) -> Option<Cause> {
        self.found
    }

    /// Takes what a look found; answers whether the log is to say so. It says that a trouble is over
    /// only of one that it told of.
    pub(crate) fn note(&mut self, found: Option<Cause>, now: Moment) -> bool {
        self.found = found;
        let Some(cause) = found else {
            return self.said.take().is_some();
        };
        self.lines.retain(|(_, at)| now.since(*at) < SAY_EVERY);
        if self.said == found || self.lines.iter().any(|(line, _)| *line == cause) {
            return false;
        }
        self.lines.push((cause, now));
        self.said = found;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Option<Cause> = Some(Cause::QueueFull);
    const STILL: Option<Cause> = Some(Cause::NotAccepting);

    /// Of these looks, by their seconds, those that the log tells.
    fn said(looks: &[(u64, Option<Cause>)]) -> Vec<u64> {
        let mut trouble = Trouble::default();
        let at = |second: u64| Moment::ORIGIN + Duration::from_secs(second);
        let told = looks
            .iter()
            .filter(|(second, found)| trouble.note(*found, at(*second)));
        told.map(|(second, _)| *second).collect()
    }

    #[test]
    fn a_trouble_its_turn_for_the_worse_and_its_end_are_said_once_each() {
        assert_eq!(
            said(&[(1, FULL), (2, FULL), (3, STILL), (4, STILL), (5, None)]),
            [1, 3, 5]
        );
    }

    #[test]
    fn a_trouble_that_comes_and_goes_is_said_now_and_then() {
        let flicker = [
            (1, FULL),
            (2, None),
            (3, FULL),
            (4, None),
            (30, FULL),
            (31, FULL),
            (32, None),
        ];
        assert_eq!(said(&flicker), [1, 2, 31, 32]);
        let turns = [
            (1, FULL),
            (2, STILL),
            (3, FULL),
            (4, STILL),
            (5, None),
            (6, None),
        ];
        assert_eq!(said(&turns), [1, 2, 5]);
    }
}
