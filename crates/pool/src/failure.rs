//! How an attempt to open a connection fails.

use std::error::Error;
use std::time::Duration;

use thiserror::Error;

use crate::ending::Ending;

/// How an attempt to open a connection failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError<E: Error + 'static> {
    /// The driver's own error.
    #[error(transparent)]
    Driver(E),
    /// Nothing came of it within `connect_timeout`.
    #[error("nothing came of it within {0:?} (connect_timeout)")]
    TimedOut(Duration),
    /// It was opened, and had ended before it was used once.
    #[error("it ended before it was used once ({0})")]
    EndedAtOnce(Ending),
    /// The driver panicked.
    #[error("the driver panicked")]
    Panicked,
}
