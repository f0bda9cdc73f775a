//! What the pool needs of a database driver: one trait, with what may be cancelled said of each
//! method.
//!
//! The pool calls everything that takes time from tasks of its own, each with a limit, and never
//! from the future that an application awaits: an application that gives up cancels nothing here.

use std::error::Error;
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
///
/// # Under the pool's lock
///
/// [`is_closed`](Self::is_closed), [`judge_unread`](Self::judge_unread) and
/// [`ending`](Self::ending) may be called while the pool's lock is held. They must not use the
/// pool, nor wait for anybody who does: that would be a deadlock. All others are called without it.
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
        Returned::Unknown
    }

    /// Whether the driver knows already that a connection is closed. Must neither wait nor do IO,
    /// nor use the pool, whose lock may be held.
    fn is_closed(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// What unread bytes on an idle connection mean, if the driver can tell without waiting. Must
    /// not use the pool, whose lock may be held.
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
}

/// A connection that was opened, and what is known of it.
#[derive(Debug)]
pub struct Opened<C> {
    pub(crate) connection: C,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) idle_limit: Option<Duration>,
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
    /// The pool only looks at it, never reads or writes, and closes it with the connection.
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
    /// Something is left behind, and [`Driver::settle`] is to tidy it up.
    Unsettled,
    /// A command was begun and not ended.
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
    /// The connection was lost before the server can have seen the command, or any other one since
    /// the checkout: all of them may be repeated on another one. [`Pool::run`](crate::Pool::run)
    /// begins again from the first.
    LostBefore,
    /// The connection was lost, and whether the command took effect is not known: only what does
    /// no harm twice may be repeated.
    Lost,
    /// The server answered with an error; the connection is fine.
    Answered,
}
