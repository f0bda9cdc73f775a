//! Who a session says it is, and how: credentials, the stance on TLS, and the caller's entropy.
//!
//! Nothing here prints a password: it lives in a [`SecretString`], and `Debug` shows a placeholder.

use secrecy::SecretString;

/// A user, a password and a database.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user name; for PostgreSQL, the role.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<SecretString>,
    /// The database; PostgreSQL falls back to one named as the user.
    pub database: Option<String>,
}

impl Credentials {
    /// A user without password and without database.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: None,
            database: None,
        }
    }

    /// Adds a password.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<SecretString>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds a database.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }
}

/// Whether the session asks the server for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsOffer {
    /// Plain text only.
    Never,
    /// TLS where the server has it, else plain text.
    Prefer,
    /// TLS, or [`Event::TlsRefused`](crate::Event::TlsRefused).
    Require,
}

/// What the bytes travel through.
///
/// MySQL's sessions send a password in clear only where nobody can listen. PostgreSQL's follow
/// libpq, which sends it wherever a server that was set up so asks for it; use TLS there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// TCP without TLS.
    Open,
    /// TLS, or a unix socket.
    Private,
}

/// All that a session needs for its login.
#[derive(Debug, Clone)]
pub struct Login {
    /// Who logs in.
    pub credentials: Credentials,
    /// The stance on TLS.
    pub tls: TlsOffer,
    /// What the connection travels through before any TLS; becomes private with TLS.
    pub channel: Channel,
    /// Random bytes of the caller, fresh for each login: nonces and paddings come from here.
    pub entropy: [u8; 32],
    /// The name that the server's session list shows (PostgreSQL's application_name, MySQL's
    /// program_name attribute).
    pub program: &'static str,
}

impl Login {
    /// A login over TCP under the program name `dbvitals`.
    pub fn new(credentials: Credentials, tls: TlsOffer, entropy: [u8; 32]) -> Self {
        Self {
            credentials,
            tls,
            channel: Channel::Open,
            entropy,
            program: "dbvitals",
        }
    }
}
