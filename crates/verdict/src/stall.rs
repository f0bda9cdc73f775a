//! The agent's distrust of itself: timeouts that ended while it was late prove nothing.
//!
//! A process that was stopped, starved or suspended finds, when it goes on, that all deadlines
//! have passed. The machine knows how late it is, because it knows for when it had asked to be
//! woken; a timeout that overlaps such a window is the agent's own.

use std::time::Duration;

use crate::Moment;

/// How late a wake-up may be before timeouts around it are no evidence.
pub(crate) const LATENESS_MAX: Duration = Duration::from_millis(100);

/// The last window in which the agent was late.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    window: Option<(Moment, Moment)>,
    count: u64,
}

impl Stall {
    /// Compares the moment for which a wake-up was due with the moment it came.
    pub(crate) fn notice(&mut self, due: Option<Moment>, now: Moment) {
        let Some(due) = due else { return };
        if now.since(due) <= LATENESS_MAX {
            return;
        }
        match &mut self.window {
            Some((_, until)) if *until >= due => *until = now,
            window => {
                *window = Some((due, now));
                self.count += 1;
            }
        }
    }

    /// Whether a stretch of time touches the window.
    pub(crate) fn touches(&self, started: Moment, ended: Moment) -> bool {
        self.window
            .is_some_and(|(from, until)| started <= until && ended >= from)
    }

    /// How often the agent was late.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn being_in_time_is_no_stall() {
        let mut stall = Stall::default();
        stall.notice(Some(at(1000)), at(1100));
        stall.notice(None, at(9000));
        assert!(!stall.touches(at(0), at(10_000)));
    }

    #[test]
    fn only_what_overlaps_the_window_is_touched() {
        let mut stall = Stall::default();
        stall.notice(Some(at(1000)), at(6000));
        assert!(stall.touches(at(500), at(1500)));
        assert!(stall.touches(at(5900), at(6000)));
        assert!(!stall.touches(at(0), at(999)));
        assert!(!stall.touches(at(6001), at(7000)));
        assert_eq!(stall.count(), 1);
    }
}
