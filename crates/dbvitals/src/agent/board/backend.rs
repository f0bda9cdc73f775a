//! What is known of one backend: written by its shard, read by everybody.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use dbvitals_probe::Target;
use dbvitals_verdict::{
    Admin, Cause, Change, Evidence, Moment, Outcome, Plan, Sign, Standing, Transition, Verdict,
};
use jiff::Timestamp;
use tokio::sync::watch;

use super::edition::{Edition, Editions};
use super::latency::{Latency, LatencyCounts};
use crate::agent::plan::BackendPlan;

/// What an operator said with an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) reason: Option<String>,
    /// When it ends by itself; wall time, because it outlives the agent.
    pub(crate) until: Option<Timestamp>,
}

/// A backend's accept queue at the newest look; of a group that shares an address, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptQueue {
    /// How many wait to be accepted.
    pub(crate) length: u32,
    /// The limit in force; one more fits. `None` where it cannot be seen.
    pub(crate) limit: Option<u32>,
    pub(crate) is_full: bool,
    /// How many connections met it full since the agent looks, at most; `None` where nothing counts
    /// them, as on unix sockets.
    pub(crate) overflows: Option<u64>,
    /// Since when clients wait and nobody was accepted, once that is a standstill.
    pub(crate) still_since: Option<Moment>,
    /// From when to when it was seen to have room at each look, and to drop nobody; up to the newest.
    pub(crate) roomy: Option<(Moment, Moment)>,
}

/// What is known of one backend.
#[derive(Debug)]
pub(crate) struct BackendBoard {
    pub(crate) name: Arc<str>,
    plan: ArcSwap<Plan>,
    target: ArcSwap<Target>,
    standing: ArcSwap<Standing>,
    /// Made when somebody follows it, as is the next: most backends are followed by nobody, and a
    /// channel is larger than all else that is known of one.
    sign: OnceLock<watch::Sender<Sign>>,
    /// Fresh probes that have ended, for whoever waits for one.
    fresh_ended: OnceLock<watch::Sender<u64>>,
    /// Why an operator's order was given, and until when it holds.
    order: ArcSwapOption<Order>,
    /// Of plan, target, standing and order.
    editions: Editions,
    /// Its accept queue, where that can be seen.
    queue: ArcSwapOption<AcceptQueue>,
    /// Nanoseconds of the newest proof that is no answer to a ping; 0 before there is any.
    proof_at: AtomicU64,
    /// When the newest ping that told nothing new but that it was answered began and ended: all in
    /// which the standing would differ that was put up before; 0 before there is any.
    ping_started: AtomicU64,
    ping_ended: AtomicU64,
    /// Answers that are passes, or would be but for the budget, by how long they took.
    latency: Latency,
    /// Failures by cause; made when the first happens, since most backends never need it.
    failures: OnceLock<Box<[AtomicU64; Cause::ALL.len()]>>,
    transitions: [AtomicU32; Verdict::ALL.len()],
}

impl BackendBoard {
    pub(super) fn new(plan: &BackendPlan, admin: Admin, now: Moment) -> Self {
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
            sign: OnceLock::new(),
            standing: ArcSwap::from_pointee(standing),
            fresh_ended: OnceLock::new(),
            order: ArcSwapOption::empty(),
            editions: Editions::default(),
            queue: ArcSwapOption::empty(),
            proof_at: AtomicU64::new(0),
            ping_started: AtomicU64::new(0),
            ping_ended: AtomicU64::new(0),
            latency: Latency::default(),
            failures: OnceLock::new(),
            transitions: Default::default(),
        }
    }

    // --- Written by the backend's shard alone --------------------------------------------------

    /// Counts a probe that is taken so; the path of every ping.
    pub(crate) fn count(&self, outcome: Outcome, took: Duration) {
        if matches!(outcome, Outcome::Pass | Outcome::Fail(Cause::OverBudget)) {
            self.latency.count(took);
        }
        match outcome {
            Outcome::Pass => {}
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
        if let Some(ended) = self.fresh_ended.get() {
            ended.send_modify(|count| *count += 1);
        }
    }

    /// Notes the moment of the newest proof.
    pub(crate) fn note_proof(&self, at: Moment) {
        self.proof_at.store(at.as_nanos().max(1), Ordering::Relaxed);
    }

    /// Notes a ping that was answered like the one which the standing shows; see
    /// [`Evidence::note_ping`].
    pub(crate) fn note_ping(&self, started: Moment, ended: Moment) {
        self.ping_started
            .store(started.as_nanos(), Ordering::Relaxed);
        self.ping_ended.store(ended.as_nanos(), Ordering::Release);
    }

    /// Has the processor fetch what a ping is noted in.
    pub(crate) fn fetch(&self) {
        black_box(self.newest_ping());
        self.latency.fetch();
    }

    /// When the newest ping of these began and ended.
    fn newest_ping(&self) -> (Moment, Moment) {
        let load = || {
            let ended = self.ping_ended.load(Ordering::Acquire);
            let started = self.ping_started.load(Ordering::Relaxed);
            (Moment::from_nanos(started), Moment::from_nanos(ended))
        };
        let newest = load();
        // It was written in between; the next is a second away.
        if newest.0 > newest.1 { load() } else { newest }
    }

    /// Puts up where the backend stands now.
    pub(crate) fn put_up(&self, standing: Standing) {
        if let Some(at) = standing.evidence.proof_at {
            self.note_proof(at);
        }
        self.standing.store(Arc::new(standing));
        self.editions.begin();
        // Whoever begins to follow meanwhile has either made the channel by now, or reads the
        // standing after this.
        fence(Ordering::SeqCst);
        if let Some(followed) = self.sign.get() {
            self.show_sign(followed);
        }
    }

    /// Brings what followers see up to date. The standing is read under the channel's own lock, so
    /// that the last word is the newest.
    fn show_sign(&self, followed: &watch::Sender<Sign>) {
        followed.send_if_modified(|old| {
            let sign = self.sign();
            std::mem::replace(old, sign) != sign
        });
    }

    /// Goes on under another plan.
    pub(crate) fn set_plan(&self, plan: &BackendPlan) {
        self.plan.store(Arc::clone(&plan.plan));
        self.target.store(Arc::clone(&plan.target));
        self.editions.begin();
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

    /// Where it stands, but for pings since then that were answered as before.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// Where it stands, the newest ping included.
    pub(crate) fn standing_now(&self) -> Standing {
        let mut standing = Standing::clone(&self.standing());
        let (started, ended) = self.newest_ping();
        standing.evidence.note_ping(started, ended);
        standing
    }

    /// What is known but for the age of the evidence, as a number: another one where it changed.
    pub(crate) fn edition(&self) -> Edition {
        self.editions.present()
    }

    /// Verdict, admin state and role, in a few words.
    pub(crate) fn sign(&self) -> Sign {
        Sign::from(&**self.standing.load())
    }

    /// Follows verdict, admin state and role.
    pub(crate) fn watch(&self) -> watch::Receiver<Sign> {
        let followed = self.sign.get_or_init(|| watch::Sender::new(self.sign()));
        fence(Ordering::SeqCst);
        self.show_sign(followed);
        followed.subscribe()
    }

    /// Is told of each fresh probe that has ended.
    pub(crate) fn follow_fresh(&self) -> watch::Receiver<u64> {
        let ended = self.fresh_ended.get_or_init(|| watch::Sender::new(0));
        ended.subscribe()
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
        self.editions.begin();
    }

    /// Its accept queue at the newest look, where it can be seen.
    pub(crate) fn queue(&self) -> Option<AcceptQueue> {
        self.queue.load().as_deref().copied()
    }

    /// Shows its accept queue; written by whoever looks at queues.
    pub(crate) fn show_queue(&self, queue: Option<AcceptQueue>) {
        self.queue.store(queue.map(Arc::new));
    }

    /// How old the newest proof is; `None` before there is any.
    pub(crate) fn evidence_age(&self, now: Moment) -> Option<Duration> {
        let proof_at = Moment::from_nanos(self.proof_at.load(Ordering::Relaxed));
        let newest = proof_at.max(self.newest_ping().1);
        (newest > Moment::ORIGIN).then(|| now.since(newest))
    }

    /// Whether any probe has ended.
    pub(crate) fn was_probed(&self) -> bool {
        self.latency().count() > 0 || self.failures.get().is_some()
    }

    /// Probes that were answered in time, and within the budget.
    pub(crate) fn passes(&self) -> u64 {
        let slow = self
            .failures()
            .find(|(cause, _)| *cause == Cause::OverBudget);
        let slow = slow.map_or(0, |(_, count)| count);
        // Each is counted as an answer first.
        self.latency().count().saturating_sub(slow)
    }

    /// How long answered probes took, those over the budget among them.
    pub(crate) fn latency(&self) -> LatencyCounts {
        self.latency.counts()
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
