//! The sockets of drivers that do not show them are found, each with its own connection, however
//! many are opened at once and over whatever.

use std::time::Duration;

use dbvitals_pool::{Ending, MySql, Pool, Settings, SqlxMySql, SqlxPostgres};
use dbvitals_testkit::{MariaDb, Postgres as PostgresServer, RealServer as _, require_servers};
use mysql_async::OptsBuilder;
use sqlx_mysql::MySqlConnectOptions;
use sqlx_postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::stage::{Ends, Talks, eventually, pool, settings};

/// Takes ten connections at once and gives them back; the server's names of their sessions.
async fn ten_at_once<D: Talks>(pool: &Pool<D>) -> Vec<u64> {
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.acquire().await.unwrap() });
    }
    let mut leases = Vec::new();
    while let Some(lease) = tasks.join_next().await {
        leases.push(lease.unwrap());
    }
    let mut sessions = Vec::new();
    for lease in &mut leases {
        let asked = lease.run(async |it| D::ask(it).await).await;
        sessions.push(asked.unwrap());
    }
    sessions
}

/// Half of ten idle sessions are ended: those are dropped, and no others.
async fn each_has_its_own<D: Talks>(driver: D, server: &impl Ends) {
    let pool = pool(driver, settings());
    let sessions = ten_at_once(&pool).await;
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.without_socket), (10, 0), "{stats:?}");
    for session in &sessions[..5] {
        server.kill_one(*session);
    }
    eventually("their ends are seen", || pool.stats().open == 5).await;
    let left = ten_at_once(&pool).await;
    let survivors = left.iter().filter(|it| sessions.contains(it)).count();
    let stats = pool.stats();
    assert_eq!((survivors, stats.pings), (5, 0), "{stats:?}");
    assert_eq!(stats.without_socket, 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unix_sockets_to_mariadb_are_told_apart() {
    require_servers!();
    let server = <MariaDb as Ends>::start(None);
    let path = server.socket_path();
    let opts = OptsBuilder::default()
        .user(Some("vitals"))
        .pass(Some("secret"))
        .socket(path.to_str());
    each_has_its_own(MySql::new(opts), &server).await;
    let options = MySqlConnectOptions::new().socket(path);
    let options = options.username("vitals").password("secret");
    each_has_its_own(SqlxMySql::new(options), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unix_sockets_to_postgres_are_told_apart() {
    require_servers!();
    let server = <PostgresServer as Ends>::start(None);
    let options = PgConnectOptions::new_without_pgpass().port(server.port());
    let options = options.username("vitals").password("secret");
    let options = options.database("vitals");
    let directory = server.socket_directory();
    let by_host = options.clone().host(directory.to_str().unwrap());
    each_has_its_own(SqlxPostgres::new(by_host), &server).await;
    each_has_its_own(SqlxPostgres::new(options.socket(directory)), &server).await;
}

/// Two pools of one process, with the same path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_to_one_path_do_not_take_each_others_sockets() {
    require_servers!();
    let server = <MariaDb as Ends>::start(None);
    let options = MySqlConnectOptions::new().socket(server.socket_path());
    let options = options.username("vitals").password("secret");
    let pools = [(); 2].map(|()| pool(SqlxMySql::new(options.clone()), settings()));
    let [one, other] = &pools;
    let (of_one, _) = tokio::join!(ten_at_once(one), ten_at_once(other));
    for session in of_one {
        server.kill_one(session);
    }
    eventually("their ends are seen", || one.stats().open == 0).await;
    assert_eq!((other.stats().idle, other.stats().without_socket), (10, 0));
    assert_eq!(one.stats().ended(Ending::HungUp), 10);
}

/// What has no socket is pinged when nothing was heard of it for a second, whatever `ping_after`.
#[tokio::test]
async fn behind_a_proxy_a_second_of_silence_asks_for_a_ping() {
    require_servers!();
    let server = <MariaDb as Ends>::start(None);
    let (_proxy, port) = forward(server.port()).await;
    let url = format!("mysql://vitals:secret@127.0.0.1:{port}");
    let driver = MySql::new(mysql_async::Opts::from_url(&url).unwrap());
    let pool = pool(driver, Settings::default());
    drop(pool.acquire().await.unwrap());
    assert_eq!(pool.stats().without_socket, 1, "{:?}", pool.stats());
    drop(pool.acquire().await.unwrap());
    assert_eq!(pool.stats().pings, 0);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    drop(pool.acquire().await.unwrap());
    assert_eq!(pool.stats().pings, 1);
    pool.close(Duration::from_secs(5)).await;
    assert_eq!(pool.stats().without_socket, 0);
}

/// A proxy of the test's own for one connection, and its port.
async fn forward(to: u16) -> (JoinSet<()>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    (tasks, port)
}
