//! What the pool needs of a database driver: one trait, with what may be cancelled said of each
//! method.
//!
//! The pool calls everything that takes time from tasks of its own, each with a limit, and never
//! from the future that an application awaits: an application that gives up cancels nothing here.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::ending::Ending;

/// A kind of connection: how to open one, how to find out whether it lives, how to close it.
///
/// # Cancel safety
///
/// The pool drops the future of an asynchronous method when the method's limit has passed or the
/// pool is dropped. Whatever it was working on is dropped with it and not used again, so none of
/// them has to be cancel safe; what that means for each is said there.
pub trait Driver: Send + Sync + 'static {
    /// What is pooled.
    type Connection: Send + 'static;
    /// How opening or using one fails.
    type Error: Error + Send + Sync + 'static;

    /// Opens a connection, ready for use. Ends with `connect_timeout`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point: what it has opened by then must close with it.
    fn connect(&self)
    -> impl Future<Output = Result<Opened<Self::Connection>, Self::Error>> + Send;

    /// Asks the server for a sign of life. Ends with `ping_timeout`; the connection is dropped
    /// unless it succeeds.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point; the connection is dropped next, without a goodbye.
    fn ping(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Tidies up a connection that [`at_return`](Self::at_return) calls unsettled. Ends with
    /// `ping_timeout`; the connection is dropped unless it succeeds.
    ///
    /// # Cancel safety
    ///
    /// As with [`ping`](Self::ping).
    fn settle(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.ping(connection)
    }

    /// Says goodbye. Ends with `close_timeout`; dropping the connection is enough by default.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point, and the connection with it: what is not said by then is left
    /// unsaid.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send {
        drop(connection);
        std::future::ready(())
    }

    /// Parts with a connection whose command was cancelled. Ends with `close_timeout`, and counts
    /// against `max_open` until then: where the command goes on at the server, here is the place to
    /// have it cancelled there too. Dropping the connection is enough by default.
    ///
    /// # Cancel safety
    ///
    /// As with [`close`](Self::close).
    fn abandon(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send {
        drop(connection);
        std::future::ready(())
    }

    /// What state a user left a connection in. Must neither wait nor do IO.
    fn at_return(&self, connection: &mut Self::Connection) -> Returned {
        let _ = connection;
        Returned::Unseen
    }

    /// Whether the driver knows already that a connection is closed. Must neither wait nor do IO.
    fn is_closed(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// What unread bytes on an idle connection mean, if the driver can tell without waiting.
    fn judge_unread(&self, connection: &mut Self::Connection) -> Unread {
        let _ = connection;
        Unread::Unclear
    }

    /// Why the server ended a connection that is dead, if it said so. Must neither wait nor use the
    /// pool, whose lock may be held.
    fn ending(&self, connection: &Self::Connection) -> Option<Ending> {
        let _ = connection;
        None
    }

    /// What an error of a command means for the connection it was on. Must neither wait nor do IO.
    fn judge_error(&self, error: &Self::Error) -> Fault;

    /// What an error of [`connect`](Self::connect) means for the attempts that follow. Must neither
    /// wait nor do IO.
    fn judge_attempt(&self, error: &Self::Error) -> ConnectFault {
        let _ = error;
        ConnectFault::Unreachable
    }
}

/// A connection that was opened, and what is known of it.
pub struct Opened<C> {
    pub(crate) connection: C,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) idle_limit: Option<Duration>,
}

impl<C> fmt::Debug for Opened<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the connection itself: some drivers show a password.
        f.debug_struct("Opened")
            .field("socket", &self.socket)
            .field("idle_limit", &self.idle_limit)
            .finish_non_exhaustive()
    }
}

impl<C> Opened<C> {
    /// A connection of which nothing else is known: only pings can tell whether it lives.
    pub fn new(connection: C) -> Self {
        Self {
            connection,
            socket: None,
            idle_limit: None,
        }
    }

    /// Adds a duplicate of the connection's socket (`AsFd::as_fd(&stream).try_clone_to_owned()`).
    /// The pool never reads or writes; it looks at it, sets keepalive, and shuts it down when it parts
    /// with the connection without a goodbye: it must belong to this connection alone.
    #[must_use]
    pub fn with_socket(mut self, socket: OwnedFd) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Adds how long the server lets a session idle before it ends it.
    #[must_use]
    pub fn with_idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = Some(limit);
        self
    }
}

/// What state a connection came back in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// The server answered on this lease, last so long ago, and nothing is pending.
    Proven {
        /// The time since its last answer.
        ago: Duration,
    },
    /// The server did not answer on this lease, and nothing is pending: what is known of the
    /// connection is as old as it was.
    Unproven,
    /// Nothing is pending, and whether the server answered is not known.
    Unknown,
    /// The driver does not know what was done. Where all of it was [run](crate::Lease::run), the pool
    /// does, and it is as with [`Unknown`](Self::Unknown); where the connection was used in another
    /// way, an answer may still be to come, and it is [settled](Driver::settle).
    Unseen,
    /// Something is left behind, and [`Driver::settle`] is to tidy it up.
    Unsettled,
    /// A command was begun and not ended, or the driver cannot tell that from a loss: the pool then
    /// looks at the socket.
    InFlight,
    /// It is of no use any more.
    Broken,
}

/// What unread bytes on an idle connection mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Something a living server says by itself, such as a notification.
    Alive,
    /// The server's last words.
    Dead,
    /// Only a ping can tell.
    Unclear,
}

/// What an error of a command means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection was lost before the server can have seen any command since the checkout: all
    /// of them may be repeated on another one, and [`Pool::run`](crate::Pool::run) begins again from
    /// the first. That nothing was sent of the one that failed is not enough, as those before it may
    /// have taken effect. The adapters for mysql_async and sqlx never know so much.
    LostBefore,
    /// The connection was lost, and whether the command took effect is not known: only what does
    /// no harm twice may be repeated.
    Lost,
    /// The server answered with an error; the connection is fine.
    Answered,
    /// A mistake of the caller's ended the command on this side, and left the connection in the
    /// middle of it: it is closed, and nothing is repeated.
    Spoiled,
}

/// What an error of an attempt to connect means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFault {
    /// Nobody answered: the next attempt follows soon, as it costs a server that is away nothing.
    Unreachable,
    /// The server answered, and lets nobody in for now, being full or busy with its start: it is
    /// asked again after 50 ms, or later the longer it lasts.
    NotNow,
    /// The server answered, and lets nobody in before something is changed, such as a password: it
    /// is asked once a second, and who waits is told at once rather than at the end of its patience.
    Rejected,
}
