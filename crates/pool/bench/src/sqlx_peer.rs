//! sqlx's pool over a database that knows nothing: its connections do nothing, successfully.
//!
//! Everything that sqlx asks of a database beyond a connection has no value, and so no code.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;
use sqlx_core::Error;
use sqlx_core::arguments::Arguments;
use sqlx_core::column::Column;
use sqlx_core::connection::{ConnectOptions, Connection};
use sqlx_core::database::Database;
use sqlx_core::encode::Encode;
use sqlx_core::error::BoxDynError;
use sqlx_core::pool::{Pool, PoolConnection, PoolOptions};
use sqlx_core::row::Row;
use sqlx_core::sql_str::SqlStr;
use sqlx_core::statement::Statement;
use sqlx_core::transaction::{Transaction, TransactionManager};
use sqlx_core::type_info::TypeInfo;
use sqlx_core::types::Type;
use sqlx_core::value::{Value, ValueRef};
use sqlx_core::{Either, impl_statement_query};
use url::Url;

use crate::peers::{Opener, Peer};

#[derive(Debug)]
pub(crate) struct Nothing;

/// What there is none of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Never {}

#[derive(Debug, Default)]
pub(crate) struct NoArguments;

#[derive(Debug, Default)]
pub(crate) struct NoResult;

impl Extend<NoResult> for NoResult {
    fn extend<T: IntoIterator<Item = NoResult>>(&mut self, _: T) {}
}

pub(crate) struct NoConnection;

#[derive(Debug, Clone)]
pub(crate) struct Options(Opener);

impl Database for Nothing {
    type Connection = NoConnection;
    type TransactionManager = Never;
    type Row = Never;
    type QueryResult = NoResult;
    type Column = Never;
    type TypeInfo = Never;
    type Value = Never;
    type ValueRef<'r> = Never;
    type Arguments = NoArguments;
    type ArgumentBuffer = ();
    type Statement = Never;
    const NAME: &'static str = "nothing";
    const URL_SCHEMES: &'static [&'static str] = &["nothing"];
}

impl Connection for NoConnection {
    type Database = Nothing;
    type Options = Options;

    async fn close(self) -> Result<(), Error> {
        Ok(())
    }

    async fn close_hard(self) -> Result<(), Error> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn begin(&mut self) -> Result<Transaction<'_, Nothing>, Error> {
        Err(Error::WorkerCrashed)
    }

    fn shrink_buffers(&mut self) {}

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn should_flush(&self) -> bool {
        false
    }
}

impl FromStr for Options {
    type Err = Error;

    fn from_str(_: &str) -> Result<Self, Error> {
        Ok(Self(Opener::default()))
    }
}

impl ConnectOptions for Options {
    type Connection = NoConnection;

    fn from_url(_: &Url) -> Result<Self, Error> {
        Ok(Self(Opener::default()))
    }

    async fn connect(&self) -> Result<NoConnection, Error> {
        // What sqlx takes for a server that is away, and tries again.
        let refused = |_| Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        self.0.open().await.map(|_| NoConnection).map_err(refused)
    }

    fn log_statements(self, _: LevelFilter) -> Self {
        self
    }

    fn log_slow_statements(self, _: LevelFilter, _: Duration) -> Self {
        self
    }
}

#[derive(Clone)]
pub(crate) struct Sqlx(Pool<Nothing>);

impl Peer for Sqlx {
    const NAME: &'static str = "sqlx, test_before_acquire(false)";
    type Held = PoolConnection<Nothing>;

    async fn build(size: usize, opener: Opener) -> Self {
        let options = PoolOptions::new()
            .max_connections(size.try_into().unwrap())
            .test_before_acquire(false);
        Self(options.connect_lazy_with(Options(opener)))
    }

    async fn get(&self) -> Option<Self::Held> {
        self.0.acquire().await.ok()
    }
}

impl TransactionManager for Never {
    type Database = Nothing;

    async fn begin(_: &mut NoConnection, _: Option<SqlStr>) -> Result<(), Error> {
        Ok(())
    }

    async fn commit(_: &mut NoConnection) -> Result<(), Error> {
        Ok(())
    }

    async fn rollback(_: &mut NoConnection) -> Result<(), Error> {
        Ok(())
    }

    fn start_rollback(_: &mut NoConnection) {}

    fn get_transaction_depth(_: &NoConnection) -> usize {
        0
    }
}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl TypeInfo for Never {
    fn is_null(&self) -> bool {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }
}

impl Column for Never {
    type Database = Nothing;

    fn ordinal(&self) -> usize {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }

    fn type_info(&self) -> &Never {
        match *self {}
    }
}

impl Row for Never {
    type Database = Nothing;

    fn columns(&self) -> &[Never] {
        match *self {}
    }

    fn try_get_raw<I>(&self, _: I) -> Result<Never, Error>
    where
        I: sqlx_core::column::ColumnIndex<Self>,
    {
        match *self {}
    }
}

impl Value for Never {
    type Database = Nothing;

    fn as_ref(&self) -> Never {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Never> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl<'r> ValueRef<'r> for Never {
    type Database = Nothing;

    fn to_owned(&self) -> Never {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Never> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl Arguments for NoArguments {
    type Database = Nothing;

    fn reserve(&mut self, _: usize, _: usize) {}

    fn add<'t, T>(&mut self, _: T) -> Result<(), BoxDynError>
    where
        T: Encode<'t, Nothing> + Type<Nothing>,
    {
        Ok(())
    }

    fn len(&self) -> usize {
        0
    }
}

sqlx_core::impl_into_arguments_for_arguments!(NoArguments);

impl Statement for Never {
    type Database = Nothing;

    fn into_sql(self) -> SqlStr {
        match self {}
    }

    fn sql(&self) -> &SqlStr {
        match *self {}
    }

    fn parameters(&self) -> Option<Either<&[Never], usize>> {
        match *self {}
    }

    fn columns(&self) -> &[Never] {
        match *self {}
    }

    impl_statement_query!(NoArguments);
}
