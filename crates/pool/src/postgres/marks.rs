//! What is known of the commands on a session since it was checked out.
//!
//! A command counts as begun and as ended; one that was cancelled is begun for ever, and so makes
//! its session unreturnable. What the driver's own client is used for goes unseen: then the server
//! has to answer once more before anybody else gets the session.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use dbvitals_verdict::Moment;

use super::error::PostgresError;
use super::stream::Traffic;
use crate::clock;
use crate::driver::{Fault, Returned};
use crate::ending::Ending;
use crate::postgres_words::name_ending;

/// The marks on a session; all but the bytes and the last words are of one checkout.
#[derive(Debug)]
pub(super) struct Marks {
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the server last answered, in nanoseconds of the pool's clock; zero if it has not.
    answered_at: AtomicU64,
    /// Transactions that were neither committed nor rolled back.
    open_transactions: AtomicU64,
    /// The client was used past the marks.
    unseen: AtomicBool,
    /// How many bytes were ever sent, and how many before the first command.
    traffic: Arc<Traffic>,
    written_before: AtomicU64,
    /// Why the server ended the session, if a command or a ping got its last words for an answer.
    last_words: OnceLock<Ending>,
}

impl Marks {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            answered_at: AtomicU64::new(0),
            open_transactions: AtomicU64::new(0),
            unseen: AtomicBool::new(false),
            traffic,
            written_before: AtomicU64::new(0),
            last_words: OnceLock::new(),
        }
    }

    /// Counts a command while it is under way.
    pub(super) async fn mark<R>(
        &self,
        command: impl Future<Output = Result<R, tokio_postgres::Error>>,
    ) -> Result<R, PostgresError> {
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            let written = self.traffic.written();
            self.written_before.store(written, Ordering::Relaxed);
        }
        let result = command.await;
        self.ended.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(value) => {
                self.note_answer();
                Ok(value)
            }
            Err(error) if error.is_closed() && self.nothing_sent() => Err(PostgresError::Unsent),
            Err(error) => {
                // Only what the server says proves that it lives: a value that could not be
                // converted never left this process.
                if error.as_db_error().is_some() {
                    self.note_answer();
                }
                Err(self.note_error(error))
            }
        }
    }

    /// Remembers the server's last words, if it is they.
    pub(super) fn note_error(&self, error: tokio_postgres::Error) -> PostgresError {
        let error = PostgresError::from(error);
        if let (Fault::Lost, Some(words)) = (error.fault(), error.as_db_error()) {
            let _ = self.last_words.set(name_ending(Some(words.code().code())));
        }
        error
    }

    pub(super) fn last_words(&self) -> Option<Ending> {
        self.last_words.get().copied()
    }

    fn note_answer(&self) {
        let now = clock::coarse().as_nanos();
        self.answered_at.store(now, Ordering::Relaxed);
    }

    /// Whether the server has seen nothing since the checkout. Where it is not known, it may have.
    fn nothing_sent(&self) -> bool {
        let before = self.written_before.load(Ordering::Relaxed);
        let unseen = self.unseen.load(Ordering::Relaxed);
        !unseen && self.traffic.written() == before
    }

    pub(super) fn note_unseen(&self) {
        self.unseen.store(true, Ordering::Relaxed);
    }

    pub(super) fn open_transaction(&self) {
        self.open_transactions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_transaction(&self) {
        self.open_transactions.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether something may be under way at the server.
    pub(super) fn is_busy(&self) -> bool {
        self.is_in_flight() || self.unseen.load(Ordering::Relaxed)
    }

    fn is_in_flight(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.ended.load(Ordering::Relaxed)
    }

    /// What state a user left the session in; forgets the user, unless it is of no use any more.
    pub(super) fn at_return(&self) -> Returned {
        if self.is_in_flight() {
            return Returned::InFlight;
        }
        self.begun.store(0, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        let answered_at = self.answered_at.swap(0, Ordering::Relaxed);
        let open_transactions = self.open_transactions.swap(0, Ordering::Relaxed);
        let unseen = self.unseen.swap(false, Ordering::Relaxed);
        match answered_at {
            // A rollback is on its way, or who knows what.
            _ if unseen || open_transactions > 0 => Returned::Unsettled,
            0 => Returned::Unproven,
            _ => {
                let ago = clock::coarse().since(Moment::from_nanos(answered_at));
                Returned::Proven { ago }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::task::{Context, Waker};

    use super::*;

    fn marks() -> Marks {
        Marks::new(Arc::default())
    }

    fn done() -> Ready<Result<(), tokio_postgres::Error>> {
        ready(Ok(()))
    }

    #[tokio::test]
    async fn an_answer_is_proof_and_nothing_is_none() {
        let marks = marks();
        assert_eq!(marks.at_return(), Returned::Unproven);
        marks.mark(done()).await.unwrap();
        assert!(!marks.is_busy());
        assert!(matches!(marks.at_return(), Returned::Proven { .. }));
        assert_eq!(marks.at_return(), Returned::Unproven, "of the last user");
    }

    #[tokio::test]
    async fn what_was_cancelled_is_in_flight_whatever_came_after() {
        let marks = marks();
        {
            let never = std::future::pending::<Result<(), tokio_postgres::Error>>();
            let mut command = Box::pin(marks.mark(never));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(command.as_mut().poll(&mut cx).is_pending());
        }
        marks.mark(done()).await.unwrap();
        assert_eq!(marks.at_return(), Returned::InFlight);
        assert!(marks.is_busy(), "which is worth to be cancelled");
    }

    #[tokio::test]
    async fn what_was_not_seen_has_to_be_settled() {
        let marks = marks();
        marks.mark(done()).await.unwrap();
        marks.note_unseen();
        assert_eq!(marks.at_return(), Returned::Unsettled);
        marks.open_transaction();
        assert_eq!(marks.at_return(), Returned::Unsettled);
        marks.open_transaction();
        marks.end_transaction();
        assert_eq!(marks.at_return(), Returned::Unproven);
    }
}
