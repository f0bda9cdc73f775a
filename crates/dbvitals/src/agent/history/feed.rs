//! A shard's way to the history: what it saw is handed over and never waited for.
//!
//! Every backend has a minute under way, in which its shard notes how long its probes took. The
//! minute is handed over with the first observation after its end, so a fleet's minutes come spread
//! out as its probes are, not all in one moment.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dbvitals_probe::Clock;
use dbvitals_verdict::{Moment, Observation};

use super::Kept;
use super::digest::Digests;
use crate::agent::transitions::Told;

const MINUTE: Duration = Duration::from_secs(60);

/// A minute of one backend, ready to be written.
#[derive(Debug)]
pub(super) struct Minute {
    pub(super) backend: Arc<str>,
    /// Minutes since 1970.
    pub(super) minute: i64,
    pub(super) digests: Digests,
}

/// What a backend's probes took in the minute under way; its shard's alone.
#[derive(Debug, Default)]
pub(crate) struct MinuteUnderWay {
    minute: i64,
    ends: Moment,
    digests: Digests,
}

/// A shard's way to the history.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(super) kept: Arc<Kept>,
    pub(super) clock: Clock,
    pub(super) minutes: SyncSender<Minute>,
    pub(super) transitions: SyncSender<Arc<Told>>,
}

impl Feed {
    /// Notes how long a probe took; the path of every ping.
    pub(crate) fn note(
        &self,
        under_way: &mut MinuteUnderWay,
        name: &Arc<str>,
        observation: &Observation,
    ) {
        if observation.ended >= under_way.ends {
            self.hand_over(under_way, name);
            *under_way = self.minute_of(observation.ended);
        }
        if self.kept.is_on() {
            under_way.digests.note(observation);
        }
    }

    /// Hands over what there is of a minute.
    pub(crate) fn hand_over(&self, under_way: &mut MinuteUnderWay, name: &Arc<str>) {
        let digests = std::mem::take(&mut under_way.digests);
        if digests.is_empty() {
            return;
        }
        let minute = Minute {
            backend: Arc::clone(name),
            minute: under_way.minute,
            digests,
        };
        match self.minutes.try_send(minute) {
            Ok(()) => {}
            Err(TrySendError::Full(minute) | TrySendError::Disconnected(minute)) => {
                self.kept.count_dropped(minute.digests.len());
            }
        }
    }

    /// Keeps a transition.
    pub(crate) fn announce(&self, told: &Arc<Told>) {
        if self.kept.is_on() && self.transitions.try_send(Arc::clone(told)).is_err() {
            self.kept.count_dropped(1);
        }
    }

    fn minute_of(&self, moment: Moment) -> MinuteUnderWay {
        let since = since_1970(self.clock.wall(moment));
        let minutes = since.as_secs() / 60;
        let within = since.saturating_sub(MINUTE * u32::try_from(minutes).unwrap_or(u32::MAX));
        MinuteUnderWay {
            minute: i64::try_from(minutes).unwrap_or(i64::MAX),
            ends: moment + MINUTE.saturating_sub(within),
            digests: Digests::default(),
        }
    }
}

/// The time since 1970; clocks before that are taken for it.
pub(super) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since 1970.
pub(super) fn unix_ms(time: SystemTime) -> i64 {
    i64::try_from(since_1970(time).as_millis()).unwrap_or(i64::MAX)
}
