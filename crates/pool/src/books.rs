//! What the pool's lock protects: who is where, who waits, what is to be done.
//!
//! A connection is always in exactly one place: idle, leased, on its way to a waiter, or in the
//! keeper's hands, and each counts against `max_open`, as does an attempt to open one. While
//! anybody waits nothing is idle. Pure: each method is one step under the lock of the
//! [`Ledger`](crate::ledger::Ledger), and returns whom to wake once the lock is free.

use std::collections::VecDeque;
use std::panic::Location;
use std::task::Waker;
use std::time::Duration;

use dbvitals_verdict::Moment;

use crate::line::{Line, SeatKey};
use crate::outage::Outage;

/// What the ledger wants to know of a connection.
pub(crate) trait Tenant {
    /// What it is called, as long as the pool lives.
    fn id(&self) -> u64;
    /// The number of its place among the open ones.
    fn slot(&self) -> usize;
    /// Tells it its place.
    fn set_slot(&mut self, slot: usize);
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) max_open: usize,
    pub(crate) max_idle: usize,
    pub(crate) min_idle: usize,
    /// Hands out the one returned last rather than the one idle longest.
    pub(crate) newest_first: bool,
    /// The longest pause between attempts during an outage.
    pub(crate) pause_max: Duration,
}

/// Work for the keeper; what is done about it is told by the method named.
#[derive(Debug)]
pub(crate) enum Order<T> {
    /// Open a connection: [`admit`](Ledger::admit) or [`note_failure`](Ledger::note_failure).
    Open,
    /// Find out whether it lives: [`keep`](Ledger::keep) or [`end_trial`](Ledger::end_trial).
    Try(T),
    /// Tidy up what its user left behind: the same.
    Settle(T),
    /// Say goodbye: [`end_closing`](Ledger::end_closing).
    Close(T),
}

/// Why a waiter goes away with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    TimedOut,
}

/// Who asks for a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) place: &'static Location<'static>,
    /// When this checkout was begun, and when it is given up.
    pub(crate) since: Moment,
    pub(crate) deadline: Moment,
    /// Was served once, with a connection that turned out useless, and goes before all others.
    pub(crate) again: bool,
}

/// A lease that is out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holding {
    pub(crate) id: u64,
    pub(crate) since: Moment,
    pub(crate) place: &'static Location<'static>,
    /// The peer closed it meanwhile.
    pub(crate) hung_up: bool,
    /// It was out for too long, and that was told.
    pub(crate) leak_told: bool,
}

/// How many of what there are, and were.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Census {
    pub(crate) idle: usize,
    pub(crate) leased: usize,
    pub(crate) opening: usize,
    pub(crate) on_trial: usize,
    pub(crate) closing: usize,
    pub(crate) waiting: usize,
    /// Since when the first in the line waits.
    pub(crate) waiting_since: Option<Moment>,
    pub(crate) outage_since: Option<Moment>,
    /// The newest proof of a living server.
    pub(crate) proven: Option<Moment>,
    pub(crate) tally: Tally,
}

impl Census {
    /// All that counts against `max_open`.
    pub(crate) fn open(&self) -> usize {
        self.idle + self.leased + self.opening + self.on_trial + self.closing
    }
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) checkouts: u64,
    pub(crate) waits: u64,
    pub(crate) timeouts: u64,
    pub(crate) attempts: u64,
    pub(crate) failed_attempts: u64,
}

#[derive(Debug)]
pub(crate) struct Books<T> {
    pub(crate) bounds: Bounds,
    pub(crate) closed: bool,
    /// The one idle longest is in front.
    pub(crate) idle: VecDeque<T>,
    pub(crate) line: Line<Seat<T>>,
    pub(crate) holdings: Vec<Option<Holding>>,
    pub(crate) free_slots: Vec<usize>,
    pub(crate) leased: usize,
    pub(crate) opening: usize,
    pub(crate) on_trial: usize,
    pub(crate) closing: usize,
    /// Connections to open beside what demand asks for, before those they replace expire.
    pub(crate) replacements: usize,
    pub(crate) outage: Option<Outage>,
    /// Nothing speaks for a living server since the start or since a connection was found dead: a
    /// single attempt goes ahead.
    pub(crate) cautious: bool,
    pub(crate) proven: Option<Moment>,
    pub(crate) orders: VecDeque<Order<T>>,
    pub(crate) keeper: Option<Waker>,
    /// The earliest deadline in the line, or an earlier moment.
    pub(crate) alarm: Option<Moment>,
    pub(crate) tally: Tally,
}

#[derive(Debug)]
pub(crate) struct Seat<T> {
    pub(crate) asker: Asker,
    pub(crate) outcome: Outcome<T>,
}

#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Waiting(Waker),
    Served(T),
    Refused(Refusal),
}

/// Who is to be woken once the lock is free.
#[derive(Default)]
#[must_use = "somebody is to be woken"]
pub(crate) struct Calls {
    pub(crate) waiter: Option<Waker>,
    pub(crate) keeper: Option<Waker>,
}

impl Calls {
    pub(crate) fn make(self) {
        if let Some(waiter) = self.waiter {
            waiter.wake();
        }
        if let Some(keeper) = self.keeper {
            keeper.wake();
        }
    }
}

/// What becomes of an idle connection that was inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    Idle,
    Trial,
    Close,
    Drop,
}

impl Calls {
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            waiter: self.waiter.or(other.waiter),
            keeper: self.keeper.or(other.keeper),
        }
    }
}

impl<T: Tenant> Books<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            closed: false,
            idle: VecDeque::new(),
            line: Line::new(),
            holdings: Vec::new(),
            free_slots: Vec::new(),
            leased: 0,
            opening: 0,
            on_trial: 0,
            closing: 0,
            replacements: 0,
            outage: None,
            cautious: true,
            proven: None,
            orders: VecDeque::new(),
            keeper: None,
            alarm: None,
            tally: Tally::default(),
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.idle.len() + self.leased + self.opening + self.on_trial + self.closing
    }

    pub(crate) fn take_idle(&mut self) -> Option<T> {
        match self.bounds.newest_first {
            true => self.idle.pop_back(),
            false => self.idle.pop_front(),
        }
    }

    pub(crate) fn lease(&mut self, member: &T, asker: &Asker, now: Moment) {
        self.leased += 1;
        self.tally.checkouts += u64::from(!asker.again);
        self.holdings[member.slot()] = Some(Holding {
            id: member.id(),
            since: now,
            place: asker.place,
            hung_up: false,
            leak_told: false,
        });
    }

    pub(crate) fn unlease(&mut self, slot: usize) {
        self.leased -= 1;
        self.holdings[slot] = None;
    }

    pub(crate) fn take_slot(&mut self) -> usize {
        self.free_slots.pop().unwrap_or_else(|| {
            self.holdings.push(None);
            self.holdings.len() - 1
        })
    }

    pub(crate) fn join(&mut self, asker: Asker, now: Moment, waker: Waker) -> (SeatKey, Calls) {
        let seat = Seat {
            asker,
            outcome: Outcome::Waiting(waker),
        };
        let key = match asker.again {
            true => self.line.push_front(seat),
            false => {
                self.tally.waits += 1;
                self.line.push_back(seat)
            }
        };
        let mut calls = self.order_opens(now);
        if self.alarm.is_none_or(|alarm| asker.deadline < alarm) {
            self.alarm = Some(asker.deadline);
            calls.keeper = calls.keeper.or_else(|| self.keeper.take());
        }
        if self.outage.is_some() {
            // It looks at its alarm again, which stands for the next attempt.
            calls.keeper = calls.keeper.or_else(|| self.keeper.take());
        }
        (key, calls)
    }

    /// Hands a connection that nobody holds to the first in the line, or lays it down.
    pub(crate) fn give(&mut self, member: T) -> Calls {
        // `member` is counted nowhere at this point; those that are closing are too many already.
        if self.open() - self.closing >= self.bounds.max_open {
            return self.close_member(member);
        }
        if let Some(key) = self.line.step_forward() {
            return Calls {
                waiter: self.serve(key, member),
                keeper: None,
            };
        }
        if self.closed || self.idle.len() >= self.bounds.max_idle {
            return self.close_member(member);
        }
        self.idle.push_back(member);
        Calls::default()
    }

    fn serve(&mut self, key: SeatKey, member: T) -> Option<Waker> {
        let asker = self.line.seat_mut(key)?.asker;
        self.lease(&member, &asker, asker.since);
        let seat = self.line.seat_mut(key)?;
        match std::mem::replace(&mut seat.outcome, Outcome::Served(member)) {
            Outcome::Waiting(waker) => Some(waker),
            Outcome::Served(_) | Outcome::Refused(_) => None,
        }
    }

    pub(crate) fn refuse(&mut self, key: SeatKey, refusal: Refusal) -> Option<Waker> {
        self.line.step_out(key);
        let seat = self.line.seat_mut(key)?;
        match std::mem::replace(&mut seat.outcome, Outcome::Refused(refusal)) {
            Outcome::Waiting(waker) => Some(waker),
            Outcome::Served(_) | Outcome::Refused(_) => None,
        }
    }

    pub(crate) fn close_member(&mut self, member: T) -> Calls {
        self.closing += 1;
        self.order(Order::Close(member))
    }

    pub(crate) fn order(&mut self, order: Order<T>) -> Calls {
        self.orders.push_back(order);
        Calls {
            waiter: None,
            keeper: self.keeper.take(),
        }
    }

    /// How many connections more are worth opening, were there no outage.
    pub(crate) fn wanted(&self) -> usize {
        if self.closed {
            return 0;
        }
        let supply = self.idle.len() + self.opening + self.on_trial;
        let missing = (self.line.len() + self.bounds.min_idle).saturating_sub(supply);
        let room = self.bounds.max_open.saturating_sub(self.open());
        (missing + self.replacements).min(room)
    }

    /// Orders what is wanted; one attempt at a time where the server may be away, and during an
    /// outage not before its moment.
    pub(crate) fn order_opens(&mut self, now: Moment) -> Calls {
        let mut wanted = self.wanted();
        if self.cautious || self.outage.is_some() {
            let is_time = self.outage.is_none_or(|outage| outage.next() <= now);
            wanted = wanted.min(usize::from(is_time && self.opening == 0));
        }
        if wanted == 0 {
            return Calls::default();
        }
        self.opening += wanted;
        self.replacements = self.replacements.saturating_sub(wanted);
        self.tally.attempts += wanted as u64;
        self.orders.extend((0..wanted).map(|_| Order::Open));
        Calls {
            waiter: None,
            keeper: self.keeper.take(),
        }
    }
}
