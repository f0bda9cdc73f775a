//! Moving here from deadpool, bb8 or sqlx's pool: what was written there, beside what it becomes.
//!
//! ```text
//! cargo run -p dbvitals-pool --features mysql_async,sqlx-mysql --example from_other_pools -- \
//!     mysql://vitals:secret@127.0.0.1:3306
//! ```
//!
//! | there | here |
//! |---|---|
//! | deadpool `Manager::create`, bb8 `ManageConnection::connect` | [`Driver::connect`] |
//! | deadpool `Manager::recycle`, bb8 `is_valid`, sqlx `test_before_acquire` | [`Driver::ping`], called rarely |
//! | deadpool `Manager::detach` | nothing: a connection is dropped |
//! | bb8 `has_broken` | [`Driver::at_return`], [`Driver::is_closed`] |
//! | bb8 `CustomizeConnection::on_acquire`, deadpool `Hook` `post_create`, sqlx `after_connect` | `Builder::after_connect` |
//! | deadpool `Hook` `pre_recycle` and `post_recycle`, sqlx `before_acquire` | nothing at checkout: [`Driver::ping`] is for life and death, the rest belongs to the command |
//! | sqlx `after_release` | [`Driver::at_return`], and [`Driver::settle`] for what takes time |
//! | deadpool `max_size`, bb8 `max_size`, sqlx `max_connections` | [`Settings::max_open`] |
//! | bb8 `min_idle`, sqlx `min_connections` | [`Settings::min_idle`] |
//! | bb8 `connection_timeout`, sqlx `acquire_timeout`, deadpool `timeouts.wait` | [`Settings::acquire_timeout`] |
//! | deadpool `timeouts.recycle` | [`Settings::ping_timeout`] |
//! | bb8 and sqlx `max_lifetime`, `idle_timeout` | [`Settings::max_lifetime`], [`Settings::max_idle_time`] |
//! | deadpool `queue_mode`, bb8 `queue_strategy` | [`Settings::idle_order`] |
//! | deadpool `Object::take`, sqlx `detach` | `Lease::detach` |
//! | sqlx `close`, deadpool `close` | `Pool::close`, which waits as long as you say |

use std::env;
use std::error::Error;
use std::time::Duration;

use dbvitals_pool::{Driver, Fault, MySql, Opened, Pool, Settings, SqlxMySql};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
// In an application: use sqlx::{Executor as _, Row as _}.
use sqlx_core::executor::Executor as _;
use sqlx_core::row::Row as _;

/// A manager as bb8 or deadpool has it, taken over as it is: connect, and a test.
///
/// It shows no socket, so the pool pings by age; [`MySql`], the adapter, does better.
struct OwnDriver(Opts);

impl Driver for OwnDriver {
    type Connection = Conn;
    type Error = mysql_async::Error;

    async fn connect(&self) -> Result<Opened<Conn>, mysql_async::Error> {
        Ok(Opened::new(Conn::new(self.0.clone()).await?))
    }

    async fn ping(&self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        connection.ping().await
    }

    fn judge_error(&self, error: &mysql_async::Error) -> Fault {
        match error.is_fatal() {
            true => Fault::Lost,
            false => Fault::Answered,
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args()
        .nth(1)
        .unwrap_or("mysql://vitals@127.0.0.1:3306".to_owned());
    let opts = Opts::from_url(&url)?;

    // bb8:      Pool::builder().max_size(8).build(manager).await?
    // deadpool: Pool::builder(manager).max_size(8).build()?
    let pool = Pool::builder(OwnDriver(opts.clone()))
        .settings(Settings {
            max_open: 8,
            ..Settings::default()
        })
        .build()?;
    // Both:     let mut connection = pool.get().await?;
    let mut connection = pool.acquire().await?;
    let two: Option<u8> = connection.query_first("SELECT 1 + 1").await?;
    println!("a manager of one's own: {two:?}");
    drop(connection);

    // The adapter, which sees the socket.
    let pool = Pool::builder(MySql::new(opts)).build()?;
    let three =
        pool.run_repeatable(async |session| session.query_first::<u8, _>("SELECT 1 + 2").await);
    println!("the adapter: {:?}", three.await?);
    println!("pings sent: {}", pool.stats().pings);
    pool.close(Duration::from_secs(1)).await;

    // sqlx:     let pool = MySqlPoolOptions::new().max_connections(8).connect(&url).await?;
    //           query("…").fetch_one(&pool), which pings before and after
    let pool = Pool::builder(SqlxMySql::new(url.parse()?)).build()?;
    let row = pool.run_repeatable(async |session| session.fetch_one("SELECT 1 + 3").await);
    let four: i64 = row.await?.try_get(0)?;
    println!("sqlx's connections: {four}");
    pool.close(Duration::from_secs(1)).await;
    Ok(())
}
