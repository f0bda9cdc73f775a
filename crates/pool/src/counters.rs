//! What happened since the start, counted off the path of a checkout, and the snapshot of it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::books::Census;
use crate::ending::Ending;
use crate::member::Opinion;

/// Counters of what does not happen at every checkout.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) endings: [AtomicU64; Ending::ALL.len()],
    pub(crate) pings: AtomicU64,
    pub(crate) pings_unanswered: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) leaks: AtomicU64,
    pub(crate) failed_fast: AtomicU64,
    pub(crate) shadow_alive: AtomicU64,
    pub(crate) shadow_dead: AtomicU64,
    pub(crate) shadow_missed: AtomicU64,
    pub(crate) shadow_false_alarms: AtomicU64,
    pub(crate) shadow_unsure: AtomicU64,
    without_socket: Arc<AtomicUsize>,
}

/// Counts a connection that cannot be looked at, as long as it is here.
#[derive(Debug)]
pub(crate) struct WithoutSocket(Arc<AtomicUsize>);

impl Drop for WithoutSocket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn count_ending(&self, ending: Ending) {
        let counters = Ending::ALL.iter().zip(&self.endings);
        for (_, counter) in counters.filter(|(it, _)| **it == ending) {
            add_one(counter);
        }
    }

    pub(crate) fn count_without_socket(&self) -> WithoutSocket {
        self.without_socket.fetch_add(1, Ordering::Relaxed);
        WithoutSocket(Arc::clone(&self.without_socket))
    }

    /// Compares what the ladder said in shadow mode with what the ping found.
    pub(crate) fn count_opinion(&self, opinion: Opinion, alive: bool) {
        add_one(match (opinion, alive) {
            (Opinion::Alive, true) => &self.shadow_alive,
            (Opinion::Dead, false) => &self.shadow_dead,
            (Opinion::Alive, false) => &self.shadow_missed,
            (Opinion::Dead, true) => &self.shadow_false_alarms,
            (Opinion::Unsure, _) => &self.shadow_unsure,
        });
    }
}

pub(crate) fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A snapshot of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Everything that counts against `max_open`: the next five together.
    pub open: usize,
    /// Connections at hand.
    pub idle: usize,
    /// Connections checked out.
    pub leased: usize,
    /// Attempts under way.
    pub opening: usize,
    /// Connections being pinged or tidied up.
    pub on_trial: usize,
    /// Connections being closed.
    pub closing: usize,
    /// Connections whose socket the driver did not show, or that was not found: nobody sees them
    /// end, they have no keepalive, and a second of silence asks for a ping.
    pub without_socket: usize,
    /// Checkouts in the line.
    pub waiting: usize,
    /// Checkouts that were handed a connection, those included that were given up at that moment.
    pub checkouts: u64,
    /// Checkouts that had to wait.
    pub waits: u64,
    /// Checkouts that waited in vain.
    pub timeouts: u64,
    /// Checkouts that were refused at once, by `fail_fast_after`.
    pub failed_fast: u64,
    /// Attempts to open a connection.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Pings sent, those of shadow mode and of health checks, and what tidied up at return, included.
    pub pings: u64,
    /// Pings without an answer, or with a bad one.
    pub pings_unanswered: u64,
    /// Commands that were repeated on another connection.
    pub repeats: u64,
    /// Leases that were told as leaks.
    pub leaks: u64,
    /// How often each kind of end was seen, in the order of [`Ending::ALL`].
    pub endings: Vec<(Ending, u64)>,
    /// What shadow mode found.
    pub shadow: Shadow,
    /// The idle limit that was learned from observed ends, without its margin.
    pub learned_idle_limit: Option<Duration>,
}

/// What shadow mode found: how often the ladder, had it decided, would have been right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Shadow {
    /// Pings that told nothing new: the ladder knew that it lives.
    pub needless: u64,
    /// Deaths that the ladder knew of without a ping.
    pub foreseen: u64,
    /// Deaths that the ladder would have missed. While this is zero, pings can be dropped.
    pub missed: u64,
    /// Living connections that the ladder would have dropped.
    pub false_alarms: u64,
    /// Pings that the ladder would have sent too.
    pub agreed: u64,
}

impl Stats {
    pub(crate) fn new(census: &Census, counters: &Counters, learned: Option<Duration>) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let endings = Ending::ALL.iter().zip(&counters.endings);
        Self {
            open: census.open(),
            idle: census.idle,
            leased: census.leased,
            opening: census.opening,
            on_trial: census.on_trial,
            closing: census.closing,
            without_socket: counters.without_socket.load(Ordering::Relaxed),
            waiting: census.waiting,
            checkouts: census.tally.checkouts,
            waits: census.tally.waits,
            timeouts: census.tally.timeouts,
            failed_fast: read(&counters.failed_fast),
            attempts: census.tally.attempts,
            failed_attempts: census.tally.failed_attempts,
            pings: read(&counters.pings),
            pings_unanswered: read(&counters.pings_unanswered),
            repeats: read(&counters.repeats),
            leaks: read(&counters.leaks),
            endings: endings.map(|(it, counter)| (*it, read(counter))).collect(),
            shadow: Shadow {
                needless: read(&counters.shadow_alive),
                foreseen: read(&counters.shadow_dead),
                missed: read(&counters.shadow_missed),
                false_alarms: read(&counters.shadow_false_alarms),
                agreed: read(&counters.shadow_unsure),
            },
            learned_idle_limit: learned,
        }
    }

    /// How often this kind of end was seen.
    pub fn ended(&self, ending: Ending) -> u64 {
        let found = self.endings.iter().find(|(it, _)| *it == ending);
        found.map_or(0, |(_, count)| *count)
    }
}
