//! A checkout: the future that an application awaits.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dbvitals_verdict::Moment;
use thiserror::Error;

use crate::clock;
use crate::counters::add_one;
use crate::driver::Driver;
use crate::failure::ConnectError;
use crate::lease::Lease;
use crate::ledger::Answer;
use crate::member::Member;
use crate::seat::{Asker, Refusal};
use crate::shared::{Finding, Shared};
use crate::turn::Turn;

/// A checkout under way; see [`Pool::acquire`](crate::Pool::acquire).
///
/// # Cancel safety
///
/// It may be dropped at any point: it leaves the line, and what it was handed goes to the next.
/// No connection is lost, and none is opened or tried in vain.
#[must_use = "a checkout begins when it is awaited"]
pub struct Acquire<'p, D: Driver> {
    shared: &'p Arc<Shared<D>>,
    place: &'static Location<'static>,
    patience: Duration,
    asker: Option<Asker>,
    turn: Option<Turn<'p, Box<Member<D>>>>,
}

/// Why a checkout came away with nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcquireError<E: std::error::Error + 'static> {
    /// The pool was closed.
    #[error("check out a connection: the pool is closed")]
    Closed,
    /// All connections were in use all the while: the pool is too small, its users hold them for
    /// too long, or some are never given back.
    #[error("check out a connection within {waited:?}: all {max_open} are in use")]
    Saturated {
        /// How long it waited.
        waited: Duration,
        /// How many there may be.
        max_open: usize,
    },
    /// The server could not be reached, or let nobody in.
    #[error("check out a connection within {waited:?}: no connection could be opened: {error}")]
    Unreachable {
        /// How long it waited.
        waited: Duration,
        /// How the last attempt failed.
        #[source]
        error: Arc<ConnectError<E>>,
    },
    /// The server lets nobody in, and will not before something is changed; no connection is open.
    #[error("check out a connection: the server refuses the login: {error}")]
    Rejected {
        /// What it said.
        #[source]
        error: Arc<ConnectError<E>>,
    },
    /// The server did not answer in time; no attempt has failed yet.
    #[error("check out a connection within {waited:?}: the server has not answered yet")]
    Unanswered {
        /// How long it waited.
        waited: Duration,
    },
}

impl<D: Driver> fmt::Debug for Acquire<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("place", &self.place)
            .field("waits", &self.turn.is_some())
            .finish_non_exhaustive()
    }
}

impl<'p, D: Driver> Acquire<'p, D> {
    pub(crate) fn new(
        shared: &'p Arc<Shared<D>>,
        place: &'static Location<'static>,
        patience: Duration,
    ) -> Self {
        Self {
            shared,
            place,
            patience,
            asker: None,
            turn: None,
        }
    }

    fn refuse(&self, refusal: Refusal, now: Moment) -> AcquireError<D::Error> {
        let waited = self.asker.map_or(Duration::ZERO, |it| now.since(it.since));
        match refusal {
            Refusal::Closed => AcquireError::Closed,
            Refusal::TimedOut => self.shared.explain_wait(waited),
            Refusal::Rejected => match self.shared.failure() {
                Some(error) => AcquireError::Rejected { error },
                None => self.shared.explain_wait(waited),
            },
        }
    }

    /// Whether the outage lasts for so long that there is no point in waiting.
    fn fails_fast(&self, now: Moment) -> bool {
        let Some(after) = self.shared.settings.fail_fast_after else {
            return false;
        };
        let census = self.shared.ledger.census();
        let settings = &self.shared.settings;
        // Nobody may have tried since it failed the last time, or an attempt may hang.
        let known_for = settings.connect_timeout + settings.connect_pause_max * 2;
        let goes_on = |failed_at| now.since(failed_at) <= known_for;
        let lasts = |since| now.since(since) >= after;
        census.leased == 0
            && census.is_away()
            && census.outage_since.is_some_and(lasts)
            && census.failed_at.is_some_and(goes_on)
    }
}

impl<D: Driver> Shared<D> {
    /// Tells a full pool from a dead server.
    pub(crate) fn explain_wait(&self, waited: Duration) -> AcquireError<D::Error> {
        let census = self.ledger.census();
        let max_open = self.bounds().max_open;
        if census.leased >= max_open {
            return AcquireError::Saturated { waited, max_open };
        }
        match self.failure() {
            Some(error) => AcquireError::Unreachable { waited, error },
            None if census.leased > 0 && census.opening == 0 => {
                AcquireError::Saturated { waited, max_open }
            }
            None => AcquireError::Unanswered { waited },
        }
    }
}

impl<D: Driver> Future for Acquire<'_, D> {
    type Output = Result<Lease<D>, AcquireError<D::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = this.shared;
        let now = clock::coarse();
        let asker = this.asker.get_or_insert_with(|| Asker {
            since: now,
            deadline: now + this.patience,
            again: false,
        });
        loop {
            let mut member = match &mut this.turn {
                Some(turn) => match turn.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(member)) => member,
                    Poll::Ready(Err(refusal)) => {
                        this.turn = None;
                        return Poll::Ready(Err(this.refuse(refusal, now)));
                    }
                },
                None => match shared.ledger.ask(*asker, now, cx.waker()) {
                    Answer::Member(member) => member,
                    Answer::Wait(turn) => {
                        this.turn = Some(turn);
                        if this.fails_fast(now) {
                            this.turn = None;
                            add_one(&shared.counters.failed_fast);
                            return Poll::Ready(Err(this.refuse(Refusal::TimedOut, now)));
                        }
                        return Poll::Pending;
                    }
                    Answer::Closed => return Poll::Ready(Err(AcquireError::Closed)),
                },
            };
            this.turn = None;
            match shared.examine(&mut member, now) {
                Finding::Alive => {
                    member.note_lease(this.place, now);
                    return Poll::Ready(Ok(Lease::new(shared, member)));
                }
                Finding::Dead(ending) => shared.bury(member, ending, now),
                Finding::Doubtful => shared.ledger.try_out(member),
            }
            // It keeps its turn, before all others. Every round ends or removes a connection, so
            // there are no more rounds than connections.
            asker.again = true;
        }
    }
}
