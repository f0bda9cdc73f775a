//! What moves the driver's connection along: its task, and whoever looks at an idle session and
//! finds bytes that the task has not read yet.
//!
//! A prepared statement that was dropped is closed later, and the answer to that may well arrive
//! while the next checkout looks, as may a notification. Both are signs of life, and the server's
//! last words are not: the driver tells them apart, so it is given what is there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::stream::Traffic;
use crate::ending::Ending;
use crate::postgres_words::name_ending;

/// The driver's connection, to be polled by one at a time.
pub(super) struct Pump {
    state: Mutex<State>,
    traffic: Arc<Traffic>,
    ending: OnceLock<Ending>,
}

type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

struct State {
    /// `None` once it has ended.
    connection: Option<Running>,
    /// Wakes the task, whoever polls.
    waker: Option<Waker>,
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump")
            .field("ending", &self.ending.get())
            .finish_non_exhaustive()
    }
}

impl Pump {
    pub(super) fn new(
        connection: impl Future<Output = Result<(), Error>> + Send + 'static,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                connection: Some(Box::pin(connection)),
                waker: None,
            }),
            traffic,
            ending: OnceLock::new(),
        }
    }

    /// Moves it along, for its task; ready once it has ended.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        self.advance(&mut state)
    }

    /// Moves it along with all that the kernel has by now, for whoever looks.
    pub(super) fn poll_now(&self) {
        let mut state = self.state();
        self.traffic.set_eager(true);
        let outcome = self.advance(&mut state);
        self.traffic.set_eager(false);
        if let (Poll::Ready(()), Some(waker)) = (outcome, &state.waker) {
            waker.wake_by_ref();
        }
    }

    /// Why the connection has ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.get().copied()
    }

    fn advance(&self, state: &mut State) -> Poll<()> {
        let State { connection, waker } = state;
        let (Some(running), Some(waker)) = (connection.as_mut(), waker) else {
            // It has ended, or its task has not begun.
            return match connection.is_none() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
        };
        let Poll::Ready(outcome) = running.as_mut().poll(&mut Context::from_waker(waker)) else {
            return Poll::Pending;
        };
        *connection = None;
        if let Err(error) = outcome {
            let _ = self
                .ending
                .set(name_ending(error.code().map(SqlState::code)));
        }
        Poll::Ready(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
