//! A point in time as the state machine sees it: nanoseconds since an origin of the caller's.
//!
//! Nothing in this crate reads a clock. Production counts from the start of the agent on a clock
//! that also runs while the machine sleeps; simulations count from zero.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in nanoseconds since the caller's origin.
///
/// Additions saturate: no input, however far in the future, can make the arithmetic fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// One more than the nanoseconds, so that an `Option` takes no more room: a backend has many.
    after: NonZeroU64,
}

impl Moment {
    /// The origin.
    pub const ORIGIN: Self = Self::from_nanos(0);

    /// The moment so many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self {
            after: NonZeroU64::MIN.saturating_add(nanos),
        }
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.after.get() - 1
    }

    /// The time since `earlier`; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.after.get().saturating_sub(earlier.after.get()))
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self::ORIGIN
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            after: self.after.saturating_add(nanos),
        }
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self::from_nanos(self.as_nanos().saturating_sub(nanos))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3}s",
            Duration::from_nanos(self.as_nanos()).as_secs_f64()
        )
    }
}
