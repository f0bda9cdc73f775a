//! One connection, and what the pool knows of it.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::Moment;

use crate::books::Tenant;
use crate::card::Card;
use crate::counters::WithoutSocket;
use crate::driver::Driver;
use crate::ending::Ending;
use crate::socket::{Sight, Socket};

/// A pooled connection. Boxed, so that what moves about in the ledger is a pointer.
#[derive(Debug)]
pub(crate) struct Member<D: Driver> {
    pub(crate) connection: D::Connection,
    /// What can be looked at; closed together with the connection.
    pub(crate) socket: Option<Socket>,
    /// Where there is none.
    pub(crate) _without_socket: Option<WithoutSocket>,
    /// Its name, and what others want to know of it.
    pub(crate) card: Arc<Card>,
    pub(crate) opened_at: Moment,
    /// The end of its lifetime, drawn when it was opened.
    pub(crate) expires_at: Option<Moment>,
    /// Since when nobody uses it, while it is idle.
    pub(crate) idle_since: Moment,
    /// When the server last answered, as far as is known.
    pub(crate) proven_at: Moment,
    /// Where it was checked out last.
    pub(crate) place: Option<&'static Location<'static>>,
    /// How long the server lets it idle.
    pub(crate) idle_limit: Option<Duration>,
    /// How often it was checked out.
    pub(crate) uses: u64,
    /// Passed a trial for the checkout that comes next, which is not to ask for another one.
    pub(crate) cleared: bool,
    /// Why the pool parts with it, once it does.
    pub(crate) leaving: Option<Ending>,
    /// What the ladder would have said, in shadow mode.
    pub(crate) opinion: Option<Opinion>,
}

/// What the ladder says without a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// Would have been handed out.
    Alive,
    /// Would have been dropped.
    Dead,
    /// Would have been pinged.
    Unsure,
}

impl<D: Driver> Member<D> {
    /// Whether something waits on its socket to be read.
    pub(crate) fn has_unread(&self) -> bool {
        let sight = self.socket.as_ref().map(Socket::look);
        sight == Some(Sight::Bytes)
    }

    /// For how long nobody has used it and nothing was heard on it; `None` while it is leased.
    pub(crate) fn idled_for(&self, now: Moment) -> Option<Duration> {
        let since = self.proven_at.max(self.idle_since);
        self.card.holding().is_none().then(|| now.since(since))
    }

    /// Ends it at once, whatever the driver does: it may say its goodbyes in its own time, while the
    /// next one is opened, or panic.
    pub(crate) fn end(self: Box<Self>) {
        if let Some(socket) = &self.socket {
            socket.end();
        }
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }

    /// It came back from its user.
    pub(crate) fn note_return(&mut self, now: Moment) {
        self.idle_since = now;
        self.card.note_return();
    }

    /// It is checked out.
    pub(crate) fn note_lease(&mut self, place: &'static Location<'static>, now: Moment) {
        self.uses += 1;
        self.card.note_lease(now);
        if !self.place.is_some_and(|known| ptr::eq(known, place)) {
            self.place = Some(place);
            self.card.note_place(place);
        }
    }
}

impl<D: Driver> Tenant for Box<Member<D>> {
    fn has_hung_up(&self) -> bool {
        self.card.has_hung_up()
    }

    fn discard(self) {
        self.end();
    }
}
