//! What an answer counts for: its leaning, and how the two paths are weighed against each other.
//!
//! Part of the state machine of `backend.rs`, which hands every observation here before it draws
//! its conclusion from the counts.

use super::Backend;
use super::pace::jittered;
use crate::path::{Flight, Leaning};
use crate::{Cause, Class, Course, Moment, Observation, Outcome, Path};

impl Backend {
    pub(super) fn hear_held(&mut self, observation: &Observation, leaning: Leaning, now: Moment) {
        if observation.session {
            let took = observation.took();
            self.latency = match self.latency.is_zero() {
                true => took,
                false => (self.latency * 7 + took) / 8,
            };
            if let Some(flight) = self.fresh.flight.as_mut().filter(|flight| flight.beside) {
                flight.void_if_late = true;
            }
            self.count(Path::Held, leaning);
            return;
        }
        self.session = false;
        self.held.next = None;
        if leaning == Leaning::Fail && self.fresh.is_failing() {
            self.alive.fail(self.plan.rise, self.plan.fall);
        } else {
            self.loss = Some(leaning);
        }
        self.fresh.next = Some(now);
    }

    pub(super) fn hear_fresh(
        &mut self,
        observation: &Observation,
        leaning: Leaning,
        flight: Option<Flight>,
        now: Moment,
    ) {
        if observation.session {
            self.session = true;
            self.held.leaning = None;
        }
        if leaning == Leaning::Nothing {
            return;
        }
        match (self.loss.take(), leaning) {
            (Some(_), Leaning::Pass) => self.sessions_lost += 1,
            (Some(Leaning::Fail), Leaning::Fail) => {
                self.alive.fail(self.plan.rise, self.plan.fall);
            }
            (Some(_) | None, _) => {}
        }
        self.count(Path::Fresh, leaning);
        if let Course::Sessionless {
            deeper: Some(deeper),
            ..
        } = self.plan.course
            && flight.is_some_and(|flight| flight.depth == deeper)
            && leaning != Leaning::Fail
        {
            self.deeper_at = now + jittered(&mut self.rng, self.plan.fresh_interval);
        }
    }

    /// Counts what one path said, in the light of what the other said last.
    fn count(&mut self, path: Path, leaning: Leaning) {
        let (rise, fall) = (self.plan.rise, self.plan.fall);
        let held_back = path == Path::Held && self.fresh.is_failing();
        match leaning {
            Leaning::Pass if held_back => {}
            Leaning::Pass => {
                self.alive.pass(rise, fall);
                if path == Path::Fresh || !self.fresh.is_degraded() {
                    self.clean.pass(rise, fall);
                }
            }
            Leaning::Degrade => {
                if !held_back {
                    self.alive.pass(rise, fall);
                }
                self.clean.fail(rise, fall);
            }
            Leaning::Fail => self.alive.fail(rise, fall),
            Leaning::Nothing => {}
        }
    }

    pub(super) fn leaning(&self, observation: &Observation) -> Leaning {
        let Outcome::Fail(cause) = observation.outcome else {
            return Leaning::Pass;
        };
        if cause == Cause::AgentStalled {
            return Leaning::Nothing;
        }
        match self.plan.classes.of(cause) {
            Class::Dead | Class::Unfit => Leaning::Fail,
            // A full queue in front of a server that answers nobody is not full but dead.
            Class::Full if cause == Cause::QueueFull && !self.session => Leaning::Fail,
            Class::Full | Class::Slow => Leaning::Degrade,
            Class::Ours if cause.proves_a_server() => Leaning::Degrade,
            Class::Ours => Leaning::Nothing,
            Class::Passing => Leaning::Pass,
        }
    }
}
