//! A server in a network of its own: its packets are counted, and vanish on order.

use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Network, Postgres, PostgresOptions, RealServer as _, eventually,
    require_namespaces,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A client inside of the network that connects to a port within a second, or not.
fn connects(network: &Network, port: u16) -> Option<i32> {
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let status = network
        .command("timeout")
        .args(["1", "bash", "-c", &script])
        .stderr(std::process::Stdio::null())
        .status();
    status.expect("bash can be started").code()
}

#[test]
fn a_server_inside_is_reached_from_inside_and_through_its_socket() {
    require_namespaces!();
    let network = Network::new();
    let mariadb = MariaDb::start(MariaDbOptions {
        network: Some(network.clone()),
        ..Default::default()
    });
    let postgres = Postgres::start(PostgresOptions {
        network: Some(network.clone()),
        ..Default::default()
    });
    for port in [mariadb.port(), postgres.port()] {
        assert_eq!(connects(&network, port), Some(0));
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
    assert_eq!(mariadb.sql("SELECT 1"), "1");
    assert_eq!(postgres.sql("SELECT 1"), "1");
    mariadb.kill();
    assert_eq!(connects(&network, mariadb.port()), Some(1));
    mariadb.start_again();
    assert_eq!(connects(&network, mariadb.port()), Some(0));
}

#[test]
fn packets_are_counted() {
    require_namespaces!();
    let network = Network::new();
    let before = network.packets();
    // Nobody listens: a SYN and a RST.
    assert_eq!(connects(&network, 9), Some(1));
    assert_eq!(network.packets(), before + 2);
}

#[test]
fn a_black_hole_swallows_new_connects_and_holds_up_a_session() {
    require_namespaces!();
    let network = Network::new();
    let server = Postgres::start(PostgresOptions {
        network: Some(network.clone()),
        ..Default::default()
    });
    let mut session = network
        .command("psql")
        .args(["--no-psqlrc", "--tuples-only", "--no-align"])
        .args(["--host=127.0.0.1", &format!("--port={}", server.port())])
        .args(["--username=vitals_trust", "--dbname=vitals"])
        .args([
            "--command",
            "SELECT pg_sleep(1)",
            "--command",
            "SELECT 'over'",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("psql can be started");
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    assert!(eventually(PATIENCE, || server.sql(sleeping) == "1"));

    network.black_hole();
    assert_eq!(connects(&network, server.port()), Some(124));
    assert!(eventually(PATIENCE, || server.sql(sleeping) == "0"));
    assert!(session.try_wait().expect("a child").is_none());

    network.heal();
    assert_eq!(connects(&network, server.port()), Some(0));
    let output = session.wait_with_output().expect("psql ends");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "over");
}
