//! A connection that is checked out; dropping it gives it back.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::Moment;

use crate::clock;
use crate::driver::{Driver, Fault, Returned};
use crate::ending::Ending;
use crate::member::Member;
use crate::shared::Shared;

/// A checked-out connection; it is given back when dropped.
///
/// [`run`](Self::run) marks a command while it is under way: if its future is dropped before the
/// end, the connection is not used again, whatever the driver does about it.
pub struct Lease<D: Driver> {
    shared: Arc<Shared<D>>,
    /// `None` once it was given back or detached.
    member: Option<Box<Member<D>>>,
    in_flight: bool,
    /// It was lent out past [`run`](Self::run).
    touched: bool,
    /// When the server last answered to something that was run.
    answered: Option<Moment>,
    /// Why it is not to be used again.
    verdict: Option<Ending>,
}

impl<D: Driver> fmt::Debug for Lease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("connection", &self.number())
            .finish_non_exhaustive()
    }
}

impl<D: Driver> Lease<D> {
    pub(crate) fn new(shared: &Arc<Shared<D>>, member: Box<Member<D>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            member: Some(member),
            in_flight: false,
            touched: false,
            answered: None,
            verdict: None,
        }
    }

    /// The connection's number, counted from the pool's start.
    pub fn number(&self) -> u64 {
        self.member().card.id
    }

    /// How long ago the connection was opened.
    pub fn age(&self) -> Duration {
        clock::coarse().since(self.member().opened_at)
    }

    /// Runs commands on the connection. Where they end well, the server is taken to have answered.
    ///
    /// # Errors
    ///
    /// Whatever `commands` returns. An error that means the loss of the connection ends it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the end, the connection is closed rather than given back.
    pub async fn run<R>(
        &mut self,
        commands: impl AsyncFnOnce(&mut D::Connection) -> Result<R, D::Error>,
    ) -> Result<R, D::Error> {
        self.in_flight = true;
        let result = commands(self.connection()).await;
        self.in_flight = false;
        match &result {
            Ok(_) => {
                let now = clock::coarse();
                self.answered = Some(now);
                self.shared.note_command(now);
            }
            Err(error) => self.note_error(error),
        }
        result
    }

    /// Tells the pool of an error that a command ended with, outside of [`run`](Self::run).
    pub fn note_error(&mut self, error: &D::Error) {
        match self.shared.judge_error(error) {
            // Some drivers say so of mistakes that never left the process: it proves nothing.
            Fault::Answered => {}
            Fault::Spoiled => self.verdict = Some(Ending::Cancelled),
            Fault::Lost | Fault::LostBefore => {
                let said = self.shared.ending(self.member());
                self.verdict = Some(said.unwrap_or(Ending::Broken));
            }
        }
    }

    /// Lets nobody else have the connection: it is closed instead of given back.
    pub fn condemn(&mut self) {
        self.verdict = Some(Ending::Condemned);
    }

    /// Takes the connection out of the pool, which opens another one when it needs it.
    pub fn detach(mut self) -> D::Connection {
        let Some(member) = self.member.take() else {
            unreachable!("a lease has its connection until it is dropped");
        };
        let now = clock::coarse();
        self.shared.ledger.bury(now, false);
        self.shared.tell_end(&member, Ending::Detached, now);
        self.shared.news.notify_waiters();
        member.connection
    }

    fn connection(&mut self) -> &mut D::Connection {
        match &mut self.member {
            Some(member) => &mut member.connection,
            None => unreachable!("a lease has its connection until it is dropped"),
        }
    }

    fn member(&self) -> &Member<D> {
        match &self.member {
            Some(member) => member,
            None => unreachable!("a lease has its connection until it is dropped"),
        }
    }
}

impl<D: Driver> Deref for Lease<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.member().connection
    }
}

impl<D: Driver> DerefMut for Lease<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        self.touched = true;
        self.connection()
    }
}

impl<D: Driver> Drop for Lease<D> {
    fn drop(&mut self) {
        let Some(mut member) = self.member.take() else {
            return;
        };
        let now = clock::coarse();
        let shared = &self.shared;
        let ending = match self.in_flight {
            true => Some(shared.name_unended(&member, now)),
            false => self.verdict,
        };
        if let Some(ending) = ending {
            return shared.let_go(member, ending, now);
        }
        match shared.at_return(&mut member) {
            Returned::Proven { ago } => shared.take_back(member, now, Some(now - ago)),
            Returned::Unproven => shared.take_back(member, now, None),
            Returned::Unseen if self.touched => shared.settle(member, now),
            Returned::Unknown | Returned::Unseen => {
                shared.take_back(member, now, self.answered);
            }
            Returned::Unsettled => shared.settle(member, now),
            Returned::InFlight => {
                let ending = shared.name_unended(&member, now);
                shared.let_go(member, ending, now);
            }
            Returned::Broken => {
                let said = shared.ending(&member);
                shared.let_go(member, said.unwrap_or(Ending::Broken), now);
            }
        }
    }
}

impl<D: Driver> Shared<D> {
    /// Parts with a leased connection. One whose command was cancelled keeps its place until the
    /// driver has let go of it, which the keeper has it do.
    fn let_go(&self, mut member: Box<Member<D>>, ending: Ending, now: Moment) {
        if ending != Ending::Cancelled {
            return self.bury(member, ending, now);
        }
        member.leaving = Some(ending);
        self.ledger.dismiss(member);
    }

    /// Has a connection tidied up before it is used again.
    fn settle(&self, mut member: Box<Member<D>>, now: Moment) {
        member.note_return(now);
        self.ledger.settle(member);
    }

    /// Takes a connection back from its user. Without proof that the server answered meanwhile it is
    /// no better known than before.
    fn take_back(&self, mut member: Box<Member<D>>, now: Moment, proven: Option<Moment>) {
        member.note_return(now);
        if let Some(proven_at) = proven {
            // The coarse clock may lag behind a ping that was answered a moment ago.
            member.proven_at = member.proven_at.max(proven_at);
        }
        if member.card.takes_successor(now) {
            self.ledger.replace(now);
        }
        if member
            .expires_at
            .is_some_and(|expires_at| expires_at <= now)
        {
            member.leaving = Some(Ending::Lifetime);
            return self.ledger.dismiss(member);
        }
        if let Some(member) = self.ledger.put_back(member, proven) {
            let said = self.ending(&member);
            self.bury(member, said.unwrap_or(Ending::HungUp), now);
        }
    }
}
