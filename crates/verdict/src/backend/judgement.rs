//! What an answer counts for: its leaning, and how the two paths are weighed against each other.
//!
//! Part of the state machine of `backend.rs`, which hands every observation here before it draws
//! its conclusion from the counts.

use std::time::Duration;

use super::Backend;
use crate::path::{Flight, Leaning};
use crate::{Cause, Class, Course, Depth, Moment, Observation, Outcome, Path, Phase};

/// How many sessions in a row may be lost before their first answer and yet be replaced at once.
const SHORT_LIVED_MAX: u8 = 1;

impl Backend {
    /// Takes what a ping brought, or the end of the session.
    pub(super) fn hear_held(
        &mut self,
        observation: &Observation,
        leaning: Leaning,
        flight: Option<Flight>,
        now: Moment,
    ) {
        let short_lived = self.held.leaning.is_none();
        if leaning != Leaning::Nothing {
            self.held.lean(leaning, observation.outcome.cause());
        }
        if !observation.session {
            self.session = false;
            self.held.next = None;
            self.short_lived = match short_lived {
                true => self.short_lived.saturating_add(1),
                false => 0,
            };
            self.hear_loss(leaning, flight);
            self.fresh.next = Some(self.replacement_at(now));
            return;
        }
        let took = observation.took();
        self.latency = match self.latency.is_zero() {
            true => took,
            false => (self.latency * 7 + took) / 8,
        };
        if let Some(flight) = self.fresh.flight.as_mut().filter(|flight| flight.beside) {
            flight.void_if_late = true;
        }
        self.count(Path::Held, leaning);
    }

    /// Weighs the loss of the held session against what the fresh path says.
    fn hear_loss(&mut self, leaning: Leaning, ping: Option<Flight>) {
        if leaning != Leaning::Fail {
            self.loss = Some(leaning);
            return;
        }
        let spoke_since = |ping: Flight| {
            let fresh = self.fresh.last.as_ref();
            fresh.is_some_and(|fresh| fresh.ended >= ping.started) && !self.fresh.cut_short
        };
        if self.fresh.is_degraded()
            && self.fresh.last_cause() == Some(Cause::QueueFull)
            && ping.is_some_and(spoke_since)
        {
            // The queue was full in front of a server that answers nobody.
            self.fresh.leaning = Some(Leaning::Fail);
            self.count(Path::Fresh, Leaning::Fail);
        }
        if self.fresh.is_failing() {
            self.count(Path::Held, Leaning::Fail);
        } else {
            self.loss = Some(Leaning::Fail);
        }
    }

    /// When a lost session is to be replaced: at once, unless sessions are let in and cut off
    /// again and again.
    fn replacement_at(&self, now: Moment) -> Moment {
        match &self.fresh.last {
            Some(last) if self.short_lived > SHORT_LIVED_MAX => {
                now.max(last.started + self.plan.changing_interval())
            }
            Some(_) | None => now,
        }
    }

    /// Takes what a fresh probe brought.
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
        if leaning == Leaning::Pass {
            self.take_back_standstill(observation);
        }
        let suspect_after = self.suspect_after();
        if leaning == Leaning::Fail
            && let Some(ping) = &mut self.held.flight
            && now >= ping.started + suspect_after
        {
            ping.witnessed = true;
        }
        match (self.loss.take(), leaning) {
            // Whoever ended the held session may have ended this one with it: the server had
            // greeted, so it is no more dead than it was. The next probe will tell.
            (Some(loss), Leaning::Fail) if was_let_in_and_cut_off(observation) => {
                self.loss = Some(loss);
            }
            (Some(Leaning::Fail), Leaning::Fail) => self.count(Path::Held, Leaning::Fail),
            (Some(loss), Leaning::Pass) if loss != Leaning::Nothing => self.sessions_lost += 1,
            (Some(_) | None, _) => {}
        }
        if leaning == Leaning::Pass && self.fresh.is_degraded() && self.is_shallow(flight) {
            // As little proof against what the deeper question found as a ping would be.
            self.count(Path::Held, leaning);
        } else {
            self.fresh.lean(leaning, observation.outcome.cause());
            self.count(Path::Fresh, leaning);
        }
    }

    /// Who is let in after the last look, and came no sooner than those who waited then: somebody
    /// accepts. What the look named stays, so that the next one that says the same is no news.
    fn take_back_standstill(&mut self, observation: &Observation) {
        let Some(queue) = &mut self.queue else { return };
        let look = queue.last.as_ref();
        if queue.cause == Some(Cause::NotAccepting)
            && look.is_some_and(|look| was_let_in_after(observation, look))
        {
            queue.leaning = Some(Leaning::Pass);
        }
    }

    /// Takes what a look at the accept queue told. A server that accepts nobody is suspect before
    /// any probe has run into its deadline.
    pub(super) fn hear_queue(&mut self, observation: &Observation, leaning: Leaning, now: Moment) {
        let before = self.path(Path::Queue).cause;
        let cause = observation.outcome.cause();
        // A look is told by another thread, at times after what came later.
        let is_refuted = cause == Some(Cause::NotAccepting)
            && self.fresh.leaning == Some(Leaning::Pass)
            && (self.fresh.last.as_ref()).is_some_and(|it| was_let_in_after(it, observation));
        if is_refuted {
            return;
        }
        // However often somebody looks, an opinion changes no sooner than by answers.
        let counts_again = observation.ended + self.plan.changing_interval();
        let queue = self.path_mut(Path::Queue);
        queue.lean(leaning, cause);
        let counts = queue.next.is_none_or(|at| at <= observation.ended);
        if counts && leaning != Leaning::Pass {
            queue.next = Some(counts_again);
            self.count(Path::Queue, leaning);
        }
        if cause != before {
            self.ask_soon(now, cause == Some(Cause::NotAccepting));
        }
    }

    /// Whether a probe asked the shallow question of a course that has a deeper one.
    pub(super) fn is_shallow(&self, flight: Option<Flight>) -> bool {
        match self.plan.course {
            Course::Sessionless {
                deeper: Some(deeper),
                ..
            } => flight.is_some_and(|flight| flight.depth != deeper),
            Course::Sessionless { deeper: None, .. } | Course::Session { .. } => false,
        }
    }

    /// Counts what one path said, in the light of what the other said last.
    fn count(&mut self, path: Path, leaning: Leaning) {
        let (rise, fall) = (self.plan.rise, self.plan.fall);
        let queue = self.path(Path::Queue);
        let held_back = (path == Path::Held && self.fresh.is_failing()) || queue.is_failing();
        match leaning {
            // Room in a queue proves nobody behind it.
            Leaning::Pass if held_back || path == Path::Queue => {}
            Leaning::Pass => {
                let queue_is_clean = !queue.is_degraded();
                self.alive.pass(rise, fall);
                if queue_is_clean && (path == Path::Fresh || !self.fresh.is_degraded()) {
                    self.clean.pass(rise, fall);
                }
            }
            Leaning::Degrade => {
                if !held_back && path != Path::Queue {
                    self.alive.pass(rise, fall);
                }
                self.clean.fail(rise, fall);
            }
            Leaning::Fail => self.alive.fail(rise, fall),
            Leaning::Nothing => {}
        }
    }

    /// What an observation speaks for.
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
            Class::Full if cause == Cause::QueueFull && self.is_unanswered(observation) => {
                Leaning::Fail
            }
            Class::Full | Class::Slow => Leaning::Degrade,
            Class::Ours if observation.proves_a_server() => Leaning::Degrade,
            Class::Ours => Leaning::Nothing,
            Class::Passing => Leaning::Pass,
        }
    }

    /// Whether nobody answers behind the full queue that an observation met. Where nobody is ever
    /// asked, the queue itself tells: it moves, or it has not for as long as an answer may take.
    fn is_unanswered(&self, observation: &Observation) -> bool {
        let is_never_asked = self.plan.deepest() == Depth::Listening;
        match observation.path {
            Path::Held | Path::Fresh if is_never_asked => self.stands_still(),
            Path::Held | Path::Fresh => !self.session,
            Path::Queue => false,
        }
    }

    /// Whether nobody has left the queue for as long as an answer may take.
    fn stands_still(&self) -> bool {
        let queue = self.path(Path::Queue);
        let lasts = queue.last.as_ref().map(Observation::took);
        queue.cause == Some(Cause::NotAccepting) && lasts >= Some(self.plan.timeout)
    }
}

/// Whether a probe ended because somebody ended its session, on a server that had greeted it.
fn was_let_in_and_cut_off(observation: &Observation) -> bool {
    let cause = observation.outcome.cause();
    let ended = matches!(
        cause,
        Some(Cause::Closed | Cause::Reset | Cause::ShuttingDown)
    );
    ended && observation.depth >= Some(Depth::Greeting)
}

/// Whether a probe shows that a server accepts again whose queue stood still until a look: it began
/// in that time, so it would have been missed from the queue had it been let in by then, and the
/// server spoke to it later.
fn was_let_in_after(seen: &Observation, look: &Observation) -> bool {
    let until_spoken_to = [Phase::Resolve, Phase::Connect, Phase::Greeting];
    let took = until_spoken_to.map(|phase| seen.phases.took(phase).unwrap_or_default());
    let spoken_to_at = seen.started + took.iter().sum::<Duration>();
    seen.depth >= Some(Depth::Greeting)
        && seen.started >= look.started
        && spoken_to_at >= look.ended
}
