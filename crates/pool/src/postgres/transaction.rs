//! A transaction on a pooled session.

use std::fmt;
use std::ops::{Deref, DerefMut};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage, Statement, ToStatement};

use super::commands::marked_commands;
use super::error::PostgresError;
use super::marks::Marks;

/// A transaction: tokio-postgres' [`Transaction`](tokio_postgres::Transaction), with its commands
/// marked as those of a [`Session`](super::Session) are.
///
/// It is rolled back when dropped, and the server has confirmed that before anybody else gets the
/// session. Everything else of the driver's can be called as well; the session is then settled by
/// a ping at its return.
pub struct Transaction<'s> {
    inner: tokio_postgres::Transaction<'s>,
    marks: &'s Marks,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl<'s> Transaction<'s> {
    pub(super) fn new(inner: tokio_postgres::Transaction<'s>, marks: &'s Marks) -> Self {
        marks.open_transaction();
        Self { inner, marks }
    }

    /// Commits.
    ///
    /// # Errors
    ///
    /// The driver's. If the session was lost, whether the commit took effect is not known.
    pub async fn commit(self) -> Result<(), PostgresError> {
        let result = self.marks.mark(self.inner.commit()).await;
        self.marks.end_transaction();
        result
    }

    /// Rolls back, which dropping does as well, without waiting.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn rollback(self) -> Result<(), PostgresError> {
        let result = self.marks.mark(self.inner.rollback()).await;
        self.marks.end_transaction();
        result
    }

    /// Begins a transaction within this one, by a savepoint.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>, PostgresError> {
        let inner = self.marks.mark(self.inner.transaction()).await?;
        Ok(Transaction::new(inner, self.marks))
    }
}

marked_commands!(Transaction<'_>, inner, marks);

impl<'s> Deref for Transaction<'s> {
    type Target = tokio_postgres::Transaction<'s>;

    fn deref(&self) -> &tokio_postgres::Transaction<'s> {
        self.marks.note_unseen();
        &self.inner
    }
}

impl<'s> DerefMut for Transaction<'s> {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Transaction<'s> {
        self.marks.note_unseen();
        &mut self.inner
    }
}
