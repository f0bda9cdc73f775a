//! A real server of either product, for faults that are staged the same way on both.

use std::ops::Deref;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};

use super::Stand;
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::postgres::{Postgres, PostgresOptions};
use crate::real_server::RealServer;
use crate::tls::TlsFiles;

/// A real server that acts of a scene can share.
#[derive(Clone)]
pub(super) struct Database {
    server: Arc<dyn RealServer + Send + Sync>,
    pub(super) stand: Stand,
}

impl Deref for Database {
    type Target = dyn RealServer + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.server
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

    pub(super) fn url(&self) -> String {
        self.stand.url(self.address())
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
            server: Arc::new(server),
            stand: Stand::MariaDb,
        }
    }
}

impl From<Postgres> for Database {
    fn from(server: Postgres) -> Self {
        Self {
            server: Arc::new(server),
            stand: Stand::PostgreSql,
        }
    }
}
