//! The server's side of a connection, enough of it for servers that misbehave on order.
//!
//! The sum of [`mysql::Server`] and [`postgres::Server`]: whoever owns the socket feeds bytes and
//! answers [`Request`]s. No SQL is understood here; the owner answers the few statements it knows.

use crate::{Answer, mysql, postgres};

/// How a scripted server lets clients in, and what it calls itself.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The version it announces, e.g. `10.11.19-MariaDB` or `15.18`.
    pub version: String,
    /// The id it gives the session.
    pub session_id: u32,
    /// Whether it offers TLS.
    pub tls: bool,
    /// How it authenticates.
    pub authentication: Authentication,
    /// Random bytes for salts and nonces.
    pub entropy: [u8; 32],
    /// PostgreSQL: whether it reports itself to be a standby.
    pub in_hot_standby: bool,
}

/// How a scripted server authenticates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Everybody is let in.
    Trust,
    /// MySQL's mysql_native_password with this password.
    MySqlNative(String),
    /// MySQL's caching_sha2_password answered from the cache (the fast path).
    CachingSha2Fast(String),
    /// MySQL's caching_sha2_password that insists on the full exchange.
    CachingSha2Full(String),
    /// MariaDB's ed25519 with this password.
    Ed25519(String),
    /// PostgreSQL's password in clear.
    Cleartext(String),
    /// PostgreSQL's md5.
    Md5(String),
    /// PostgreSQL's SCRAM-SHA-256.
    Scram(String),
}

/// What a client asks of a scripted server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The client asked for TLS and was promised it: send `out`, do the handshake, then call
    /// [`Server::handle_tls_established`].
    StartTls,
    /// The client authenticated itself; it was told so already.
    LoggedIn {
        /// The user it named.
        user: String,
    },
    /// The client failed to authenticate; it was told so already (1045, 28P01).
    Denied {
        /// The user it named.
        user: String,
    },
    /// COM_PING, or an empty query.
    Ping,
    /// A statement.
    Query(String),
    /// A polite goodbye.
    Quit,
    /// Anything else, including what is not understood.
    Other,
}

/// The server's side of either protocol.
#[derive(Debug)]
pub enum Server {
    /// MySQL or MariaDB.
    MySql(mysql::Server),
    /// PostgreSQL.
    Postgres(postgres::Server),
}

impl Server {
    /// Starts a MySQL session: appends the greeting to `out`.
    pub fn mysql(options: ServerOptions, out: &mut Vec<u8>) -> Self {
        Self::MySql(mysql::Server::new(options, out))
    }

    /// Starts a PostgreSQL session; the client speaks first.
    pub fn postgres(options: ServerOptions) -> Self {
        Self::Postgres(postgres::Server::new(options))
    }

    /// Takes bytes from the client and returns the next request, if they complete one; the same
    /// rules as [`Session::handle_input`](crate::Session::handle_input).
    pub fn handle_input(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Request> {
        match self {
            Self::MySql(server) => server.handle_input(input, out),
            Self::Postgres(server) => server.handle_input(input, out),
        }
    }

    /// Goes on after the TLS handshake.
    pub fn handle_tls_established(&mut self) {
        match self {
            Self::MySql(server) => server.handle_tls_established(),
            Self::Postgres(server) => server.handle_tls_established(),
        }
    }

    /// Answers a ping.
    pub fn reply_pong(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::MySql(server) => server.reply_pong(out),
            Self::Postgres(server) => server.reply_pong(out),
        }
    }

    /// Answers a query with one row of one column.
    pub fn reply_value(&mut self, column: &str, value: Option<&str>, out: &mut Vec<u8>) {
        self.reply_answer(&Answer::of_value(column, value), out);
    }

    /// Answers a query with any number of tables; with none, as a statement without rows does.
    pub fn reply_answer(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        match self {
            Self::MySql(server) => server.reply_answer(answer, out),
            Self::Postgres(server) => server.reply_answer(answer, out),
        }
    }

    /// Refuses, at any moment of the session: `code` is MySQL's error number or PostgreSQL's
    /// SQLSTATE, as text (`"1040"`, `"53300"`). `fatal` marks PostgreSQL's FATAL.
    pub fn reply_error(&mut self, code: &str, message: &str, fatal: bool, out: &mut Vec<u8>) {
        match self {
            Self::MySql(server) => server.reply_error(code, message, out),
            Self::Postgres(server) => server.reply_error(code, message, fatal, out),
        }
    }
}
