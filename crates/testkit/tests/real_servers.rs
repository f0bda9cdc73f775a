//! What both products must be able to: the life of a real server, from its start to its end.
//!
//! Each test is written once, over [`RealServer`], and run against MariaDB and PostgreSQL.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, require_servers,
};

/// Runs a scenario against a fresh server of each product.
fn with_each_server(scenario: fn(&dyn RealServer)) {
    scenario(&MariaDb::start(MariaDbOptions::default()));
    scenario(&Postgres::start(PostgresOptions::default()));
}

/// Whether a server says anything, be it to a MySQL or to a PostgreSQL client.
fn answers(server: &dyn RealServer) -> bool {
    let mut stream = TcpStream::connect(server.address()).expect("the kernel accepts");
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a socket takes a timeout");
    // An SSLRequest, which MariaDB takes for a packet out of order, after its greeting.
    stream
        .write_all(&[0, 0, 0, 8, 4, 210, 22, 47])
        .expect("the kernel takes bytes");
    stream.read(&mut [0; 1]).is_ok_and(|length| length > 0)
}

#[test]
fn a_server_answers_on_its_port_and_through_its_socket() {
    require_servers!();
    with_each_server(|server| {
        assert_eq!(server.sql("SELECT 40 + 2"), "42");
        assert!(answers(server));
    });
}

#[test]
fn a_frozen_server_accepts_but_does_not_answer() {
    require_servers!();
    with_each_server(|server| {
        server.freeze();
        assert!(!answers(server));
        server.thaw();
        assert!(answers(server));
        assert_eq!(server.sql("SELECT 1"), "1");
    });
}

#[test]
fn a_killed_server_refuses_and_comes_back_with_its_data() {
    require_servers!();
    with_each_server(|server| {
        let (port, pid) = (server.port(), server.pid());
        server
            .sql("CREATE SCHEMA kept; CREATE TABLE kept.t (i int); INSERT INTO kept.t VALUES (7)");
        server.kill();
        let refused = TcpStream::connect(server.address())
            .map(drop)
            .map_err(|e| e.kind());
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
        assert!(!Path::new(&format!("/proc/{pid}")).exists());

        server.start_again();
        assert_eq!(server.port(), port);
        assert_ne!(server.pid(), pid);
        assert_eq!(server.sql("SELECT i FROM kept.t"), "7");
    });
}

#[test]
fn a_frozen_server_can_be_killed() {
    require_servers!();
    with_each_server(|server| {
        server.freeze();
        server.kill();
        server.start_again();
        assert!(answers(server));
    });
}

#[test]
fn a_stopped_server_shuts_down_in_order_and_comes_back() {
    require_servers!();
    with_each_server(|server| {
        server.stop_gracefully();
        let log = server.log_text();
        let in_order = ["Shutdown complete", "database system is shut down"];
        assert!(in_order.iter().any(|words| log.contains(words)), "{log}");
        server.start_again();
        assert!(answers(server));
    });
}

#[test]
fn a_server_listens_where_it_is_told() {
    require_servers!();
    let listen: Vec<IpAddr> = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
    let check = |server: &dyn RealServer| {
        assert_eq!(server.address().ip(), Ipv6Addr::LOCALHOST);
        assert!(answers(server));
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).is_ok());
    };
    check(&MariaDb::start(MariaDbOptions {
        listen: listen.clone(),
        ..Default::default()
    }));
    check(&Postgres::start(PostgresOptions {
        listen,
        ..Default::default()
    }));
}

#[test]
fn nothing_is_left_of_a_server_that_was_dropped() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    let (pid, directory) = (server.pid(), server.directory().to_owned());
    drop(server);
    assert!(!directory.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}
