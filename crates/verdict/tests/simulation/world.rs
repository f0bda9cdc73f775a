//! One world: servers with a hidden truth, the real `Monitor`, and in between a prober and an
//! event loop that behave as the ones in production do.
//!
//! The loop may be late. When it comes back it reads what has arrived before it looks at
//! deadlines; what falls on one moment otherwise happens in random order. After every step the
//! standing of each backend is compared with the reference, and the bounds are checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Action, BackendId, Cause, Course, Depth, Moment, Monitor, Observation, Outcome, Path, Phases,
    Plan, ProbeId, Verdict,
};

use crate::bounds::Bounds;
use crate::journal::{Journal, note};
use crate::reference::Reference;
use crate::schedule::{Happening, Schedule};
use crate::server::{Answer, Condition, Server};

/// A world that is not at its end by then is left alone.
const STEPS_MAX: u32 = 500;
/// No moment takes more rounds of the loop than this, or the loop spins.
const ROUNDS_MAX: u32 = 20;
/// How late the loop is as a rule.
const LATENESS_MAX: Duration = Duration::from_micros(200);

/// One probe in flight.
#[derive(Debug, Clone, Copy)]
struct Line {
    probe: ProbeId,
    depth: Depth,
    started: Moment,
    deadline: Moment,
    answer: Answer,
    /// When the session that it opened was reset, although the answer was still to be read.
    doomed: Option<Moment>,
}

/// A held session.
#[derive(Debug, Clone, Copy)]
struct Session {
    /// When its end is told.
    dead_at: Option<Moment>,
}

/// One backend: its server, what the prober keeps for it, and what is checked about it.
#[derive(Debug)]
struct Site {
    plan: Arc<Plan>,
    server: Server,
    held: Option<Line>,
    fresh: Option<Line>,
    session: Option<Session>,
    /// Observations that come late, or twice.
    strays: Vec<(Moment, Observation)>,
    reference: Reference,
    bounds: Bounds,
}

/// What the loop finds to do on one round.
#[derive(Debug, Clone, Copy)]
enum Due {
    Arrival(usize, Path),
    Deadline(usize, Path),
    Death(usize),
    Stray(usize),
    Wake,
}

/// One world.
#[derive(Debug)]
pub(crate) struct World<'a> {
    rng: fastrand::Rng,
    journal: &'a mut Journal,
    monitor: Monitor,
    sites: Vec<Option<Site>>,
    harmless: bool,
    now: Moment,
    /// Until when the loop does not run.
    absent_until: Moment,
}

impl<'a> World<'a> {
    /// Plays the world of a seed to its end; panics where something is wrong. Answers how many
    /// rounds the loop made.
    pub(crate) fn play(seed: u64, journal: &'a mut Journal) -> u32 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let schedule = Schedule::draw(&mut rng);
        let mut world = World {
            monitor: Monitor::new(rng.u64(..)),
            rng,
            journal,
            sites: Vec::new(),
            harmless: schedule.harmless,
            now: Moment::ORIGIN,
            absent_until: Moment::ORIGIN,
        };
        for (plan, condition) in schedule.plans.iter().zip(&schedule.conditions) {
            let site = world.found(Arc::clone(plan), *condition);
            world.sites.push(Some(site));
        }
        world.reload();
        let mut happenings = schedule.happenings.into_iter().peekable();
        for step in 0..STEPS_MAX {
            let next = happenings.peek().map(|(at, _)| *at);
            let due = world.next_due();
            let at = due.into_iter().chain(next).min();
            if at.is_none_or(|at| at > schedule.end) {
                return step;
            }
            if next.is_some_and(|next| due.is_none_or(|due| next <= due)) {
                let (at, happening) = happenings.next().expect("it was peeked at");
                world.now = world.now.max(at);
                world.happen(happening);
            } else if let Some(due) = due {
                let lateness = LATENESS_MAX.mul_f64(world.rng.f64());
                let was_absent = world.absent_until > world.now;
                world.now = world.now.max(due + lateness);
                world.run_loop(was_absent);
            }
        }
        STEPS_MAX
    }

    fn found(&mut self, plan: Arc<Plan>, condition: Condition) -> Site {
        note!(self.journal, self.now, "a server, {condition:?}, {plan:?}");
        let server = Server::new(condition, plan.timeout, &mut self.rng);
        let mut bounds = Bounds::new(&plan, self.harmless, server.latency_max(), self.now);
        bounds.turn(condition, self.now);
        Site {
            server,
            held: None,
            fresh: None,
            session: None,
            strays: Vec::new(),
            reference: Reference::new(Arc::clone(&plan)),
            bounds,
            plan,
        }
    }

    // --- The world's side ----------------------------------------------------------------------

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        if now < self.absent_until && happening.needs_the_loop() {
            return;
        }
        note!(self.journal, now, "{happening:?}");
        match happening {
            Happening::Turn(slot, condition) => self.turn(slot, condition),
            Happening::Kill(slot) => self.kill(slot),
            Happening::Stall(duration) => {
                self.absent_until = self.absent_until.max(now + duration);
                for site in self.sites.iter_mut().flatten() {
                    site.bounds.interfere(self.absent_until);
                    site.struggle(self.absent_until, now, &mut self.rng);
                }
            }
            Happening::Retune(slot, plan) => {
                if let Some(site) = &mut self.sites[slot]
                    && site.plan.course == plan.course
                {
                    site.server.keep_within(plan.timeout);
                    site.reference.plan(&plan);
                    site.bounds.retune(&plan, site.server.latency_max(), now);
                    site.plan = plan;
                }
                self.reload();
            }
            Happening::Replace(slot, plan) => {
                let condition = match &self.sites[slot] {
                    Some(site) if site.plan.course == plan.course => return,
                    Some(site) => site.server.condition,
                    None => Condition::Fine,
                };
                let strays = self.sites[slot].take().map(Site::abandon);
                let mut site = self.found(plan, condition);
                site.strays = strays.unwrap_or_default();
                self.sites[slot] = Some(site);
                self.reload();
            }
            Happening::Remove(slot) => {
                self.sites[slot] = None;
                self.reload();
                assert_eq!(self.monitor.standing(BackendId(slot as u32)), None);
            }
            Happening::Order(slot, admin) => {
                let id = BackendId(slot as u32);
                self.notice();
                self.monitor.handle_admin(id, admin, now);
                self.settle();
                let standing = self.monitor.standing(id);
                assert!(standing.is_none_or(|standing| standing.admin == admin));
            }
        }
    }

    fn reload(&mut self) {
        let plans: BTreeMap<_, _> = self
            .sites
            .iter()
            .enumerate()
            .filter_map(|(slot, site)| {
                let plan = Arc::clone(&site.as_ref()?.plan);
                Some((BackendId(slot as u32), plan))
            })
            .collect();
        self.notice();
        self.monitor.handle_plan(&plans, self.now);
        self.settle();
    }

    fn turn(&mut self, slot: usize, condition: Condition) {
        let now = self.now;
        let Some(site) = &mut self.sites[slot] else {
            return;
        };
        let before = std::mem::replace(&mut site.server.condition, condition);
        site.bounds.turn(condition, now);
        if condition == Condition::Crashed {
            site.reset(now);
        } else if condition.is_silent() {
            for line in site.held.iter_mut().chain(&mut site.fresh) {
                let connects = condition == Condition::Frozen && line.depth <= Depth::Connect;
                if line.answer.at.is_some_and(|at| at > now) && !connects {
                    line.answer.at = None;
                }
            }
        } else if matches!(before, Condition::Frozen | Condition::FrozenFull) {
            // It thaws, and answers what was asked meanwhile.
            let timeout = site.plan.timeout;
            for (path, line) in [(Path::Held, &mut site.held), (Path::Fresh, &mut site.fresh)] {
                if let Some(line) = line.as_mut().filter(|line| line.answer.at.is_none()) {
                    let rng = &mut self.rng;
                    line.answer = site.server.answer(path, line.depth, now, timeout, rng);
                }
            }
        }
    }

    fn kill(&mut self, slot: usize) {
        let now = self.now;
        let Some(site) = &mut self.sites[slot] else {
            return;
        };
        site.bounds.interfere(now);
        if !site.server.condition.is_silent() {
            site.end_session(now + site.server.reset_delay());
        }
    }

    // --- The loop's side -----------------------------------------------------------------------

    /// When the loop next finds something to do.
    fn next_due(&self) -> Option<Moment> {
        let sites = self.sites.iter().flatten().filter_map(Site::next_due);
        let due = sites.chain(self.monitor.poll_timeout()).min()?;
        Some(due.max(self.absent_until).max(self.now))
    }

    fn run_loop(&mut self, was_absent: bool) {
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "the loop spins");
            let mut due = self.find_due();
            if due.is_empty() {
                break;
            }
            self.rng.shuffle(&mut due);
            if was_absent {
                due.sort_by_key(|due| !matches!(due, Due::Arrival(..)));
            }
            for due in due {
                self.carry_out(due);
            }
        }
        for site in self.sites.iter_mut().flatten() {
            site.bounds.check(self.now);
        }
    }

    fn find_due(&self) -> Vec<Due> {
        let now = self.now;
        let mut due = Vec::new();
        for (slot, site) in self.sites.iter().enumerate() {
            let Some(site) = site else { continue };
            for (path, line) in [(Path::Held, &site.held), (Path::Fresh, &site.fresh)] {
                let Some(line) = line else { continue };
                if line.answer.at.is_some_and(|at| at <= now) {
                    due.push(Due::Arrival(slot, path));
                } else if line.deadline <= now {
                    due.push(Due::Deadline(slot, path));
                }
            }
            if site.death_due().is_some_and(|at| at <= now) {
                due.push(Due::Death(slot));
            }
            if site.strays.first().is_some_and(|(at, _)| *at <= now) {
                due.push(Due::Stray(slot));
            }
        }
        if self.monitor.poll_timeout().is_some_and(|at| at <= now) {
            due.push(Due::Wake);
        }
        due
    }

    /// Does one thing that was due, unless what was done before it has made it void.
    fn carry_out(&mut self, due: Due) {
        let now = self.now;
        match due {
            Due::Wake => {
                self.notice();
                self.monitor.handle_timeout(now);
                note!(self.journal, now, "wake");
                for site in self.sites.iter_mut().flatten() {
                    site.reference.look(now);
                }
                self.settle();
                assert!(
                    self.monitor.poll_timeout().is_none_or(|at| at > now),
                    "a wake-up left something due"
                );
            }
            Due::Arrival(slot, path) => self.deliver(slot, path, true),
            Due::Deadline(slot, path) => self.deliver(slot, path, false),
            Due::Death(slot) => {
                let Some(site) = &mut self.sites[slot] else {
                    return;
                };
                if site.death_due().is_some_and(|at| at <= now) {
                    site.session = None;
                    let causes = [Cause::Reset, Cause::Closed];
                    let outcome = Outcome::Fail(causes[self.rng.usize(0..2)]);
                    let death = observe(Path::Held, None, now, now, outcome, false);
                    self.hear(slot, death);
                }
            }
            Due::Stray(slot) => {
                let Some(site) = &mut self.sites[slot] else {
                    return;
                };
                let (_, stray) = site.strays.remove(0);
                let id = BackendId(slot as u32);
                let before = self.monitor.standing(id);
                self.notice();
                let (path, probe) = (stray.path, stray.probe);
                note!(self.journal, now, "{slot}: a stray, {path:?} {probe:?}");
                self.monitor.handle_observation(id, stray, now);
                assert_eq!(self.monitor.standing(id), before, "a stray was heard");
                self.settle();
            }
        }
    }

    /// Ends a probe, by its answer or by its deadline.
    fn deliver(&mut self, slot: usize, path: Path, answered: bool) {
        let now = self.now;
        let Some(site) = &mut self.sites[slot] else {
            return;
        };
        let line = match path {
            Path::Held => &mut site.held,
            Path::Fresh => &mut site.fresh,
        };
        let is_due = |line: &Line| match answered {
            true => line.answer.at.is_some_and(|at| at <= now),
            false => line.deadline <= now,
        };
        if !line.as_ref().is_some_and(is_due) {
            return;
        }
        let Some(line) = line.take() else { return };
        let outcome = match answered {
            true => line.answer.outcome,
            false => Outcome::Fail(line.answer.silence),
        };
        let survives = match outcome {
            Outcome::Pass | Outcome::Fail(Cause::OverBudget | Cause::Lagging) => true,
            Outcome::Fail(_) => false,
        };
        let session = match path {
            Path::Held => survives,
            Path::Fresh => survives && site.holds_sessions() && site.session.is_none(),
        };
        match path {
            Path::Held if !session => site.session = None,
            Path::Fresh if session => {
                let bounces = site.server.condition == Condition::Bouncing;
                let dead_at = line
                    .doomed
                    .or(bounces.then(|| now + site.server.reset_delay()));
                site.session = Some(Session { dead_at });
            }
            Path::Held | Path::Fresh => {}
        }
        let observation = observe(path, Some(line.probe), line.started, now, outcome, session);
        if self.rng.u32(0..16) == 0 {
            site.keep_stray(observation.clone(), now + site.plan.interval);
        }
        self.hear(slot, observation);
    }

    fn hear(&mut self, slot: usize, observation: Observation) {
        let now = self.now;
        self.notice();
        if let Some(site) = &mut self.sites[slot] {
            let leaning = site.reference.hear(&observation, now);
            note!(
                self.journal,
                now,
                "{slot}: {:?} {:?} {:?}, session {} -> {leaning:?}",
                observation.path,
                observation.probe,
                observation.outcome,
                observation.session,
            );
            site.bounds.hear(&observation, leaning);
        }
        let id = BackendId(slot as u32);
        self.monitor.handle_observation(id, observation, now);
        self.settle();
    }

    /// Tells the references how late the loop is, as the monitor is about to see it.
    fn notice(&mut self) {
        if let Some(due) = self.monitor.poll_timeout() {
            for site in self.sites.iter_mut().flatten() {
                site.reference.notice(due, self.now);
            }
        }
    }

    fn note_action(&mut self, action: &Action) {
        if let Action::Announce(transition) = action {
            let (slot, change) = (transition.backend.0, transition.change);
            let cause = transition.evidence.cause;
            note!(self.journal, self.now, "    {slot}: {change:?}, {cause:?}");
        } else {
            note!(self.journal, self.now, "    {action:?}");
        }
    }

    /// Carries out what the monitor wants, then compares.
    fn settle(&mut self) {
        let now = self.now;
        while let Some(action) = self.monitor.poll_action() {
            self.note_action(&action);
            match action {
                Action::StartProbe {
                    backend,
                    probe,
                    path,
                    depth,
                    deadline,
                } => {
                    let site = self.sites[backend.0 as usize].as_mut().expect("a plan");
                    site.start(path, probe, depth, deadline, now, &mut self.rng);
                }
                Action::CancelProbe { backend, path } => {
                    if let Some(site) = &mut self.sites[backend.0 as usize] {
                        site.cancel(path, now);
                    }
                }
                Action::Announce(transition) => {
                    let site = self.sites[transition.backend.0 as usize].as_mut();
                    site.expect("a plan").bounds.announce(&transition);
                }
            }
        }
        for (slot, site) in self.sites.iter_mut().enumerate() {
            let Some(site) = site else { continue };
            let standing = self.monitor.standing(BackendId(slot as u32));
            let standing = standing.expect("a plan");
            site.bounds.stand(&standing);
            let (verdict, cause) = site.reference.conclude();
            assert_eq!(
                standing.verdict, verdict,
                "backend {slot}: not the reference's verdict"
            );
            if verdict != Verdict::Unknown {
                assert_eq!(standing.evidence.cause, cause, "backend {slot}");
            }
        }
    }
}

impl Site {
    fn holds_sessions(&self) -> bool {
        matches!(self.plan.course, Course::Session { .. })
    }

    fn next_due(&self) -> Option<Moment> {
        let line = |line: &Line| {
            let answer = line.answer.at.into_iter();
            answer.chain([line.deadline]).min()
        };
        let lines = [&self.held, &self.fresh].into_iter().flatten();
        lines
            .filter_map(line)
            .chain(self.death_due())
            .chain(self.strays.first().map(|(at, _)| *at))
            .min()
    }

    /// When the end of the held session is told, if no probe tells it.
    fn death_due(&self) -> Option<Moment> {
        match self.held {
            Some(_) => None,
            None => self.session?.dead_at,
        }
    }

    fn start(
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
    fn cancel(&mut self, path: Path, now: Moment) {
        let line = match path {
            Path::Held => {
                self.session = None;
                self.held.take()
            }
            Path::Fresh => self.fresh.take(),
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
    fn abandon(self) -> Vec<(Moment, Observation)> {
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

    fn keep_stray(&mut self, observation: Observation, at: Moment) {
        self.strays.push((at, observation));
        self.strays.sort_by_key(|(at, _)| *at);
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
    fn struggle(&mut self, back: Moment, now: Moment, rng: &mut fastrand::Rng) {
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

fn observe(
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
        depth: None,
        outcome,
        phases: Phases::default(),
        session,
        server: None,
        detail: None,
    }
}
