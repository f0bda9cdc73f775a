//! A pooled session of PostgreSQL: the driver's client, its task, and the marks on its commands.

use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{
    Client, Connection, Row, SimpleQueryMessage, Statement, ToStatement, TransactionBuilder,
};

use super::cancel::{CancelToken, Route};
use super::commands::marked_commands;
use super::error::PostgresError;
use super::marks::Marks;
use super::pump::Pump;
use super::stream::{Stream, Traffic};
use super::transaction::Transaction;
use crate::driver::{Returned, Unread};
use crate::ending::Ending;

/// Asked once for each session; servers before 14 know no such limit.
const ASK: &str = "SELECT name, setting FROM pg_settings
    WHERE name IN ('idle_session_timeout', 'transaction_read_only')";

/// A session: tokio-postgres' [`Client`], and what becomes of it.
///
/// The methods named here are those of the client, marked while under way: a session whose command
/// was cancelled is not given back. The server is asked to cancel it too, and the session counts
/// against `max_open` until that is done, or `close_timeout` has passed.
///
/// Everything else of the client can be called as well (`query_raw`, `copy_in`, `copy_out`…). The
/// pool cannot see how that ends, so the session is pinged when it comes back, which waits for
/// whatever is still under way, before anybody else gets it; what has not ended within
/// `ping_timeout` ends with its session. It goes on at the server until that notices, at the end of
/// the command or by `client_connection_check_interval`. Within [`Lease::run`](crate::Lease::run)
/// such commands are cancelled like the others.
///
/// # What is not reset
///
/// Whatever else a user leaves behind reaches the next one: settings made with `SET`, temporary
/// tables, advisory locks, `LISTEN`, and a transaction begun by SQL, since the driver does not tell
/// whether one is open. Begin transactions with [`transaction`](Self::transaction), which rolls
/// back what was dropped; run `DISCARD ALL` before giving back, or
/// [`condemn`](crate::Lease::condemn) the lease, where the rest matters.
pub struct Session {
    client: Client,
    /// The driver's task; aborted when dropped.
    task: JoinSet<()>,
    pump: Arc<Pump>,
    marks: Marks,
    route: Arc<dyn Route>,
}

/// What a server says of a session.
pub(super) struct Traits {
    pub(super) idle_limit: Option<Duration>,
    pub(super) is_read_only: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("ending", &self.pump.ending())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Gives the driver's connection a task.
    pub(super) fn new<S>(
        client: Client,
        connection: Connection<Stream, S>,
        traffic: Arc<Traffic>,
        route: Arc<dyn Route>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let pump = Arc::new(Pump::new(connection, Arc::clone(&traffic)));
        let mut task = JoinSet::new();
        let driven = Arc::clone(&pump);
        task.spawn(poll_fn(move |cx| driven.poll(cx)));
        Self {
            client,
            task,
            pump,
            marks: Marks::new(traffic),
            route,
        }
    }

    /// Asks what matters to the pool.
    pub(super) async fn ask(&self) -> Result<Traits, tokio_postgres::Error> {
        let mut traits = Traits {
            idle_limit: None,
            is_read_only: false,
        };
        for message in self.client.simple_query(ASK).await? {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            match (row.get(0), row.get(1)) {
                (Some("transaction_read_only"), Some(setting)) => {
                    traits.is_read_only = setting == "on";
                }
                (Some("idle_session_timeout"), Some(setting)) => {
                    let limit = setting.parse().ok().map(Duration::from_millis);
                    traits.idle_limit = limit.filter(|limit| !limit.is_zero());
                }
                _ => {}
            }
        }
        Ok(traits)
    }

    /// Waits for an answer, and so for all that were sent for before.
    pub(super) async fn ping(&self) -> Result<(), PostgresError> {
        let answer = self.client.check_connection().await;
        answer.map_err(|error| self.marks.note_error(error))
    }

    /// Reads what has come so far, and says whether the session lives on.
    pub(super) fn read_on(&self) -> Unread {
        self.pump.poll_now();
        match self.is_closed() {
            true => Unread::Dead,
            false => Unread::Alive,
        }
    }

    /// Lets the driver's task say goodbye, which it does once all commands have ended.
    pub(super) async fn end(self) {
        let Self {
            client, mut task, ..
        } = self;
        drop(client);
        task.join_next().await;
    }

    /// Whether something may be under way at the server.
    pub(super) fn is_busy(&self) -> bool {
        !self.is_closed() && self.marks.is_busy()
    }

    pub(super) fn at_return(&self) -> Returned {
        match self.is_closed() {
            true => Returned::Broken,
            false => self.marks.at_return(),
        }
    }

    /// Why the server ended the session, as far as it has said so by now. The driver keeps last words
    /// from us if it takes them for the answer to the closing of a statement.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.pump.poll_now();
        // The words tell more than the end that follows them.
        self.marks.last_words().or(self.pump.ending())
    }

    /// [`Client::is_closed`].
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.pump.ending().is_some()
    }

    /// What cancels the session's commands from another task. In place of
    /// [`Client::cancel_token`], whose `cancel_query` would need a stream made by the driver.
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken::new(self.client.cancel_token(), Arc::clone(&self.route))
    }

    /// Begins a transaction, which is rolled back unless it is committed.
    ///
    /// # Errors
    ///
    /// The client's.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>, PostgresError> {
        self.transaction_as(|builder| builder).await
    }

    /// Begins a transaction of a kind, such as
    /// `transaction_as(|it| it.isolation_level(IsolationLevel::Serializable))`.
    ///
    /// # Errors
    ///
    /// The client's.
    pub async fn transaction_as(
        &mut self,
        kind: impl for<'b> FnOnce(TransactionBuilder<'b>) -> TransactionBuilder<'b>,
    ) -> Result<Transaction<'_>, PostgresError> {
        let begin = kind(self.client.build_transaction()).start();
        let inner = self.marks.mark(begin).await?;
        Ok(Transaction::new(inner, &self.marks))
    }
}

marked_commands!(Session, client, marks);

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.marks.note_unseen();
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        self.marks.note_unseen();
        &mut self.client
    }
}
