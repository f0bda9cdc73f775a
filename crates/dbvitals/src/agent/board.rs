//! What is known now, for everybody to read: one entry per backend, and one per service.
//!
//! Shards write, publishers read. On the path of a ping that passes a shard stores a few atomics;
//! a snapshot is swapped in whole when something changed. Neither side waits for the other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use dbvitals_probe::{Clock, Target};
use dbvitals_verdict::{
    Admin, Cause, Change, Evidence, Moment, Observation, Outcome, Plan, Sign, Standing, Transition,
    Verdict,
};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::agent::hooks::HookRecords;
use crate::agent::latency::{Latency, LatencyCounts, LatencyGroups, Membership};
use crate::agent::plan::{BackendPlan, Histograms};
use crate::agent::services::ServiceBoard;

/// After how long without a sign of life a shard counts as dead.
const SHARD_SILENT_MAX: Duration = Duration::from_secs(5);

/// Everything known, by backend.
#[derive(Debug)]
pub(crate) struct Board {
    clock: Clock,
    backends: ArcSwap<Vec<Arc<BackendBoard>>>,
    services: ArcSwap<Vec<Arc<ServiceBoard>>>,
    shards: Mutex<Vec<Arc<ShardBeat>>>,
    hooks: Arc<HookRecords>,
    latency_groups: LatencyGroups,
    /// Whether each backend's latency is told as a histogram.
    histograms_of_backends: AtomicBool,
}

impl Board {
    /// A board without backends.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            backends: ArcSwap::default(),
            services: ArcSwap::default(),
            shards: Mutex::default(),
            hooks: Arc::default(),
            latency_groups: LatencyGroups::default(),
            histograms_of_backends: AtomicBool::new(false),
        }
    }

    /// An entry for a backend that is to be shown on this board, under an operator's order from the
    /// very first on.
    pub(crate) fn entry(&self, plan: &BackendPlan, admin: Admin) -> Arc<BackendBoard> {
        Arc::new(BackendBoard::new(plan, admin, self.clock.now()))
    }

    /// Shows these backends from now on, and no others.
    pub(crate) fn show(&self, backends: Vec<Arc<BackendBoard>>) {
        self.backends.store(Arc::new(backends));
        self.latency_groups.regroup(self.membership());
    }

    /// The backends of each service; those of none are under the empty name, and one of two
    /// services counts in both.
    fn membership(&self) -> Membership {
        let services = self.services();
        let mut membership = Membership::new();
        for service in &*services {
            let members = service.roster().members.clone();
            membership.insert(Arc::clone(&service.name), members);
        }
        let served: BTreeSet<_> = membership.values().flatten().map(Arc::as_ptr).collect();
        let mut of_none = self.backends().to_vec();
        of_none.retain(|backend| !served.contains(&Arc::as_ptr(backend)));
        if !of_none.is_empty() {
            membership.insert(Arc::from(""), of_none);
        }
        membership
    }

    /// How long passed probes took, by service.
    pub(crate) fn latency_groups(&self) -> Vec<(Arc<str>, LatencyCounts)> {
        self.latency_groups.counts()
    }

    /// Tells latencies this way from now on.
    pub(crate) fn set_histograms(&self, histograms: Histograms) {
        let of_backends = histograms == Histograms::Backend;
        self.histograms_of_backends
            .store(of_backends, Ordering::Relaxed);
    }

    pub(crate) fn histograms(&self) -> Histograms {
        match self.histograms_of_backends.load(Ordering::Relaxed) {
            true => Histograms::Backend,
            false => Histograms::Service,
        }
    }

    /// When watching began.
    pub(crate) fn started(&self) -> SystemTime {
        self.clock.wall(Moment::ORIGIN)
    }

    /// Shows these services from now on, and no others.
    pub(crate) fn show_services(&self, services: Vec<Arc<ServiceBoard>>) {
        self.services.store(Arc::new(services));
        self.latency_groups.regroup(self.membership());
    }

    /// The present wall-clock time.
    pub(crate) fn wall_now(&self) -> Timestamp {
        let now = self.clock.wall(self.clock.now());
        // Years beyond 9999 are nobody's present.
        Timestamp::try_from(now).unwrap_or_default()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// How the hooks fared.
    pub(crate) fn hooks(&self) -> &Arc<HookRecords> {
        &self.hooks
    }

    pub(crate) fn backends(&self) -> Arc<Vec<Arc<BackendBoard>>> {
        self.backends.load_full()
    }

    pub(crate) fn backend(&self, name: &str) -> Option<Arc<BackendBoard>> {
        let backends = self.backends.load();
        let found = backends.iter().find(|backend| &*backend.name == name);
        found.map(Arc::clone)
    }

    pub(crate) fn services(&self) -> Arc<Vec<Arc<ServiceBoard>>> {
        self.services.load_full()
    }

    pub(crate) fn service(&self, name: &str) -> Option<Arc<ServiceBoard>> {
        let services = self.services.load();
        let found = services.iter().find(|service| &*service.name == name);
        found.map(Arc::clone)
    }

    /// A sign of life for one more shard.
    pub(crate) fn add_shard(&self) -> Arc<ShardBeat> {
        let beat = Arc::new(ShardBeat::default());
        beat.beat(self.clock.now(), Duration::ZERO);
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.push(Arc::clone(&beat));
        beat
    }

    /// Whether every event loop turned lately.
    pub(crate) fn is_alive(&self) -> bool {
        let now = self.clock.now();
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards
            .iter()
            .all(|beat| now.since(beat.last()) < SHARD_SILENT_MAX)
    }

    /// The worst lateness of the shards' newest timers.
    pub(crate) fn loop_lag(&self) -> Duration {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards
            .iter()
            .map(|beat| beat.lag())
            .max()
            .unwrap_or_default()
    }

    /// How often the shards found themselves too late to judge.
    pub(crate) fn stalls(&self) -> u64 {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards
            .iter()
            .map(|beat| beat.stalls.load(Ordering::Relaxed))
            .sum()
    }
}

/// The sign of life of one event loop.
#[derive(Debug, Default)]
pub(crate) struct ShardBeat {
    last: AtomicU64,
    lag_nanos: AtomicU64,
    stalls: AtomicU64,
}

impl ShardBeat {
    pub(crate) fn beat(&self, now: Moment, lag: Duration) {
        let nanos = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        self.last.store(now.as_nanos(), Ordering::Relaxed);
        self.lag_nanos.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn note_stalls(&self, count: u64) {
        self.stalls.store(count, Ordering::Relaxed);
    }

    fn last(&self) -> Moment {
        Moment::from_nanos(self.last.load(Ordering::Relaxed))
    }

    fn lag(&self) -> Duration {
        Duration::from_nanos(self.lag_nanos.load(Ordering::Relaxed))
    }
}

/// What an operator said with an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) reason: Option<String>,
    /// When it ends by itself; wall time, because it outlives the agent.
    pub(crate) until: Option<Timestamp>,
}

/// What is known of one backend.
#[derive(Debug)]
pub(crate) struct BackendBoard {
    pub(crate) name: Arc<str>,
    plan: ArcSwap<Plan>,
    target: ArcSwap<Target>,
    standing: ArcSwap<Standing>,
    sign: watch::Sender<Sign>,
    /// Fresh probes that have ended, for whoever waits for one.
    fresh_ended: watch::Sender<u64>,
    /// Why an operator's order was given, and until when it holds.
    order: ArcSwapOption<Order>,
    /// Nanoseconds of the newest proof; 0 before there is any.
    proof_at: AtomicU64,
    /// Passes, by how long they took.
    latency: Latency,
    /// Failures by cause; made when the first happens, since most backends never need it.
    failures: OnceLock<Box<[AtomicU64; Cause::ALL.len()]>>,
    transitions: [AtomicU32; Verdict::ALL.len()],
}

impl BackendBoard {
    fn new(plan: &BackendPlan, admin: Admin, now: Moment) -> Self {
        let standing = Standing {
            verdict: Verdict::Unknown,
            since: now,
            admin,
            role: None,
            sessions_lost: 0,
            evidence: Evidence::default(),
        };
        Self {
            name: Arc::clone(&plan.name),
            plan: ArcSwap::new(Arc::clone(&plan.plan)),
            target: ArcSwap::new(Arc::clone(&plan.target)),
            sign: watch::Sender::new(Sign::from(&standing)),
            standing: ArcSwap::from_pointee(standing),
            fresh_ended: watch::Sender::new(0),
            order: ArcSwapOption::empty(),
            proof_at: AtomicU64::new(0),
            latency: Latency::default(),
            failures: OnceLock::new(),
            transitions: Default::default(),
        }
    }

    // --- Written by the backend's shard alone --------------------------------------------------

    /// Counts a probe; the path of every ping.
    pub(crate) fn count(&self, observation: &Observation) {
        match observation.outcome {
            Outcome::Pass => self.latency.count(observation.took()),
            Outcome::Fail(cause) => {
                let counters = self
                    .failures
                    .get_or_init(|| Box::new([const { AtomicU64::new(0) }; Cause::ALL.len()]));
                if let Some(counter) = counters.get(cause as usize) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Tells whoever waits that a fresh probe has ended; what it showed has to be up by then.
    pub(crate) fn note_fresh_ended(&self) {
        self.fresh_ended.send_modify(|count| *count += 1);
    }

    /// Notes the moment of the newest proof.
    pub(crate) fn note_proof(&self, at: Moment) {
        self.proof_at.store(at.as_nanos().max(1), Ordering::Relaxed);
    }

    /// Puts up where the backend stands now.
    pub(crate) fn put_up(&self, standing: Standing) {
        if let Some(at) = standing.evidence.proof_at {
            self.note_proof(at);
        }
        let sign = Sign::from(&standing);
        self.standing.store(Arc::new(standing));
        self.sign
            .send_if_modified(|old| std::mem::replace(old, sign) != sign);
    }

    /// Goes on under another plan.
    pub(crate) fn set_plan(&self, plan: &BackendPlan) {
        self.plan.store(Arc::clone(&plan.plan));
        self.target.store(Arc::clone(&plan.target));
    }

    /// Puts up that nothing is known any more: nobody looks.
    pub(crate) fn forget(&self, now: Moment) {
        let known = self.standing();
        self.put_up(Standing {
            verdict: Verdict::Unknown,
            since: now,
            ..Standing::clone(&known)
        });
    }

    /// Counts a transition.
    pub(crate) fn count_transition(&self, transition: &Transition) {
        if let Change::Verdict { to, .. } = transition.change
            && let Some(counter) = self.transitions.get(to as usize)
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    // --- Read by publishers --------------------------------------------------------------------

    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// Verdict, admin state and role, in a few words.
    pub(crate) fn sign(&self) -> Sign {
        *self.sign.borrow()
    }

    /// Follows verdict, admin state and role.
    pub(crate) fn watch(&self) -> watch::Receiver<Sign> {
        self.sign.subscribe()
    }

    /// Is told of each fresh probe that has ended.
    pub(crate) fn follow_fresh(&self) -> watch::Receiver<u64> {
        self.fresh_ended.subscribe()
    }

    /// The plan in force.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    /// What is asked, and where.
    pub(crate) fn target(&self) -> Arc<Target> {
        self.target.load_full()
    }

    /// Why the operator's order that holds was given; `None` while it is ready.
    pub(crate) fn order(&self) -> Option<Arc<Order>> {
        self.order.load_full()
    }

    /// Shows why an operator's order was given.
    pub(crate) fn show_order(&self, order: Option<Order>) {
        self.order.store(order.map(Arc::new));
    }

    /// How old the newest proof is; `None` before there is any.
    pub(crate) fn evidence_age(&self, now: Moment) -> Option<Duration> {
        match self.proof_at.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(now.since(Moment::from_nanos(nanos))),
        }
    }

    /// Whether any probe has ended.
    pub(crate) fn was_probed(&self) -> bool {
        self.passes() > 0 || self.failures.get().is_some()
    }

    pub(crate) fn passes(&self) -> u64 {
        self.latency().count()
    }

    /// How long passed probes took.
    pub(crate) fn latency(&self) -> LatencyCounts {
        self.latency.counts()
    }

    /// The time that passed probes took, all together.
    pub(crate) fn pass_time(&self) -> Duration {
        self.latency().time()
    }

    /// Counts a pass, for tests.
    #[cfg(test)]
    pub(crate) fn count_latency(&self, took: Duration) {
        self.latency.count(took);
    }

    /// Failures by cause, those that happened.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        let counters = self.failures.get().map(|counters| counters.iter());
        Cause::ALL
            .into_iter()
            .zip(counters.into_iter().flatten())
            .map(|(cause, counter)| (cause, counter.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    /// How often each verdict was reached.
    pub(crate) fn transitions(&self) -> impl Iterator<Item = (Verdict, u32)> + '_ {
        Verdict::ALL
            .into_iter()
            .zip(&self.transitions)
            .map(|(verdict, counter)| (verdict, counter.load(Ordering::Relaxed)))
    }
}
