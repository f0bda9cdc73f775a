//! The `Monitor` played through a world that is known beforehand, without waiting for its time.
//!
//! A [`World`] tells what each probe would meet; the monitor asks, hears and concludes as it does in
//! the agent. `explain` lets a server freeze in it, `replay` answers out of a record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Action, BackendId, Cause, Course, Depth, Moment, Monitor, Observation, Outcome, Path, Phases,
    Plan, ProbeId, Role, ServerFacts, Transition,
};

/// The one backend of a rehearsal.
const BACKEND: BackendId = BackendId(0);

/// A probe as the world meets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) path: Path,
    pub(crate) depth: Depth,
    pub(crate) started: Moment,
    pub(crate) deadline: Moment,
}

impl Asked {
    /// How long the probe may take.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline.since(self.started)
    }
}

/// What a probe meets.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// When it ends; the deadline at the latest.
    pub(crate) ended: Moment,
    pub(crate) outcome: Outcome,
    pub(crate) depth: Option<Depth>,
    pub(crate) phases: Phases,
    /// Whether its session can go on.
    pub(crate) goes_on: bool,
    pub(crate) role: Option<Role>,
}

/// Who knows what probes would meet.
pub(crate) trait World {
    /// What a probe that starts now meets.
    fn answer(&self, asked: &Asked) -> Answer;

    /// When a session that was held at `since` ends by itself, and why, unless a probe tells.
    fn session_end(&self, since: Moment) -> Option<(Moment, Cause)>;

    /// What looks at the accept queue told, in the order of their ends.
    fn looks(&self) -> &[Observation] {
        &[]
    }

    /// When a loop goes on that wanted to be woken at a moment.
    fn woken(&self, at: Moment) -> Moment;
}

/// A monitor of one backend in a world.
#[derive(Debug)]
pub(crate) struct Rehearsal<'a, W> {
    world: &'a W,
    monitor: Monitor,
    holds: bool,
    now: Moment,
    held: Option<Flight>,
    fresh: Option<Flight>,
    /// Since when the held session has been open, or was last heard of.
    session: Option<Moment>,
    /// How many looks at the queue were told.
    looks_told: usize,
    /// What was observed so far, where somebody looks at it.
    pub(crate) observations: Option<Vec<Observation>>,
    pub(crate) transitions: Vec<Transition>,
}

#[derive(Debug, Clone)]
struct Flight {
    probe: ProbeId,
    asked: Asked,
    answer: Answer,
}

impl<'a, W: World> Rehearsal<'a, W> {
    /// A backend of which nothing is known, from this moment on. The seed decides the jitter, and
    /// nothing else.
    pub(crate) fn new(plan: &Plan, world: &'a W, seed: u64, now: Moment) -> Self {
        let mut monitor = Monitor::new(seed);
        let plans = BTreeMap::from([(BACKEND, Arc::new(plan.clone()))]);
        monitor.handle_plan(&plans, now);
        Self {
            world,
            monitor,
            holds: matches!(plan.course, Course::Session { .. }),
            now,
            held: None,
            fresh: None,
            session: None,
            looks_told: world.looks().partition_point(|look| look.ended < now),
            observations: None,
            transitions: Vec::new(),
        }
    }

    /// Keeps what is observed.
    pub(crate) fn keeping_observations(mut self) -> Self {
        self.observations = Some(Vec::new());
        self
    }

    /// Goes on under another plan, as after a reload.
    pub(crate) fn handle_plan(&mut self, plan: &Plan) {
        let plans = BTreeMap::from([(BACKEND, Arc::new(plan.clone()))]);
        self.monitor.handle_plan(&plans, self.now);
        self.holds = matches!(plan.course, Course::Session { .. });
        self.settle();
    }

    /// Lets everything happen that is due up to a moment.
    pub(crate) fn play(&mut self, until: Moment) {
        self.settle();
        while let Some(at) = self.next_due().filter(|at| *at <= until) {
            // A loop that was late reads what has arrived before it looks at deadlines.
            self.now = self.now.max(self.world.woken(at));
            self.deliver();
            self.monitor.handle_timeout(self.now);
            self.settle();
        }
        self.now = self.now.max(until);
    }

    fn next_due(&self) -> Option<Moment> {
        let flights = [&self.held, &self.fresh].into_iter().flatten();
        let ends = flights.map(|flight| flight.answer.ended);
        let death = self.death().map(|(at, _)| at);
        let look = self.look().map(|look| look.ended);
        ends.chain(death)
            .chain(look)
            .chain(self.monitor.poll_timeout())
            .min()
    }

    /// When the held session ends with no probe under way on it.
    fn death(&self) -> Option<(Moment, Cause)> {
        match self.held {
            Some(_) => None,
            None => self.world.session_end(self.session?),
        }
    }

    /// The next look at the queue.
    fn look(&self) -> Option<&'a Observation> {
        self.world.looks().get(self.looks_told)
    }

    fn deliver(&mut self) {
        while let Some(look) = self.look().filter(|look| look.ended <= self.now) {
            self.looks_told += 1;
            self.hear(look.clone());
        }
        let mut ended: Vec<_> = [&mut self.held, &mut self.fresh]
            .into_iter()
            .filter_map(|flight| flight.take_if(|flight| flight.answer.ended <= self.now))
            .collect();
        ended.sort_by_key(|flight| flight.answer.ended);
        for flight in ended {
            self.end(flight);
        }
        if let Some((_, cause)) = self.death().filter(|(at, _)| *at <= self.now) {
            self.session = None;
            let end = observation(Path::Held, None, (self.now, self.now), Outcome::Fail(cause));
            self.hear(end);
        }
    }

    fn end(&mut self, flight: Flight) {
        let Flight { asked, answer, .. } = flight;
        let session = match asked.path {
            Path::Held => answer.goes_on,
            Path::Fresh => answer.goes_on && self.holds && self.session.is_none(),
            Path::Queue => false,
        };
        match asked.path {
            Path::Held => self.session = session.then_some(self.now),
            Path::Fresh if session => self.session = Some(self.now),
            Path::Fresh | Path::Queue => {}
        }
        let mut seen = observation(
            asked.path,
            Some(flight.probe),
            (asked.started, self.now),
            answer.outcome,
        );
        seen.depth = answer.depth;
        seen.phases = answer.phases;
        seen.session = session;
        seen.server = answer.role.map(|role| {
            Arc::new(ServerFacts {
                role: Some(role),
                ..ServerFacts::default()
            })
        });
        self.hear(seen);
    }

    fn hear(&mut self, observation: Observation) {
        if let Some(observations) = &mut self.observations {
            observations.push(observation.clone());
        }
        self.monitor
            .handle_observation(BACKEND, observation, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(action) = self.monitor.poll_action() {
            match action {
                Action::StartProbe {
                    probe,
                    path,
                    depth,
                    deadline,
                    ..
                } => {
                    let asked = Asked {
                        path,
                        depth,
                        started: self.now,
                        deadline,
                    };
                    let mut answer = self.world.answer(&asked);
                    answer.ended = answer.ended.max(self.now).min(deadline.max(self.now));
                    let flight = Some(Flight {
                        probe,
                        asked,
                        answer,
                    });
                    match path {
                        Path::Held => self.held = flight,
                        Path::Fresh => self.fresh = flight,
                        // Nobody is asked there.
                        Path::Queue => {}
                    }
                }
                Action::CancelProbe { path, .. } => match path {
                    Path::Held => (self.held, self.session) = (None, None),
                    Path::Fresh => self.fresh = None,
                    Path::Queue => {}
                },
                Action::Announce(transition) => self.transitions.push(*transition),
            }
        }
    }
}

fn observation(
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
