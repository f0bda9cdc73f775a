//! A primary and its replica, of either product, with a table that both have.

use std::time::Duration;

use super::Stand;
use super::database::{Database, MARIADB_GRANT, POSTGRES_GRANT};
use crate::clock::eventually;
use crate::held_session::HeldSession;
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::postgres::{Postgres, PostgresOptions};

/// How long a replica may take for one thing, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lets `vitals` see how a MariaDB follows.
const SEE_REPLICATION: &str = "GRANT SLAVE MONITOR ON *.* TO vitals@'%'";

/// Two servers, one of which follows the other.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) primary: Database,
    pub(super) replica: Database,
}

impl Pair {
    /// A pair whose replica has all that its primary has, and takes no writes.
    pub(super) fn start(stand: Stand) -> Self {
        Self::with(stand, &["--read-only=1"])
    }

    /// The same, with arguments for a MariaDB's replica.
    pub(super) fn with(stand: Stand, arguments: &[&str]) -> Self {
        let pair = match stand {
            Stand::MariaDb | Stand::ScriptedMySql => mariadb(arguments),
            Stand::PostgreSql | Stand::ScriptedPostgres => postgres(),
        };
        // A standby that has replayed no commit yet cannot tell the age of the newest.
        pair.write();
        pair.wait_replayed();
        pair
    }

    /// Commits something on the primary.
    pub(super) fn write(&self) {
        self.primary.sql("INSERT INTO vitals.t VALUES (1)");
    }

    /// Waits until the replica has what the primary has.
    pub(super) fn wait_replayed(&self) {
        let rows = |database: &Database| database.sql("SELECT COUNT(*) FROM vitals.t");
        let all = rows(&self.primary);
        // The table may not have come yet, and asking for it would fail.
        let tables = "SELECT COUNT(*) FROM information_schema.tables
                      WHERE table_schema = 'vitals' AND table_name = 't'";
        let has_all = || self.replica.sql(tables) == "1" && rows(&self.replica) == all;
        assert!(eventually(PATIENCE, has_all), "the replica does not follow");
    }

    /// Locks the replica's table, and commits on the primary what cannot be replayed then.
    pub(super) fn hold_up(&self) -> HeldSession {
        let lock = match self.replica.stand {
            Stand::MariaDb | Stand::ScriptedMySql => "LOCK TABLES vitals.t READ",
            Stand::PostgreSql | Stand::ScriptedPostgres => "BEGIN; SELECT COUNT(*) FROM vitals.t",
        };
        let lock = self.replica.hold(lock);
        match self.replica.stand {
            Stand::MariaDb | Stand::ScriptedMySql => self.write(),
            Stand::PostgreSql | Stand::ScriptedPostgres => {
                self.primary.sql("TRUNCATE vitals.t");
            }
        }
        lock
    }

    /// Makes the replica a primary of its own.
    pub(super) fn promote(&self) {
        self.replica.sql(match self.replica.stand {
            Stand::MariaDb | Stand::ScriptedMySql => {
                "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0"
            }
            Stand::PostgreSql | Stand::ScriptedPostgres => "SELECT pg_promote()",
        });
    }

    /// Waits until the replica seems to be behind by more than this.
    pub(super) fn wait_behind(&self, seconds: f64) {
        let is_behind = || self.replica.seconds_behind().is_some_and(|it| it > seconds);
        assert!(eventually(PATIENCE, is_behind), "the replica is not behind");
    }

    /// Waits until the replica has noticed that its primary is gone.
    pub(super) fn wait_cut_off(&self) {
        let is_cut_off = || !self.replica.is_connected();
        assert!(
            eventually(PATIENCE, is_cut_off),
            "the replica hears from its primary"
        );
    }
}

fn mariadb(arguments: &[&str]) -> Pair {
    let primary = MariaDb::start(MariaDbOptions {
        first_sql: format!("{MARIADB_GRANT}; CREATE TABLE vitals.t (i INT); {SEE_REPLICATION}"),
        ..MariaDbOptions::primary()
    });
    let replica = MariaDb::start_replica_of(
        &primary,
        MariaDbOptions {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            ..Default::default()
        },
    );
    Pair {
        primary: primary.into(),
        replica: replica.into(),
    }
}

fn postgres() -> Pair {
    let primary = Postgres::start(PostgresOptions {
        first_sql: format!("{POSTGRES_GRANT}; CREATE SCHEMA vitals; CREATE TABLE vitals.t (i int)"),
        ..Default::default()
    });
    let standby = Postgres::start_standby_of(
        &primary,
        PostgresOptions {
            // A query that is in the way of the replay is not cancelled for it.
            settings: vec![("max_standby_streaming_delay".to_owned(), "-1".to_owned())],
            ..Default::default()
        },
    );
    Pair {
        primary: primary.into(),
        replica: standby.into(),
    }
}
