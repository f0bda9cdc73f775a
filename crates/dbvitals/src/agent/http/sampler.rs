//! Observations for those who listen: what the board shows, looked at once a second while somebody
//! does, once for all of them.
//!
//! A sample is not every probe. It is what a path saw last, where that is new; and with many
//! backends it is some of them each time, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Moment, Observation};
use serde::Serialize;
use tokio::time::sleep;

use super::backends::Queue;
use super::health::whole_ms;
use super::history::{Event, History};
use crate::agent::board::{BackendBoard, Board};
use crate::agent::seen::Seen;

/// How often the board is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Observations told at a time; far fewer than a listener may be behind, so that the samples of a
/// thousand backends are not what it loses transitions to.
const TOLD_MAX: usize = 128;

/// One observation, schema `dbvitals.observation.v1`.
#[derive(Debug, Serialize)]
struct Sample<'a> {
    schema: &'static str,
    backend: &'a str,
    path: &'static str,
    verdict: &'static str,
    /// How old the newest proof behind the verdict is: not every observation is one.
    evidence_age_ms: Option<u64>,
    #[serde(flatten)]
    seen: Seen,
    queue: Option<Queue>,
}

/// Tells samples while somebody listens, until it is dropped.
pub(crate) async fn sample(history: Arc<History>, board: Arc<Board>) {
    // When what was told of a backend last had ended.
    let mut told = BTreeMap::new();
    let mut first = 0;
    loop {
        while !history.has_listeners() {
            told.clear();
            history.heard.notified().await;
        }
        let backends = board.backends();
        let count = backends.len();
        let all = (0..count).map(|step| (first + step) % count);
        let mut left = TOLD_MAX;
        let mut next = first;
        for place in all {
            let Some(backend) = backends.get(place) else {
                break;
            };
            if left == 0 {
                break;
            }
            next = place + 1;
            let known = told.get(&backend.name).copied();
            if let Some((ended, event)) = newest(backend, known, &board) {
                told.insert(Arc::clone(&backend.name), ended);
                history.tell(event);
                left -= 1;
            }
        }
        first = next % count.max(1);
        // A backend that is gone is not remembered for ever.
        if told.len() > count {
            told.retain(|name, _| board.backend(name).is_some());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What either path saw last, if that is newer than what was told.
fn newest(
    backend: &Arc<BackendBoard>,
    told: Option<Moment>,
    board: &Board,
) -> Option<(Moment, Event)> {
    let standing = backend.standing_now();
    let evidence = &standing.evidence;
    let paths = [&evidence.held, &evidence.fresh].into_iter().flatten();
    let observation: &Observation = paths
        .filter(|observation| told.is_none_or(|told| observation.ended > told))
        .max_by_key(|observation| observation.ended)?;
    let age = backend.evidence_age(board.clock().now());
    let sample = Sample {
        schema: "dbvitals.observation.v1",
        backend: &backend.name,
        path: observation.path.name(),
        verdict: standing.verdict.name(),
        evidence_age_ms: age.map(whole_ms),
        seen: Seen::new(observation, &backend.plan().classes, board.clock()),
        queue: Queue::of(backend, &standing, board.clock().now()),
    };
    let event = Event::passing("observation", Some(Arc::clone(&backend.name)), &sample);
    Some((observation.ended, event))
}
