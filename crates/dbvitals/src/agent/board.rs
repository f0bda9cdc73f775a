//! What is known now, for everybody to read: one entry per backend, and one per service.
//!
//! Shards write, publishers read. On the path of a ping that passes a shard stores a few atomics;
//! a snapshot is swapped in whole when something changed. Neither side waits for the other.

mod backend;
mod beat;
mod edition;
mod latency;
mod service;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use dbvitals_probe::Clock;
use dbvitals_verdict::{Admin, Moment};
use jiff::Timestamp;

pub(crate) use backend::{AcceptQueue, BackendBoard, Order};
pub(crate) use beat::ShardBeat;
pub(crate) use edition::Edition;
pub(crate) use latency::LatencyCounts;
pub(crate) use service::{Roster, ServiceBoard};

use self::edition::Editions;
use self::latency::{LatencyGroups, Membership};
use crate::agent::plan::{BackendPlan, Histograms};

/// After how long without a sign of life a shard counts as dead.
const SHARD_SILENT_MAX: Duration = Duration::from_secs(5);

/// Everything known, by backend.
#[derive(Debug)]
pub(crate) struct Board {
    clock: Clock,
    backends: ArcSwap<Shown>,
    services: ArcSwap<Vec<Arc<ServiceBoard>>>,
    /// Of who is shown.
    editions: Editions,
    shards: Mutex<Vec<Arc<ShardBeat>>>,
    latency_groups: LatencyGroups,
    /// Whether each backend's latency is told as a histogram.
    histograms_of_backends: AtomicBool,
}

/// The backends on the board.
#[derive(Debug, Default)]
struct Shown {
    /// In the order in which they are told.
    backends: Arc<Vec<Arc<BackendBoard>>>,
    /// Their indices, by name: balancers ask for one of thousands, all day.
    by_name: Box<[u32]>,
}

impl Shown {
    fn new(backends: Vec<Arc<BackendBoard>>) -> Self {
        let mut by_name: Box<[u32]> = (0..backends.len() as u32).collect();
        by_name.sort_unstable_by_key(|index| &*backends[*index as usize].name);
        Self {
            backends: Arc::new(backends),
            by_name,
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<BackendBoard>> {
        let of = |index: &u32| &self.backends[*index as usize];
        let found = self
            .by_name
            .binary_search_by(|index| (*of(index).name).cmp(name));
        found.ok().map(|place| of(&self.by_name[place]))
    }
}

impl Board {
    /// A board without backends.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            backends: ArcSwap::default(),
            services: ArcSwap::default(),
            editions: Editions::default(),
            shards: Mutex::default(),
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
        self.backends.store(Arc::new(Shown::new(backends)));
        self.editions.begin();
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

    /// How long answered probes took, by service.
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
        self.editions.begin();
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

    /// Which backends and services are shown, as a number: another one where others may be.
    pub(crate) fn edition(&self) -> Edition {
        self.editions.present()
    }

    pub(crate) fn backends(&self) -> Arc<Vec<Arc<BackendBoard>>> {
        Arc::clone(&self.backends.load().backends)
    }

    pub(crate) fn backend(&self, name: &str) -> Option<Arc<BackendBoard>> {
        self.backends.load().find(name).map(Arc::clone)
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

    /// How late each shard's probes started.
    pub(crate) fn lateness(&self) -> Vec<LatencyCounts> {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|beat| beat.lateness()).collect()
    }

    /// How many logins had to wait for their turn.
    pub(crate) fn logins_deferred(&self) -> u64 {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|beat| beat.deferred()).sum()
    }

    /// How often the shards found themselves too late to judge.
    pub(crate) fn stalls(&self) -> u64 {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|beat| beat.stalls()).sum()
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::{Address, Protocol, Target};
    use dbvitals_verdict::{Course, Depth, Plan};

    use crate::agent::plan::Origin;

    use super::*;

    #[test]
    fn whatever_their_order_backends_are_found_by_name_and_told_in_order() {
        let board = Board::new(Clock::start());
        let entry = |name: &str| {
            let address = Address::Unix("/nobody".into());
            let plan = BackendPlan {
                name: name.into(),
                target: Arc::new(Target::new(Protocol::Opaque, address)),
                plan: Arc::new(Plan::new(Course::Session { depth: Depth::Ping })),
                origin: Origin::default(),
            };
            board.entry(&plan, Admin::Ready)
        };
        let names = ["b10", "a", "b2", "", "b1"];
        board.show(names.map(entry).into());
        for name in names {
            let found = board.backend(name).expect(name);
            assert_eq!(&*found.name, name);
        }
        for name in ["b", "b100", "c"] {
            assert!(board.backend(name).is_none(), "{name}");
        }
        let told: Vec<_> = board
            .backends()
            .iter()
            .map(|it| it.name.to_string())
            .collect();
        assert_eq!(told, names);
    }
}
