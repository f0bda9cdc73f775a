//! What a session tells its owner: the closed list of things that can happen on a connection.
//!
//! Both protocols answer with the same events, so that a probe has one loop for both. Texts that
//! come from the peer are untrusted and are kept as the peer sent them, cut to a bounded length,
//! with control characters replaced.

use std::fmt;

use crate::Answer;

/// One thing that happened on a session; see [`Session::handle_input`](crate::Session::handle_input).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server's first words: MySQL's greeting, or PostgreSQL's first answer to a
    /// StartupMessage (a request for a password counts). Comes once, before all that follows,
    /// save [`StartTls`](Self::StartTls) for PostgreSQL.
    Greeted(Greeting),
    /// The peer agreed to TLS: send what is in `out`, do the TLS handshake on the same socket,
    /// then call [`Session::handle_tls_established`](crate::Session::handle_tls_established).
    /// No input is left over; bytes that a peer slipped in here are [`Malformed`](Self::Malformed).
    StartTls,
    /// [`TlsOffer::Require`](crate::TlsOffer::Require) was asked and the server speaks no TLS.
    /// The session is of no use; a MySQL server is told a stranger's name, so that the handshake
    /// ends and is not counted as broken off.
    TlsRefused,
    /// Authentication is complete and the server takes commands.
    LoggedIn(Greeting),
    /// The answer to a ping.
    Pong,
    /// The answer to a query.
    Answer(Box<Answer>),
    /// The server refused, in its own words: an error packet or an ErrorResponse. During login
    /// the session is over; after it, commands may go on unless `fatal`.
    Refused(Refusal),
    /// What answers is not a database of this protocol.
    WrongProtocol(Foreign),
    /// The protocol is right, the bytes are not; the text says what was expected. The session is
    /// over.
    Malformed(&'static str),
}

/// What a server says of itself, as far as the session has got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greeting {
    /// The server's kind; `None` while PostgreSQL has not let us in.
    pub product: Option<Product>,
    /// Version as a person would write it, e.g. `10.11.19` or `15.18`; the full text of the
    /// server (`5.5.5-10.11.19-MariaDB-0+deb12u1`) is trimmed to its number.
    pub version: Option<String>,
    /// The server's id of this session (MySQL's connection id, PostgreSQL's backend pid).
    pub session_id: Option<u32>,
    /// PostgreSQL since 14: whether the server is a standby, from `in_hot_standby`.
    pub in_hot_standby: Option<bool>,
    /// PostgreSQL since 14: `default_transaction_read_only`.
    pub default_read_only: Option<bool>,
}

/// The kinds of server told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// MySQL and its forks that call themselves so.
    MySql,
    /// MariaDB.
    MariaDb,
    /// PostgreSQL.
    PostgreSql,
}

impl Product {
    /// The name used in JSON and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
            Self::PostgreSql => "postgresql",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A server's refusal, in numbers first: texts are for people and may be translated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// MySQL's error number (1040, 1045, …); 0 for PostgreSQL.
    pub number: u16,
    /// SQLSTATE; empty where the server sent none (MySQL before the handshake).
    pub sqlstate: String,
    /// The message, at most 512 bytes of it.
    pub message: String,
    /// PostgreSQL: the routine of the source that reported the error; it tells a full server
    /// (`InitProcess`) from a role's own limit (`InitializeSessionUserId`). Empty for MySQL.
    pub routine: String,
    /// The server ends the session after this (PostgreSQL's FATAL and PANIC, any MySQL refusal
    /// during login).
    pub fatal: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number, self.sqlstate.is_empty()) {
            (0, true) => f.write_str(&self.message),
            (0, false) => write!(f, "{}: {}", self.sqlstate, self.message),
            (number, true) => write!(f, "{number}: {}", self.message),
            (number, false) => write!(f, "{number} ({}): {}", self.sqlstate, self.message),
        }
    }
}

/// What a foreign peer looks like, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// An HTTP server.
    Http,
    /// A TLS record where plain text was due.
    Tls,
    /// An SSH server.
    Ssh,
    /// The other database protocol: MySQL where PostgreSQL was asked.
    MySql,
    /// The other database protocol: PostgreSQL where MySQL was asked.
    PostgreSql,
    /// Something else.
    Unrecognised,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "an HTTP server",
            Self::Tls => "a TLS server",
            Self::Ssh => "an SSH server",
            Self::MySql => "a MySQL or MariaDB server",
            Self::PostgreSql => "a PostgreSQL server",
            Self::Unrecognised => "something that is no database of this kind",
        })
    }
}
