//! The one place of the testkit that reads a clock.
//!
//! Everything here waits for something real (a process, a log line, a socket), so time cannot be
//! an argument as it is in the library crates. What waits does so against a [`Deadline`]; tests use
//! [`eventually`].

use std::thread;
use std::time::{Duration, Instant};

/// How long [`eventually`] rests between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// The moment at which somebody stops waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(now() + timeout)
    }

    /// What is left, zero once the deadline has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(now())
    }
}

/// Asks `condition` again and again until it holds, and says whether it did within `timeout`.
///
/// It is asked at least once, however short the timeout.
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Deadline::after(timeout);
    loop {
        if condition() {
            return true;
        }
        if deadline.remaining().is_zero() {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "the testkit's only clock")]
fn now() -> Instant {
    Instant::now()
}
