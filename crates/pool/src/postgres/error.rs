//! How opening or using a session of PostgreSQL fails, and what that means for the session.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::{DbError, Severity};

use crate::driver::Fault;
use crate::postgres_words::ends_session;

/// How opening or using a session fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The configuration leads nowhere.
    #[error("read the configuration: {0}")]
    Config(#[from] ConfigFault),
    /// No stream could be had.
    #[error("reach the server: {0}")]
    Stream(#[from] io::Error),
    /// A host took too long to reach, or to log in at.
    #[error("reach the server: no session within {0:?}")]
    TimedOut(Duration),
    /// TLS could not be prepared.
    #[error("prepare TLS: {0}")]
    Tls(Box<dyn std::error::Error + Send + Sync>),
    /// The server is not what the configuration's `target_session_attrs` asks for.
    #[error("open a session: it is {is}, and target_session_attrs asks for {wanted}")]
    WrongRole {
        /// What the server lets a session do.
        is: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The session had ended, and nothing was sent on it since it was checked out.
    #[error("send a command: the server had ended the session before")]
    Unsent,
    /// The server's words, or the driver's own.
    #[error("{}", Told(.0))]
    Driver(tokio_postgres::Error),
}

/// A configuration that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigFault {
    /// There is nowhere to go.
    #[error("it names neither host nor hostaddr")]
    NoHost,
    /// Each host has an address, or none has.
    #[error(
        "it has {hosts} of host, {addresses} of hostaddr: as many of both, or one of them only"
    )]
    Addresses {
        /// How many names.
        hosts: usize,
        /// How many addresses.
        addresses: usize,
    },
    /// Each host has a port, or all have the same.
    #[error("it has {ports} of port for {hosts} hosts: as many, or one for all")]
    Ports {
        /// How many hosts.
        hosts: usize,
        /// How many ports.
        ports: usize,
    },
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

impl PostgresError {
    /// The server's own words, if it is they that are the error.
    pub fn as_db_error(&self) -> Option<&DbError> {
        match self {
            Self::Driver(error) => error.as_db_error(),
            Self::Config(_)
            | Self::Stream(_)
            | Self::TimedOut(_)
            | Self::Tls(_)
            | Self::WrongRole { .. }
            | Self::Unsent => None,
        }
    }

    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Driver(error) => match error.as_db_error() {
                Some(words) if is_fatal(words) => Fault::Lost,
                Some(_) => Fault::Answered,
                None => judge_driver(error),
            },
            Self::Unsent => Fault::LostBefore,
            // Of attempts to connect, and of requests to cancel: not of this session.
            Self::Config(_)
            | Self::Stream(_)
            | Self::TimedOut(_)
            | Self::Tls(_)
            | Self::WrongRole { .. } => Fault::Answered,
        }
    }
}

/// Whether the server hangs up after these words. One before 9.6 says so in its own language alone:
/// then the code has to tell.
fn is_fatal(words: &DbError) -> bool {
    match words.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        None => ends_session(words.code().code()),
    }
}

/// What an error means that the server did not send.
fn judge_driver(error: &tokio_postgres::Error) -> Fault {
    let is_io = error
        .source()
        .is_some_and(|source| source.is::<io::Error>());
    match error.is_closed() || is_io {
        // It may have been sent before the end was seen.
        true => Fault::Lost,
        // A value could not be converted, or a row was missing: no harm to the session.
        false => Fault::Answered,
    }
}

/// An error of the driver's in full: its own words are "db error" for all that a server says.
///
/// The server's details and hints stay out, as they may quote a row.
struct Told<'e>(&'e tokio_postgres::Error);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(words) = self.0.as_db_error() {
            let (severity, code) = (words.severity(), words.code().code());
            return write!(f, "{severity} {code}: {}", words.message());
        }
        write!(f, "{}", self.0)?;
        match self.0.source() {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}
