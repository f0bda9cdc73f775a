//! The state machine of one backend: when to ask, what an answer means, when to change one's mind.
//!
//! Driven by `monitor.rs` alone, which passes the time in and carries the actions out. The rules,
//! in the order in which they bite:
//!
//! - One probe in flight per path. A regular fresh probe waits while a ping is unanswered.
//! - A ping unanswered for longer than usual makes the backend suspect: one fresh probe starts
//!   beside it, under the ping's deadline, so that both paths have spoken when it ends.
//! - A lost session is only a suspicion until the fresh path has spoken: if that passes, the loss
//!   is passing; if it fails, the loss counts too.
//! - A pass on the held path does not outweigh a failure on the fresh one: new clients go the
//!   fresh way. Nor does a shallow answer outweigh what the deeper question found.
//! - The accept queue, where it can be seen, speaks unasked: a full one, and one in which nobody is
//!   accepted, count against a clean verdict like answers do, however often one looks no sooner one
//!   after the other than those, and nothing but the queue itself takes that back, or somebody who was
//!   accepted since. Behind it the server is suspect, so both paths are asked soon.
//! - Evidence that is too old is forgotten, counts and all.
//!
//! When to ask is `backend/pace.rs`, what an answer counts for `backend/judgement.rs`, what others
//! are told `backend/evidence.rs`.

mod evidence;
mod judgement;
mod pace;

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use self::pace::Turn;
use crate::action::Action;
use crate::path::{Leaning, PathState, SILENT};
use crate::ration::Ration;
use crate::rise_fall::{Opinion, RiseFall};
use crate::shared::Shared;
use crate::stall::{LATENESS_MAX, Stall};
use crate::{
    Admin, BackendId, Cause, Change, Course, Moment, Observation, Outcome, Path, Phases, Plan,
    Role, Verdict,
};

/// One backend.
#[derive(Debug)]
pub(crate) struct Backend {
    id: BackendId,
    plan: Arc<Plan>,
    held: PathState,
    fresh: PathState,
    /// What looks at the accept queue said; most backends have none.
    queue: Option<Box<PathState>>,
    /// A session is held open.
    session: bool,
    /// A session was lost and the fresh path has not spoken since; what the loss counts for.
    loss: Option<Leaning>,
    /// Sessions in a row that were lost before their first answer.
    short_lived: u8,
    /// Dead or alive: counts failures of class dead and unfit.
    alive: RiseFall,
    /// Clean or degraded, while alive: counts what is wrong with a server that answers.
    clean: RiseFall,
    verdict: Verdict,
    /// The cause behind the verdict, while that is degraded or down.
    cause: Option<Cause>,
    since: Moment,
    admin: Admin,
    role: Option<Role>,
    proof_at: Option<Moment>,
    pass_at: Option<Moment>,
    sessions_lost: u64,
    /// Smoothed latency of pings.
    latency: Duration,
    /// When the deeper question of a sessionless course is due.
    deeper_at: Moment,
    /// What is left of its own ration of logins.
    logins: Ration,
    /// Where it stands among all that want a login.
    turn: Turn,
    /// Somebody wants to know, and waits until then for a fresh probe to begin.
    asked_until: Option<Moment>,
    /// The id of the newest probe.
    probes: u32,
    rng: fastrand::Rng,
}

impl Backend {
    /// A backend of which nothing is known; its first probe is due at `first_at`, and its probes
    /// are numbered from after `probes` on.
    pub(crate) fn new(
        id: BackendId,
        plan: Arc<Plan>,
        seed: u64,
        probes: u32,
        first_at: Moment,
        now: Moment,
    ) -> Self {
        Self {
            id,
            plan,
            held: PathState::default(),
            fresh: PathState {
                next: Some(first_at),
                ..PathState::default()
            },
            queue: None,
            session: false,
            loss: None,
            short_lived: 0,
            alive: RiseFall::UNDECIDED,
            clean: RiseFall::UNDECIDED,
            verdict: Verdict::Unknown,
            cause: None,
            since: now,
            admin: Admin::Ready,
            role: None,
            proof_at: None,
            pass_at: None,
            sessions_lost: 0,
            latency: Duration::ZERO,
            deeper_at: first_at,
            logins: Ration::default(),
            turn: Turn::None,
            asked_until: None,
            probes,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Looks at what the next answer or question needs, a little on each cache line.
    pub(crate) fn fetch(&self) {
        let paths = (self.held.next, self.fresh.next, self.held.last.is_some());
        black_box((paths, self.proof_at, self.verdict));
    }

    /// The id of the newest probe.
    pub(crate) fn probes(&self) -> u32 {
        self.probes
    }

    /// The paths that have something to drop: a probe in flight, or the held session.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = Path> + '_ {
        let held = self.session || self.held.flight.is_some();
        let fresh = self.fresh.flight.is_some();
        let held = held.then_some(Path::Held);
        held.into_iter().chain(fresh.then_some(Path::Fresh))
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(
        &mut self,
        shared: &mut Shared,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        self.give_up_overdue(shared, now, actions);
        self.go_stale(now, actions);
        self.look(now);
        if self.held_due().is_some_and(|at| at <= now) {
            self.start_held(now, actions);
        }
        self.start_fresh_in_turn(&mut shared.logins, now, actions);
    }

    /// Gives up probes whose end nobody reported; a caller that keeps its deadlines never gets
    /// here.
    fn give_up_overdue(
        &mut self,
        shared: &mut Shared,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        for path in [Path::Held, Path::Fresh] {
            let Some(flight) = self.path(path).flight else {
                continue;
            };
            if now < flight.deadline + LATENESS_MAX {
                continue;
            }
            actions.push_back(Action::CancelProbe {
                backend: self.id,
                path,
            });
            let observation = Observation {
                path,
                probe: Some(flight.probe),
                started: flight.started,
                ended: now,
                depth: None,
                outcome: Outcome::Fail(Cause::AgentStalled),
                phases: Phases::default(),
                session: false,
                server: None,
                detail: None,
            };
            self.conclude_observation(observation, shared, now, actions);
        }
    }

    /// Forgets what has not been proved for too long.
    fn go_stale(&mut self, now: Moment, actions: &mut VecDeque<Action>) {
        if self.stale_at().is_some_and(|at| at <= now) {
            self.alive = RiseFall::UNDECIDED;
            self.held.leaning = None;
            self.fresh.leaning = None;
            self.queue = None;
            self.loss = None;
            self.conclude(now, actions);
        }
    }

    /// Takes the end of a probe, or the end of a session that died between two; answers how it is
    /// taken.
    pub(crate) fn handle_observation(
        &mut self,
        mut observation: Observation,
        shared: &mut Shared,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) -> Option<Outcome> {
        let flight = self.path(observation.path).flight;
        let expected = match observation.probe {
            Some(probe) => flight.is_some_and(|flight| flight.probe == probe),
            None => match observation.path {
                Path::Held => self.session && flight.is_none(),
                Path::Fresh => false,
                Path::Queue => true,
            },
        };
        if !expected {
            return None;
        }
        if let Outcome::Fail(cause) = observation.outcome
            && let Some(flight) = flight
            && cause.may_be_the_agents_silence()
            && shared
                .stall
                .touches(observation.started, observation.ended, flight.patience())
        {
            observation.outcome = Outcome::Fail(Cause::AgentStalled);
        }
        self.hold_against_budget(&mut observation, &shared.stall);
        self.tell_a_full_queue(&mut observation);
        let outcome = observation.outcome;
        self.conclude_observation(observation, shared, now, actions);
        Some(outcome)
    }

    /// A pass that took longer than the latency budget allows is no clean one, unless the agent
    /// itself was late to hear the answer.
    fn hold_against_budget(&self, observation: &mut Observation, stall: &Stall) {
        let Some(budget) = self
            .plan
            .slow_over
            .filter(|_| observation.path != Path::Queue)
        else {
            return;
        };
        if !stall.touches(observation.started, observation.ended, budget) {
            observation.hold_against_budget(budget);
        }
    }

    /// Connects that nobody answers, to a server that answers on its open session meanwhile, are
    /// what a full accept queue looks like over TCP: the kernel drops what has no room. Where it was
    /// seen to have room all the while, something else drops them.
    fn tell_a_full_queue(&self, observation: &mut Observation) {
        if observation.outcome != Outcome::Fail(Cause::ConnectTimeout)
            || self.had_room_since(observation.started)
        {
            return;
        }
        let answers_meanwhile =
            |held: &Observation| held.outcome == Outcome::Pass && held.ended >= observation.started;
        let held = self.held.last.as_ref().filter(|_| self.session);
        let detail = if held.is_some_and(answers_meanwhile) {
            "no connect is answered while the open session is: the accept queue is full, or something drops new connects"
        } else if !self.session && self.path(Path::Queue).cause == Some(Cause::QueueFull) {
            "no connect is answered: the accept queue is full"
        } else {
            return;
        };
        observation.outcome = Outcome::Fail(Cause::QueueFull);
        observation.detail = Some(detail.into());
    }

    /// Whether the accept queue was seen to have room at that moment, and at each look since then.
    fn had_room_since(&self, moment: Moment) -> bool {
        let look = self.path(Path::Queue).last.as_ref();
        look.is_some_and(|look| {
            look.outcome == Outcome::Pass && look.started <= moment && look.ended > moment
        })
    }

    fn conclude_observation(
        &mut self,
        mut observation: Observation,
        shared: &mut Shared,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        observation.session &= self.holds_sessions();
        let path = observation.path;
        let flight = self.path_mut(path).flight.take();
        let timed_out = observation.outcome.cause().is_some_and(Cause::is_timeout);
        let void = timed_out && flight.is_some_and(|flight| flight.void_if_late);
        let leaning = match void {
            true => Leaning::Nothing,
            false => self.leaning(&observation),
        };
        if path != Path::Queue && leaning != Leaning::Nothing {
            self.proof_at = self.proof_at.max(Some(observation.ended.min(now)));
        }
        if path != Path::Queue && leaning == Leaning::Pass {
            self.pass_at = self.pass_at.max(Some(observation.ended.min(now)));
        }
        let role = observation.server.as_ref().and_then(|facts| facts.role);
        match path {
            Path::Held => self.hear_held(&observation, leaning, flight, now),
            Path::Fresh => self.hear_fresh(&observation, leaning, flight, now),
            Path::Queue => self.hear_queue(&observation, leaning, now),
        }
        self.path_mut(path).last = Some(observation);
        self.path_mut(path).cut_short = void;
        // The role first: whoever is told of a verdict acts on the role as well.
        if let Some(role) = role {
            self.note_role(role, now, actions);
        }
        self.conclude(now, actions);
        self.schedule(path, leaning, flight, shared.mesh, now);
        // What became due by this answer starts now, not a wake-up later; the ping first, beside
        // which a fresh probe waits for a moment.
        if path == Path::Queue && self.held_due().is_some_and(|at| at <= now) {
            self.start_held(now, actions);
        }
        self.start_fresh_in_turn(&mut shared.logins, now, actions);
    }

    /// Draws the conclusion from the counts, and announces it if it is a new one.
    fn conclude(&mut self, now: Moment, actions: &mut VecDeque<Action>) {
        let (rise, fall) = (self.plan.rise, self.plan.fall);
        let was_alive = matches!(self.verdict, Verdict::Up | Verdict::Degraded);
        let verdict = match self.alive.opinion(rise) {
            Opinion::Undecided => Verdict::Unknown,
            Opinion::Down => Verdict::Down,
            Opinion::Up => {
                if !was_alive {
                    // What it rose on decides whether it is clean.
                    let paths = [&self.fresh, &self.held, self.path(Path::Queue)];
                    let degraded = paths.into_iter().any(PathState::is_degraded);
                    self.clean = RiseFall::settled(!degraded, rise, fall);
                }
                match self.clean.opinion(rise) {
                    Opinion::Down => Verdict::Degraded,
                    Opinion::Up | Opinion::Undecided => Verdict::Up,
                }
            }
        };
        let from = std::mem::replace(&mut self.verdict, verdict);
        self.cause = match from == verdict {
            true => self.shown_cause().or(self.cause),
            false => self.shown_cause(),
        };
        if from != verdict {
            self.since = now;
            self.announce(Change::Verdict { from, to: verdict }, now, actions);
        }
    }

    fn note_role(&mut self, role: Role, now: Moment, actions: &mut VecDeque<Action>) {
        let from = self.role.replace(role);
        if from.is_some_and(|from| from != role) {
            self.announce(Change::Role { from, to: role }, now, actions);
        }
    }

    /// Sets the operator's order.
    pub(crate) fn handle_admin(
        &mut self,
        admin: Admin,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        let from = std::mem::replace(&mut self.admin, admin);
        if from != admin {
            self.announce(Change::Admin { from, to: admin }, now, actions);
        }
    }

    /// Brings the next fresh probe forward, unless that would use up what a change of verdict may
    /// need. Its pace goes on from there, so that a question now and then costs no more than the
    /// probe that it brings.
    pub(crate) fn handle_refresh(
        &mut self,
        shared: &mut Shared,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        if self.fresh.flight.is_none() {
            self.asked_until = Some(now + self.plan.refresh_patience());
        }
        self.start_fresh_in_turn(&mut shared.logins, now, actions);
    }

    /// Goes on under another plan of the same course; counts and session are kept.
    pub(crate) fn handle_plan(&mut self, plan: Arc<Plan>, now: Moment) {
        let old = (self.plan.rise, self.plan.fall);
        let new = (plan.rise, plan.fall);
        self.alive.refit(old, new);
        self.clean.refit(old, new);
        self.plan = plan;
        self.logins = Ration::default();
        self.asked_until = None;
        // A pace that became shorter holds from now on, not after the longer one has run out.
        for path in [Path::Held, Path::Fresh] {
            let leaning = self.path(path).leaning.unwrap_or(Leaning::Nothing);
            let soonest = now + self.pace(path, leaning);
            if let Some(next) = &mut self.path_mut(path).next {
                *next = (*next).min(soonest);
            }
        }
        self.deeper_at = self.deeper_at.min(now + self.plan.fresh_interval);
    }

    fn holds_sessions(&self) -> bool {
        matches!(self.plan.course, Course::Session { .. })
    }

    fn path(&self, path: Path) -> &PathState {
        match path {
            Path::Held => &self.held,
            Path::Fresh => &self.fresh,
            Path::Queue => self.queue.as_deref().unwrap_or(&SILENT),
        }
    }

    fn path_mut(&mut self, path: Path) -> &mut PathState {
        match path {
            Path::Held => &mut self.held,
            Path::Fresh => &mut self.fresh,
            Path::Queue => self.queue.get_or_insert_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_stays_small() {
        assert!(size_of::<Backend>() <= 512, "{}", size_of::<Backend>());
    }
}
