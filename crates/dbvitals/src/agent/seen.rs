//! What a path saw, as programs are told: over HTTP, and a hook on its standard input.

use dbvitals_probe::Clock;
use dbvitals_verdict::{Classes, Observation};
use serde::Serialize;

use crate::duration::rfc3339;
use crate::report::{PhaseEntry, ServerEntry, rounded_ms};

/// What one path saw last.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    outcome: &'static str,
    cause: Option<&'static str>,
    class: Option<&'static str>,
    depth_reached: Option<&'static str>,
    ended: String,
    took_ms: f64,
    phases: Vec<PhaseEntry>,
    server: Option<ServerEntry>,
    detail: Option<String>,
}

impl Seen {
    pub(super) fn new(observation: &Observation, classes: &Classes, clock: Clock) -> Self {
        let cause = observation.outcome.cause();
        Self {
            outcome: match cause {
                None => "pass",
                Some(_) => "fail",
            },
            cause: cause.map(|cause| cause.name()),
            class: cause.map(|cause| classes.of(cause).name()),
            depth_reached: observation.depth.map(|depth| depth.name()),
            ended: rfc3339(clock.wall(observation.ended)),
            took_ms: rounded_ms(observation.took()),
            phases: PhaseEntry::all(&observation.phases),
            server: observation.server.as_deref().map(ServerEntry::new),
            detail: observation.detail.as_deref().map(str::to_owned),
        }
    }
}
