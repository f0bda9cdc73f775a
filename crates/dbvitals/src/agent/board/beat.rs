//! The sign of life of an event loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbvitals_verdict::Moment;

use super::latency::{Latency, LatencyCounts};

/// The sign of life of one event loop; on cache lines of its own, since it is written at each turn.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ShardBeat {
    last: AtomicU64,
    lag_nanos: AtomicU64,
    stalls: AtomicU64,
    deferred: AtomicU64,
    /// How late probes started.
    lateness: Latency,
}

impl ShardBeat {
    pub(crate) fn beat(&self, now: Moment, lag: Duration) {
        let nanos = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        self.last.store(now.as_nanos(), Ordering::Relaxed);
        self.lag_nanos.store(nanos, Ordering::Relaxed);
    }

    /// Counts a probe that was due, and started so late; the path of every ping.
    pub(crate) fn note_start(&self, late: Duration) {
        self.lateness.count(late);
    }

    /// Notes how often the loop was too late to judge; answers whether that is more than before.
    pub(crate) fn note_stalls(&self, count: u64) -> bool {
        self.stalls.swap(count, Ordering::Relaxed) < count
    }

    /// Notes how many logins had to wait for their turn.
    pub(crate) fn note_deferred(&self, count: u64) {
        self.deferred.store(count, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Moment {
        Moment::from_nanos(self.last.load(Ordering::Relaxed))
    }

    pub(super) fn lag(&self) -> Duration {
        Duration::from_nanos(self.lag_nanos.load(Ordering::Relaxed))
    }

    pub(super) fn lateness(&self) -> LatencyCounts {
        self.lateness.counts()
    }

    pub(super) fn deferred(&self) -> u64 {
        self.deferred.load(Ordering::Relaxed)
    }

    /// How often it found itself too late to judge.
    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }
}
