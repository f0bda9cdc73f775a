//! The pool's one lock, and who may do what under it.
//!
//! Whoever waits is served strictly in turn: who is first is taken out of the line under the lock,
//! and served at its seat afterwards, so that nobody can overtake, no wake-up can be lost, and what
//! was meant for one that is gone goes to the next. Nothing here waits, looks at a clock or knows a runtime. What takes time is an [`Order`]
//! for the keeper, which is the only one to await anything on a connection; so a checkout has a
//! single point at which it can be cancelled, its [`Turn`] in the line. `tests/model.rs` includes
//! this very file and those below it, and explores their interleavings.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dbvitals_verdict::Moment;

use crate::books::{Books, Bounds, Calls, Census, Lay, Order, Stay, Tenant};
use crate::line::PlaceKey;
use crate::seat::{Asker, Refusal, Seat};
use crate::sync::{Mutex, MutexGuard};
use crate::turn::Turn;

/// The pause after a connection that ended before it was used; it doubles with each.
const STILLBORN_PAUSE: Duration = Duration::from_millis(1);

/// The answer to an [`Asker`].
#[derive(Debug)]
pub(crate) enum Answer<'l, T: Tenant> {
    Member(T),
    Wait(Turn<'l, T>),
    Closed,
}

/// How an attempt to open a connection failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    /// When it was begun.
    pub(crate) started: Moment,
    /// How long to wait at least before the next one.
    pub(crate) pause_min: Duration,
    /// The server lets nobody in, and will not.
    pub(crate) rejected: bool,
    /// Spreads the next attempts of many pools; in 0..1.
    pub(crate) chance: f64,
}

/// The books of a pool, under their lock. On cache lines of their own: every checkout writes here,
/// and reads settings and suspicions, which nobody writes, next to it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Ledger<T> {
    books: Mutex<Books<T>>,
    /// The last who asked had to wait, so the next one brings a seat along.
    crowded: AtomicBool,
}

// --- What applications do -----------------------------------------------------------------------

impl<T: Tenant> Ledger<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            books: Mutex::new(Books::new(bounds)),
            crowded: AtomicBool::new(false),
        }
    }

    /// Takes an idle connection, or joins the line.
    pub(crate) fn ask(&self, asker: Asker, now: Moment, waker: &Waker) -> Answer<'_, T> {
        let crowded = self.crowded.load(Ordering::Relaxed);
        // Made before the lock is taken, where it is likely to be needed.
        let seat = crowded.then(|| Seat::new(asker, waker));
        let mut books = self.lock();
        if books.closed {
            return Answer::Closed;
        }
        if (asker.again || books.line.is_empty())
            && let Some(member) = books.take_idle()
        {
            books.note_lease(&asker);
            self.crowded.store(false, Ordering::Relaxed);
            return Answer::Member(member);
        }
        let seat = seat.unwrap_or_else(|| Seat::new(asker, waker));
        let (key, calls) = books.join(Arc::clone(&seat), now);
        self.crowded.store(true, Ordering::Relaxed);
        drop(books);
        self.make(calls);
        Answer::Wait(Turn::new(self, key, seat))
    }

    /// Takes a leased connection back, for the next one. `proven` is when the server answered on it,
    /// if that is known. One whose peer has hung up comes back to the caller, who counts it still.
    pub(crate) fn put_back(&self, member: T, proven: Option<Moment>) -> Option<T> {
        let mut books = self.lock();
        if proven.is_some() {
            books.proven = books.proven.max(proven);
            books.cautious = false;
        }
        books.stillborn = 0;
        if member.has_hung_up() {
            return Some(member);
        }
        books.leased -= 1;
        let calls = books.give(member, Lay::Newest);
        drop(books);
        self.make(calls);
        None
    }

    /// A leased connection is no more, of itself or by the pool's will; it was dropped before.
    pub(crate) fn bury(&self, now: Moment, died: bool) {
        self.change(|books| {
            books.leased -= 1;
            books.cautious |= died;
            books.order_opens(now)
        });
    }

    /// A connection that was opened a moment ago has ended before anybody used it: what follows is
    /// like a failed attempt, the more so the oftener it happens.
    pub(crate) fn note_stillborn(&self, now: Moment, chance: f64) {
        let mut books = self.lock();
        // Several that end together count as one.
        if books.outage.is_none_or(|outage| outage.next() <= now) {
            books.stillborn = books.stillborn.saturating_add(1);
        }
        let pause_min = STILLBORN_PAUSE.saturating_mul(1 << books.stillborn.min(16));
        books.extend_outage(now, pause_min, now, chance);
    }

    /// Lets the keeper find out whether a leased connection lives.
    pub(crate) fn try_out(&self, member: T) {
        self.change(|books| {
            books.leased -= 1;
            books.on_trial += 1;
            books.order(Order::Try(member))
        });
    }

    /// Lets the keeper tidy up a leased connection before it is handed out again.
    pub(crate) fn settle(&self, member: T) {
        self.change(|books| {
            books.leased -= 1;
            books.on_trial += 1;
            books.order(Order::Settle(member))
        });
    }

    /// Lets the keeper say goodbye on a leased connection.
    pub(crate) fn dismiss(&self, member: T) {
        self.change(|books| {
            books.leased -= 1;
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
    pub(crate) fn admit(&self, member: T, now: Moment) {
        self.change(|books| {
            books.opening -= 1;
            books.outage = None;
            books.failed_at = None;
            books.cautious = false;
            books.proven = Some(now);
            let calls = books.give(member, Lay::Newest);
            // The end of an outage lets the others in.
            calls.or(books.order_opens(now))
        });
    }

    /// A connection that was ordered could not be opened. Where that is for good, and nothing is
    /// open that somebody might give back, there is nothing to wait for.
    pub(crate) fn note_failure(&self, failed: Failed, now: Moment) {
        let mut books = self.lock();
        books.opening -= 1;
        books.tally.failed_attempts += 1;
        books.extend_outage(failed.started, failed.pause_min, now, failed.chance);
        let is_hopeless = failed.rejected && books.open() - books.closing == 0;
        let refused = match is_hopeless {
            true => books.refuse_all(Refusal::Rejected),
            false => Vec::new(),
        };
        let mut calls = books.order_opens(now);
        calls.keeper = calls.keeper.or_else(|| books.keeper.take());
        drop(books);
        refused.into_iter().for_each(Waker::wake);
        self.make(calls);
    }

    /// A connection passed its trial.
    pub(crate) fn keep(&self, member: T, now: Moment, lay: Lay) {
        self.change(|books| {
            books.on_trial -= 1;
            books.cautious = false;
            books.stillborn = 0;
            books.proven = Some(now);
            books.give(member, lay)
        });
    }

    /// A connection that was taken out for an inspection is laid back, no better known.
    pub(crate) fn lay_back(&self, member: T) {
        self.change(|books| {
            books.on_trial -= 1;
            books.give(member, Lay::Oldest)
        });
    }

    /// A connection that was taken out for an inspection is tried.
    pub(crate) fn try_taken(&self, member: T) {
        self.change(|books| books.order(Order::Try(member)));
    }

    /// A connection did not pass its trial; it was dropped before.
    pub(crate) fn end_trial(&self, now: Moment, died: bool) {
        self.change(|books| {
            books.on_trial -= 1;
            books.cautious |= died;
            books.order_opens(now)
        });
    }

    /// A goodbye was said, or given up.
    pub(crate) fn end_closing(&self, now: Moment) {
        self.change(|books| {
            books.closing -= 1;
            books.order_opens(now)
        });
    }

    /// Goes through the idle connections, the one idle longest first; `judge` says what becomes of
    /// each. Those to take come back, and count as on trial until
    /// [`lay_back`](Self::lay_back), [`try_taken`](Self::try_taken) or
    /// [`end_trial`](Self::end_trial).
    pub(crate) fn inspect(&self, now: Moment, mut judge: impl FnMut(&mut T) -> Stay) -> Vec<T> {
        let mut taken = Vec::new();
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
                    Stay::Take => {
                        books.on_trial += 1;
                        taken.push(member);
                    }
                }
            }
            books.order_opens(now).or(calls)
        });
        taken
    }

    /// Sends those home whose time is up, and orders what may be ordered by now.
    pub(crate) fn tick(&self, now: Moment) {
        let mut books = self.lock();
        let late: Vec<PlaceKey> = books
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
        let refused = books.refuse_all(Refusal::Closed);
        let mut calls = Calls::default();
        for member in std::mem::take(&mut books.idle) {
            calls = books.close_member(member).or(calls);
        }
        drop(books);
        refused.into_iter().for_each(Waker::wake);
        self.make(calls);
    }

    /// Refuses everybody from now on, as nobody carries out orders any more: what is idle comes
    /// back to be dropped, and what is out is dropped when it is given back.
    pub(crate) fn orphan(&self) -> (VecDeque<T>, VecDeque<Order<T>>) {
        let mut books = self.lock();
        books.closed = true;
        books.orphaned = true;
        let refused = books.refuse_all(Refusal::Closed);
        let idle = std::mem::take(&mut books.idle);
        let orders = std::mem::take(&mut books.orders);
        orders.iter().for_each(|order| books.uncount(order));
        drop(books);
        refused.into_iter().for_each(Waker::wake);
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

    /// Has the idle connection that is oldest tried, or one opened if there is none. One that is
    /// under way already is enough, except that an attempt to open another tells nothing of those
    /// that are at hand.
    pub(crate) fn seek_evidence(&self, now: Moment) {
        let mut books = self.lock();
        if books.on_trial > 0 {
            return;
        }
        let calls = match books.idle.pop_front() {
            Some(member) => {
                books.on_trial += 1;
                books.order(Order::Try(member))
            }
            None if books.opening > 0 => return,
            None => {
                let pending = books.replacements;
                books.replacements += 1;
                let calls = books.order_opens(now);
                books.replacements = books.replacements.min(pending);
                calls
            }
        };
        drop(books);
        self.make(calls);
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
            failed_at: books.failed_at,
            proven: books.proven,
            tally: books.tally,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Books<T>) -> Calls<T>) {
        let mut books = self.lock();
        let calls = change(&mut books);
        drop(books);
        self.make(calls);
    }

    /// Does what was left for when the lock is free.
    pub(crate) fn make(&self, calls: Calls<T>) {
        let mut next = Some(calls);
        while let Some(calls) = next.take() {
            match calls.void {
                Some(Order::Try(member) | Order::Settle(member) | Order::Close(member)) => {
                    member.discard();
                }
                Some(Order::Open) | None => {}
            }
            if let Some(keeper) = calls.keeper {
                keeper.wake();
            }
            let Some((seat, member)) = calls.served else {
                return;
            };
            // Who has left does not get it, and the next in the line does.
            next = seat.serve(member).err().map(|member| {
                let mut books = self.lock();
                books.leased -= 1;
                books.give(member, Lay::Newest)
            });
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Books<T>> {
        // Of others' code only wakers are cloned and dropped under the lock.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
