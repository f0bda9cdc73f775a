//! The state machine of one backend: when to ask, what an answer means, when to change one's mind.
//!
//! Driven by `monitor.rs` alone, which passes the time in and carries the actions out. The rules,
//! in the order in which they bite:
//!
//! - One probe in flight per path. A regular fresh probe waits while a ping is unanswered.
//! - A ping unanswered for longer than usual makes the backend suspect: the fresh probe starts
//!   beside it, under the ping's deadline, so that both paths have spoken when it ends.
//! - A lost session is only a suspicion until the fresh path has spoken: if that passes, the loss
//!   is passing; if it fails, the loss counts too.
//! - A pass on the held path does not outweigh a failure on the fresh one: new clients go the
//!   fresh way.

use std::sync::Arc;
use std::time::Duration;

use crate::monitor::Action;
use crate::path::{Flight, Leaning, PathState};
use crate::rise_fall::{Opinion, RiseFall};
use crate::stall::{LATENESS_MAX, Stall};
use crate::{
    Admin, BackendId, Cause, Change, Class, Course, Depth, Evidence, Moment, Observation, Outcome,
    Path, Plan, ProbeId, Role, Standing, Transition, Verdict,
};

/// The least time after which an unanswered ping is suspect.
const SUSPECT_AFTER_MIN: Duration = Duration::from_millis(20);
/// How many times its usual latency a ping may take before it is suspect.
const SUSPECT_FACTOR: u32 = 4;
/// The share of a pace by which it may be shortened at random, in thousandths.
const JITTER_PERMILLE: u64 = 50;

/// One backend.
#[derive(Debug)]
pub(crate) struct Backend {
    id: BackendId,
    plan: Arc<Plan>,
    held: PathState,
    fresh: PathState,
    /// A session is held open.
    session: bool,
    /// A session was lost and the fresh path has not spoken since; whether it counts as failure.
    loss: Option<Leaning>,
    /// Dead or alive: counts failures of class dead and unfit.
    alive: RiseFall,
    /// Clean or degraded, while alive: counts what is wrong with a server that answers.
    clean: RiseFall,
    verdict: Verdict,
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
    probes: u32,
    rng: fastrand::Rng,
}

impl Backend {
    /// A backend of which nothing is known; its first probe is due at `first_at`.
    pub(crate) fn new(
        id: BackendId,
        plan: Arc<Plan>,
        seed: u64,
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
            session: false,
            loss: None,
            alive: RiseFall::UNDECIDED,
            clean: RiseFall::UNDECIDED,
            verdict: Verdict::Unknown,
            since: now,
            admin: Admin::Ready,
            role: None,
            proof_at: None,
            pass_at: None,
            sessions_lost: 0,
            latency: Duration::ZERO,
            deeper_at: first_at,
            probes: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            verdict: self.verdict,
            since: self.since,
            admin: self.admin,
            role: self.role,
            sessions_lost: self.sessions_lost,
            evidence: self.evidence(),
        }
    }

    /// The next moment at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let guard = |flight: &Flight| flight.deadline + LATENESS_MAX;
        let stale = match self.verdict {
            Verdict::Unknown => None,
            Verdict::Up | Verdict::Degraded | Verdict::Down => {
                self.proof_at.map(|at| at + self.plan.stale_after)
            }
        };
        [
            self.held.flight.as_ref().map(guard),
            self.fresh.flight.as_ref().map(guard),
            self.held_due(),
            self.fresh_due(),
            stale,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn held_due(&self) -> Option<Moment> {
        (self.session && self.held.flight.is_none())
            .then_some(self.held.next)
            .flatten()
    }

    /// When the fresh path is to be asked: regularly, or because a ping has become suspect.
    fn fresh_due(&self) -> Option<Moment> {
        if self.fresh.flight.is_some() {
            return None;
        }
        match &self.held.flight {
            Some(ping) => Some(ping.started + self.suspect_after()),
            None => self.fresh.next,
        }
    }

    fn suspect_after(&self) -> Duration {
        (self.latency * SUSPECT_FACTOR)
            .max(SUSPECT_AFTER_MIN)
            .min(self.plan.timeout / 2)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.give_up_overdue(now, actions);
        self.go_stale(now, actions);
        if self.held_due().is_some_and(|at| at <= now) {
            self.start_held(now, actions);
        }
        if self.fresh_due().is_some_and(|at| at <= now) {
            self.start_fresh(now, actions);
        }
    }

    /// Gives up probes whose end nobody reported; a caller that keeps its deadlines never gets
    /// here.
    fn give_up_overdue(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for path in [Path::Held, Path::Fresh] {
            let Some(flight) = self.path(path).flight else {
                continue;
            };
            if now < flight.deadline + LATENESS_MAX {
                continue;
            }
            actions.push(Action::CancelProbe {
                backend: self.id,
                path,
            });
            self.conclude_observation(
                Observation {
                    path,
                    probe: Some(flight.probe),
                    started: flight.started,
                    ended: now,
                    depth: None,
                    outcome: Outcome::Fail(Cause::AgentStalled),
                    phases: crate::Phases::default(),
                    session: false,
                    server: None,
                    detail: None,
                },
                now,
                actions,
            );
        }
    }

    fn go_stale(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let fresh_enough = self
            .proof_at
            .is_some_and(|at| now < at + self.plan.stale_after);
        if self.verdict != Verdict::Unknown && !fresh_enough {
            self.alive = RiseFall::UNDECIDED;
            self.conclude(now, actions);
        }
    }

    fn start_held(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Course::Session { depth } = self.plan.course else {
            return;
        };
        let deadline = now + self.plan.timeout;
        self.start(Path::Held, depth, deadline, false, now, actions);
    }

    fn start_fresh(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let depth = match self.plan.course {
            Course::Session { depth } => depth,
            Course::Sessionless { depth, deeper } => match deeper {
                Some(deeper) if self.asks_deeper(now) => deeper,
                Some(_) | None => depth,
            },
        };
        let (deadline, beside) = match &self.held.flight {
            Some(ping) => (ping.deadline, true),
            None => (now + self.plan.timeout, false),
        };
        self.start(Path::Fresh, depth, deadline, beside, now, actions);
    }

    /// Whether the deeper question of a sessionless course is due. While it is the one that goes
    /// wrong, an answer to the shallow one proves nothing against that.
    fn asks_deeper(&self, now: Moment) -> bool {
        self.fresh.is_failing() || self.fresh.is_degraded() || now >= self.deeper_at
    }

    fn start(
        &mut self,
        path: Path,
        depth: Depth,
        deadline: Moment,
        beside: bool,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        self.probes = self.probes.wrapping_add(1);
        let probe = ProbeId(self.probes);
        let state = self.path_mut(path);
        state.next = None;
        state.flight = Some(Flight {
            probe,
            started: now,
            deadline,
            depth,
            beside,
            void_if_late: false,
        });
        actions.push(Action::StartProbe {
            backend: self.id,
            probe,
            path,
            depth,
            deadline,
        });
    }

    /// Takes the end of a probe, or the end of a session that died between two.
    pub(crate) fn handle_observation(
        &mut self,
        mut observation: Observation,
        stall: &Stall,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let flight = self.path(observation.path).flight;
        let expected = match observation.probe {
            Some(probe) => flight.is_some_and(|flight| flight.probe == probe),
            None => observation.path == Path::Held && self.session && flight.is_none(),
        };
        if !expected {
            return;
        }
        if let Outcome::Fail(cause) = observation.outcome
            && cause.is_timeout()
            && stall.touches(observation.started, observation.ended)
        {
            observation.outcome = Outcome::Fail(Cause::AgentStalled);
        }
        self.conclude_observation(observation, now, actions);
    }

    fn conclude_observation(
        &mut self,
        observation: Observation,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let path = observation.path;
        let flight = self.path_mut(path).flight.take();
        let leaning = match flight {
            Some(flight) if flight.void_if_late && is_timeout(&observation) => Leaning::Nothing,
            Some(_) | None => self.leaning(&observation),
        };
        if leaning != Leaning::Nothing {
            self.proof_at = Some(now);
            self.path_mut(path).leaning = Some(leaning);
        }
        if leaning == Leaning::Pass {
            self.pass_at = Some(now);
        }
        let role = observation.server.as_ref().and_then(|facts| facts.role);
        match path {
            Path::Held => self.hear_held(&observation, leaning, now),
            Path::Fresh => self.hear_fresh(&observation, leaning, flight, now),
        }
        self.path_mut(path).last = Some(observation);
        self.conclude(now, actions);
        self.schedule(path, leaning, flight, now);
        if let Some(role) = role {
            self.note_role(role, now, actions);
        }
        // What became due by this answer starts now, not a wake-up later.
        if self.fresh_due().is_some_and(|at| at <= now) {
            self.start_fresh(now, actions);
        }
    }

    fn hear_held(&mut self, observation: &Observation, leaning: Leaning, now: Moment) {
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

    fn hear_fresh(
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

    fn leaning(&self, observation: &Observation) -> Leaning {
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

    /// Draws the conclusion from the counts, and announces it if it is a new one.
    fn conclude(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let rise = self.plan.rise;
        let verdict = match self.alive.opinion(rise) {
            Opinion::Undecided => Verdict::Unknown,
            Opinion::Down => Verdict::Down,
            Opinion::Up => match self.clean.opinion(rise) {
                Opinion::Down => Verdict::Degraded,
                Opinion::Up => Verdict::Up,
                // Just risen: what it rose on decides.
                Opinion::Undecided if self.fresh.is_degraded() || self.held.is_degraded() => {
                    Verdict::Degraded
                }
                Opinion::Undecided => Verdict::Up,
            },
        };
        if matches!(verdict, Verdict::Unknown | Verdict::Down) {
            self.clean = RiseFall::UNDECIDED;
        }
        if verdict != self.verdict {
            let from = std::mem::replace(&mut self.verdict, verdict);
            self.since = now;
            self.announce(Change::Verdict { from, to: verdict }, now, actions);
        }
    }

    fn note_role(&mut self, role: Role, now: Moment, actions: &mut Vec<Action>) {
        let from = self.role.replace(role);
        if from.is_some_and(|from| from != role) {
            self.announce(Change::Role { from, to: role }, now, actions);
        }
    }

    /// Sets the operator's order.
    pub(crate) fn handle_admin(&mut self, admin: Admin, now: Moment, actions: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.admin, admin);
        if from != admin {
            self.announce(Change::Admin { from, to: admin }, now, actions);
        }
    }

    /// Goes on under another plan of the same course; counts and session are kept.
    pub(crate) fn handle_plan(&mut self, plan: Arc<Plan>, now: Moment) {
        let old = (self.plan.rise, self.plan.fall);
        let new = (plan.rise, plan.fall);
        self.alive.refit(old, new);
        self.clean.refit(old, new);
        self.plan = plan;
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

    /// The paths that have a probe in flight.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = Path> + '_ {
        [Path::Held, Path::Fresh]
            .into_iter()
            .filter(|path| self.path(*path).flight.is_some())
    }

    fn schedule(&mut self, path: Path, leaning: Leaning, flight: Option<Flight>, now: Moment) {
        let started = flight.map_or(now, |flight| flight.started);
        match path {
            Path::Held if self.session => {
                let next = started + self.jittered_pace(Path::Held, leaning);
                self.held.next = Some(next.max(now));
            }
            Path::Held => {}
            Path::Fresh => {
                let next = started + self.jittered_pace(Path::Fresh, leaning);
                self.fresh.next = Some(next.max(now));
                if self.session && self.held.next.is_none() && self.held.flight.is_none() {
                    self.held.next = Some(now + self.jittered_pace(Path::Held, leaning));
                }
            }
        }
    }

    fn jittered_pace(&mut self, path: Path, leaning: Leaning) -> Duration {
        let pace = self.pace(path, leaning);
        jittered(&mut self.rng, pace)
    }

    /// The time from the start of a probe that spoke so to the start of the next on its path.
    fn pace(&self, path: Path, leaning: Leaning) -> Duration {
        let plan = &*self.plan;
        let (rise, fall) = (plan.rise, plan.fall);
        let settled = self.alive.is_settled(rise, fall)
            && (self.verdict == Verdict::Down || self.clean.is_settled(rise, fall));
        let changing = plan.fast_interval.min(plan.interval);
        let holds = matches!(plan.course, Course::Session { .. });
        match (path, leaning) {
            (Path::Held, _) if settled => plan.interval,
            (Path::Held, _) => changing,
            (Path::Fresh, Leaning::Pass) if self.session => plan.fresh_interval,
            (Path::Fresh, Leaning::Pass) if settled => plan.interval,
            (Path::Fresh, Leaning::Pass) => changing,
            (Path::Fresh, Leaning::Fail) => match self.alive.opinion(rise) {
                Opinion::Down => plan.down_interval,
                Opinion::Up if holds && !self.session => plan.confirm_interval,
                Opinion::Up | Opinion::Undecided => changing,
            },
            (Path::Fresh, Leaning::Degrade) if !settled => changing,
            (Path::Fresh, Leaning::Degrade) => match self.fresh_class() {
                Some(Class::Ours) => plan.refused_interval(),
                Some(_) | None => plan.down_interval,
            },
            // Cut short, or the agent's own fault: ask again, and properly this time.
            (Path::Fresh, Leaning::Nothing) => match self.fresh_cause() {
                Some(Cause::DnsFailed | Cause::OutOfDescriptors) => plan.down_interval,
                Some(_) | None => changing,
            },
        }
    }

    fn fresh_cause(&self) -> Option<Cause> {
        self.fresh
            .last
            .as_ref()
            .and_then(|last| last.outcome.cause())
    }

    fn fresh_class(&self) -> Option<Class> {
        self.fresh_cause().map(|cause| self.plan.classes.of(cause))
    }

    fn announce(&self, change: Change, now: Moment, actions: &mut Vec<Action>) {
        actions.push(Action::Announce(Box::new(Transition {
            backend: self.id,
            at: now,
            change,
            evidence: self.evidence(),
        })));
    }

    fn evidence(&self) -> Evidence {
        let cause = self.cause();
        Evidence {
            held: self.held.last.clone(),
            fresh: self.fresh.last.clone(),
            cause,
            class: cause.map(|cause| self.plan.classes.of(cause)),
            proof_at: self.proof_at,
            pass_at: self.pass_at,
        }
    }

    /// The cause behind the verdict: where both paths are broken, the fresh one's.
    fn cause(&self) -> Option<Cause> {
        let wanted = match self.verdict {
            Verdict::Up => return None,
            Verdict::Degraded => Some(Leaning::Degrade),
            Verdict::Down => Some(Leaning::Fail),
            Verdict::Unknown => None,
        };
        let of = |path: &PathState| path.last.as_ref().and_then(|last| last.outcome.cause());
        [&self.fresh, &self.held]
            .into_iter()
            .find(|path| wanted.is_none() || path.leaning == wanted)
            .and_then(of)
            .or_else(|| of(&self.fresh))
            .or_else(|| of(&self.held))
    }

    fn path(&self, path: Path) -> &PathState {
        match path {
            Path::Held => &self.held,
            Path::Fresh => &self.fresh,
        }
    }

    fn path_mut(&mut self, path: Path) -> &mut PathState {
        match path {
            Path::Held => &mut self.held,
            Path::Fresh => &mut self.fresh,
        }
    }
}

fn is_timeout(observation: &Observation) -> bool {
    observation.outcome.cause().is_some_and(Cause::is_timeout)
}

/// Shortens a pace by a random share, so that what started together drifts apart; never longer,
/// so that every bound holds.
fn jittered(rng: &mut fastrand::Rng, pace: Duration) -> Duration {
    let permille = 1000 - rng.u64(0..=JITTER_PERMILLE);
    let nanos = u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos / 1000 * permille)
}
