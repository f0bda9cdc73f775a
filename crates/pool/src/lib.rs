//! A connection pool that never hands out a connection whose end can be seen, and hardly ever pings.
//!
//! What cannot be seen is a peer that vanished without a word, until [`Settings::keepalive`] (19 s)
//! or [`Settings::ping_after`] (30 s) finds it: a command meets it before that, once for each
//! connection.
//!
//! Generic over drivers; adapters for tokio-postgres, mysql_async and sqlx's connections (as
//! sqlx-mysql and sqlx-postgres) are behind the features of these names. Linux and tokio.
//!
//! - [`Pool::acquire`] checks out a connection that is alive: the *liveness ladder* does nothing,
//!   looks at the socket (a tenth of a microsecond), or pings, whichever is enough. A busy pool
//!   sends no ping at all.
//! - One epoll set over all connections sees an end when it happens; a ping that is not answered
//!   casts doubt on all that are as old.
//! - Whoever waits is served in turn. During an outage one attempt at a time is made for all.
//! - [`Lease::run`] and [`Pool::run_repeatable`] end connections whose commands were cancelled,
//!   and repeat what is safe to repeat.
//! - [`Pool::check_health`] is what a ping of a pool should have meant; [`Stats`] say why
//!   connections ended; [`Settings::shadow`] proves that pings can be dropped.
//!
//! [`Settings`] has every default with its reason, [`Driver`] is what another driver has to bring.
//!
//! ```
//! use dbvitals_pool::{Driver, Fault, Opened, Pool, Settings};
//!
//! /// A service that is spoken to over TCP, a line at a time.
//! struct Echo(std::net::SocketAddr);
//!
//! impl Driver for Echo {
//!     type Connection = tokio::net::TcpStream;
//!     type Error = std::io::Error;
//!
//!     async fn connect(&self) -> Result<Opened<Self::Connection>, Self::Error> {
//!         use std::os::fd::AsFd as _;
//!         let stream = tokio::net::TcpStream::connect(self.0).await?;
//!         let socket = stream.as_fd().try_clone_to_owned()?;
//!         Ok(Opened::new(stream).with_socket(socket))
//!     }
//!
//!     async fn ping(&self, connection: &mut Self::Connection) -> Result<(), Self::Error> {
//!         use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!         connection.write_all(b"\n").await?;
//!         connection.read_u8().await.map(drop)
//!     }
//!
//!     fn judge_error(&self, _: &Self::Error) -> Fault {
//!         Fault::Lost
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! let pool = Pool::builder(Echo(address)).settings(Settings::default()).build()?;
//! let lease = pool.acquire().await?;
//! assert_eq!(lease.peer_addr()?, address);
//! # Ok(())
//! # }
//! ```
//!
//! Inside: `books.rs` is the state under the one lock, `ledger.rs` the lock, and `seat.rs` where a
//! waiter is served; `tests/model.rs` explores their interleavings. `ladder.rs`, `outage.rs` and `idle_limit.rs` decide, from numbers
//! alone. `keeper.rs` is the one task, and the only code that awaits anything on a connection;
//! `rounds.rs` is what it does from time to time.

mod acquire;
mod books;
mod card;
mod clock;
mod counters;
mod driver;
mod ending;
mod failure;
mod health;
#[cfg(feature = "axum")]
mod http;
mod idle_limit;
mod keeper;
mod ladder;
mod lease;
mod ledger;
mod line;
mod member;
#[cfg(feature = "mysql_async")]
mod mysql;
#[cfg(any(feature = "mysql_async", feature = "sqlx-mysql"))]
mod mysql_words;
mod observer;
mod outage;
mod pool;
#[cfg(feature = "tokio-postgres")]
mod postgres;
#[cfg(any(feature = "tokio-postgres", feature = "sqlx-postgres"))]
mod postgres_words;
mod rounds;
mod seat;
mod settings;
mod shared;
mod socket;
#[cfg(any(
    feature = "mysql_async",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres"
))]
mod socket_search;
#[cfg(any(feature = "sqlx-mysql", feature = "sqlx-postgres"))]
mod sqlx;
mod sync;
mod turn;
mod watch;

pub use acquire::{Acquire, AcquireError};
pub use counters::{Shadow, Stats};
pub use driver::{ConnectFault, Driver, Fault, Opened, Returned, Unread};
pub use ending::Ending;
pub use failure::ConnectError;
pub use health::{Condition, Health};
#[cfg(feature = "axum")]
pub use http::health_endpoint;
pub use lease::Lease;
#[cfg(feature = "mysql_async")]
pub use mysql::MySql;
pub use observer::{Ended, Leak, Observer};
pub use pool::{BuildError, Builder, Pool, RunError};
#[cfg(feature = "tokio-postgres")]
pub use postgres::{
    CancelToken, ConfigFault, Postgres, PostgresError, Session, Stream, Transaction,
};
pub use settings::{IdleOrder, Keepalive, Settings, SettingsError};
#[cfg(feature = "sqlx-mysql")]
pub use sqlx::SqlxMySql;
#[cfg(feature = "sqlx-postgres")]
pub use sqlx::SqlxPostgres;
