//! Pooled connections of sqlx, with MySQL, MariaDB and PostgreSQL.
//!
//! sqlx shows neither stream nor descriptor, so the socket is looked for among those of this
//! process, as `mysql.rs` does. What both databases have in common is here.

#[cfg(feature = "sqlx-mysql")]
mod mysql;
#[cfg(feature = "sqlx-postgres")]
mod postgres;

use std::time::Duration;

use sqlx_core::Error;
use sqlx_core::connection::Connection;
use sqlx_core::database::Database;
use sqlx_core::error::DatabaseError;
use sqlx_core::transaction::TransactionManager as _;

use crate::driver::{Fault, Opened, Returned};
use crate::socket_search::Search;

#[cfg(feature = "sqlx-mysql")]
pub use mysql::SqlxMySql;
#[cfg(feature = "sqlx-postgres")]
pub use postgres::SqlxPostgres;

/// What is known of a connection that was opened: its socket, and the server's idle limit.
async fn opened<C>(
    connection: C,
    search: Search,
    port: Option<u16>,
    idle_limit: Option<Duration>,
) -> Opened<C> {
    let socket = search.find(port).await;
    let opened = Opened::new(connection);
    let opened = match idle_limit {
        Some(limit) => opened.with_idle_limit(limit),
        None => opened,
    };
    match socket {
        Some(socket) => opened.with_socket(socket),
        None => opened,
    }
}

/// A transaction that was dropped has left its rollback behind, still to be sent; one that was
/// forgotten is still open. What was begun by words sqlx does not show.
fn at_return(connection: &impl Connection) -> Returned {
    match connection.should_flush() || connection.is_in_transaction() {
        true => Returned::Unsettled,
        false => Returned::Unseen,
    }
}

/// Sends what was left behind, and ends what is still open.
async fn settle<D: Database>(connection: &mut D::Connection) -> Result<(), Error> {
    connection.ping().await?;
    while connection.is_in_transaction() {
        D::TransactionManager::rollback(connection).await?;
    }
    Ok(())
}

/// What an error means; `ends` knows the words after which a server ends the session. What sqlx
/// refuses by itself, and what a server answers, does the session no harm.
fn judge(error: &Error, ends: impl FnOnce(&dyn DatabaseError) -> bool) -> Fault {
    let lost = match error.as_database_error() {
        Some(words) => ends(words),
        None => matches!(
            error,
            Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed
        ),
    };
    match lost {
        true => Fault::Lost,
        false => Fault::Answered,
    }
}
