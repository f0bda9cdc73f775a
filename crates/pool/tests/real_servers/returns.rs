//! What becomes of what users leave behind, on real servers: open transactions, cancelled and
//! mistaken commands, sessions that were lost under them.

use dbvitals_pool::{Ending, MySql, Pool, SqlxMySql, SqlxPostgres};
use dbvitals_testkit::{MariaDb, RealServer as _, require_servers};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, TxOpts};
use sqlx_core::connection::Connection as _;
use sqlx_core::executor::Executor as _;
use sqlx_core::query::query;

use crate::stage::{
    Ends as _, MS, OnMariaDb, OnMariaDbBySqlx, OnPostgresBySqlx, Stage as _, Talks as _,
    eventually, pool, settings, two_hundred, warm,
};

const LOCK: &str = "UPDATE app.books SET copies = copies + 1";

/// A server with a table to lock, and one connection to it.
fn with_books() -> (MariaDb, Pool<MySql>) {
    let server = OnMariaDb::server();
    server.sql(
        "CREATE DATABASE app;
         CREATE TABLE app.books (id INT PRIMARY KEY, copies INT) ENGINE = InnoDB;
         INSERT INTO app.books VALUES (1, 1);
         GRANT ALL ON app.* TO vitals@'%'",
    );
    let one = dbvitals_pool::Settings {
        max_open: 1,
        ..settings()
    };
    let pool = pool(OnMariaDb::driver("127.0.0.1", server.port()), one);
    (server, pool)
}

/// Whatever leaves a transaction behind, the next checkout finds nothing of it.
async fn leave_behind(leave: impl AsyncFn(&mut Conn)) {
    let (server, pool) = with_books();
    let mut lease = pool.acquire().await.unwrap();
    leave(&mut lease).await;
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    // Fails where somebody has a lock on it.
    let copies = server.sql("SELECT copies FROM app.books FOR UPDATE NOWAIT");
    assert_eq!(copies.trim(), "1", "rolled back");
    lease.query_drop(LOCK).await.unwrap();
    drop(lease);
    assert_eq!(server.sql("SELECT copies FROM app.books").trim(), "2");
    let stats = pool.stats();
    assert_eq!((stats.pings, stats.attempts), (1, 1), "{stats:?}");
}

#[tokio::test]
async fn a_transaction_that_was_dropped_holds_no_lock_at_the_next_checkout() {
    require_servers!();
    leave_behind(async |session| {
        let mut transaction = session.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop(LOCK).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_transaction_begun_by_words_does_not_reach_the_next_user() {
    require_servers!();
    leave_behind(async |session| {
        session.query_drop("BEGIN").await.unwrap();
        session.query_drop(LOCK).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_transaction_does_not_outlive_an_error_in_it() {
    require_servers!();
    leave_behind(async |session| {
        session.query_drop("BEGIN").await.unwrap();
        session.query_drop(LOCK).await.unwrap();
        session.query_drop("no SQL").await.unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_was_prepared_last_hides_no_transaction() {
    require_servers!();
    leave_behind(async |session| {
        session.query_drop("BEGIN").await.unwrap();
        session.query_drop(LOCK).await.unwrap();
        session.prep("SELECT ?").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_leaves_nothing_behind_costs_nothing() {
    require_servers!();
    let (_server, pool) = with_books();
    for _ in 0..10 {
        let mut lease = pool.acquire().await.unwrap();
        let mut transaction = lease.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop(LOCK).await.unwrap();
        transaction.commit().await.unwrap();
        let copies: Vec<u32> = lease
            .exec("SELECT copies FROM app.books", ())
            .await
            .unwrap();
        assert_eq!(copies.len(), 1);
    }
    let stats = pool.stats();
    assert_eq!((stats.pings, stats.attempts), (0, 1), "{stats:?}");
}

/// A mistake of the caller's after which the driver closes the session.
async fn make(mistake: impl AsyncFn(&mut Conn) -> Result<(), mysql_async::Error>) {
    let server = OnMariaDb::server();
    let pool = pool(OnMariaDb::driver("127.0.0.1", server.port()), settings());
    warm(&pool).await;
    let mut tries = 0;
    let outcome = pool.run_repeatable(async |session| {
        tries += 1;
        mistake(session).await
    });
    outcome.await.unwrap_err();
    assert_eq!((tries, pool.stats().repeats), (1, 0));
    eventually("it is closed", || pool.stats().open == 9).await;
    let stats = pool.stats();
    assert_eq!(stats.ended(Ending::Broken), 0, "{stats:?}");
}

#[tokio::test]
async fn wrong_parameters_are_tried_once_and_cast_no_doubt() {
    require_servers!();
    make(async |session| session.exec_drop("SELECT ?", (1, 2)).await).await;
}

#[tokio::test]
async fn what_is_too_large_to_send_is_tried_once_and_casts_no_doubt() {
    require_servers!();
    let text = format!("SELECT '{}'", "x".repeat(64 << 20));
    make(async |session| session.query_drop(text.as_str()).await).await;
}

/// Afterwards sqlx would wait for an answer that never comes.
#[tokio::test]
async fn wrong_parameters_by_sqlx_are_tried_once_and_reach_nobody_else() {
    require_servers!();
    let server = OnMariaDbBySqlx::server();
    let driver = OnMariaDbBySqlx::driver("127.0.0.1", server.port());
    let pool = pool(driver, settings());
    warm(&pool).await;
    let mut tries = 0;
    let outcome = pool.run_repeatable(async |connection| {
        tries += 1;
        let wrong = query("SELECT ?").bind(1).bind(2);
        wrong.execute(connection).await.map(drop)
    });
    outcome.await.unwrap_err();
    assert_eq!(tries, 1);
    assert_eq!(two_hundred(&pool).await, [""; 0]);
    let stats = pool.stats();
    assert_eq!((stats.ended(Ending::Cancelled), stats.pings), (1, 0));
}

#[tokio::test]
async fn wrong_parameters_to_postgres_by_sqlx_are_an_answer() {
    require_servers!();
    let server = OnPostgresBySqlx::server();
    let driver = OnPostgresBySqlx::driver("127.0.0.1", server.port());
    let pool = pool(driver, settings());
    let mut tries = 0;
    let outcome = pool.run_repeatable(async |connection| {
        tries += 1;
        let wrong = query("SELECT $1::int + $2::int").bind(1);
        wrong.execute(connection).await.map(drop)
    });
    outcome.await.unwrap_err();
    assert_eq!((tries, pool.stats().open), (1, 1));
}

#[tokio::test]
async fn a_session_lost_outside_of_run_is_a_death() {
    require_servers!();
    let server = OnMariaDb::server();
    let pool = pool(OnMariaDb::driver("127.0.0.1", server.port()), settings());
    let mut lease = pool.acquire().await.unwrap();
    server.kill_one(u64::from(lease.id()));
    lease.query_drop("SELECT 1").await.unwrap_err();
    drop(lease);
    let stats = pool.stats();
    assert_eq!(stats.ended(Ending::Cancelled), 0, "{stats:?}");
    let lost = stats.ended(Ending::HungUp) + stats.ended(Ending::Reset);
    assert_eq!(lost, 1, "{stats:?}");
}

#[tokio::test]
async fn a_command_cancelled_outside_of_run_is_not_a_death() {
    require_servers!();
    let server = OnMariaDb::server();
    let pool = pool(OnMariaDb::driver("127.0.0.1", server.port()), settings());
    let mut lease = pool.acquire().await.unwrap();
    let command = lease.query_drop("SELECT SLEEP(10)");
    assert!(tokio::time::timeout(50 * MS, command).await.is_err());
    drop(lease);
    eventually("it is closed", || {
        pool.stats().ended(Ending::Cancelled) == 1
    })
    .await;
}

#[tokio::test]
async fn a_transaction_of_sqlx_that_was_forgotten_is_rolled_back() {
    require_servers!();
    let server = OnPostgresBySqlx::server();
    let driver = OnPostgresBySqlx::driver("127.0.0.1", server.port());
    let pool_pg: Pool<SqlxPostgres> = pool(driver, settings());
    let mut lease = pool_pg.acquire().await.unwrap();
    std::mem::forget(lease.begin().await.unwrap());
    drop(lease);
    let lease = pool_pg.acquire().await.unwrap();
    assert!(!lease.is_in_transaction());
    assert_eq!(in_transaction(&server), "0");

    let server = OnMariaDbBySqlx::server();
    let driver = OnMariaDbBySqlx::driver("127.0.0.1", server.port());
    let pool_my: Pool<SqlxMySql> = pool(driver, settings());
    let mut lease = pool_my.acquire().await.unwrap();
    std::mem::forget(lease.begin().await.unwrap());
    drop(lease);
    assert!(!pool_my.acquire().await.unwrap().is_in_transaction());
}

fn in_transaction(server: &dbvitals_testkit::Postgres) -> String {
    let count = server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'vitals' AND state LIKE 'idle in%'",
    );
    count.trim().to_owned()
}

/// The server's last words, with a code that says nothing of a session.
#[tokio::test]
async fn a_session_ended_for_idling_in_a_transaction_is_lost_by_sqlx() {
    require_servers!();
    let server = OnPostgresBySqlx::server();
    let driver = OnPostgresBySqlx::driver("127.0.0.1", server.port());
    let pool = pool(driver, settings());
    let mut tries = 0;
    let outcome = pool.run_repeatable(async |connection| {
        tries += 1;
        if tries == 1 {
            let limit = "SET idle_in_transaction_session_timeout = '50ms'";
            connection.execute(limit).await?;
            connection.execute("BEGIN").await?;
            tokio::time::sleep(300 * MS).await;
        }
        SqlxPostgres::ask(connection).await
    });
    outcome.await.unwrap();
    assert_eq!((tries, pool.stats().repeats), (2, 1));
}

/// An error with the code of a lost connection may speak of another connection, of the server's.
#[tokio::test]
async fn an_error_of_the_servers_own_connections_is_an_answer_by_sqlx() {
    require_servers!();
    let server = OnPostgresBySqlx::server();
    let driver = OnPostgresBySqlx::driver("127.0.0.1", server.port());
    let pool = pool(driver, settings());
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'a foreign server' USING ERRCODE = '08006'; END $$";
    let outcome = pool.run_repeatable(async |it| it.execute(raise).await.map(drop));
    outcome.await.unwrap_err();
    let stats = pool.stats();
    assert_eq!((stats.repeats, stats.open), (0, 1), "{stats:?}");
}
