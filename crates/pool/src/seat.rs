//! Where a waiter finds what became of it.
//!
//! A lock of its own, so that looking costs nothing that others want. Who serves it has taken it out
//! of the line before, and finds out here whether it has left meanwhile.

use std::mem;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use dbvitals_verdict::Moment;

use crate::sync::{Mutex, MutexGuard};

/// Why a waiter goes away with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    TimedOut,
    /// The server lets nobody in, and will not: there is nothing to wait for.
    Rejected,
}

/// Who asks for a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    /// When this checkout was begun, and when it is given up.
    pub(crate) since: Moment,
    pub(crate) deadline: Moment,
    /// Was served once, with a connection that turned out useless, and goes before all others.
    pub(crate) again: bool,
}

/// Where a waiter finds what became of it.
#[derive(Debug)]
pub(crate) struct Seat<T> {
    pub(crate) asker: Asker,
    outcome: Mutex<Outcome<T>>,
}

#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Waiting(Waker),
    Served(T),
    Refused(Refusal),
    /// The waiter has it.
    Taken,
}

impl<T> Seat<T> {
    /// For somebody who is about to join the line.
    pub(crate) fn new(asker: Asker, waker: &Waker) -> Arc<Self> {
        Arc::new(Self {
            asker,
            outcome: Mutex::new(Outcome::Waiting(waker.clone())),
        })
    }

    /// Hands a connection to a waiter that was taken out of the line, and wakes it. It comes back if
    /// the waiter has left meanwhile.
    pub(crate) fn serve(&self, member: T) -> Result<(), T> {
        let mut outcome = self.lock();
        if !matches!(*outcome, Outcome::Waiting(_)) {
            return Err(member);
        }
        let before = mem::replace(&mut *outcome, Outcome::Served(member));
        drop(outcome);
        if let Outcome::Waiting(waker) = before {
            waker.wake();
        }
        Ok(())
    }

    /// Sends a waiter home that was taken out of the line; says whom to wake.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Option<Waker> {
        match mem::replace(&mut *self.lock(), Outcome::Refused(refusal)) {
            Outcome::Waiting(waker) => Some(waker),
            Outcome::Served(_) | Outcome::Refused(_) | Outcome::Taken => None,
        }
    }

    /// Takes the outcome, if there is one; else has this waker woken when there is.
    pub(crate) fn look(&self, waker: &Waker) -> Option<Outcome<T>> {
        let mut outcome = self.lock();
        if let Outcome::Waiting(known) = &mut *outcome {
            known.clone_from(waker);
            return None;
        }
        Some(mem::replace(&mut *outcome, Outcome::Taken))
    }

    /// Takes what is there, for a waiter that leaves; who comes to serve it finds it gone.
    pub(crate) fn take(&self) -> Outcome<T> {
        mem::replace(&mut *self.lock(), Outcome::Taken)
    }

    fn lock(&self) -> MutexGuard<'_, Outcome<T>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
