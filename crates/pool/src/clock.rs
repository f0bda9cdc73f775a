//! The one place of this crate where time is read.
//!
//! A checkout and its return read the kernel's coarse clock, which is right to a tick of 1 to 4 ms
//! and costs a fraction of an exact reading: what they stamp is compared with limits of seconds.
//! The keeper reads the exact one. Both count from the machine's start and stand still while it
//! sleeps. What a peer says meanwhile reaches nobody, so within a round after it every
//! connection is in doubt.

use std::time::Duration;

use dbvitals_verdict::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now, to a tick of the kernel's; never later than [`exact`].
pub(crate) fn coarse() -> Moment {
    moment(clock_gettime(ClockId::MonotonicCoarse))
}

/// Now.
pub(crate) fn exact() -> Moment {
    moment(clock_gettime(ClockId::Monotonic))
}

/// For how long the machine has slept since its start.
pub(crate) fn slept() -> Duration {
    moment(clock_gettime(ClockId::Boottime)).since(exact())
}

/// Now, as calendars have it.
#[cfg(feature = "axum")]
pub(crate) fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn moment(time: Timespec) -> Moment {
    // The kernel's values are never negative, and five centuries fit.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}
