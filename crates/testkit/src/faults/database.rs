//! A real server of either product, for faults that are staged the same way on both.

use std::ops::Deref;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};

use super::Stand;
use crate::held_session::HeldSession;
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::postgres::{Postgres, PostgresOptions};
use crate::real_server::RealServer;
use crate::tls::TlsFiles;

/// What lets `vitals` write, in the database of that name, which PostgreSQL has from the start.
pub(super) const MARIADB_GRANT: &str =
    "CREATE DATABASE vitals; GRANT ALL ON vitals.* TO vitals@'%'";
pub(super) const POSTGRES_GRANT: &str = "GRANT CREATE ON SCHEMA public TO vitals";

/// A real server that acts of a scene can share.
#[derive(Clone)]
pub(super) struct Database {
    server: Server,
    pub(super) stand: Stand,
}

#[derive(Clone)]
enum Server {
    MariaDb(Arc<MariaDb>),
    Postgres(Arc<Postgres>),
}

impl Deref for Database {
    type Target = dyn RealServer + Send + Sync;

    fn deref(&self) -> &Self::Target {
        match &self.server {
            Server::MariaDb(server) => &**server,
            Server::Postgres(server) => &**server,
        }
    }
}

impl Database {
    /// A server as its product's defaults have it.
    pub(super) fn plain(stand: Stand) -> Self {
        Self::with(stand, &[], &[], None)
    }

    /// A server with a certificate.
    pub(super) fn with_tls(stand: Stand, tls: &TlsFiles) -> Self {
        Self::with(stand, &[], &[], Some(tls))
    }

    /// A server with options of its own: `mariadbd`'s arguments, or settings of PostgreSQL's.
    pub(super) fn with(
        stand: Stand,
        arguments: &[&str],
        settings: &[(&str, &str)],
        tls: Option<&TlsFiles>,
    ) -> Self {
        if stand == Stand::MariaDb {
            MariaDb::start(MariaDbOptions {
                arguments: arguments.iter().map(ToString::to_string).collect(),
                tls: tls.cloned(),
                ..Default::default()
            })
            .into()
        } else {
            Postgres::start(PostgresOptions {
                settings: settings
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect(),
                tls: tls.cloned(),
                ..Default::default()
            })
            .into()
        }
    }

    /// A server on which `vitals` may write; see [`url_to_write`](Self::url_to_write).
    pub(super) fn writable(stand: Stand) -> Self {
        let database = Self::plain(stand);
        database.sql(match stand {
            Stand::MariaDb | Stand::ScriptedMySql => MARIADB_GRANT,
            Stand::PostgreSql | Stand::ScriptedPostgres => POSTGRES_GRANT,
        });
        database
    }

    pub(super) fn url(&self) -> String {
        self.stand.url(self.address())
    }

    /// The URL with a database in it, where the table of the depth write can be.
    pub(super) fn url_to_write(&self) -> String {
        self.stand.url_to_write(self.address())
    }

    /// Runs statements as the superuser in a session that stays open, with all its locks.
    pub(super) fn hold(&self, statements: &str) -> HeldSession {
        match &self.server {
            Server::MariaDb(server) => server.hold(statements),
            Server::Postgres(server) => server.hold(statements),
        }
    }

    /// By how many seconds a replica seems to be behind its primary; `None` where it cannot tell.
    pub(super) fn seconds_behind(&self) -> Option<f64> {
        match &self.server {
            Server::MariaDb(server) => server.replication("", "Seconds_Behind_Master").parse(),
            Server::Postgres(server) => {
                let age = "SELECT extract(epoch FROM \
                           clock_timestamp() - pg_last_xact_replay_timestamp())";
                server.sql(age).parse()
            }
        }
        .ok()
    }

    /// Whether a replica hears from its primary.
    pub(super) fn is_connected(&self) -> bool {
        match &self.server {
            Server::MariaDb(server) => server.replication("", "Slave_IO_Running") == "Yes",
            Server::Postgres(server) => {
                server.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "1"
            }
        }
    }

    /// Ends all sessions of `vitals`, from the server's side.
    pub(super) fn end_sessions(&self) {
        self.sql(match self.stand {
            Stand::MariaDb | Stand::ScriptedMySql => "KILL USER vitals",
            Stand::PostgreSql | Stand::ScriptedPostgres => {
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vitals'"
            }
        });
    }

    /// How many sessions `vitals` has.
    pub(super) fn sessions(&self) -> usize {
        let count = self.sql(match self.stand {
            Stand::MariaDb | Stand::ScriptedMySql => {
                "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'vitals'"
            }
            Stand::PostgreSql | Stand::ScriptedPostgres => {
                "SELECT COUNT(*) FROM pg_stat_activity WHERE usename = 'vitals'"
            }
        });
        count.parse().expect("a count is a number")
    }

    /// Sends a signal to the server's main process.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process number"), signal).expect("the server runs");
    }
}

impl From<MariaDb> for Database {
    fn from(server: MariaDb) -> Self {
        Self {
            server: Server::MariaDb(Arc::new(server)),
            stand: Stand::MariaDb,
        }
    }
}

impl From<Postgres> for Database {
    fn from(server: Postgres) -> Self {
        Self {
            server: Server::Postgres(Arc::new(server)),
            stand: Stand::PostgreSql,
        }
    }
}
