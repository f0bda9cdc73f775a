//! How often to try a server that cannot be reached: one attempt at a time, spread by chance, and
//! paced by how long the outage lasts.
//!
//! A pause is a share of the outage's age, so a reconnect comes late by that share at most: a
//! second's outage is noticed to be over within milliseconds, an hour's within a second, and the
//! server meets fewer attempts the longer it is away. Pauses count from the start of one attempt
//! to the start of the next: an attempt that hangs has waited already. Pure; the
//! [`Ledger`](crate::ledger::Ledger) owns the only one.

use std::time::Duration;

use dbvitals_verdict::Moment;

/// A pause is this fraction of the outage's age.
const AGE_PER_PAUSE: u32 = 200;
/// The shortest pause; timers are not finer than that.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// How far chance moves a pause: down to this share of it.
const SPREAD: f64 = 0.5;

/// A server that could not be reached the last time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    since: Moment,
    /// Before this moment nobody tries.
    next: Moment,
}

impl Outage {
    /// Begins with an attempt that failed.
    pub(crate) fn begin(started: Moment) -> Self {
        Self {
            since: started,
            next: started,
        }
    }

    /// Plans the next attempt after one that began at `started` failed, at least `pause_min` later;
    /// `chance` is in 0..1.
    pub(crate) fn note_failure(
        &mut self,
        started: Moment,
        pause_min: Duration,
        pause_max: Duration,
        chance: f64,
    ) {
        let pause = (started.since(self.since) / AGE_PER_PAUSE)
            .max(PAUSE_MIN.max(pause_min))
            .min(pause_max);
        let spread = SPREAD + (1.0 - SPREAD) * chance.clamp(0.0, 1.0);
        self.next = started + pause.mul_f64(spread);
    }

    /// Whether an attempt that began at `started` belongs to this outage, the last one of which
    /// failed at `failed_at`: where nobody has tried for long, nobody knows how long it was.
    pub(crate) fn goes_on(failed_at: Moment, started: Moment, pause_max: Duration) -> bool {
        started.since(failed_at) <= pause_max * 2
    }

    /// When the first attempt of the outage began.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// When the next attempt may begin.
    pub(crate) fn next(&self) -> Moment {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE_MAX: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    /// The attempts of an outage, each of which fails after a while.
    fn attempts(lasts: Duration, attempt: Duration) -> Vec<Moment> {
        let mut outage = Outage::begin(Moment::ORIGIN);
        let mut begun = vec![Moment::ORIGIN];
        let mut started = Moment::ORIGIN;
        loop {
            outage.note_failure(started, Duration::ZERO, PAUSE_MAX, 1.0);
            started = outage.next().max(started + attempt);
            if started > Moment::ORIGIN + lasts {
                return begun;
            }
            begun.push(started);
        }
    }

    #[test]
    fn a_pause_is_half_a_percent_of_the_outage() {
        let mut outage = Outage::begin(at(0));
        for (age_ms, pause_ms) in [
            (0, 1),
            (200, 1),
            (1_000, 5),
            (60_000, 300),
            (900_000, 1_000),
        ] {
            outage.note_failure(at(age_ms), Duration::ZERO, PAUSE_MAX, 1.0);
            assert_eq!(outage.next(), at(age_ms + pause_ms), "after {age_ms} ms");
        }
    }

    #[test]
    fn chance_halves_a_pause_at_most() {
        let mut outage = Outage::begin(at(0));
        outage.note_failure(at(1_000), Duration::ZERO, PAUSE_MAX, 0.0);
        assert_eq!(outage.next(), at(1_000) + Duration::from_micros(2_500));
    }

    #[test]
    fn a_server_that_answered_is_left_alone_for_longer() {
        let mut outage = Outage::begin(at(0));
        outage.note_failure(at(10), Duration::from_millis(50), PAUSE_MAX, 1.0);
        assert_eq!(outage.next(), at(60));
        outage.note_failure(at(60), Duration::from_secs(9), PAUSE_MAX, 1.0);
        assert_eq!(outage.next(), at(1_060), "the longest pause is the longest");
    }

    #[test]
    fn attempts_that_take_their_time_follow_each_other() {
        // 5 ms each, as a refusal over a network may take: the pauses of the first second are over
        // by then.
        let begun = attempts(Duration::from_secs(1), Duration::from_millis(5));
        assert_eq!(begun.len(), 201);
    }

    #[test]
    fn the_longer_an_outage_lasts_the_fewer_attempts_it_sees() {
        let begun = attempts(Duration::from_secs(600), Duration::ZERO);
        let within = |from: u64, to: u64| {
            let span = at(from * 1_000)..at(to * 1_000);
            begun.iter().filter(|it| span.contains(it)).count()
        };
        assert!((500..=540).contains(&within(0, 1)), "{}", within(0, 1));
        assert!((18..=20).contains(&within(10, 11)), "{}", within(10, 11));
        assert_eq!(within(500, 510), 10);
    }
}
