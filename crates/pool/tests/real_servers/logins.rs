//! Logins that a server refuses, through the drivers whose words the adapters read: for good, or for
//! now.

use dbvitals_pool::{AcquireError, Driver, MySql, SqlxMySql, SqlxPostgres};
use dbvitals_testkit::{RealServer as _, require_servers};
use sqlx_mysql::MySqlConnectOptions;
use sqlx_postgres::PgConnectOptions;

use crate::stage::{MS, OnMariaDb, OnMariaDbBySqlx, OnPostgresBySqlx, Stage, pool, settings};

/// Who waits is told at once, rather than after half a minute.
async fn is_rejected(driver: impl Driver) {
    let pool = pool(driver, settings());
    let refused = tokio::time::timeout(10_000 * MS, pool.acquire()).await;
    let error = refused.expect("an answer").expect_err("no login");
    assert!(matches!(error, AcquireError::Rejected { .. }), "{error}");
    let told = error.to_string();
    assert!(
        told.contains("vitals") || told.contains("nowhere"),
        "{told}"
    );
    assert!(!told.contains("wrong"), "the password: {told}");
}

/// The only place is taken, and may become free: who waits goes on waiting.
async fn is_put_off<S: Stage>(server: &S::Server) {
    let driver = || S::driver("127.0.0.1", server.port());
    let first = pool(driver(), settings());
    let _place = first.acquire().await.expect("the only place");
    let second = pool(driver(), settings());
    let error = second.acquire_within(500 * MS).await.expect_err("no place");
    let is_unreachable = matches!(error, AcquireError::Unreachable { .. });
    assert!(is_unreachable, "{error}");
}

#[tokio::test]
async fn a_wrong_password_for_mariadb_is_told_at_once() {
    require_servers!();
    let server = OnMariaDb::server();
    let port = server.port();
    let url = format!("mysql://vitals:wrong@127.0.0.1:{port}");
    is_rejected(MySql::new(mysql_async::Opts::from_url(&url).unwrap())).await;
    let options = MySqlConnectOptions::new().host("127.0.0.1").port(port);
    is_rejected(SqlxMySql::new(options.username("vitals").password("wrong"))).await;
}

#[tokio::test]
async fn a_wrong_password_for_postgres_is_told_at_once() {
    require_servers!();
    let server = OnPostgresBySqlx::server();
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1");
    let options = options.port(server.port()).username("vitals");
    is_rejected(SqlxPostgres::new(options.clone().password("wrong"))).await;
    let options = options.password("secret").database("nowhere");
    is_rejected(SqlxPostgres::new(options)).await;
}

#[tokio::test]
async fn a_server_that_is_full_may_have_a_place_later() {
    require_servers!();
    let server = OnMariaDb::server();
    server.sql("GRANT USAGE ON *.* TO vitals@'%' WITH MAX_USER_CONNECTIONS 1");
    is_put_off::<OnMariaDb>(&server).await;
    is_put_off::<OnMariaDbBySqlx>(&server).await;
    let server = OnPostgresBySqlx::server();
    server.sql("ALTER ROLE vitals CONNECTION LIMIT 1");
    is_put_off::<OnPostgresBySqlx>(&server).await;
}
