//! sqlx's connections to PostgreSQL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx_core::Error;
use sqlx_core::connection::{ConnectOptions as _, Connection as _};
use sqlx_core::executor::Executor as _;
use sqlx_core::row::Row as _;
use sqlx_postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgSeverity, Postgres};

use super::{at_return, judge, opened, settle};
use crate::driver::{ConnectFault, Driver, Fault, Opened, Returned};
use crate::postgres_words::judge_refusal;
use crate::socket_search::Search;

/// What is asked once of each session: how long it may idle, and whom the server sees. Servers
/// before 14 know no such limit, and over a unix socket there is no port.
const ASK: &str = "SELECT (SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'), \
    inet_client_port()::text";

/// Opens sqlx's connections to PostgreSQL; what is pooled is sqlx's [`PgConnection`].
///
/// - **A transaction that was dropped** is rolled back before anybody else has the connection. One
///   that was begun by words (`BEGIN`) sqlx does not show, and it reaches the next user. Nothing
///   else is reset either; see the README.
/// - **Commands belong in [`Lease::run`](crate::Lease::run)**, which closes the connection if one is
///   cancelled or given the wrong parameters. sqlx does not show what was done outside of it: a
///   connection that was used like that is pinged before anybody else has it.
/// - **No socket to look at**: behind a proxy, or a router that changes the port. Such connections
///   are counted in [`Stats::without_socket`](crate::Stats::without_socket), have no keepalive, and
///   are pinged when nothing was heard of them for a second. To a unix socket the connections of a
///   process are opened one after the other, else their sockets could not be told apart.
/// - **Whether a command reached the server** before its connection was lost sqlx does not tell:
///   [`Pool::run`](crate::Pool::run) repeats nothing.
#[derive(Clone)]
pub struct SqlxPostgres {
    options: PgConnectOptions,
}

impl fmt::Debug for SqlxPostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No more of the options: they have the password.
        f.debug_struct("SqlxPostgres")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("socket", &self.options.get_socket())
            .field("user", &self.options.get_username())
            .field("database", &self.options.get_database())
            .finish_non_exhaustive()
    }
}

impl SqlxPostgres {
    /// Connections with these options.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options }
    }

    /// The unix socket that sqlx connects to, if it does: a host may be the directory of one.
    fn socket_path(&self) -> Option<PathBuf> {
        let host = Path::new(self.options.get_host());
        let host = Some(host).filter(|it| it.is_absolute());
        let directory = self.options.get_socket().map(PathBuf::as_path).or(host)?;
        Some(directory.join(format!(".s.PGSQL.{}", self.options.get_port())))
    }
}

impl Driver for SqlxPostgres {
    type Connection = PgConnection;
    type Error = Error;

    async fn connect(&self) -> Result<Opened<PgConnection>, Error> {
        let search = match self.socket_path() {
            Some(path) => Search::over_unix(path).await,
            None => Search::over_tcp(self.options.get_host(), self.options.get_port()).await,
        };
        let mut connection = self.options.connect().await?;
        let row = connection.fetch_one(ASK).await?;
        let limit: Option<String> = row.try_get(0)?;
        let port: Option<String> = row.try_get(1)?;
        let limit_ms = limit.and_then(|limit| limit.parse().ok()).unwrap_or(0);
        let port = port.and_then(|port| port.parse().ok());
        let limit = (limit_ms > 0).then(|| Duration::from_millis(limit_ms));
        Ok(opened(connection, search, port, limit).await)
    }

    async fn ping(&self, connection: &mut PgConnection) -> Result<(), Error> {
        connection.ping().await
    }

    async fn settle(&self, connection: &mut PgConnection) -> Result<(), Error> {
        settle::<Postgres>(connection).await
    }

    async fn close(&self, connection: PgConnection) {
        // Whether the goodbye arrived does not matter.
        let _ = connection.close().await;
    }

    fn at_return(&self, connection: &mut PgConnection) -> Returned {
        at_return(connection)
    }

    fn judge_error(&self, error: &Error) -> Fault {
        judge(error, |words| {
            let words = words.try_downcast_ref::<PgDatabaseError>();
            words.is_some_and(|words| ends_session(words.severity()))
        })
    }

    fn judge_attempt(&self, error: &Error) -> ConnectFault {
        let words = error.as_database_error();
        let words = words.and_then(|words| words.try_downcast_ref::<PgDatabaseError>());
        words.map_or(ConnectFault::Unreachable, |words| {
            judge_refusal(words.code())
        })
    }
}

/// Whether the server ends the session after words of this weight. Their code does not tell: a
/// foreign server that cannot be reached has that of a lost connection.
fn ends_session(severity: PgSeverity) -> bool {
    matches!(severity, PgSeverity::Fatal | PgSeverity::Panic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("db.example")
            .port(6543)
            .username("me")
    }

    #[test]
    fn a_driver_is_shown_without_its_password() {
        let options = options().password("hidden").database("app");
        let shown = format!("{:?}", SqlxPostgres::new(options));
        for part in ["db.example", "6543", "me", "app"] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_host_may_be_the_directory_of_a_unix_socket() {
        let path = |options| SqlxPostgres::new(options).socket_path();
        assert_eq!(path(options()), None);
        let file = Some(PathBuf::from("/run/postgresql/.s.PGSQL.6543"));
        assert_eq!(path(options().host("/run/postgresql")), file);
        assert_eq!(path(options().socket("/run/postgresql")), file);
    }
}
