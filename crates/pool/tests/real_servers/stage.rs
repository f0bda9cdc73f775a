//! What the scenarios need of both databases: how to connect, to ask, to name a session.

use std::time::Duration;

use dbvitals_pool::{Driver, MySql, Pool, Postgres, Settings};
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres as PostgresServer, PostgresOptions, RealServer,
};
use mysql_async::OptsBuilder;
use mysql_async::prelude::Queryable as _;

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

/// A server, and how to be pooled with it.
pub(crate) trait Stage {
    type Driver: Talks;
    type Server: RealServer;

    fn server() -> Self::Server {
        Self::server_with(None)
    }

    /// A server that ends what idles for longer than so many seconds.
    fn server_with(idle_limit_s: Option<u32>) -> Self::Server;

    /// A driver that connects to the server at this address of it.
    fn driver(host: &str, port: u16) -> Self::Driver;

    fn kill_all(server: &Self::Server);

    /// Ends one session, if it is still there.
    fn kill_one(server: &Self::Server, number: u64);
}

pub(crate) struct OnMariaDb;
pub(crate) struct OnPostgres;

impl Stage for OnMariaDb {
    type Driver = MySql;
    type Server = MariaDb;

    fn server_with(idle_limit_s: Option<u32>) -> MariaDb {
        let limit = idle_limit_s.map(|seconds| format!("--wait-timeout={seconds}"));
        MariaDb::start(MariaDbOptions {
            arguments: limit.into_iter().collect(),
            listen: vec!["0.0.0.0".parse().expect("an address")],
            ..MariaDbOptions::default()
        })
    }

    fn driver(host: &str, port: u16) -> MySql {
        let opts = OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some("vitals"))
            .pass(Some("secret"))
            .prefer_socket(false);
        MySql::new(opts)
    }

    fn kill_all(server: &MariaDb) {
        server.kill_all_sessions();
    }

    fn kill_one(server: &MariaDb, number: u64) {
        // The session may be gone already.
        server.sql(&format!(
            "DELIMITER $$
             BEGIN NOT ATOMIC
               DECLARE CONTINUE HANDLER FOR 1094 BEGIN END;
               KILL {number};
             END$$"
        ));
    }
}

impl Stage for OnPostgres {
    type Driver = Postgres;
    type Server = PostgresServer;

    fn server_with(idle_limit_s: Option<u32>) -> PostgresServer {
        let limit = |seconds| ("idle_session_timeout".to_owned(), format!("{seconds}s"));
        PostgresServer::start(PostgresOptions {
            settings: idle_limit_s.map(limit).into_iter().collect(),
            listen: vec!["0.0.0.0".parse().expect("an address")],
            hba: vec!["host all vitals 0.0.0.0/0 scram-sha-256".to_owned()],
            ..PostgresOptions::default()
        })
    }

    fn driver(host: &str, port: u16) -> Postgres {
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(port);
        config.user("vitals").password("secret").dbname("vitals");
        Postgres::new(config)
    }

    fn kill_all(server: &PostgresServer) {
        server.terminate_all_sessions();
    }

    fn kill_one(server: &PostgresServer, number: u64) {
        server.sql(&format!("SELECT pg_terminate_backend({number})"));
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
    assert_eq!(pool.stats().idle, 10);
}

/// Two hundred checkouts with a command each; the errors that the application sees.
pub(crate) async fn two_hundred<D: Talks>(pool: &Pool<D>) -> Vec<String> {
    let mut errors = Vec::new();
    for _ in 0..200 {
        match pool.acquire().await {
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
