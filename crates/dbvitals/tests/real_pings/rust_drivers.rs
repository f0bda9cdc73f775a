//! Rust's drivers, which ping from a thread of the test that has moved into the network, and what
//! is heard of them.

use std::net::SocketAddr;
use std::thread;

use dbvitals_testkit::{
    Network, Postgres, PostgresOptions, RealServer, left_out, require_namespaces,
};
use mysql_async::prelude::Queryable as _;
use rustix::process::geteuid;
use tokio_postgres::NoTls;

use super::capture::Tcpdump;
use super::{Counts, Told, drivers_ready_for, mariadb, network, statements};

const ROUNDS: u64 = 100;

/// Runs a driver inside of a network.
fn inside<T: Send>(network: &Network, drive: impl Future<Output = T> + Send) -> T {
    let run = || {
        network.enter();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(drive)
    };
    thread::scope(|scope| scope.spawn(run).join().expect("the driver ends"))
}

fn can_drive(test: &str) -> bool {
    if !geteuid().is_root() {
        left_out(test, "a thread moves into a network as root only");
        return false;
    }
    drivers_ready_for(test)
}

fn counts(expected: &[(&str, u64)]) -> Counts {
    let counts = expected.iter();
    counts
        .map(|(form, count)| ((*form).to_owned(), *count))
        .collect()
}

async fn ping_by_mysql_async(address: SocketAddr) -> Result<(), mysql_async::Error> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some("vitals"))
        .pass(Some("secret"))
        .prefer_socket(false);
    let mut connection = mysql_async::Conn::new(options).await?;
    for round in 0..ROUNDS {
        connection.ping().await?;
        connection.query_drop("SELECT 1").await?;
        // Prepared once, executed each time.
        connection.exec_drop("SELECT 1", ()).await?;
        connection.exec_drop("SELECT 1 + ?", (round,)).await?;
    }
    connection.disconnect().await
}

#[test]
fn pings_of_rusts_mysql_driver_are_counted_to_the_last() {
    const TEST: &str = "pings_of_rusts_mysql_driver_are_counted_to_the_last";
    require_namespaces!();
    if !can_drive(TEST) {
        return;
    }
    let network = network();
    let server = mariadb(&network);
    let before = network.packets();
    let tcpdump = Tcpdump::start(&network, "mysql of Rust");
    inside(&network, ping_by_mysql_async(server.address())).expect("the driver pings");
    let capture = tcpdump.finish(|| network.packets() - before);

    let told = Told::of(&capture, "mysql of Rust", &[]);
    let expected = counts(&[("com_ping", ROUNDS), ("select_1", 2 * ROUNDS)]);
    assert_eq!(told.pings(), expected);
    assert_eq!(statements(&server, "com/Ping"), ROUNDS);
    assert_eq!(told.connections("seen"), 1);
}

async fn ping_by_tokio_postgres(address: SocketAddr) -> Result<(), tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(address.ip().to_string())
        .port(address.port())
        .user("vitals")
        .password("secret")
        .dbname("vitals");
    let (client, connection) = config.connect(NoTls).await?;
    let talk = async {
        let prepared = client.prepare("SELECT 1").await?;
        for _ in 0..ROUNDS {
            // A Sync and nothing else.
            client.check_connection().await?;
            client.simple_query("").await?;
            client.simple_query("SELECT 1").await?;
            client.query_one(&prepared, &[]).await?;
            client.query("SELECT 1 + $1::int", &[&1_i32]).await?;
        }
        drop((prepared, client));
        Ok::<(), tokio_postgres::Error>(())
    };
    tokio::try_join!(talk, connection).map(|_| ())
}

#[test]
fn pings_of_rusts_postgresql_driver_are_counted_to_the_last() {
    const TEST: &str = "pings_of_rusts_postgresql_driver_are_counted_to_the_last";
    require_namespaces!();
    if !can_drive(TEST) {
        return;
    }
    let network = network();
    let server = Postgres::start(PostgresOptions {
        network: Some(network.clone()),
        ..Default::default()
    });
    let before = network.packets();
    let tcpdump = Tcpdump::start(&network, "postgresql of Rust");
    inside(&network, ping_by_tokio_postgres(server.address())).expect("the driver pings");
    let capture = tcpdump.finish(|| network.packets() - before);

    let told = Told::of(&capture, "postgresql of Rust", &[]);
    let expected = counts(&[
        ("empty_query", ROUNDS),
        ("lone_sync", ROUNDS),
        ("select_1", 2 * ROUNDS),
    ]);
    assert_eq!(told.pings(), expected);
    assert_eq!(told.connections("seen"), 1);
}
