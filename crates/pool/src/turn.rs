//! A place in the line, as the one who waits holds it.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::books::{Lay, Tenant};
use crate::ledger::Ledger;
use crate::line::PlaceKey;
use crate::seat::{Outcome, Refusal, Seat};

/// A place in the line. Dropping it leaves the line, and passes on what was handed over meanwhile.
#[derive(Debug)]
pub(crate) struct Turn<'l, T: Tenant> {
    ledger: &'l Ledger<T>,
    /// `None` once the outcome was taken.
    seat: Option<(PlaceKey, Arc<Seat<T>>)>,
}

impl<'l, T: Tenant> Turn<'l, T> {
    pub(crate) fn new(ledger: &'l Ledger<T>, key: PlaceKey, seat: Arc<Seat<T>>) -> Self {
        Self {
            ledger,
            seat: Some((key, seat)),
        }
    }

    /// Looks whether it was served, without the lock that all others want.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<T, Refusal>> {
        let Some((_, seat)) = &self.seat else {
            return Poll::Ready(Err(Refusal::Closed));
        };
        let Some(outcome) = seat.look(cx.waker()) else {
            return Poll::Pending;
        };
        self.seat = None;
        Poll::Ready(match outcome {
            Outcome::Served(member) => Ok(member),
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Waiting(_) | Outcome::Taken => Err(Refusal::Closed),
        })
    }
}

impl<T: Tenant> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let Some((key, seat)) = self.seat.take() else {
            return;
        };
        let mut books = self.ledger.lock();
        books.line.remove(key);
        // Who comes to serve it finds it gone, if it was not served yet.
        if let Outcome::Served(member) = seat.take() {
            books.leased -= 1;
            let calls = books.give(member, Lay::Newest);
            drop(books);
            self.ledger.make(calls);
        }
    }
}
