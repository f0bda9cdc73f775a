//! What the adapter for tokio-postgres promises beyond the scenarios that all adapters share: what
//! a configuration means, whose fault an error is, and what a user may leave behind.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use dbvitals_pool::{Ending, Pool, Postgres, PostgresError, Session, Settings};
use dbvitals_testkit::{Postgres as Server, PostgresOptions, RealServer as _, require_servers};
use tokio::time::{Instant, timeout};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Config, IsolationLevel};

use crate::stage::{Ends, MS, Talks, eventually, pool, settings};

const SECOND: Duration = Duration::from_secs(1);

fn server() -> Server {
    Server::start(PostgresOptions::default())
}

fn config() -> Config {
    let mut config = Config::new();
    config.user("vitals").password("secret").dbname("vitals");
    config
}

fn config_at(server: &Server) -> Config {
    let mut config = config();
    config.host("127.0.0.1").port(server.port());
    config
}

/// A pool of a single connection, so that the next user gets what the last one left.
fn single(server: &Server) -> Pool<Postgres> {
    let alone = Settings {
        max_open: 1,
        ..settings()
    };
    pool(Postgres::new(config_at(server)), alone)
}

async fn ask(session: &mut Session, question: &str) -> Result<String, PostgresError> {
    Ok(session.query_one(question, &[]).await?.get(0))
}

/// Asks on a connection of the pool, in the time that a healthy one takes.
async fn ask_pool(pool: &Pool<Postgres>, question: &str) -> String {
    let answer = pool.run(async |session| ask(session, question).await);
    let answer = timeout(5 * SECOND, answer).await;
    answer.expect("nobody waits for others").unwrap()
}

// --- Where a configuration leads ----------------------------------------------------------------

#[tokio::test]
async fn a_standby_is_passed_over_by_who_wants_to_write() {
    require_servers!();
    let primary = server();
    let standby = Server::start_standby_of(&primary, PostgresOptions::default());
    let mut both = config();
    both.host("127.0.0.1").port(standby.port());
    both.host("127.0.0.1").port(primary.port());
    let role = "SELECT pg_is_in_recovery()::text";
    for (wanted, in_recovery) in [
        (TargetSessionAttrs::ReadWrite, "false"),
        (TargetSessionAttrs::ReadOnly, "true"),
    ] {
        let mut both = both.clone();
        both.target_session_attrs(wanted);
        let pool = pool(Postgres::new(both), settings());
        assert_eq!(ask_pool(&pool, role).await, in_recovery, "{wanted:?}");
    }

    let mut standby_alone = config_at(&standby);
    standby_alone.target_session_attrs(TargetSessionAttrs::ReadWrite);
    let pool = pool(Postgres::new(standby_alone), settings());
    let told = pool.acquire_within(SECOND).await.unwrap_err().to_string();
    assert!(
        told.ends_with("it is read-only, and target_session_attrs asks for read-write"),
        "{told}"
    );
}

#[tokio::test]
async fn what_refuses_or_hangs_is_followed_by_the_next_host() {
    require_servers!();
    let strict = Server::start(PostgresOptions {
        hba: vec!["host all vitals all reject".to_owned()],
        ..PostgresOptions::default()
    });
    let welcoming = server();
    // The kernel takes connections for a listener that never accepts one.
    let hanging = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut three = config();
    three.connect_timeout(500 * MS);
    for port in [
        hanging.local_addr().unwrap().port(),
        strict.port(),
        welcoming.port(),
    ] {
        three.hostaddr(Ipv4Addr::LOCALHOST.into()).port(port);
    }
    let pool = Pool::builder(Postgres::new(three))
        .settings(settings())
        .after_connect(|session| Box::pin(session.batch_execute("SET statement_timeout = '7s'")))
        .build()
        .unwrap();
    let port = ask_pool(&pool, "SELECT current_setting('port')").await;
    assert_eq!(port, welcoming.port().to_string());
    assert_eq!(ask_pool(&pool, "SHOW statement_timeout").await, "7s");
}

#[tokio::test]
async fn a_host_that_hangs_leaves_time_for_the_next_one() {
    require_servers!();
    let welcoming = server();
    let hanging = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut both = config();
    both.host("127.0.0.1")
        .port(hanging.local_addr().unwrap().port());
    both.host("127.0.0.1").port(welcoming.port());
    // No limit is configured but the pool's own, which is for both.
    let pool = pool(Postgres::new(both), settings());
    let port = pool.run(async |it| ask(it, "SELECT current_setting('port')").await);
    assert_eq!(port.await.unwrap(), welcoming.port().to_string());
}

#[tokio::test]
async fn a_unix_socket_is_a_host_like_others() {
    require_servers!();
    let server = server();
    let mut config = config();
    config.host_path(server.socket_directory());
    config.port(server.port());
    let pool = pool(Postgres::new(config), settings());
    let by_tcp = "SELECT (inet_server_port() IS NOT NULL)::text";
    assert_eq!(ask_pool(&pool, by_tcp).await, "false");
    let mut lease = pool.acquire().await.unwrap();
    let sleep = lease.run(async |it| it.execute("SELECT pg_sleep(60)", &[]).await);
    assert!(timeout(100 * MS, sleep).await.is_err());
    drop(lease);
    let asleep = || sessions(&server).1;
    eventually("it was cancelled", || asleep() == 0).await;
    server.kill_all();
    ask_pool(&pool, by_tcp).await;
    assert_eq!(pool.stats().pings, 0);
}

// --- What errors say, and what they mean --------------------------------------------------------

#[tokio::test]
async fn a_wrong_password_reads_as_one() {
    require_servers!();
    let server = server();
    let mut wrong = config_at(&server);
    wrong.password("not-the-secret");
    let driver = Postgres::new(wrong);
    let shown = format!("{driver:?}");
    let pool = pool(driver, settings());
    let begun = Instant::now();
    let told = pool.acquire_within(30 * SECOND).await.unwrap_err();
    assert!(
        begun.elapsed() < 15 * SECOND,
        "there is nothing to wait for"
    );
    let told = told.to_string();
    let words = "FATAL 28P01: password authentication failed for user \"vitals\"";
    assert_eq!(
        told,
        format!("check out a connection: the server refuses the login: {words}")
    );
    let health = pool.health();
    assert_eq!(health.failure.as_deref(), Some(words));
    for text in [shown, told, format!("{health:?} {pool:?}")] {
        assert!(!text.contains("not-the-secret"), "{text}");
    }
}

#[tokio::test]
async fn words_that_are_not_fatal_do_no_harm_whatever_their_code() {
    require_servers!();
    let server = server();
    let pool = single(&server);
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'no more' USING ERRCODE = '57P01'; END $$";
    let error = pool.run(async |it| it.batch_execute(raise).await);
    let told = error.await.unwrap_err().to_string();
    assert_eq!(told, "ERROR 57P01: no more");
    ask_pool(&pool, "SELECT 'on'").await;
    assert_eq!(pool.stats().attempts, 1, "{:?}", pool.stats());
}

#[tokio::test]
async fn who_idles_in_a_transaction_loses_the_session_by_that_name() {
    require_servers!();
    let server = server();
    let pool = single(&server);
    let mut lease = pool.acquire().await.unwrap();
    let limit = "SET idle_in_transaction_session_timeout = '100ms'";
    lease.batch_execute(limit).await.unwrap();
    let transaction = lease.transaction().await.unwrap();
    eventually("the server has ended it", || {
        transaction.client().is_closed()
    })
    .await;
    drop(transaction);
    drop(lease);
    assert_eq!(
        pool.stats().ended(Ending::IdleLimit),
        1,
        "{:?}",
        pool.stats()
    );
}

/// Ends the session that asks, and waits until the driver has noticed.
async fn end_session(server: &Server, pid: u64, session: &Session) {
    server.kill_one(pid);
    eventually("the driver has noticed", || session.is_closed()).await;
}

#[tokio::test]
async fn what_was_never_sent_is_repeated_and_done_once() {
    require_servers!();
    let server = server();
    let pool = single(&server);
    ask_pool(&pool, "SELECT 'warm'").await;
    server.sql("CREATE TABLE done (n int); GRANT ALL ON done TO vitals;");
    let victim = server.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'vitals'");
    let victim = victim.trim().parse().unwrap();
    let insert = "INSERT INTO done VALUES (1)";

    let mut tries = 0;
    let outcome = pool.run(async |session| {
        tries += 1;
        if tries == 1 {
            end_session(&server, victim, session).await;
        }
        session.execute(insert, &[]).await
    });
    assert_eq!(outcome.await.unwrap(), 1);
    assert_eq!((tries, pool.stats().repeats), (2, 1));
    assert_eq!(server.sql("SELECT count(*) FROM done").trim(), "1");

    // Once something was sent, nothing is done twice.
    let outcome = pool.run(async |session| {
        let pid = <Postgres as Talks>::ask(session).await?;
        session.execute(insert, &[]).await?;
        end_session(&server, pid, session).await;
        session.execute(insert, &[]).await
    });
    assert!(outcome.await.is_err());
    assert_eq!(pool.stats().repeats, 1);
    assert_eq!(server.sql("SELECT count(*) FROM done").trim(), "2");
}

#[tokio::test]
async fn only_an_answer_of_the_server_is_proof() {
    require_servers!();
    let server = server();
    let often = Settings {
        max_open: 1,
        ping_after: 200 * MS,
        ..settings()
    };
    let pool = pool(Postgres::new(config_at(&server)), often);
    let lease = pool.acquire().await.unwrap();
    let statement = lease.prepare("SELECT $1::int4").await.unwrap();
    drop(lease);
    // Neither of these reaches the server.
    let begun = Instant::now();
    while begun.elapsed() < SECOND {
        pool.run(async |_| Ok(())).await.unwrap();
        let refused = pool.run(async |it| it.execute(&statement, &[&"no number"]).await);
        let told = refused.await.unwrap_err().to_string();
        assert!(told.starts_with("error serializing parameter 0"), "{told}");
        tokio::time::sleep(20 * MS).await;
    }
    let stats = pool.stats();
    assert!(stats.pings >= 1, "{stats:?}");
    assert_eq!(stats.attempts, 1, "{stats:?}");
}

// --- What a user leaves behind ------------------------------------------------------------------

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_before_the_next_checkout() {
    require_servers!();
    let server = server();
    server.sql("CREATE TABLE done (n int); GRANT ALL ON done TO vitals;");
    let pool = single(&server);
    let insert = "INSERT INTO done VALUES (1)";
    let mut lease = pool.acquire().await.unwrap();
    let transaction = lease.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    drop(transaction);
    drop(lease);
    let next = pool.acquire().await.unwrap();
    let state = "SELECT state FROM pg_stat_activity WHERE usename = 'vitals'";
    assert_eq!(server.sql(state).trim(), "idle");
    drop(next);
    let count = "SELECT count(*)::text FROM done";
    assert_eq!(ask_pool(&pool, count).await, "0");
    let stats = pool.stats();
    assert_eq!(
        (stats.pings, stats.attempts),
        (1, 1),
        "settled once: {stats:?}"
    );

    let written = pool.run(async |session| {
        let mut transaction = session.transaction().await?;
        transaction.execute(insert, &[]).await?;
        let inner = transaction.transaction().await?;
        inner.execute(insert, &[]).await?;
        inner.rollback().await?;
        transaction.commit().await
    });
    written.await.unwrap();
    assert_eq!(ask_pool(&pool, count).await, "1");
    assert_eq!(pool.stats().pings, 1, "a commit needs no ping");
}

#[tokio::test]
async fn a_command_cancelled_in_a_transaction_ends_its_session() {
    require_servers!();
    let server = server();
    let pool = single(&server);
    let mut lease = pool.acquire().await.unwrap();
    let transaction = lease.transaction_as(|it| it.isolation_level(IsolationLevel::Serializable));
    let transaction = transaction.await.unwrap();
    let level = transaction.query_one("SHOW transaction_isolation", &[]);
    assert_eq!(level.await.unwrap().get::<_, &str>(0), "serializable");
    let sleep = transaction.execute("SELECT pg_sleep(60)", &[]);
    assert!(timeout(100 * MS, sleep).await.is_err());
    drop(transaction);
    drop(lease);
    ask_pool(&pool, "SELECT 'on'").await;
    assert_eq!(
        pool.stats().ended(Ending::Cancelled),
        1,
        "{:?}",
        pool.stats()
    );
}

/// How many sessions of the pool's the server has, and how many of them sleep.
fn sessions(server: &Server) -> (usize, usize) {
    let counts = server.sql(
        "SELECT count(*), count(*) FILTER (WHERE state = 'active' AND query LIKE '%pg_sleep%')
         FROM pg_stat_activity WHERE usename = 'vitals'",
    );
    let (all, asleep) = counts.trim().split_once('|').expect("two columns");
    (all.parse().unwrap(), asleep.parse().unwrap())
}

#[tokio::test]
async fn what_was_cancelled_ends_at_the_server_too_and_its_place_is_taken_until_then() {
    require_servers!();
    let server = server();
    let two = Settings {
        max_open: 2,
        close_timeout: 5 * SECOND,
        ..settings()
    };
    let pool = pool(Postgres::new(config_at(&server)), two);
    for round in 0..5 {
        for by_run in [true, false] {
            let mut lease = pool.acquire().await.unwrap();
            let sleep = async |it: &mut Session| it.execute("SELECT pg_sleep(60)", &[]).await;
            let cancelled = match by_run {
                true => timeout(100 * MS, lease.run(sleep)).await.is_err(),
                false => timeout(100 * MS, sleep(&mut *lease)).await.is_err(),
            };
            assert!(cancelled);
        }
        let begun = Instant::now();
        let held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
        let what = format!("two sessions, and none asleep, in round {round}");
        eventually(&what, || sessions(&server) == (2, 0)).await;
        drop(held);
    }
    assert_eq!(
        pool.stats().ended(Ending::Cancelled),
        10,
        "{:?}",
        pool.stats()
    );
}

#[tokio::test]
async fn a_query_is_cancelled_from_elsewhere() {
    require_servers!();
    let server = server();
    let pool = single(&server);
    let mut lease = pool.acquire().await.unwrap();
    let token = lease.cancel_token();
    let cancel = async {
        eventually("it is asleep", || sessions(&server).1 == 1).await;
        token.cancel_query().await.unwrap();
    };
    let sleep = lease.run(async |it| it.execute("SELECT pg_sleep(60)", &[]).await);
    let (outcome, ()) = tokio::join!(sleep, cancel);
    let told = outcome.unwrap_err().to_string();
    assert!(told.starts_with("ERROR 57014"), "{told}");
    drop(lease);
    ask_pool(&pool, "SELECT 'on'").await;
    assert_eq!((pool.stats().attempts, pool.stats().pings), (1, 0));
}

#[tokio::test]
async fn nobody_waits_behind_what_the_pool_cannot_see() {
    require_servers!();
    let server = server();
    let pool = single(&server);
    let lease = pool.acquire().await.unwrap();
    let sleep = lease.query_raw("SELECT pg_sleep(60)", [0_i32; 0]);
    // The rows come as a stream, which is dropped with the wait for the first of them.
    let sleep = async { sleep.await.map(drop) };
    let _ = timeout(100 * MS, sleep).await;
    drop(lease);
    ask_pool(&pool, "SELECT 'on'").await;
    let stats = pool.stats();
    assert_eq!(stats.ended(Ending::Cancelled), 1, "{stats:?}");

    // What has ended by itself costs a ping, and no connection.
    let lease = pool.acquire().await.unwrap();
    drop(lease.query_raw("SELECT 1", [0_i32; 0]).await.unwrap());
    drop(lease);
    ask_pool(&pool, "SELECT 'on'").await;
    let stats = pool.stats();
    assert_eq!((stats.attempts, stats.pings), (2, 2), "{stats:?}");
}
