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
    Action, BackendId, Cause, Moment, Monitor, Observation, Outcome, Path, Plan, Verdict,
};

use crate::bounds::Bounds;
use crate::journal::{Journal, note};
use crate::reference::Reference;
use crate::schedule::{Happening, Schedule};
use crate::server::{Condition, Server};
use crate::site::{Lookout, Site, observe};

/// A world that is not at its end by then is left alone.
const STEPS_MAX: u32 = 500;
/// No moment takes more rounds of the loop than this, or the loop spins.
const ROUNDS_MAX: u32 = 20;
/// How late the loop is as a rule.
const LATENESS_MAX: Duration = Duration::from_micros(200);

/// What the loop finds to do on one round.
#[derive(Debug, Clone, Copy)]
enum Due {
    Arrival(usize, Path),
    Deadline(usize, Path),
    Death(usize),
    Look(usize),
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
            lookout: self.rng.bool().then(|| Lookout::from(self.now)),
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
            Happening::Turn(slot, condition) => {
                if let Some(site) = &mut self.sites[slot] {
                    site.turn(condition, now, &mut self.rng);
                }
            }
            Happening::Kill(slot) => {
                if let Some(site) = &mut self.sites[slot] {
                    site.kill(now);
                }
            }
            Happening::Hiccup(slot) => {
                if let Some(site) = &mut self.sites[slot] {
                    site.hiccup(now);
                }
            }
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
            let look_at = site.lookout.and_then(|lookout| lookout.look_at);
            if look_at.is_some_and(|at| at <= now) {
                due.push(Due::Look(slot));
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
            Due::Look(slot) => {
                let site = self.sites[slot].as_mut();
                let told = site.and_then(|site| site.look(now, &mut self.rng));
                if let Some(told) = told {
                    self.hear(slot, told);
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

    fn deliver(&mut self, slot: usize, path: Path, answered: bool) {
        let now = self.now;
        let ended = self.sites[slot]
            .as_mut()
            .and_then(|site| site.end(path, answered, now));
        let Some(observation) = ended else { return };
        if self.rng.u32(0..16) == 0
            && let Some(site) = &mut self.sites[slot]
        {
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
