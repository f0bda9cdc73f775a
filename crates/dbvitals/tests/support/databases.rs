//! One MariaDB and one PostgreSQL server, for scenarios that are the same for both.

use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;

use dbvitals_testkit::{MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, TlsFiles};

/// A server of either product, with what a URL needs to know of it.
pub(crate) struct Database {
    server: Box<dyn RealServer>,
    /// `mysql` or `postgres`.
    pub(crate) scheme: &'static str,
    /// The unix socket.
    pub(crate) socket: PathBuf,
}

impl Database {
    /// A URL of the server on the first address that it listens on, for the user `vitals`.
    pub(crate) fn url(&self) -> String {
        format!("{}://vitals@{}", self.scheme, self.address())
    }
}

impl Deref for Database {
    type Target = dyn RealServer;

    fn deref(&self) -> &Self::Target {
        &*self.server
    }
}

impl From<MariaDb> for Database {
    fn from(server: MariaDb) -> Self {
        Self {
            socket: server.socket_path(),
            server: Box::new(server),
            scheme: "mysql",
        }
    }
}

impl From<Postgres> for Database {
    fn from(server: Postgres) -> Self {
        Self {
            socket: server.socket_path(),
            server: Box::new(server),
            scheme: "postgres",
        }
    }
}

/// Starts a server of each product on these addresses, with a certificate or without.
pub(crate) fn databases(listen: &[IpAddr], tls: Option<&TlsFiles>) -> [Database; 2] {
    let mariadb = MariaDb::start(MariaDbOptions {
        listen: listen.to_vec(),
        tls: tls.cloned(),
        ..Default::default()
    });
    let postgres = Postgres::start(PostgresOptions {
        listen: listen.to_vec(),
        tls: tls.cloned(),
        ..Default::default()
    });
    [mariadb.into(), postgres.into()]
}
