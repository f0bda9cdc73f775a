//! What the scenarios need of both databases: how to connect, to ask, to name a session.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_pool::{Driver, MySql, Pool, Postgres, Settings, SqlxMySql, SqlxPostgres};
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres as PostgresServer, PostgresOptions, RealServer,
};
use mysql_async::Opts;
use mysql_async::prelude::Queryable as _;
use sqlx_core::executor::Executor as _;
use sqlx_core::row::Row as _;
use sqlx_mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx_postgres::{PgConnectOptions, PgConnection};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A driver whose sessions the scenarios can talk on.
pub(crate) trait Talks: Driver {
    /// Asks something small, and returns the server's own name for the session.
    fn ask(session: &mut Self::Connection)
    -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Tells the server, and not the pool, to end the session after a second's silence.
    fn limit_idleness(
        session: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl Talks for MySql {
    async fn ask(session: &mut mysql_async::Conn) -> Result<u64, mysql_async::Error> {
        let number = session.query_first("SELECT CONNECTION_ID()").await?;
        Ok(number.expect("a row"))
    }

    async fn limit_idleness(session: &mut mysql_async::Conn) -> Result<(), mysql_async::Error> {
        session.query_drop("SET SESSION wait_timeout = 1").await
    }
}

impl Talks for Postgres {
    async fn ask(session: &mut dbvitals_pool::Session) -> Result<u64, Self::Error> {
        let row = session.query_one("SELECT pg_backend_pid()", &[]).await?;
        Ok(u64::from(row.get::<_, i32>(0).unsigned_abs()))
    }

    async fn limit_idleness(session: &mut dbvitals_pool::Session) -> Result<(), Self::Error> {
        session
            .batch_execute("SET idle_session_timeout = '1s'")
            .await
    }
}

impl Talks for SqlxMySql {
    async fn ask(session: &mut MySqlConnection) -> Result<u64, sqlx_core::Error> {
        let row = session.fetch_one("SELECT CONNECTION_ID()").await?;
        row.try_get(0)
    }

    async fn limit_idleness(session: &mut MySqlConnection) -> Result<(), sqlx_core::Error> {
        let set = session.execute("SET SESSION wait_timeout = 1").await;
        set.map(drop)
    }
}

impl Talks for SqlxPostgres {
    async fn ask(session: &mut PgConnection) -> Result<u64, sqlx_core::Error> {
        let row = session.fetch_one("SELECT pg_backend_pid()").await?;
        Ok(u64::from(row.try_get::<i32, _>(0)?.unsigned_abs()))
    }

    async fn limit_idleness(session: &mut PgConnection) -> Result<(), sqlx_core::Error> {
        let set = session.execute("SET idle_session_timeout = '1s'").await;
        set.map(drop)
    }
}

/// A server whose sessions come to an end on order.
pub(crate) trait Ends: RealServer {
    /// One that ends what idles for longer than so many seconds.
    fn start(idle_limit_s: Option<u32>) -> Self;

    /// Ends all sessions.
    fn kill_all(&self);

    /// Ends one session, if it is still there, and returns once it is gone.
    fn kill_one(&self, number: u64);
}

impl Ends for MariaDb {
    fn start(idle_limit_s: Option<u32>) -> Self {
        let limit = idle_limit_s.map(|seconds| format!("--wait-timeout={seconds}"));
        Self::start(MariaDbOptions {
            arguments: limit.into_iter().collect(),
            listen: vec!["0.0.0.0".parse().expect("an address")],
            ..MariaDbOptions::default()
        })
    }

    fn kill_all(&self) {
        self.kill_all_sessions();
    }

    fn kill_one(&self, number: u64) {
        // The session may be gone already.
        self.sql(&format!(
            "DELIMITER $$
             BEGIN NOT ATOMIC
               DECLARE waits INT DEFAULT 0;
               DECLARE CONTINUE HANDLER FOR 1094 BEGIN END;
               KILL {number};
               WHILE waits < 5000 AND EXISTS
                 (SELECT 1 FROM information_schema.processlist WHERE id = {number})
               DO
                 DO SLEEP(0.001);
                 SET waits = waits + 1;
               END WHILE;
             END$$"
        ));
    }
}

impl Ends for PostgresServer {
    fn start(idle_limit_s: Option<u32>) -> Self {
        let limit = |seconds| ("idle_session_timeout".to_owned(), format!("{seconds}s"));
        Self::start(PostgresOptions {
            settings: idle_limit_s.map(limit).into_iter().collect(),
            listen: vec!["0.0.0.0".parse().expect("an address")],
            hba: vec!["host all vitals 0.0.0.0/0 scram-sha-256".to_owned()],
            ..PostgresOptions::default()
        })
    }

    fn kill_all(&self) {
        // Each is waited for: what it leaves on the wire is there once it is gone.
        self.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
    }

    fn kill_one(&self, number: u64) {
        self.sql(&format!("SELECT pg_terminate_backend({number}, 10000)"));
    }
}

/// A server, and how to be pooled with it.
pub(crate) trait Stage {
    type Driver: Talks;
    type Server: Ends;

    fn server() -> Self::Server {
        Ends::start(None)
    }

    /// A driver that connects to the server at this address of it.
    fn driver(host: &str, port: u16) -> Self::Driver;
}

pub(crate) struct OnMariaDb;
pub(crate) struct OnPostgres;
pub(crate) struct OnMariaDbBySqlx;
pub(crate) struct OnPostgresBySqlx;

impl Stage for OnMariaDb {
    type Driver = MySql;
    type Server = MariaDb;

    fn driver(host: &str, port: u16) -> MySql {
        let url = format!("mysql://vitals:secret@{host}:{port}");
        MySql::new(Opts::from_url(&url).expect("a URL"))
    }
}

impl Stage for OnPostgres {
    type Driver = Postgres;
    type Server = PostgresServer;

    fn driver(host: &str, port: u16) -> Postgres {
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(port);
        config.user("vitals").password("secret").dbname("vitals");
        Postgres::new(config)
    }
}

impl Stage for OnMariaDbBySqlx {
    type Driver = SqlxMySql;
    type Server = MariaDb;

    fn driver(host: &str, port: u16) -> SqlxMySql {
        let options = MySqlConnectOptions::new().host(host).port(port);
        SqlxMySql::new(options.username("vitals").password("secret"))
    }
}

impl Stage for OnPostgresBySqlx {
    type Driver = SqlxPostgres;
    type Server = PostgresServer;

    fn driver(host: &str, port: u16) -> SqlxPostgres {
        let options = PgConnectOptions::new_without_pgpass().host(host).port(port);
        let options = options.username("vitals").password("secret");
        SqlxPostgres::new(options.database("vitals"))
    }
}

/// A pool on a server, with limits fit for a test.
pub(crate) fn pool<D: Driver>(driver: D, settings: Settings) -> Pool<D> {
    Pool::builder(driver)
        .settings(settings)
        .build()
        .expect("a pool")
}

pub(crate) fn settings() -> Settings {
    Settings {
        max_open: 10,
        ping_timeout: 300 * MS,
        ..Settings::default()
    }
}

/// Ten idle connections.
pub(crate) async fn warm<D: Talks>(pool: &Pool<D>) {
    let mut leases = Vec::new();
    for _ in 0..10 {
        let mut lease = pool.acquire().await.expect("a connection");
        lease
            .run(async |it| D::ask(it).await)
            .await
            .expect("an answer");
        leases.push(lease);
    }
    drop(leases);
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.without_socket), (10, 0), "{stats:?}");
}

/// Two hundred checkouts with a command each, ten at a time: at first ten are out at once, so that
/// every idle one was handed out or found dead. The errors that the application sees.
pub(crate) async fn two_hundred<D: Talks>(pool: &Pool<D>) -> Vec<String> {
    let all_out = Arc::new(Barrier::new(10));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(twenty(pool.clone(), Arc::clone(&all_out)));
    }
    tasks.join_all().await.concat()
}

async fn twenty<D: Talks>(pool: Pool<D>, all_out: Arc<Barrier>) -> Vec<String> {
    let mut errors = Vec::new();
    for round in 0..20 {
        let lease = pool.acquire().await;
        if round == 0 {
            all_out.wait().await;
        }
        match lease {
            Ok(mut lease) => {
                if let Err(error) = lease.run(async |it| D::ask(it).await).await {
                    errors.push(error.to_string());
                }
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    errors
}

/// Waits until something holds, half a minute at most.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(10 * MS).await;
    }
    panic!("in half a minute it did not come to this: {what}");
}
