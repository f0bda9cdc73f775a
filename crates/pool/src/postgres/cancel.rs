//! Cancelling a command from elsewhere: PostgreSQL takes the request on a connection of its own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use super::dial::Address;
use super::error::PostgresError;
use super::stream::Stream;

/// Cancels whatever a session is doing, from any task; see
/// [`Session::cancel_token`](super::Session::cancel_token).
///
/// Use it in place of the driver's own: that one cannot know where the server is.
#[derive(Clone)]
pub struct CancelToken {
    token: tokio_postgres::CancelToken,
    route: Arc<dyn Route>,
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").finish_non_exhaustive()
    }
}

impl CancelToken {
    pub(super) fn new(token: tokio_postgres::CancelToken, route: Arc<dyn Route>) -> Self {
        Self { token, route }
    }

    /// Asks the server to cancel what the session is doing now, over a connection of its own.
    ///
    /// The server does not say whether it did. It may come late, and meet the next command.
    ///
    /// # Errors
    ///
    /// The server could not be reached.
    pub async fn cancel_query(&self) -> Result<(), PostgresError> {
        self.route.send(self.token.clone()).await
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<(), PostgresError>> + Send>>;

/// The way to the server that has the session, whatever it speaks.
pub(super) trait Route: Send + Sync {
    fn send(&self, token: tokio_postgres::CancelToken) -> Sending;
}

/// The way that a session was opened on.
pub(super) struct Beaten<T> {
    pub(super) config: Arc<Config>,
    pub(super) tls: T,
    pub(super) address: Address,
    pub(super) name: String,
}

impl<T> Route for Beaten<T>
where
    T: MakeTlsConnect<Stream> + Clone + Send + Sync + 'static,
    T::Stream: Send,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Stream>>::Future: Send,
{
    fn send(&self, token: tokio_postgres::CancelToken) -> Sending {
        let (config, address) = (Arc::clone(&self.config), self.address.clone());
        let tls = self.tls.clone().make_tls_connect(&self.name);
        let tls = tls.map_err(|error| PostgresError::Tls(error.into()));
        Box::pin(async move {
            let (stream, _) = address.dial(&config).await?;
            Ok(token.cancel_query_raw(stream, tls?).await?)
        })
    }
}
