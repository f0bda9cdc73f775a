//! What is probed: an address, a protocol, and all that a login needs.
//!
//! Made by the program from URLs and configuration; checked there, so that a prober never meets a
//! target that makes no sense.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::Want;
use dbvitals_wire::Credentials;

use crate::tls::TlsPolicy;

/// The language spoken at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MySQL and MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
    /// None that is known here: connecting is all.
    Opaque,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP, by name or address.
    Tcp {
        /// A host name, or an IP address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The host's name or IP address; `localhost` for a unix socket.
    pub fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }

    /// The IP address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { host, .. } => host.parse().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A statement, and what its answer has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement; the first column of its first row is the answer.
    pub sql: String,
    /// The answer expected, as text; any answer will do where none is given.
    pub equals: Option<String>,
}

/// One thing to probe.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// What it speaks.
    pub protocol: Protocol,
    /// Who logs in, at the depths that do; shared, because a fleet has one account for it.
    pub credentials: Option<Arc<Credentials>>,
    /// Whether and how TLS is used.
    pub tls: TlsPolicy,
    /// The statement of depth `query`; `SELECT 1` where none is given.
    pub statement: Option<Arc<Statement>>,
    /// Whether the newest answer to the statement is kept, for
    /// [`Prober::take_answer`](crate::Prober::take_answer).
    pub keeps_answer: bool,
    /// What it must be, at depth `role` and deeper.
    pub want: Want,
    /// How far it may be behind its primary, at depth `lag` and deeper, where it follows one.
    /// Without a limit replication only has to run.
    pub max_lag: Option<Duration>,
}

impl Target {
    /// A target without user, without TLS and without statement.
    pub fn new(protocol: Protocol, address: Address) -> Self {
        Self {
            address,
            protocol,
            credentials: None,
            tls: TlsPolicy::Off,
            statement: None,
            keeps_answer: false,
            want: Want::Any,
            max_lag: None,
        }
    }
}
