//! The stage of the scenarios: a prober and a loop around the real `Monitor`, for one server.
//!
//! It answers each probe a millisecond after it began, or later where the stage says so, as its two
//! [`Reply`]s say, and ends what nobody answers at its deadline. What is due on one moment happens in
//! the order of the probes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Action, BackendId, Cause, Change, Course, Depth, Moment, Monitor, Observation, Outcome, Path,
    Phase, Phases, Plan, ProbeId, Role, ServerFacts, Standing, Transition, Verdict,
};

pub(crate) const SERVER: BackendId = BackendId(0);
pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How a path is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reply {
    Pass,
    Fail(Cause),
    /// Answered badly, on a session that goes on.
    FailOn(Cause),
    /// Greeted, and then cut off.
    CutOff,
    /// Not before the deadline; then the prober says this.
    Silent(Cause),
    /// Well, but so late.
    Late(Duration),
}

pub(crate) const FROZEN: Reply = Reply::Silent(Cause::NoGreeting);

/// A probe that was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) path: Path,
    pub(crate) probe: ProbeId,
    pub(crate) depth: Depth,
    pub(crate) at: Moment,
    pub(crate) deadline: Moment,
}

pub(crate) struct Stage {
    pub(crate) monitor: Monitor,
    pub(crate) plan: Arc<Plan>,
    pub(crate) now: Moment,
    pub(crate) held: Reply,
    pub(crate) fresh: Reply,
    /// What a probe of this depth is answered, whatever `fresh` says.
    pub(crate) at_depth: Option<(Depth, Reply)>,
    pub(crate) role: Option<Role>,
    /// How long answers take.
    pub(crate) latency: Duration,
    /// How late the loop does everything.
    pub(crate) lateness: Duration,
    /// Somebody asks for a fresh probe all the time.
    pub(crate) is_asked: bool,
    pub(crate) session: bool,
    pub(crate) in_flight: Vec<Start>,
    pub(crate) starts: Vec<Start>,
    pub(crate) cancelled: Vec<Path>,
    pub(crate) transitions: Vec<Transition>,
}

impl Stage {
    /// A server that answers well, and a monitor that has not asked it yet.
    pub(crate) fn new(plan: Plan) -> Self {
        let mut stage = Self {
            monitor: Monitor::new(7),
            plan: Arc::new(plan),
            now: Moment::ORIGIN,
            held: Reply::Pass,
            fresh: Reply::Pass,
            at_depth: None,
            role: None,
            latency: MS,
            lateness: Duration::ZERO,
            is_asked: false,
            session: false,
            in_flight: Vec::new(),
            starts: Vec::new(),
            cancelled: Vec::new(),
            transitions: Vec::new(),
        };
        stage.reload();
        stage
    }

    /// A server that has been up for ten seconds.
    pub(crate) fn up(plan: Plan) -> Self {
        let mut stage = Self::new(plan);
        stage.play(10 * SECOND);
        assert_eq!(stage.verdict(), Verdict::Up);
        stage.transitions.clear();
        stage.starts.clear();
        stage
    }

    pub(crate) fn reload(&mut self) {
        let plans = BTreeMap::from([(SERVER, Arc::clone(&self.plan))]);
        self.monitor.handle_plan(&plans, self.now);
        self.drain();
    }

    pub(crate) fn both(&mut self, reply: Reply) {
        (self.held, self.fresh) = (reply, reply);
    }

    /// The kernel resets the held session, and everything new is refused.
    pub(crate) fn crash(&mut self) {
        self.both(Reply::Fail(Cause::Refused));
        self.kill_session();
    }

    pub(crate) fn kill_session(&mut self) {
        self.session = false;
        let death = observe(
            Path::Held,
            None,
            (self.now, self.now),
            Outcome::Fail(Cause::Reset),
        );
        self.hear(death);
    }

    /// Lets time pass; everything due in it happens when it is due.
    pub(crate) fn play(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..10_000 {
            let timer = self.monitor.poll_timeout();
            let ends = self.in_flight.iter().map(|start| self.end_of(start).0);
            let Some(at) = ends.chain(timer).min().filter(|at| *at <= end) else {
                self.now = self.now.max(end);
                return;
            };
            self.now = self.now.max(at + self.lateness);
            let over = |start: &Start| self.end_of(start).0 <= self.now;
            if let Some(index) = self.in_flight.iter().position(over) {
                let start = self.in_flight.remove(index);
                self.end(start);
            } else {
                self.monitor.handle_timeout(self.now);
                self.drain();
            }
            if self.is_asked {
                self.monitor.handle_refresh(SERVER, self.now);
                self.drain();
            }
        }
        panic!("the loop spins");
    }

    fn reply_to(&self, start: &Start) -> Reply {
        match (start.path, self.at_depth) {
            (Path::Held, _) => self.held,
            (Path::Fresh, Some((depth, reply))) if depth == start.depth => reply,
            (Path::Fresh | Path::Queue, _) => self.fresh,
        }
    }

    /// When a probe ends, and how.
    fn end_of(&self, start: &Start) -> (Moment, Outcome) {
        let soon = start.at + self.latency;
        match self.reply_to(start) {
            Reply::Pass => (soon, Outcome::Pass),
            Reply::Fail(cause) | Reply::FailOn(cause) => (soon, Outcome::Fail(cause)),
            Reply::CutOff => (soon, Outcome::Fail(Cause::Closed)),
            Reply::Late(late) if start.at + late > start.deadline => {
                (start.deadline, Outcome::Fail(Cause::Unresponsive))
            }
            Reply::Late(late) => (start.at + late, Outcome::Pass),
            // On an open session there is one kind of silence only.
            Reply::Silent(_) if start.path == Path::Held => {
                (start.deadline, Outcome::Fail(Cause::Unresponsive))
            }
            Reply::Silent(cause) => (start.deadline, Outcome::Fail(cause)),
        }
    }

    fn end(&mut self, start: Start) {
        let (_, outcome) = self.end_of(&start);
        let mut seen = observe(start.path, Some(start.probe), (start.at, self.now), outcome);
        let greeted = outcome.cause().is_some_and(Cause::proves_a_server);
        if greeted || self.reply_to(&start) == Reply::CutOff {
            seen.depth = Some(Depth::Greeting);
        } else if outcome == Outcome::Pass {
            seen.depth = Some(start.depth);
            // Whatever makes it wait, it is before the first words.
            if start.path == Path::Fresh && start.depth >= Depth::Greeting {
                seen.phases.push(Phase::Greeting, seen.took());
            }
        }
        let holds = matches!(self.plan.course, Course::Session { .. });
        let goes_on = matches!(outcome, Outcome::Pass | Outcome::Fail(Cause::OverBudget))
            || matches!(self.reply_to(&start), Reply::FailOn(_));
        seen.session = match start.path {
            Path::Held => goes_on,
            Path::Fresh | Path::Queue => goes_on && holds && !self.session,
        };
        self.session = match start.path {
            Path::Held => goes_on,
            Path::Fresh | Path::Queue => self.session || seen.session,
        };
        seen.server = self.role.map(|role| {
            Arc::new(ServerFacts {
                role: Some(role),
                ..ServerFacts::default()
            })
        });
        self.hear(seen);
    }

    /// A look at the accept queue shows this, or nothing wrong.
    pub(crate) fn look(&mut self, cause: Option<Cause>) {
        self.look_since(self.now, cause);
    }

    /// A look at the accept queue shows this, or nothing wrong, and that it was so since then.
    pub(crate) fn look_since(&mut self, since: Moment, cause: Option<Cause>) {
        self.look_between((since, self.now), cause);
    }

    /// A look at the accept queue showed this, and is told now.
    pub(crate) fn look_between(&mut self, during: (Moment, Moment), cause: Option<Cause>) {
        let outcome = cause.map_or(Outcome::Pass, Outcome::Fail);
        self.hear(observe(Path::Queue, None, during, outcome));
    }

    pub(crate) fn hear(&mut self, observation: Observation) {
        self.monitor
            .handle_observation(SERVER, observation, self.now);
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        while let Some(action) = self.monitor.poll_action() {
            match action {
                Action::StartProbe {
                    probe,
                    path,
                    depth,
                    deadline,
                    ..
                } => {
                    let start = Start {
                        path,
                        probe,
                        depth,
                        at: self.now,
                        deadline,
                    };
                    self.starts.push(start);
                    self.in_flight.push(start);
                }
                Action::CancelProbe { path, .. } => {
                    self.in_flight.retain(|start| start.path != path);
                    self.cancelled.push(path);
                }
                Action::Announce(transition) => self.transitions.push(*transition),
            }
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.monitor.standing(SERVER).expect("a plan")
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.standing().verdict
    }

    /// The verdicts announced since the stage was set, in order.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let changes = self.transitions.iter().map(|transition| transition.change);
        let verdicts = changes.filter_map(|change| match change {
            Change::Verdict { to, .. } => Some(to),
            Change::Role { .. } | Change::Admin { .. } => None,
        });
        verdicts.collect()
    }

    /// When a verdict was announced first.
    pub(crate) fn announced(&self, verdict: Verdict) -> Option<Moment> {
        let mut transitions = self.transitions.iter();
        let found = transitions.find(
            |transition| matches!(transition.change, Change::Verdict { to, .. } if to == verdict),
        );
        found.map(|transition| transition.at)
    }

    pub(crate) fn starts_on(&self, path: Path) -> Vec<Start> {
        let starts = self.starts.iter().filter(|start| start.path == path);
        starts.copied().collect()
    }
}

pub(crate) fn observe(
    path: Path,
    probe: Option<ProbeId>,
    (started, ended): (Moment, Moment),
    outcome: Outcome,
) -> Observation {
    Observation {
        path,
        probe,
        started,
        ended,
        depth: None,
        outcome,
        phases: Phases::default(),
        session: false,
        server: None,
        detail: None,
    }
}
