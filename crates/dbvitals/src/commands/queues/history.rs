//! What a watch remembers of each listener: its peak, its overflows, its last ticks, and the edges
//! that are worth a line.
//!
//! Samples and the time go in, [`Event`]s come out; nothing is asked here.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use dbvitals_acceptqueue::{Counters, Listener, OverflowCount, Waiting};
use dbvitals_verdict::Moment;

use super::judgement;
use crate::exit::Exit;
use crate::standstill::Standstill;

/// How many ticks are kept to be drawn.
const TICKS_KEPT: usize = 30;
/// How often a queue has to grow, from tick to tick, without anybody being accepted, to be called
/// stuck.
const STUCK_STEPS: u32 = 2;

/// A listener: its namespace's id and its inode.
pub(super) type Key = (u64, u32);

/// What happened to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// It is full.
    Filled,
    /// It has room again.
    HasRoom {
        /// How long it was full.
        after: Duration,
    },
    /// It is empty, after it was full.
    Drained {
        /// How long ago it became full first.
        after: Duration,
        peak: u32,
        blocked_peak: usize,
    },
    /// So many connections met it full in the last tick.
    Overflowed(RangeInclusive<u64>),
    /// It grows, and nobody of those who wait is accepted.
    Stuck {
        from: u32,
        to: u32,
        during: Duration,
    },
    /// It does not listen any more.
    Gone,
}

/// What is remembered of a listener.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    /// The longest it was.
    pub(super) peak: u32,
    /// The most that were blocked in a connect to it.
    pub(super) blocked_peak: usize,
    /// In the last tick, at most.
    pub(super) overflows_per_second: f64,
    /// The longest it was in each of the last ticks, oldest first.
    pub(super) ticks: VecDeque<u32>,
    listener: Listener,
    /// How many connections met it full since the watch began.
    overflows: OverflowCount,
    drops_at_tick: Option<u32>,
    peak_of_tick: u32,
    full_since: Option<Moment>,
    /// When it became full, until it is empty.
    crowded_since: Option<Moment>,
    standstill: Option<Standstill>,
    is_seen: bool,
}

/// What is remembered of all listeners.
#[derive(Debug)]
pub(super) struct History {
    marks: BTreeMap<Key, Marks>,
    /// Who listens no more, until the tick in which that was ends.
    gone: Vec<(Key, Marks)>,
    tick_began: Moment,
    /// The worst that was seen.
    pub(super) worst: Exit,
}

impl History {
    pub(super) fn begin(now: Moment) -> Self {
        Self {
            marks: BTreeMap::new(),
            gone: Vec::new(),
            tick_began: now,
            worst: Exit::Fine,
        }
    }

    pub(super) fn marks(&self, namespace: u64, inode: u32) -> Option<&Marks> {
        self.marks.get(&(namespace, inode))
    }

    /// Takes what a sample says of one listener.
    pub(super) fn observe(&mut self, key: Key, listener: &Listener, now: Moment) -> Vec<Event> {
        self.worst = self.worst.worst(judgement::of(listener));
        let marks = self.marks.entry(key).or_insert_with(|| Marks::of(listener));
        marks.observe(listener, now)
    }

    /// Takes how many are blocked in a connect.
    pub(super) fn note_blocked(&mut self, key: Key, count: usize) {
        if let Some(marks) = self.marks.get_mut(&key) {
            marks.blocked_peak = marks.blocked_peak.max(count);
        }
    }

    /// Takes who waits; once a tick.
    pub(super) fn note_waiting(
        &mut self,
        key: Key,
        waiting: &Waiting,
        now: Moment,
    ) -> Option<Event> {
        self.marks.get_mut(&key)?.note_waiting(waiting, now)
    }

    /// Ends a sample: who was not in it listens no more.
    pub(super) fn end_sample(&mut self) -> Vec<Listener> {
        let marks = self.marks.iter_mut();
        let is_gone = |marks: &mut Marks| !std::mem::take(&mut marks.is_seen);
        let gone = marks.filter_map(|(key, marks)| is_gone(marks).then_some(*key));
        let gone: Vec<_> = gone.collect();
        let mut listeners = Vec::new();
        for key in gone {
            let marks = self.marks.remove(&key);
            listeners.extend(marks.as_ref().map(|it| it.listener.clone()));
            self.gone.extend(marks.map(|marks| (key, marks)));
        }
        listeners
    }

    /// Ends a tick; `counted` says what the namespace of a listener counted in it. What is gone
    /// overflowed before.
    pub(super) fn end_tick(
        &mut self,
        now: Moment,
        counted: impl Fn(u64) -> Counters,
    ) -> Vec<(Listener, Event)> {
        let took = now.since(self.tick_began);
        self.tick_began = now;
        let mut events = Vec::new();
        let mut gone = std::mem::take(&mut self.gone);
        let gone = gone.iter_mut().map(|(key, marks)| (&*key, marks));
        for (key, marks) in gone.chain(&mut self.marks) {
            let overflows = marks.end_tick(took, &counted(key.0));
            if *overflows.end() > 0 {
                self.worst = self.worst.worst(Exit::Warning);
                events.push((marks.listener.clone(), Event::Overflowed(overflows)));
            }
        }
        events
    }
}

impl Marks {
    fn of(listener: &Listener) -> Self {
        Self {
            peak: 0,
            blocked_peak: 0,
            overflows_per_second: 0.0,
            ticks: VecDeque::new(),
            listener: listener.clone(),
            overflows: OverflowCount::default(),
            drops_at_tick: listener.drops,
            peak_of_tick: 0,
            full_since: None,
            crowded_since: None,
            standstill: None,
            is_seen: true,
        }
    }

    /// How many connections met it full since the watch began, where that is counted.
    pub(super) fn overflows(&self) -> Option<RangeInclusive<u64>> {
        self.listener.drops.map(|_| self.overflows.total())
    }

    fn observe(&mut self, listener: &Listener, now: Moment) -> Vec<Event> {
        self.is_seen = true;
        self.listener.clone_from(listener);
        self.peak = self.peak.max(listener.length);
        self.peak_of_tick = self.peak_of_tick.max(listener.length);
        let mut events = Vec::new();
        match (self.full_since, listener.is_full() == Some(true)) {
            (None, true) => {
                self.full_since = Some(now);
                self.crowded_since.get_or_insert(now);
                events.push(Event::Filled);
            }
            (Some(since), false) => {
                self.full_since = None;
                events.push(Event::HasRoom {
                    after: now.since(since),
                });
            }
            (None, false) | (Some(_), true) => {}
        }
        if listener.length == 0
            && let Some(since) = self.crowded_since.take()
        {
            events.push(Event::Drained {
                after: now.since(since),
                peak: self.peak,
                blocked_peak: self.blocked_peak,
            });
        }
        events
    }

    fn note_waiting(&mut self, waiting: &Waiting, now: Moment) -> Option<Event> {
        let length = self.listener.length;
        let Some(still) = &mut self.standstill else {
            self.standstill = Some(Standstill::begin(length, waiting, now));
            return None;
        };
        let has_grown = still.look(length, waiting, now);
        (has_grown && still.steps() == STUCK_STEPS).then(|| Event::Stuck {
            from: still.from(),
            to: length,
            during: still.lasts(now),
        })
    }

    /// Says how many overflows were in it.
    fn end_tick(&mut self, took: Duration, counted: &Counters) -> RangeInclusive<u64> {
        let drops = since(self.listener.drops, self.drops_at_tick).unwrap_or(0);
        let lately = self.overflows.add(drops.into(), counted);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate that is shown with one decimal"
        )]
        let most = *lately.end() as f64;
        self.overflows_per_second = most / took.as_secs_f64().max(0.001);
        self.drops_at_tick = self.listener.drops;
        if self.ticks.len() == TICKS_KEPT {
            self.ticks.pop_front();
        }
        self.ticks.push_back(self.peak_of_tick);
        self.peak_of_tick = self.listener.length;
        lately
    }
}

/// The kernel's counter may wrap around.
fn since(now: Option<u32>, then: Option<u32>) -> Option<u32> {
    now.zip(then).map(|(now, then)| now.wrapping_sub(then))
}

#[cfg(test)]
mod tests {
    use dbvitals_acceptqueue::Listeners;

    use super::*;
    use crate::standstill::tests::listed;

    const KEY: Key = (1, 42);

    fn listener(length: u32, drops: u32) -> Listener {
        let line = b"0: 0100007F:0CEA 00000000:0000 0A 0:0 00:00000000 00000000 0 0 42 1 0";
        let listeners = Listeners::from_tables(line, b"");
        let listener = listeners.iter().next().expect("one listener").clone();
        Listener {
            length,
            limit: Some(4),
            drops: Some(drops),
            ..listener
        }
    }

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn a_queue_that_fills_and_drains_is_told_once_each() {
        let mut history = History::begin(at(0));
        let mut told = Vec::new();
        for (ms, length) in [
            (0, 1),
            (20, 5),
            (40, 5),
            (60, 4),
            (80, 5),
            (100, 2),
            (120, 0),
        ] {
            told.extend(history.observe(KEY, &listener(length, 0), at(ms)));
            assert!(history.end_sample().is_empty());
            history.note_blocked(KEY, 7);
        }
        let ms = Duration::from_millis;
        assert_eq!(
            told,
            [
                Event::Filled,
                Event::HasRoom { after: ms(40) },
                Event::Filled,
                Event::HasRoom { after: ms(20) },
                Event::Drained {
                    after: ms(100),
                    peak: 5,
                    blocked_peak: 7
                },
            ]
        );
        assert_eq!(history.worst, Exit::Critical);
    }

    fn counted(overflows: u64) -> Counters {
        Counters {
            listen_overflows: overflows,
            ..Counters::default()
        }
    }

    #[test]
    fn drops_are_counted_from_the_beginning_of_the_watch_and_by_tick() {
        let mut history = History::begin(at(0));
        history.observe(KEY, &listener(0, u32::MAX), at(0));
        history.observe(KEY, &listener(1, 3), at(500));
        let events = history.end_tick(at(1000), |_| counted(4));
        assert_eq!(events, [(listener(1, 3), Event::Overflowed(2..=4))]);
        assert_eq!(history.worst, Exit::Warning);
        let marks = history.marks(KEY.0, KEY.1).expect("marks");
        assert_eq!((marks.overflows(), marks.peak), (Some(2..=4), 1));
        assert!((marks.overflows_per_second - 4.0).abs() < 0.01);
        assert!(history.end_tick(at(2000), |_| counted(0)).is_empty());
    }

    #[test]
    fn an_overflow_between_a_sample_and_the_counters_is_told_at_the_next_tick() {
        let mut history = History::begin(at(0));
        history.observe(KEY, &listener(0, 0), at(0));
        assert!(history.end_tick(at(1000), |_| counted(1)).is_empty());
        history.observe(KEY, &listener(1, 1), at(1500));
        let events = history.end_tick(at(2000), |_| counted(0));
        assert_eq!(events, [(listener(1, 1), Event::Overflowed(1..=1))]);
        assert_eq!(history.worst, Exit::Warning);
    }

    #[test]
    fn what_a_listener_dropped_before_it_went_is_told_at_the_end_of_the_tick() {
        let mut history = History::begin(at(0));
        history.observe(KEY, &listener(0, 0), at(0));
        assert!(history.end_sample().is_empty());
        history.observe(KEY, &listener(2, 2), at(500));
        assert!(history.end_sample().is_empty());
        assert_eq!(history.end_sample(), [listener(2, 2)]);
        let events = history.end_tick(at(1000), |_| counted(2));
        assert_eq!(events, [(listener(2, 2), Event::Overflowed(1..=2))]);
        assert_eq!(history.worst, Exit::Warning);
        assert!(history.end_tick(at(2000), |_| counted(2)).is_empty());
    }

    #[test]
    fn drops_without_overflows_are_no_warning() {
        let mut history = History::begin(at(0));
        history.observe(KEY, &listener(0, 0), at(0));
        history.observe(KEY, &listener(0, 3), at(500));
        assert!(history.end_tick(at(1000), |_| counted(0)).is_empty());
        assert_eq!(history.worst, Exit::Fine);
    }

    #[test]
    fn a_listener_that_is_not_in_a_sample_is_gone() {
        let mut history = History::begin(at(0));
        history.observe(KEY, &listener(0, 0), at(0));
        assert!(history.end_sample().is_empty());
        let gone = history.end_sample();
        assert_eq!(gone.len(), 1);
        assert!(history.end_sample().is_empty());
    }

    fn stuck_after(ticks: &[&[u16]]) -> Vec<usize> {
        let mut history = History::begin(at(0));
        let mut told = Vec::new();
        for (tick, ports) in ticks.iter().enumerate() {
            let now = at(1000 * tick as u64);
            let length = u32::try_from(ports.len()).expect("few");
            history.observe(KEY, &listener(length, 0), now);
            if history.note_waiting(KEY, &listed(ports), now).is_some() {
                told.push(tick);
            }
        }
        told
    }

    #[test]
    fn a_queue_that_grows_while_nobody_is_accepted_is_stuck_after_two_steps() {
        assert_eq!(
            stuck_after(&[&[1], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4]]),
            [2]
        );
        assert_eq!(
            stuck_after(&[&[1], &[1, 2], &[1, 2], &[1, 2], &[1, 2, 3]]),
            [4]
        );
    }

    #[test]
    fn a_queue_that_moves_is_not_stuck_however_long() {
        let moves: [&[u16]; 4] = [&[1], &[2, 3], &[3, 4, 5], &[5, 6, 7, 8]];
        assert!(stuck_after(&moves).is_empty());
        assert!(stuck_after(&[&[], &[1], &[], &[1, 2], &[3]]).is_empty());
    }
}
