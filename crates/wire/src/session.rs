//! The client's side of one connection, whichever the protocol.
//!
//! A thin sum of [`mysql::Client`] and [`postgres::Client`], which obey the same contract; a probe
//! talks to this type alone.

use crate::{Event, Login, mysql, postgres};

/// A client session of either protocol.
///
/// Contract: `handle_*` take input, commands append to `out`, nothing waits. Call
/// [`handle_input`](Self::handle_input) until it returns `None`, send `out` after each call.
#[derive(Debug)]
pub enum Session {
    /// MySQL or MariaDB.
    MySql(mysql::Client),
    /// PostgreSQL.
    Postgres(postgres::Client),
}

impl Session {
    /// Starts a MySQL session; the server speaks first, so nothing is sent.
    pub fn mysql(login: Login) -> Self {
        Self::MySql(mysql::Client::new(login))
    }

    /// Starts a PostgreSQL session: appends an SSLRequest or a StartupMessage to `out`.
    pub fn postgres(login: Login, out: &mut Vec<u8>) -> Self {
        Self::Postgres(postgres::Client::new(login, out))
    }

    /// Takes bytes from the peer and returns the next event, if they complete one.
    ///
    /// Advances `input` past what was used. Returns `None` when all of `input` is used and
    /// nothing more is to be told; until then, call again. After an event that ends the session
    /// all further input is ignored.
    pub fn handle_input(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Event> {
        match self {
            Self::MySql(client) => client.handle_input(input, out),
            Self::Postgres(client) => client.handle_input(input, out),
        }
    }

    /// Goes on after the TLS handshake that [`Event::StartTls`] asked for.
    pub fn handle_tls_established(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::MySql(client) => client.handle_tls_established(out),
            Self::Postgres(client) => client.handle_tls_established(out),
        }
    }

    /// Goes on after a TLS handshake with a peer that is not trusted: as a stranger, to whom no
    /// credentials belong, and only as far as the protocol wants a handshake to be finished.
    pub fn decline(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::MySql(client) => client.decline(out),
            Self::Postgres(client) => client.decline(),
        }
    }

    /// Asks whether the server is there: COM_PING, or PostgreSQL's empty query.
    ///
    /// Answered by [`Event::Pong`] or [`Event::Refused`]. Only after [`Event::LoggedIn`], one
    /// command at a time; a ping out of turn appends nothing and returns `false`.
    pub fn ping(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::MySql(client) => client.ping(out),
            Self::Postgres(client) => client.ping(out),
        }
    }

    /// Runs a statement, or several with semicolons between them; answered by [`Event::Answer`] or
    /// [`Event::Refused`]. Same rules as [`ping`](Self::ping).
    pub fn query(&mut self, sql: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Self::MySql(client) => client.query(sql, out),
            Self::Postgres(client) => client.query(sql, out),
        }
    }

    /// Leaves politely: COM_QUIT or Terminate, where the protocol allows one now.
    ///
    /// Returns whether the connection may be closed at once after `out` is sent. `false` means
    /// that a login is under way which, broken off, the server would log and count as an error
    /// (MySQL's `max_connect_errors`): go on feeding input, ignore its events, and ask again
    /// after each, until it says `true` or patience ends.
    pub fn goodbye(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::MySql(client) => client.goodbye(out),
            Self::Postgres(client) => client.goodbye(out),
        }
    }

    /// The server's id of this session, once it has told: MySQL's connection id, PostgreSQL's
    /// backend pid.
    pub fn id(&self) -> Option<u32> {
        match self {
            Self::MySql(client) => client.id(),
            Self::Postgres(client) => client.id(),
        }
    }

    /// The packet that asks the server, on a connection of its own, to give up the statement that
    /// runs on this session: PostgreSQL's CancelRequest. `None` where the protocol has none
    /// (MySQL's KILL is a statement), or before the server gave the key.
    pub fn cancel_request(&self) -> Option<[u8; 16]> {
        match self {
            Self::MySql(_) => None,
            Self::Postgres(client) => client.cancel_request(),
        }
    }

    /// Whether the session has logged in and waits for a command.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::MySql(client) => client.is_idle(),
            Self::Postgres(client) => client.is_idle(),
        }
    }
}
