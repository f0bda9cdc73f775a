//! Pooled sessions of PostgreSQL through tokio-postgres.
//!
//! The stream is made here and handed to the driver, so that the pool can look at its socket, and
//! the driver's task belongs to the session. That task reads whatever comes at any time: the
//! server's last words name the end of a session, and notifications are no reason for doubt.

mod cancel;
mod commands;
mod dial;
mod error;
mod marks;
mod pump;
mod session;
mod stream;
mod transaction;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls};

use crate::driver::{ConnectFault, Driver, Fault, Opened, Returned, Unread};
use crate::ending::Ending;
use crate::postgres_words::judge_refusal;

pub use cancel::CancelToken;
pub use error::{ConfigFault, PostgresError};
pub use session::Session;
pub use stream::Stream;
pub use transaction::Transaction;

use cancel::Beaten;
use dial::{Address, places};

/// What an address may take where the configuration has no `connect_timeout` and there are others
/// to try: two of them fit into the pool's own limit.
const ADDRESS_LIMIT: Duration = Duration::from_secs(2);

/// Opens sessions of PostgreSQL; `T` is tokio-postgres' way to speak TLS, none by default.
///
/// The hosts of the [`Config`] are tried in turn (or at random, by `load_balance_hosts`), each with
/// all its addresses: what refuses a login, or is not what `target_session_attrs` asks for, is
/// followed by the next. `connect_timeout` limits each address, login included, and the pool's own
/// limit the whole; where it is not set and there are other addresses, an address gets 2 s.
///
/// `keepalives…` and `tcp_user_timeout` hold where [`Settings::keepalive`] is `None`; otherwise the
/// pool's go before them. To set something on each session, use the configuration's `options`
/// (`-c statement_timeout=5s`) or [`Builder::after_connect`](crate::Builder::after_connect).
///
/// [`Settings::keepalive`]: crate::Settings::keepalive
#[derive(Clone)]
pub struct Postgres<T = NoTls> {
    config: Arc<Config>,
    tls: T,
}

impl<T> fmt::Debug for Postgres<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Postgres<NoTls> {
    /// Sessions in cleartext.
    pub fn new(config: Config) -> Self {
        Self::with_tls(config, NoTls)
    }
}

impl<T> Postgres<T> {
    /// Sessions over TLS, as far as the configuration's `ssl_mode` asks for it.
    pub fn with_tls(config: Config, tls: T) -> Self {
        Self {
            config: Arc::new(config),
            tls,
        }
    }
}

impl<T> Postgres<T>
where
    T: MakeTlsConnect<Stream> + Clone + Send + Sync + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Stream>>::Future: Send,
{
    /// What an address may take.
    fn limit(&self, is_last: bool) -> Option<Duration> {
        let own = self.config.get_connect_timeout().copied();
        let own = own.filter(|limit| !limit.is_zero());
        own.or((!is_last).then_some(ADDRESS_LIMIT))
    }

    /// A session at an address, if it is one that is asked for.
    async fn open(&self, address: &Address, name: &str) -> Result<Opened<Session>, PostgresError> {
        let (stream, socket) = address.dial(&self.config).await?;
        let traffic = stream.traffic();
        let mut tls = self.tls.clone();
        let tls = tls.make_tls_connect(name);
        let tls = tls.map_err(|error| PostgresError::Tls(error.into()))?;
        let (client, connection) = self.config.connect_raw(stream, tls).await?;
        let route = Beaten {
            config: Arc::clone(&self.config),
            tls: self.tls.clone(),
            address: address.clone(),
            name: name.to_owned(),
        };
        let session = Session::new(client, connection, traffic, Arc::new(route));
        let traits = session.ask().await?;
        self.check_role(traits.is_read_only)?;
        let opened = Opened::new(session).with_socket(socket);
        Ok(match traits.idle_limit {
            Some(limit) => opened.with_idle_limit(limit),
            None => opened,
        })
    }

    fn check_role(&self, is_read_only: bool) -> Result<(), PostgresError> {
        let (is, wanted) = match (self.config.get_target_session_attrs(), is_read_only) {
            (TargetSessionAttrs::ReadWrite, true) => ("read-only", "read-write"),
            (TargetSessionAttrs::ReadOnly, false) => ("read-write", "read-only"),
            _ => return Ok(()),
        };
        Err(PostgresError::WrongRole { is, wanted })
    }
}

/// Does something in time.
async fn within<R>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<R, PostgresError>>,
) -> Result<R, PostgresError> {
    let Some(limit) = limit else {
        return work.await;
    };
    let late = |_| Err(PostgresError::TimedOut(limit));
    timeout(limit, work).await.unwrap_or_else(late)
}

impl<T> Driver for Postgres<T>
where
    T: MakeTlsConnect<Stream> + Clone + Send + Sync + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Stream>>::Future: Send,
{
    type Connection = Session;
    type Error = PostgresError;

    async fn connect(&self) -> Result<Opened<Session>, PostgresError> {
        let places = places(&self.config)?;
        let mut failure = None;
        for (index, place) in places.iter().enumerate() {
            let is_last_place = index + 1 == places.len();
            let resolve = async { Ok(place.resolve(&self.config).await?) };
            let addresses = match within(self.limit(is_last_place), resolve).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            for (index, address) in addresses.iter().enumerate() {
                let is_last = is_last_place && index + 1 == addresses.len();
                let open = self.open(address, &place.name);
                match within(self.limit(is_last), open).await {
                    Ok(opened) => return Ok(opened),
                    Err(error) => failure = Some(error),
                }
            }
        }
        Err(failure.unwrap_or(PostgresError::Config(ConfigFault::NoHost)))
    }

    async fn ping(&self, session: &mut Session) -> Result<(), PostgresError> {
        session.ping().await
    }

    async fn close(&self, session: Session) {
        session.end().await;
    }

    async fn abandon(&self, session: Session) {
        if session.is_busy() {
            // Whether it arrives does not matter: the session ends anyway, with its command or
            // before.
            let _ = session.cancel_token().cancel_query().await;
        }
        session.end().await;
    }

    fn at_return(&self, session: &mut Session) -> Returned {
        session.at_return()
    }

    fn is_closed(&self, session: &Session) -> bool {
        session.is_closed()
    }

    fn judge_unread(&self, session: &mut Session) -> Unread {
        session.read_on()
    }

    fn ending(&self, session: &Session) -> Option<Ending> {
        session.ending()
    }

    fn judge_error(&self, error: &PostgresError) -> Fault {
        error.fault()
    }

    fn judge_attempt(&self, error: &PostgresError) -> ConnectFault {
        let words = error.as_db_error();
        words.map_or(ConnectFault::Unreachable, |words| {
            judge_refusal(words.code().code())
        })
    }
}
