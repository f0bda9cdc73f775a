//! The heart: observations, orders, plans and the time go in; probes to start and conclusions
//! come out.
//!
//! One `Monitor` judges many backends that share one event loop. It is driven the same way in
//! production and in simulation: after each `handle_*`, carry out [`Monitor::poll_action`] until
//! it is empty, then wait until [`Monitor::poll_timeout`] or until something happens. A loop that
//! was late reads what has arrived before it looks at deadlines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::action::Action;
use crate::agenda::Agenda;
use crate::backend::Backend;
use crate::mesh::Mesh;
use crate::ration::Logins;
use crate::shared::Shared;
use crate::stall::Stall;
use crate::{Admin, BackendId, Moment, Observation, Outcome, Plan, Standing};

/// Judges backends: a pure state machine, see the [crate] documentation.
#[derive(Debug)]
pub struct Monitor {
    backends: Vec<Option<Backend>>,
    agenda: Agenda,
    actions: VecDeque<Action>,
    shared: Shared,
    /// Logins a second that all plans together may not exceed.
    logins_per_second_max: Option<f64>,
    /// The highest probe id of all backends that were dropped: who comes after them starts there,
    /// so that no late answer meets a probe of the same name.
    probes_dropped: u32,
    rng: fastrand::Rng,
}

/// How far apart the first probes of backends that are added together start.
const FIRST_PROBE_SPACING: Duration = Duration::from_micros(100);

impl Monitor {
    /// A monitor without backends. All its randomness (jitter alone) comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            backends: Vec::new(),
            agenda: Agenda::default(),
            actions: VecDeque::new(),
            shared: Shared {
                stall: Stall::default(),
                logins: Logins::new(),
                mesh: Mesh::new(),
            },
            logins_per_second_max: None,
            probes_dropped: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Limits the logins a second of all backends together, from the next
    /// [`handle_plan`](Self::handle_plan) on. Without a limit they are as many as the plans ask for
    /// when all is well, and beside that, for each backend, as many as it takes to tell within a
    /// second that it is down, and as many as ask whether it still is; a thousand at least.
    pub fn limit_logins(&mut self, per_second_max: Option<f64>) {
        self.logins_per_second_max = per_second_max;
    }

    /// Puts a new set of plans in force; a reload.
    ///
    /// A backend that is no longer named is dropped; its probes and its session are cancelled. One that is
    /// new starts unknown. One whose plan changed goes on from where it stands, unless its course
    /// changed: then it starts anew.
    pub fn handle_plan(&mut self, plans: &BTreeMap<BackendId, Arc<Plan>>, now: Moment) {
        self.notice(now);
        let in_force = || plans.values().map(|plan| &**plan);
        let per_second_max = self.logins_per_second_max;
        self.shared.logins.fit(in_force(), per_second_max, now);
        self.shared.mesh.fit(in_force());
        for slot in 0..self.backends.len() as u32 {
            let id = BackendId(slot);
            let Some(backend) = &self.backends[slot as usize] else {
                continue;
            };
            let stays = plans
                .get(&id)
                .is_some_and(|plan| plan.course == backend.plan().course);
            if !stays {
                self.remove(id);
            }
        }
        let mut spacing = Duration::ZERO;
        for (&id, plan) in plans {
            let index = id.0 as usize;
            if self.backends.len() <= index {
                self.backends.resize_with(index + 1, || None);
            }
            match &mut self.backends[index] {
                Some(backend) => {
                    if backend.plan() != plan {
                        backend.handle_plan(Arc::clone(plan), now);
                    }
                }
                vacant => {
                    let seed = self.rng.u64(..);
                    let plan = Arc::clone(plan);
                    let (probes, first_at) = (self.probes_dropped, now + spacing);
                    *vacant = Some(Backend::new(id, plan, seed, probes, first_at, now));
                    spacing += FIRST_PROBE_SPACING;
                }
            }
            self.update(id, now, |_, _, _| {});
        }
    }

    fn remove(&mut self, id: BackendId) {
        if let Some(backend) = self.backends[id.0 as usize].take() {
            for path in backend.occupied() {
                self.actions
                    .push_back(Action::CancelProbe { backend: id, path });
            }
            self.probes_dropped = self.probes_dropped.max(backend.probes());
            self.agenda.set(id.0, None);
        }
    }

    /// Takes the end of a probe, or of a held session; answers how it is taken, which is another
    /// outcome where the agent was late, or a latency budget was used up. What nobody asked for is
    /// ignored.
    pub fn handle_observation(
        &mut self,
        id: BackendId,
        observation: Observation,
        now: Moment,
    ) -> Option<Outcome> {
        self.notice(now);
        let mut outcome = None;
        self.update(id, now, |backend, shared, actions| {
            outcome = backend.handle_observation(observation, shared, now, actions);
        });
        outcome
    }

    /// Takes an operator's order.
    pub fn handle_admin(&mut self, id: BackendId, admin: Admin, now: Moment) {
        self.notice(now);
        self.update(id, now, |backend, _, actions| {
            backend.handle_admin(admin, now, actions);
        });
    }

    /// Somebody wants to know now: brings the next fresh probe forward, unless one is under way.
    pub fn handle_refresh(&mut self, id: BackendId, now: Moment) {
        self.notice(now);
        self.update(id, now, |backend, shared, actions| {
            backend.handle_refresh(shared, now, actions);
        });
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.notice(now);
        while let Some(id) = self.shared.logins.call(now) {
            self.update(id, now, |backend, shared, actions| {
                backend.handle_turn(&mut shared.logins, now, actions);
            });
        }
        while let Some((at, slot)) = self.agenda.first() {
            if at > now {
                break;
            }
            self.update(BackendId(slot), now, |backend, shared, actions| {
                backend.handle_timeout(shared, now, actions);
            });
        }
    }

    /// The backends with which [`handle_timeout`](Self::handle_timeout) begins, where that is due.
    pub fn due(&self, now: Moment) -> impl Iterator<Item = BackendId> + '_ {
        let is_due = self.poll_timeout().is_some_and(|at| at <= now);
        let slots = is_due.then(|| self.agenda.earliest());
        slots.into_iter().flatten().map(BackendId)
    }

    /// Has the processor fetch what is known of a backend, of which something is about to be heard
    /// or asked: where many follow each other, they need not wait for memory one by one.
    pub fn fetch(&self, id: BackendId) {
        if let Some(Some(backend)) = self.backends.get(id.0 as usize) {
            backend.fetch();
            self.agenda.fetch(id.0);
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let due = self.agenda.first().map(|(at, _)| at);
        let call = self.shared.logins.next_call();
        due.into_iter().chain(call).min()
    }

    /// Where a backend stands.
    pub fn standing(&self, id: BackendId) -> Option<Standing> {
        let backend = self.backends.get(id.0 as usize)?.as_ref()?;
        Some(backend.standing())
    }

    /// How often the agent found itself late, so that timeouts were no evidence.
    pub fn stalls(&self) -> u64 {
        self.shared.stall.count()
    }

    /// How often a login had to wait for its turn.
    pub fn logins_deferred(&self) -> u64 {
        self.shared.logins.deferred()
    }

    /// How late it was the last time it found itself so.
    pub fn newest_stall(&self) -> Duration {
        self.shared.stall.newest()
    }

    fn notice(&mut self, now: Moment) {
        let due = self.poll_timeout();
        self.shared.stall.notice(due, now);
    }

    /// Changes a backend, puts its actions in the queue and its next moment on the agenda; what a
    /// new plan made due in the past is due now, or the agent would take itself for late.
    fn update(
        &mut self,
        id: BackendId,
        now: Moment,
        change: impl FnOnce(&mut Backend, &mut Shared, &mut VecDeque<Action>),
    ) {
        let Some(Some(backend)) = self.backends.get_mut(id.0 as usize) else {
            return;
        };
        change(backend, &mut self.shared, &mut self.actions);
        let due = backend.poll_timeout();
        self.agenda.set(id.0, due.map(|at| at.max(now)));
    }
}
