//! What the pool's lock protects: who is where, who waits, what is to be done.
//!
//! A connection is always in exactly one place: idle, leased, on its way to a waiter, or in the
//! keeper's hands, and each counts against `max_open`, as does an attempt to open one. While
//! anybody waits nothing is idle. Pure: each method is one step under the lock of the
//! [`Ledger`](crate::ledger::Ledger), and returns whom to wake once the lock is free.
//!
//! Who waits looks at its own [`Seat`], under a lock of its own, and is served there once the books'
//! lock is free: between these two it is in no line, and may leave. Where both locks are taken, the
//! books come first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use dbvitals_verdict::Moment;

use crate::line::{Line, PlaceKey};
use crate::outage::Outage;
use crate::seat::{Asker, Refusal, Seat};

/// What the ledger wants to know of a connection.
pub(crate) trait Tenant: Sized {
    /// Whether its peer was seen to close it, so that it is not to be handed out.
    fn has_hung_up(&self) -> bool;

    /// Nobody wants it any more, and nobody is there to part with it.
    fn discard(self) {}
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
    /// When the last attempt failed, where none has succeeded since.
    pub(crate) failed_at: Option<Moment>,
    /// The newest proof of a living server.
    pub(crate) proven: Option<Moment>,
    pub(crate) tally: Tally,
}

impl Census {
    /// Whether the last attempt to open a connection failed, and none is at hand.
    pub(crate) fn is_away(&self) -> bool {
        self.outage_since.is_some() && self.idle + self.on_trial == 0
    }

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
    /// The keeper is gone: what would be its to do is dropped.
    pub(crate) orphaned: bool,
    /// The one idle longest is in front.
    pub(crate) idle: VecDeque<T>,
    pub(crate) line: Line<Arc<Seat<T>>>,
    pub(crate) leased: usize,
    pub(crate) opening: usize,
    pub(crate) on_trial: usize,
    pub(crate) closing: usize,
    /// Connections to open beside what demand asks for, before those they replace expire.
    pub(crate) replacements: usize,
    pub(crate) outage: Option<Outage>,
    pub(crate) failed_at: Option<Moment>,
    /// How many have ended before they were used, one after another.
    pub(crate) stillborn: u32,
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

/// What is to be done once the lock is free: serve and wake somebody, drop what nobody wants.
#[must_use = "somebody is to be woken"]
pub(crate) struct Calls<T> {
    /// Who was first in the line, and what it gets.
    pub(crate) served: Option<(Arc<Seat<T>>, T)>,
    pub(crate) keeper: Option<Waker>,
    /// An order that nobody carries out any more.
    pub(crate) void: Option<Order<T>>,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self {
            served: None,
            keeper: None,
            void: None,
        }
    }
}

impl<T> Calls<T> {
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            served: self.served.or(other.served),
            keeper: self.keeper.or(other.keeper),
            void: self.void.or(other.void),
        }
    }
}

/// What becomes of an idle connection that was inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    Idle,
    Trial,
    Close,
    /// It comes back to who inspects, and counts as on trial meanwhile.
    Take,
}

/// Where an idle connection is laid down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lay {
    /// It was used a moment ago.
    Newest,
    /// It was idle before, and nobody has used it since.
    Oldest,
}

impl<T: Tenant> Books<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            closed: false,
            orphaned: false,
            idle: VecDeque::new(),
            line: Line::new(),
            leased: 0,
            opening: 0,
            on_trial: 0,
            closing: 0,
            replacements: 0,
            outage: None,
            failed_at: None,
            stillborn: 0,
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

    /// An attempt that began at `started` came to nothing.
    pub(crate) fn extend_outage(
        &mut self,
        started: Moment,
        pause_min: Duration,
        now: Moment,
        chance: f64,
    ) {
        let pause_max = self.bounds.pause_max;
        let known = self.outage.zip(self.failed_at);
        let mut outage = match known {
            Some((outage, failed_at)) if Outage::goes_on(failed_at, started, pause_max) => outage,
            _ => Outage::begin(started),
        };
        outage.note_failure(started, pause_min, pause_max, chance);
        self.outage = Some(outage);
        self.failed_at = Some(now);
    }

    pub(crate) fn take_idle(&mut self) -> Option<T> {
        match self.bounds.newest_first {
            true => self.idle.pop_back(),
            false => self.idle.pop_front(),
        }
    }

    /// Counts a connection as leased.
    pub(crate) fn note_lease(&mut self, asker: &Asker) {
        self.leased += 1;
        self.tally.checkouts += u64::from(!asker.again);
    }

    /// Joins the line.
    pub(crate) fn join(&mut self, seat: Arc<Seat<T>>, now: Moment) -> (PlaceKey, Calls<T>) {
        let asker = seat.asker;
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
        (key, calls)
    }

    /// Hands a connection that nobody holds to the first in the line, or lays it down.
    pub(crate) fn give(&mut self, member: T, lay: Lay) -> Calls<T> {
        // `member` is counted nowhere at this point; those that are closing are too many already.
        if self.open() - self.closing >= self.bounds.max_open {
            return self.close_member(member);
        }
        if member.has_hung_up() {
            self.on_trial += 1;
            return self.order(Order::Try(member));
        }
        if let Some(seat) = self.line.pop_front() {
            self.note_lease(&seat.asker);
            return Calls {
                served: Some((seat, member)),
                ..Calls::default()
            };
        }
        if self.closed || self.idle.len() >= self.bounds.max_idle {
            return self.close_member(member);
        }
        match lay {
            Lay::Newest => self.idle.push_back(member),
            Lay::Oldest => self.idle.push_front(member),
        }
        Calls::default()
    }

    /// Sends one home.
    pub(crate) fn refuse(&mut self, key: PlaceKey, refusal: Refusal) -> Option<Waker> {
        let seat = self.line.remove(key)?;
        seat.refuse(refusal)
    }

    /// Sends all home who wait.
    pub(crate) fn refuse_all(&mut self, refusal: Refusal) -> Vec<Waker> {
        std::iter::from_fn(|| self.line.pop_front())
            .filter_map(|seat| seat.refuse(refusal))
            .collect()
    }

    pub(crate) fn close_member(&mut self, member: T) -> Calls<T> {
        self.closing += 1;
        self.order(Order::Close(member))
    }

    pub(crate) fn order(&mut self, order: Order<T>) -> Calls<T> {
        if self.orphaned {
            self.uncount(&order);
            return Calls {
                void: Some(order),
                ..Calls::default()
            };
        }
        self.orders.push_back(order);
        Calls {
            keeper: self.keeper.take(),
            ..Calls::default()
        }
    }

    /// An order is not carried out.
    pub(crate) fn uncount(&mut self, order: &Order<T>) {
        match order {
            Order::Open => self.opening -= 1,
            Order::Try(_) | Order::Settle(_) => self.on_trial -= 1,
            Order::Close(_) => self.closing -= 1,
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
    pub(crate) fn order_opens(&mut self, now: Moment) -> Calls<T> {
        let mut wanted = self.wanted();
        if wanted == 0 {
            return Calls::default();
        }
        if self.cautious || self.outage.is_some() {
            let is_time = self.outage.is_none_or(|outage| outage.next() <= now);
            wanted = wanted.min(usize::from(is_time && self.opening == 0));
        }
        if wanted == 0 {
            // The keeper sets its alarm to the next attempt.
            return Calls {
                keeper: self.keeper.take(),
                ..Calls::default()
            };
        }
        self.opening += wanted;
        self.replacements = self.replacements.saturating_sub(wanted);
        self.tally.attempts += wanted as u64;
        self.orders.extend((0..wanted).map(|_| Order::Open));
        Calls {
            keeper: self.keeper.take(),
            ..Calls::default()
        }
    }
}
