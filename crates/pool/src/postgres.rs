//! Pooled sessions of PostgreSQL through tokio-postgres.
//!
//! The stream is made here and handed to the driver, so that the pool can look at its socket, and
//! the driver's task belongs to the session. That task reads whatever comes at any time: the
//! server's last words name the end of a session, and notifications are no reason for doubt.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use dbvitals_verdict::Moment;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, SimpleQueryMessage, Statement, ToStatement};

use crate::clock;
use crate::driver::{Driver, Fault, Opened, Returned, Unread};
use crate::ending::Ending;
use crate::postgres_words::{ends_session, name_ending};

const DEFAULT_PORT: u16 = 5432;
/// Asked once for each session; servers before 14 know no such limit.
const IDLE_LIMIT: &str = "SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'";

/// Opens sessions of PostgreSQL; `T` is tokio-postgres' way to speak TLS, none by default.
#[derive(Clone)]
pub struct Postgres<T = NoTls> {
    config: Config,
    tls: T,
}

/// What a session is carried over.
trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Carrier for S {}

/// The stream of a session: TCP or a unix socket.
pub struct Stream(Box<dyn Carrier>);

/// A session: tokio-postgres' [`Client`], and what becomes of it.
///
/// The methods named here are those of the client, marked while under way: a session whose command
/// was cancelled is closed rather than given back. Everything else of the client can be called as
/// well; for that, [`Lease::run`](crate::Lease::run) does the marking.
pub struct Session {
    client: Client,
    /// The driver's task; aborted when dropped.
    task: JoinSet<()>,
    ending: Arc<OnceLock<Ending>>,
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the last of them ended, in nanoseconds of the pool's clock.
    answered_at: AtomicU64,
}

/// How opening or using a session fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// No stream could be had.
    #[error("reach the server: {0}")]
    Stream(#[from] io::Error),
    /// TLS could not be prepared.
    #[error("prepare TLS: {0}")]
    Tls(Box<dyn std::error::Error + Send + Sync>),
    /// The driver's own.
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
}

impl<T> fmt::Debug for Postgres<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("ending", &self.ending.get())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl Postgres<NoTls> {
    /// Sessions in cleartext.
    pub fn new(config: Config) -> Self {
        Self { config, tls: NoTls }
    }
}

impl<T> Postgres<T> {
    /// Sessions over TLS, as far as the configuration's `ssl_mode` asks for it.
    pub fn with_tls(config: Config, tls: T) -> Self {
        Self { config, tls }
    }
}

impl<T> Postgres<T> {
    /// Tries the hosts of the configuration in turn; the pool limits the whole.
    async fn stream(&self) -> io::Result<(Stream, OwnedFd, &str)> {
        let ports = self.config.get_ports();
        let mut failure = io::Error::new(
            io::ErrorKind::InvalidInput,
            "the configuration names no host",
        );
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied();
            let port = port.unwrap_or(DEFAULT_PORT);
            match dial(host, port).await {
                Ok((stream, socket)) => {
                    let name = match host {
                        Host::Tcp(name) => name,
                        Host::Unix(_) => "",
                    };
                    return Ok((stream, socket, name));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

async fn dial(host: &Host, port: u16) -> io::Result<(Stream, OwnedFd)> {
    match host {
        Host::Tcp(name) => {
            let stream = TcpStream::connect((name.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let socket = stream.as_fd().try_clone_to_owned()?;
            Ok((Stream(Box::new(stream)), socket))
        }
        Host::Unix(directory) => {
            let path = Path::new(directory).join(format!(".s.PGSQL.{port}"));
            let stream = UnixStream::connect(path).await?;
            let socket = stream.as_fd().try_clone_to_owned()?;
            Ok((Stream(Box::new(stream)), socket))
        }
    }
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
        let (stream, socket, name) = self.stream().await?;
        let mut tls = self.tls.clone();
        let tls = tls.make_tls_connect(name);
        let tls = tls.map_err(|error| PostgresError::Tls(error.into()))?;
        let (client, connection) = self.config.connect_raw(stream, tls).await?;

        let ending = Arc::new(OnceLock::new());
        let told = Arc::clone(&ending);
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = connection.await {
                let _ = told.set(name_ending(error.code().map(SqlState::code)));
            }
        });
        let session = Session {
            client,
            task,
            ending,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            answered_at: AtomicU64::new(0),
        };
        let idle_limit = session.idle_limit().await?;
        let opened = Opened::new(session).with_socket(socket);
        Ok(match idle_limit {
            Some(limit) => opened.with_idle_limit(limit),
            None => opened,
        })
    }

    async fn ping(&self, session: &mut Session) -> Result<(), PostgresError> {
        Ok(session.client.check_connection().await?)
    }

    async fn close(&self, session: Session) {
        let Session {
            client, mut task, ..
        } = session;
        // The driver's task says goodbye once there is no client any more.
        drop(client);
        task.join_next().await;
    }

    fn at_return(&self, session: &mut Session) -> Returned {
        let begun = session.begun.swap(0, Ordering::Relaxed);
        match session.ended.swap(0, Ordering::Relaxed) {
            _ if session.client.is_closed() => Returned::Broken,
            ended if ended != begun => Returned::InFlight,
            0 => Returned::Unknown,
            _ => {
                let answered_at = session.answered_at.load(Ordering::Relaxed);
                let ago = clock::coarse().since(Moment::from_nanos(answered_at));
                Returned::Proven { ago }
            }
        }
    }

    fn is_closed(&self, session: &Session) -> bool {
        session.client.is_closed() || session.ending.get().is_some()
    }

    fn judge_unread(&self, session: &mut Session) -> Unread {
        // The driver's task is about to read it. Last words have an end behind them, which the
        // look at the socket sees; what comes alone is a notice or a notification.
        match self.is_closed(session) {
            true => Unread::Dead,
            false => Unread::Alive,
        }
    }

    fn ending(&self, session: &Session) -> Option<Ending> {
        session.ending.get().copied()
    }

    fn judge_error(&self, error: &PostgresError) -> Fault {
        match error {
            PostgresError::Driver(error) => match error.as_db_error() {
                Some(words) if ends_session(words.code().code()) => Fault::Lost,
                Some(_) => Fault::Answered,
                None => judge_driver(error),
            },
            PostgresError::Stream(_) | PostgresError::Tls(_) => Fault::LostBefore,
        }
    }
}

/// What an error means that the server did not send.
fn judge_driver(error: &tokio_postgres::Error) -> Fault {
    let source = std::error::Error::source(error);
    let is_io = source.is_some_and(|source| source.is::<io::Error>());
    match error.is_closed() || is_io {
        // It may have been sent before the end was seen.
        true => Fault::Lost,
        // A value could not be converted, or a row was missing: no harm to the session.
        false => Fault::Answered,
    }
}

impl Session {
    /// [`Client::query`], marked.
    ///
    /// # Errors
    ///
    /// The client's; so with all that follow.
    pub async fn query<S>(
        &self,
        statement: &S,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PostgresError>
    where
        S: ?Sized + ToStatement,
    {
        self.mark(self.client.query(statement, params)).await
    }

    /// [`Client::query_one`], marked.
    pub async fn query_one<S>(
        &self,
        statement: &S,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, PostgresError>
    where
        S: ?Sized + ToStatement,
    {
        self.mark(self.client.query_one(statement, params)).await
    }

    /// [`Client::query_opt`], marked.
    pub async fn query_opt<S>(
        &self,
        statement: &S,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, PostgresError>
    where
        S: ?Sized + ToStatement,
    {
        self.mark(self.client.query_opt(statement, params)).await
    }

    /// [`Client::execute`], marked.
    pub async fn execute<S>(
        &self,
        statement: &S,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, PostgresError>
    where
        S: ?Sized + ToStatement,
    {
        self.mark(self.client.execute(statement, params)).await
    }

    /// [`Client::prepare`], marked.
    pub async fn prepare(&self, query: &str) -> Result<Statement, PostgresError> {
        self.mark(self.client.prepare(query)).await
    }

    /// [`Client::simple_query`], marked.
    pub async fn simple_query(
        &self,
        query: &str,
    ) -> Result<Vec<SimpleQueryMessage>, PostgresError> {
        self.mark(self.client.simple_query(query)).await
    }

    /// [`Client::batch_execute`], marked.
    pub async fn batch_execute(&self, query: &str) -> Result<(), PostgresError> {
        self.mark(self.client.batch_execute(query)).await
    }

    async fn mark<R>(
        &self,
        command: impl Future<Output = Result<R, tokio_postgres::Error>>,
    ) -> Result<R, PostgresError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let result = command.await;
        self.ended.fetch_add(1, Ordering::Relaxed);
        let now = clock::coarse().as_nanos();
        self.answered_at.store(now, Ordering::Relaxed);
        Ok(result?)
    }

    /// How long the server lets the session idle; zero is no limit.
    async fn idle_limit(&self) -> Result<Option<Duration>, tokio_postgres::Error> {
        let rows = self.client.simple_query(IDLE_LIMIT).await?;
        let setting = rows.iter().find_map(|row| {
            let SimpleQueryMessage::Row(row) = row else {
                return None;
            };
            row.get(0)?.parse().ok()
        });
        let limit = setting.map(Duration::from_millis);
        Ok(limit.filter(|limit| !limit.is_zero()))
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
