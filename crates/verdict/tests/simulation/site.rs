//! One backend of a world: its server, what the prober keeps for it, and what is checked about it.
//!
//! Plays the prober's part as production does: one probe in flight per path, a passed fresh
//! session held if none is, the end of a session told by the probe that is under way on it.
//! `world.rs` says when.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Cause, Course, Depth, Moment, Observation, Outcome, Path, Phases, Plan, ProbeId,
};

use crate::bounds::Bounds;
use crate::reference::Reference;
use crate::server::{Answer, Condition, Server};

/// One probe in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) probe: ProbeId,
    pub(crate) depth: Depth,
    pub(crate) started: Moment,
    pub(crate) deadline: Moment,
    pub(crate) answer: Answer,
    /// When the session that it opened was reset, although the answer was still to be read.
    pub(crate) doomed: Option<Moment>,
}

/// A held session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    /// When its end is told.
    pub(crate) dead_at: Option<Moment>,
}

/// Who looks at an accept queue: the sampler's part, which tells what is wrong each time, and once
/// that it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookout {
    /// When the next look may show something.
    pub(crate) look_at: Option<Moment>,
    /// The server accepts nobody just now, whatever its condition.
    hiccup: bool,
    told: Option<Cause>,
}

impl Lookout {
    pub(crate) fn from(now: Moment) -> Self {
        Self {
            look_at: Some(now),
            hiccup: false,
            told: None,
        }
    }
}

/// One backend: its server, what the prober keeps for it, and what is checked about it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) plan: Arc<Plan>,
    pub(crate) server: Server,
    pub(crate) held: Option<Line>,
    pub(crate) fresh: Option<Line>,
    pub(crate) session: Option<Session>,
    /// What looks at its accept queue, where it can be seen.
    pub(crate) lookout: Option<Lookout>,
    /// Observations that come late, or twice.
    pub(crate) strays: Vec<(Moment, Observation)>,
    pub(crate) reference: Reference,
    pub(crate) bounds: Bounds,
}

impl Site {
    fn holds_sessions(&self) -> bool {
        matches!(self.plan.course, Course::Session { .. })
    }

    pub(crate) fn next_due(&self) -> Option<Moment> {
        let line = |line: &Line| {
            let answer = line.answer.at.into_iter();
            answer.chain([line.deadline]).min()
        };
        let lines = [&self.held, &self.fresh].into_iter().flatten();
        lines
            .filter_map(line)
            .chain(self.death_due())
            .chain(self.strays.first().map(|(at, _)| *at))
            .chain(self.lookout.and_then(|lookout| lookout.look_at))
            .min()
    }

    /// From one look at the queue to the next.
    pub(crate) fn look_interval(plan: &Plan) -> Duration {
        (plan.interval / 3).max(Duration::from_millis(50))
    }

    /// Looks at the queue, if it can be seen; answers what is to be told of it.
    pub(crate) fn look(&mut self, now: Moment, rng: &mut fastrand::Rng) -> Option<Observation> {
        let lookout = self.lookout.as_mut()?;
        let hiccup = std::mem::take(&mut lookout.hiccup).then_some(Cause::NotAccepting);
        let cause = self.server.queue(rng).or(hiccup);
        lookout.look_at = cause.map(|_| now + Self::look_interval(&self.plan));
        let before = std::mem::replace(&mut lookout.told, cause);
        before.or(cause)?;
        let outcome = cause.map_or(Outcome::Pass, Outcome::Fail);
        Some(observe(Path::Queue, None, now, now, outcome, false))
    }

    /// The server accepts nobody for a moment.
    pub(crate) fn hiccup(&mut self, now: Moment) {
        if let Some(lookout) = &mut self.lookout {
            self.bounds.interfere(now + Self::look_interval(&self.plan));
            (lookout.hiccup, lookout.look_at) = (true, Some(now));
        }
    }

    /// When the end of the held session is told, if no probe tells it.
    pub(crate) fn death_due(&self) -> Option<Moment> {
        match self.held {
            Some(_) => None,
            None => self.session?.dead_at,
        }
    }

    pub(crate) fn start(
        &mut self,
        path: Path,
        probe: ProbeId,
        depth: Depth,
        deadline: Moment,
        now: Moment,
        rng: &mut fastrand::Rng,
    ) {
        self.reference.start(path, probe, depth, now, deadline);
        self.bounds.start(path, now, self.held.is_some());
        let timeout = self.plan.timeout;
        let mut answer = self.server.answer(path, depth, now, timeout, rng);
        let vacant = match path {
            Path::Held => {
                let session = self.session.expect("a ping needs a session");
                if let Some(dead_at) = session.dead_at {
                    answer.at = Some(dead_at.max(now));
                    answer.outcome = Outcome::Fail(Cause::Closed);
                }
                &mut self.held
            }
            Path::Fresh => &mut self.fresh,
            Path::Queue => panic!("a probe on the queue's path"),
        };
        assert!(vacant.is_none(), "two probes in flight on one path");
        *vacant = Some(Line {
            probe,
            depth,
            started: now,
            deadline,
            answer,
            doomed: None,
        });
    }

    /// Drops what the monitor wants dropped; its observation may come late all the same.
    pub(crate) fn cancel(&mut self, path: Path, now: Moment) {
        let line = match path {
            Path::Held => {
                self.session = None;
                self.held.take()
            }
            Path::Fresh => self.fresh.take(),
            Path::Queue => panic!("a probe on the queue's path"),
        };
        // A backend that starts anew has abandoned its probes before it is told to.
        let Some(line) = line else { return };
        self.reference.cancel(path, now);
        self.bounds.cancel(path);
        let late = observe(
            path,
            Some(line.probe),
            line.started,
            now,
            Outcome::Pass,
            true,
        );
        self.keep_stray(late, now);
    }

    /// What a backend that starts anew leaves behind: late answers of its cancelled probes.
    pub(crate) fn abandon(self) -> Vec<(Moment, Observation)> {
        let lines = [(Path::Held, self.held), (Path::Fresh, self.fresh)];
        let late = lines.into_iter().filter_map(|(path, line)| {
            let line = line?;
            let probe = Some(line.probe);
            let pass = observe(
                path,
                probe,
                line.started,
                line.deadline,
                Outcome::Pass,
                true,
            );
            Some((line.answer.at?, pass))
        });
        late.collect()
    }

    pub(crate) fn keep_stray(&mut self, observation: Observation, at: Moment) {
        self.strays.push((at, observation));
        self.strays.sort_by_key(|(at, _)| *at);
    }

    /// Ends a probe, by its answer or by its deadline, if that has come.
    pub(crate) fn end(&mut self, path: Path, answered: bool, now: Moment) -> Option<Observation> {
        let line = match path {
            Path::Held => &mut self.held,
            Path::Fresh => &mut self.fresh,
            Path::Queue => return None,
        };
        let line = line.take_if(|line| match answered {
            true => line.answer.at.is_some_and(|at| at <= now),
            false => line.deadline <= now,
        })?;
        let outcome = match answered {
            true => line.answer.outcome,
            false => Outcome::Fail(line.answer.silence),
        };
        let survives = matches!(
            outcome,
            Outcome::Pass | Outcome::Fail(Cause::OverBudget | Cause::Lagging)
        );
        let session = match path {
            Path::Held => survives,
            Path::Fresh => survives && self.holds_sessions() && self.session.is_none(),
            Path::Queue => false,
        };
        match path {
            Path::Held if !session => self.session = None,
            Path::Fresh if session => {
                let bounces = self.server.condition == Condition::Bouncing;
                let cut_off = bounces.then(|| now + self.server.reset_delay());
                let dead_at = line.doomed.or(cut_off);
                self.session = Some(Session { dead_at });
            }
            Path::Held | Path::Fresh | Path::Queue => {}
        }
        let probe = Some(line.probe);
        let mut seen = observe(path, probe, line.started, now, outcome, session);
        if outcome == Outcome::Pass {
            seen.depth = Some(line.depth);
        }
        Some(seen)
    }

    // --- The server's side ---------------------------------------------------------------------

    /// The server's condition changes, and with it what is under way.
    pub(crate) fn turn(&mut self, condition: Condition, now: Moment, rng: &mut fastrand::Rng) {
        let before = std::mem::replace(&mut self.server.condition, condition);
        self.bounds.turn(condition, now);
        if let Some(lookout) = &mut self.lookout {
            let look_in = Self::look_interval(&self.plan).mul_f64(rng.f64());
            lookout.look_at = Some(now + look_in);
        }
        if condition == Condition::Crashed {
            self.reset(now);
        } else if condition.is_silent() {
            for line in self.held.iter_mut().chain(&mut self.fresh) {
                let connects = condition == Condition::Frozen && line.depth <= Depth::Connect;
                if line.answer.at.is_some_and(|at| at > now) && !connects {
                    line.answer.at = None;
                }
            }
        } else if matches!(before, Condition::Frozen | Condition::FrozenFull) {
            // It thaws, and answers what was asked meanwhile.
            let timeout = self.plan.timeout;
            for (path, line) in [(Path::Held, &mut self.held), (Path::Fresh, &mut self.fresh)] {
                if let Some(line) = line.as_mut().filter(|line| line.answer.at.is_none()) {
                    line.answer = self.server.answer(path, line.depth, now, timeout, rng);
                }
            }
        }
    }

    /// An administrator ends the held session.
    pub(crate) fn kill(&mut self, now: Moment) {
        self.bounds.interfere(now);
        if !self.server.condition.is_silent() {
            self.end_session(now + self.server.reset_delay());
        }
    }

    /// The server's end of everything is gone, and its kernel says so.
    fn reset(&mut self, now: Moment) {
        let told_at = now + self.server.reset_delay();
        for line in self.held.iter_mut().chain(&mut self.fresh) {
            if line.answer.at.is_some_and(|at| at <= now) {
                line.doomed = Some(told_at);
            } else {
                line.answer.at = Some(told_at);
                line.answer.outcome = Outcome::Fail(Cause::Reset);
            }
        }
        self.end_session(told_at);
    }

    fn end_session(&mut self, told_at: Moment) {
        let Some(session) = &mut self.session else {
            return;
        };
        session.dead_at = Some(told_at);
        if let Some(line) = &mut self.held
            && line.answer.at.is_none_or(|at| at > told_at)
        {
            line.answer.at = Some(told_at);
            line.answer.outcome = Outcome::Fail(Cause::Reset);
        }
    }

    /// The loop will be away until `back`: what is asked in several turns goes on only then, and
    /// the server may have lost its patience with it.
    pub(crate) fn struggle(&mut self, back: Moment, now: Moment, rng: &mut fastrand::Rng) {
        let Some(line) = &mut self.fresh else { return };
        if line.answer.at.is_none_or(|at| at <= now || at > back) || line.depth <= Depth::Connect {
            return;
        }
        match rng.u32(0..4) {
            0 => line.answer.at = Some(back + self.server.latency_max().mul_f64(rng.f64())),
            1 if back.since(now) > self.plan.timeout => {
                line.answer.outcome = Outcome::Fail(Cause::Closed);
            }
            _ => {}
        }
    }
}

pub(crate) fn observe(
    path: Path,
    probe: Option<ProbeId>,
    started: Moment,
    ended: Moment,
    outcome: Outcome,
    session: bool,
) -> Observation {
    Observation {
        path,
        probe,
        started,
        ended,
        // Who refuses has greeted.
        depth: outcome
            .cause()
            .is_some_and(Cause::proves_a_server)
            .then_some(Depth::Greeting),
        outcome,
        phases: Phases::default(),
        session,
        server: None,
        detail: None,
    }
}
