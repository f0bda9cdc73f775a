//! sqlx's connections to MySQL and MariaDB.

use std::fmt;
use std::time::Duration;

use sqlx_core::Error;
use sqlx_core::connection::{ConnectOptions as _, Connection as _};
use sqlx_core::executor::Executor as _;
use sqlx_core::row::Row as _;
use sqlx_mysql::{MySql, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};

use super::{at_return, judge, opened, settle};
use crate::driver::{Driver, Fault, Opened, Returned};
use crate::mysql_words::{ASK, name_ending, port_of};
use crate::socket_search::{Sought, known_sockets};

/// Opens sqlx's connections to MySQL or MariaDB; what is pooled is sqlx's [`MySqlConnection`].
///
/// A command that was cancelled outside of [`Lease::run`](crate::Lease::run) is read to its end by
/// sqlx before the next one: nobody gets another's answer, but somebody may wait for it.
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

impl Driver for SqlxMySql {
    type Connection = MySqlConnection;
    type Error = Error;

    async fn connect(&self) -> Result<Opened<MySqlConnection>, Error> {
        let before = known_sockets();
        let mut connection = self.options.connect().await?;
        let row = connection.fetch_one(ASK).await?;
        let limit: u64 = row.try_get(0)?;
        let seen: Option<String> = row.try_get(1)?;
        let port = port_of(seen.as_deref());
        let sought = match self.options.get_socket() {
            // Over a unix socket the server sees no port.
            Some(path) if port.is_none() => Some(Sought::Path(path.clone())),
            _ => port.map(Sought::Port),
        };
        let limit = (limit > 0).then(|| Duration::from_secs(limit));
        Ok(opened(connection, &before, sought, limit))
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
        judge(error, |words| {
            let words = words.try_downcast_ref::<MySqlDatabaseError>();
            words.is_some_and(|words| name_ending(words.number()).is_some())
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
