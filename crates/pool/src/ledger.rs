//! The pool's one lock, and who may do what under it.
//!
//! Whoever waits is served strictly in turn, and the connection is handed over under the lock:
//! nobody can overtake, no wake-up can be lost, and a waiter that is gone passes on what it was
//! given. Nothing here waits, looks at a clock or knows a runtime. What takes time is an [`Order`]
//! for the keeper, which is the only one to await anything on a connection; so a checkout has a
//! single point at which it can be cancelled, its [`Turn`] in the line. `tests/model.rs` includes
//! this very file and those below it, and explores their interleavings.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use dbvitals_verdict::Moment;

use crate::books::{
    Asker, Books, Bounds, Calls, Census, Holding, Order, Outcome, Refusal, Stay, Tenant,
};
use crate::line::SeatKey;
use crate::outage::Outage;
use crate::sync::{Mutex, MutexGuard};

/// The answer to an [`Asker`].
#[derive(Debug)]
pub(crate) enum Answer<'l, T: Tenant> {
    Member(T),
    Wait(Turn<'l, T>),
    Closed,
}

/// A place in the line. Dropping it leaves the line, and passes on what was handed over meanwhile.
#[derive(Debug)]
pub(crate) struct Turn<'l, T: Tenant> {
    ledger: &'l Ledger<T>,
    /// `None` once the outcome was taken.
    key: Option<SeatKey>,
}

/// The books of a pool, under their lock.
#[derive(Debug)]
pub(crate) struct Ledger<T> {
    books: Mutex<Books<T>>,
}

// --- What applications do -----------------------------------------------------------------------

impl<T: Tenant> Ledger<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            books: Mutex::new(Books::new(bounds)),
        }
    }

    /// Takes an idle connection, or joins the line.
    pub(crate) fn ask(&self, asker: Asker, now: Moment, waker: &Waker) -> Answer<'_, T> {
        let mut books = self.lock();
        if books.closed {
            return Answer::Closed;
        }
        if (asker.again || books.line.is_empty())
            && let Some(member) = books.take_idle()
        {
            books.lease(&member, &asker, now);
            return Answer::Member(member);
        }
        let (key, calls) = books.join(asker, now, waker.clone());
        drop(books);
        calls.make();
        Answer::Wait(Turn {
            ledger: self,
            key: Some(key),
        })
    }

    /// Takes a leased connection back, for the next one. `proven` is when the server answered on it,
    /// if that is known. One whose peer has hung up comes back to the caller, who counts it still.
    pub(crate) fn put_back(&self, member: T, proven: Option<Moment>) -> Option<T> {
        let mut books = self.lock();
        if proven.is_some() {
            books.proven = books.proven.max(proven);
            books.cautious = false;
        }
        let hung_up = books.holdings[member.slot()].is_some_and(|it| it.hung_up);
        if hung_up {
            return Some(member);
        }
        books.unlease(member.slot());
        let calls = books.give(member);
        drop(books);
        calls.make();
        None
    }

    /// A leased connection is no more, of itself or by the pool's will; it was dropped before.
    pub(crate) fn bury(&self, slot: usize, now: Moment, died: bool) {
        self.change(|books| {
            books.unlease(slot);
            books.cautious |= died;
            books.free_slots.push(slot);
            books.order_opens(now)
        });
    }

    /// Lets the keeper find out whether a leased connection lives.
    pub(crate) fn try_out(&self, member: T) {
        self.change(|books| {
            books.unlease(member.slot());
            books.on_trial += 1;
            books.order(Order::Try(member))
        });
    }

    /// Lets the keeper tidy up a leased connection before it is handed out again.
    pub(crate) fn settle(&self, member: T) {
        self.change(|books| {
            books.unlease(member.slot());
            books.on_trial += 1;
            books.order(Order::Settle(member))
        });
    }

    /// Lets the keeper say goodbye on a leased connection.
    pub(crate) fn dismiss(&self, member: T) {
        self.change(|books| {
            books.unlease(member.slot());
            books.close_member(member)
        });
    }

    /// Opens one more than demand asks for, in place of one that expires soon.
    pub(crate) fn replace(&self, now: Moment) {
        self.change(|books| {
            books.replacements += 1;
            books.order_opens(now)
        });
    }
}

// --- What the keeper does -----------------------------------------------------------------------

impl<T: Tenant> Ledger<T> {
    /// The next order; pending while there is none.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Poll<Order<T>> {
        let mut books = self.lock();
        if let Some(order) = books.orders.pop_front() {
            return Poll::Ready(order);
        }
        books.keeper = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A connection that was ordered is open.
    pub(crate) fn admit(&self, mut member: T, now: Moment) {
        self.change(|books| {
            books.opening -= 1;
            books.outage = None;
            books.cautious = false;
            books.proven = Some(now);
            member.set_slot(books.take_slot());
            let mut calls = books.give(member);
            // The end of an outage lets the others in.
            let more = books.order_opens(now);
            calls.keeper = calls.keeper.or(more.keeper);
            calls
        });
    }

    /// A connection that was ordered could not be opened; the attempt began at `started`.
    pub(crate) fn note_failure(&self, started: Moment, now: Moment, chance: f64) {
        self.change(|books| {
            books.opening -= 1;
            books.tally.failed_attempts += 1;
            let outage = books.outage.get_or_insert_with(|| Outage::begin(started));
            outage.note_failure(started, books.bounds.pause_max, chance);
            let mut calls = books.order_opens(now);
            calls.keeper = calls.keeper.or_else(|| books.keeper.take());
            calls
        });
    }

    /// A connection passed its trial.
    pub(crate) fn keep(&self, member: T, now: Moment) {
        self.change(|books| {
            books.on_trial -= 1;
            books.cautious = false;
            books.proven = Some(now);
            books.give(member)
        });
    }

    /// A connection did not pass its trial; it was dropped before.
    pub(crate) fn end_trial(&self, slot: usize, now: Moment) {
        self.change(|books| {
            books.on_trial -= 1;
            books.cautious = true;
            books.free_slots.push(slot);
            books.order_opens(now)
        });
    }

    /// A goodbye was said, or given up.
    pub(crate) fn end_closing(&self, slot: usize, now: Moment) {
        self.change(|books| {
            books.closing -= 1;
            books.free_slots.push(slot);
            books.order_opens(now)
        });
    }

    /// Goes through the idle connections, the one idle longest first; `judge` may change each, and
    /// says what becomes of it. Those to drop come back, and count as on trial until
    /// [`end_trial`](Self::end_trial).
    pub(crate) fn inspect(&self, now: Moment, mut judge: impl FnMut(&mut T) -> Stay) -> Vec<T> {
        let mut dropped = Vec::new();
        self.change(|books| {
            let mut calls = Calls::default();
            for mut member in std::mem::take(&mut books.idle) {
                match judge(&mut member) {
                    Stay::Idle => books.idle.push_back(member),
                    Stay::Trial => {
                        books.on_trial += 1;
                        calls = books.order(Order::Try(member)).or(calls);
                    }
                    Stay::Close => calls = books.close_member(member).or(calls),
                    Stay::Drop => {
                        books.on_trial += 1;
                        dropped.push(member);
                    }
                }
            }
            books.order_opens(now).or(calls)
        });
        dropped
    }

    /// Sends those home whose time is up, and orders what may be ordered by now.
    pub(crate) fn tick(&self, now: Moment) {
        let mut books = self.lock();
        let late: Vec<SeatKey> = books
            .line
            .iter()
            .filter(|(_, seat)| seat.asker.deadline <= now)
            .map(|(key, _)| key)
            .collect();
        let mut wakers = Vec::with_capacity(late.len());
        for key in late {
            books.tally.timeouts += 1;
            wakers.extend(books.refuse(key, Refusal::TimedOut));
        }
        books.alarm = books.line.iter().map(|(_, it)| it.asker.deadline).min();
        // The keeper itself asks; it looks for orders afterwards.
        let _ = books.order_opens(now);
        drop(books);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn alarm(&self) -> Option<Moment> {
        let books = self.lock();
        let attempt = books
            .outage
            .filter(|_| books.opening == 0 && books.wanted() > 0)
            .map(|outage| outage.next());
        attempt.into_iter().chain(books.alarm).min()
    }

    /// Refuses everybody from now on and says goodbye on all that is idle.
    pub(crate) fn close(&self) {
        let mut books = self.lock();
        books.closed = true;
        let mut wakers = Vec::new();
        while let Some(key) = books.line.step_forward() {
            wakers.extend(books.refuse(key, Refusal::Closed));
        }
        let mut calls = Calls::default();
        for member in std::mem::take(&mut books.idle) {
            calls = books.close_member(member).or(calls);
        }
        drop(books);
        wakers.into_iter().for_each(Waker::wake);
        calls.make();
    }

    /// Takes all idle connections and orders out, for a pool that ends without a goodbye.
    pub(crate) fn clear(&self) -> (VecDeque<T>, VecDeque<Order<T>>) {
        let mut books = self.lock();
        let idle = std::mem::take(&mut books.idle);
        for member in &idle {
            books.free_slots.push(member.slot());
        }
        let orders = std::mem::take(&mut books.orders);
        for order in &orders {
            match order {
                Order::Open => books.opening -= 1,
                Order::Try(_) | Order::Settle(_) => books.on_trial -= 1,
                Order::Close(_) => books.closing -= 1,
            }
        }
        (idle, orders)
    }

    /// Changes the bounds; what is too many is closed, leased ones when they come back.
    pub(crate) fn set_bounds(&self, bounds: Bounds, now: Moment) {
        self.change(|books| {
            books.bounds = bounds;
            let mut calls = Calls::default();
            let too_many = |books: &Books<T>| {
                books.open() - books.closing > bounds.max_open || books.idle.len() > bounds.max_idle
            };
            while too_many(books)
                && let Some(member) = books.idle.pop_front()
            {
                calls = books.close_member(member).or(calls);
            }
            books.order_opens(now).or(calls)
        });
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Has the idle connection that is oldest tried, or one opened if there is none; says whether
    /// there will be an answer. One that is under way already is enough.
    pub(crate) fn seek_evidence(&self, now: Moment) -> bool {
        let mut books = self.lock();
        if books.on_trial + books.opening > 0 {
            return true;
        }
        let calls = match books.idle.pop_front() {
            Some(member) => {
                books.on_trial += 1;
                books.order(Order::Try(member))
            }
            None => {
                books.replacements += 1;
                let calls = books.order_opens(now);
                books.replacements = 0;
                calls
            }
        };
        let ordered = books.on_trial + books.opening > 0;
        drop(books);
        calls.make();
        ordered
    }

    /// How many of what there are.
    pub(crate) fn census(&self) -> Census {
        let books = self.lock();
        Census {
            idle: books.idle.len(),
            leased: books.leased,
            opening: books.opening,
            on_trial: books.on_trial,
            closing: books.closing,
            waiting: books.line.len(),
            waiting_since: books.line.first().map(|seat| seat.asker.since),
            outage_since: books.outage.map(|outage| outage.since()),
            proven: books.proven,
            tally: books.tally,
        }
    }

    /// Goes through the leases that are out.
    pub(crate) fn inspect_leases(&self, mut visit: impl FnMut(&mut Holding)) {
        let mut books = self.lock();
        books.holdings.iter_mut().flatten().for_each(&mut visit);
    }

    fn change(&self, change: impl FnOnce(&mut Books<T>) -> Calls) {
        let mut books = self.lock();
        let calls = change(&mut books);
        drop(books);
        calls.make();
    }

    fn lock(&self) -> MutexGuard<'_, Books<T>> {
        // No code of others runs under the lock, so a panic there would be a bug of this file.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Tenant> Turn<'_, T> {
    /// Looks whether it was served.
    pub(crate) fn poll(&mut self, cx: &Context<'_>, now: Moment) -> Poll<Result<T, Refusal>> {
        let mut books = self.ledger.lock();
        let Some((key, seat)) = self
            .key
            .and_then(|key| Some((key, books.line.seat_mut(key)?)))
        else {
            return Poll::Ready(Err(Refusal::Closed));
        };
        if let Outcome::Waiting(waker) = &mut seat.outcome {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        self.key = None;
        match books.line.give_up(key).map(|seat| seat.outcome) {
            Some(Outcome::Served(member)) => {
                if let Some(holding) = &mut books.holdings[member.slot()] {
                    holding.since = now;
                }
                Poll::Ready(Ok(member))
            }
            Some(Outcome::Refused(refusal)) => Poll::Ready(Err(refusal)),
            Some(Outcome::Waiting(_)) | None => Poll::Ready(Err(Refusal::Closed)),
        }
    }
}

impl<T: Tenant> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let mut books = self.ledger.lock();
        let seat = books.line.give_up(key);
        if let Some(Outcome::Served(member)) = seat.map(|seat| seat.outcome) {
            books.unlease(member.slot());
            let calls = books.give(member);
            drop(books);
            calls.make();
        }
    }
}
