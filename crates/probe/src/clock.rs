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
    origin: Duration,
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
        let since = since_boot().saturating_sub(self.origin);
        Moment::ORIGIN + since
    }

    /// How much processor time the calling thread has taken so far.
    pub fn processor_time(&self) -> Duration {
        duration(clock_gettime(ClockId::ThreadCPUTime))
    }

    /// The wall-clock time of a moment, as the wall clock stood when this clock was made: steps
    /// of the wall clock since then do not tear records apart.
    pub fn wall(&self, moment: Moment) -> SystemTime {
        self.origin_wall + moment.since(Moment::ORIGIN)
    }
}

fn since_boot() -> Duration {
    duration(clock_gettime(ClockId::Boottime))
}

fn duration(time: Timespec) -> Duration {
    let Timespec { tv_sec, tv_nsec } = time;
    // The kernel's values are never negative, and nanoseconds stay below a second.
    let seconds = u64::try_from(tv_sec).unwrap_or(0);
    let nanos = u32::try_from(tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
