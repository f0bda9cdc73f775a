//! One connection, and what the pool knows of it.

use std::time::Duration;

use dbvitals_verdict::Moment;

use crate::books::Tenant;
use crate::counters::WithoutSocket;
use crate::driver::Driver;
use crate::ending::Ending;
use crate::socket::Socket;

/// A successor is opened when this share of the lifetime is left.
const SUCCESSOR_SHARE: u32 = 20;

/// A pooled connection. Boxed, so that what moves about in the ledger is a pointer.
#[derive(Debug)]
pub(crate) struct Member<D: Driver> {
    pub(crate) connection: D::Connection,
    /// What can be looked at; closed together with the connection.
    pub(crate) socket: Option<Socket>,
    /// Where there is none.
    pub(crate) _without_socket: Option<WithoutSocket>,
    pub(crate) id: u64,
    pub(crate) slot: usize,
    pub(crate) opened_at: Moment,
    /// The end of its lifetime, drawn when it was opened.
    pub(crate) expires_at: Option<Moment>,
    /// Since when nobody uses it, while it is idle.
    pub(crate) idle_since: Moment,
    /// When the server last answered, as far as is known.
    pub(crate) proven_at: Moment,
    /// When it was checked out, while it is.
    pub(crate) taken_at: Moment,
    /// How long the server lets it idle.
    pub(crate) idle_limit: Option<Duration>,
    /// How often it was checked out.
    pub(crate) uses: u64,
    /// Passed a trial for the checkout that comes next, which is not to ask for another one.
    pub(crate) cleared: bool,
    /// Its successor was ordered.
    pub(crate) replaced: bool,
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
    /// Whether it will end of old age soon, and nobody was ordered in its place.
    pub(crate) fn wants_successor(&self, now: Moment) -> bool {
        let due = |expires_at: Moment| {
            expires_at <= now + expires_at.since(self.opened_at) / SUCCESSOR_SHARE
        };
        !self.replaced && self.expires_at.is_some_and(due)
    }
}

impl<D: Driver> Tenant for Box<Member<D>> {
    fn id(&self) -> u64 {
        self.id
    }

    fn slot(&self) -> usize {
        self.slot
    }

    fn set_slot(&mut self, slot: usize) {
        self.slot = slot;
    }
}
