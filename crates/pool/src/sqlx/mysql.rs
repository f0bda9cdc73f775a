//! sqlx's connections to MySQL and MariaDB.

use std::fmt;
use std::time::Duration;

use sqlx_core::Error;
use sqlx_core::connection::{ConnectOptions as _, Connection as _};
use sqlx_core::executor::Executor as _;
use sqlx_core::row::Row as _;
use sqlx_mysql::{MySql, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};

use super::{at_return, judge, opened, settle};
use crate::driver::{ConnectFault, Driver, Fault, Opened, Returned};
use crate::mysql_words::{ASK, judge_refusal, name_ending, port_of, where_it_says_whom_it_sees};
use crate::socket_search::Search;

/// How sqlx begins to say that a statement was given too few parameters or too many. By then it waits
/// for an answer, though it has not asked.
const WRONG_PARAMETERS: &str = "prepared statement expected ";

/// Opens sqlx's connections to MySQL or MariaDB; what is pooled is sqlx's [`MySqlConnection`].
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
pub struct SqlxMySql {
    options: MySqlConnectOptions,
}

impl fmt::Debug for SqlxMySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No more of the options: they have the password.
        f.debug_struct("SqlxMySql")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("socket", &self.options.get_socket())
            .field("user", &self.options.get_username())
            .field("database", &self.options.get_database())
            .finish_non_exhaustive()
    }
}

impl SqlxMySql {
    /// Connections with these options.
    pub fn new(options: MySqlConnectOptions) -> Self {
        Self { options }
    }
}

/// The port that the server sees, if it tells.
async fn ask_for_port(
    connection: &mut MySqlConnection,
    version: &str,
) -> Result<Option<u16>, Error> {
    for query in where_it_says_whom_it_sees(version) {
        match connection.fetch_optional(*query).await {
            Ok(Some(row)) => {
                let seen: Option<String> = row.try_get(0)?;
                return Ok(port_of(seen.as_deref()));
            }
            Ok(None) | Err(Error::Database(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl Driver for SqlxMySql {
    type Connection = MySqlConnection;
    type Error = Error;

    async fn connect(&self) -> Result<Opened<MySqlConnection>, Error> {
        let search = match self.options.get_socket() {
            Some(path) => Search::over_unix(path.clone()).await,
            None => Search::over_tcp(self.options.get_host(), self.options.get_port()).await,
        };
        let mut connection = self.options.connect().await?;
        let row = connection.fetch_one(ASK).await?;
        let limit: u64 = row.try_get(0)?;
        let version: String = row.try_get(1)?;
        let port = match search.needs_port() {
            true => ask_for_port(&mut connection, &version).await?,
            false => None,
        };
        let limit = (limit > 0).then(|| Duration::from_secs(limit));
        Ok(opened(connection, search, port, limit).await)
    }

    async fn ping(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        connection.ping().await
    }

    async fn settle(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        settle::<MySql>(connection).await
    }

    async fn close(&self, connection: MySqlConnection) {
        // Whether the goodbye arrived does not matter.
        let _ = connection.close().await;
    }

    fn at_return(&self, connection: &mut MySqlConnection) -> Returned {
        at_return(connection)
    }

    fn judge_error(&self, error: &Error) -> Fault {
        if let Error::Protocol(words) = error
            && words.starts_with(WRONG_PARAMETERS)
        {
            return Fault::Spoiled;
        }
        judge(error, |words| {
            let words = words.try_downcast_ref::<MySqlDatabaseError>();
            words.is_some_and(|words| name_ending(words.number()).is_some())
        })
    }

    fn judge_attempt(&self, error: &Error) -> ConnectFault {
        let words = error.as_database_error();
        let words = words.and_then(|words| words.try_downcast_ref::<MySqlDatabaseError>());
        words.map_or(ConnectFault::Unreachable, |words| {
            judge_refusal(words.number())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_shown_without_its_password() {
        let options = MySqlConnectOptions::new().host("db.example").port(3307);
        let options = options.username("me").password("hidden").database("app");
        let shown = format!("{:?}", SqlxMySql::new(options));
        for part in ["db.example", "3307", "me", "app"] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
