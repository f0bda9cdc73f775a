//! The one place where time is read.
//!
//! Counts on CLOCK_BOOTTIME, which also runs while the machine sleeps: after a suspension the
//! agent finds itself late, as it should, instead of believing that no time went by.

use std::time::{Duration, SystemTime};

use dbvitals_verdict::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A clock that counts from its own making.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// In nanoseconds since the machine was started.
    origin: u64,
    origin_wall: SystemTime,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one reading of the wall clock; all wall times are counted from it"
        )]
        let origin_wall = SystemTime::now();
        Self {
            origin: since_boot(),
            origin_wall,
        }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        Moment::from_nanos(since_boot().saturating_sub(self.origin))
    }

    /// How much processor time the calling thread has taken so far.
    pub fn processor_time(&self) -> Duration {
        Duration::from_nanos(nanos(clock_gettime(ClockId::ThreadCPUTime)))
    }

    /// The wall-clock time of a moment, as the wall clock stood when this clock was made: steps
    /// of the wall clock since then do not tear records apart.
    pub fn wall(&self, moment: Moment) -> SystemTime {
        self.origin_wall + moment.since(Moment::ORIGIN)
    }
}

fn since_boot() -> u64 {
    nanos(clock_gettime(ClockId::Boottime))
}

fn nanos(time: Timespec) -> u64 {
    let Timespec { tv_sec, tv_nsec } = time;
    // The kernel's values are never negative, and do for centuries.
    let [seconds, nanos] = [tv_sec, tv_nsec].map(|it| u64::try_from(it).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
