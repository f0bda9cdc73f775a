//! The ways in: unix sockets, IPv6, TLS with a certificate that is verified.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, TestAuthority, Validity,
    require_servers,
};

use crate::agent::{Agent, ConfigFile, serve};
use crate::family::crash;
use crate::gate::GatePort;
use crate::{RETURN_BOUND, Watched, alone};

/// A gate follows its server through a crash and back, whatever the URL leads through.
fn check(server: &dyn Watched, url: &str) {
    let gate = GatePort::reserve();
    let listen = gate.address().to_string();
    let agent = Agent::start(serve(["--gate", &listen, &format!("db={url}")]));
    gate.opens_within(RETURN_BOUND, gate.now());
    crash(server, &gate, &format!("{url}: "));
    assert_eq!(agent.health("db").0, 503);
    server.kill();
    server.start_again();
    gate.opens_within(RETURN_BOUND, gate.now());
    agent.expect_verdicts(&["up", "down", "up"]);
}

#[test]
fn a_server_is_watched_through_its_unix_socket() {
    require_servers!();
    alone(|| {
        let mariadb = MariaDb::start(MariaDbOptions::default());
        let socket = mariadb.socket_path();
        check(
            &mariadb,
            &format!("mysql://vitals@localhost?socket={}", socket.display()),
        );
        let postgres = Postgres::start(PostgresOptions::default());
        let (port, directory) = (postgres.port(), postgres.socket_directory().display());
        let url = format!("postgres://vitals@localhost:{port}/vitals?socket={directory}");
        check(&postgres, &url);
    });
}

#[test]
fn a_server_is_watched_over_ipv6() {
    require_servers!();
    alone(|| {
        let listen: Vec<IpAddr> = vec![Ipv6Addr::LOCALHOST.into()];
        let mariadb = MariaDb::start(MariaDbOptions {
            listen: listen.clone(),
            ..Default::default()
        });
        check(&mariadb, &mariadb.url());
        let postgres = Postgres::start(PostgresOptions {
            listen,
            ..Default::default()
        });
        check(&postgres, &postgres.url());
    });
}

#[test]
fn a_verified_certificate_is_asked_for_in_the_configuration() {
    require_servers!();
    alone(|| {
        let authority = TestAuthority::new();
        let tls = authority.issue(&["127.0.0.1", "localhost"], Validity::Current);
        let mariadb = MariaDb::start(MariaDbOptions {
            tls: Some(tls.clone()),
            ..Default::default()
        });
        check_tls(&mariadb, &authority.certificate());
        let postgres = Postgres::start(PostgresOptions {
            tls: Some(tls),
            // Nobody logs in over TCP in clear text.
            hba: vec!["hostnossl all all all reject".to_owned()],
            ..Default::default()
        });
        check_tls(&postgres, &authority.certificate());
    });
}

fn check_tls(server: &dyn Watched, authority: &Path) {
    let stranger = TestAuthority::new();
    let (trusted, untrusted) = (authority.display(), stranger.certificate());
    let url = server.url();
    // Another name for the same server, since one address is watched once.
    let other = url.replacen("127.0.0.1", "localhost", 1);
    let config = ConfigFile::new(&format!(
        "[backend.trusted]\nurl = \"{url}?tls=verify&ca={trusted}\"\n\
         [backend.untrusted]\nurl = \"{other}?tls=verify&ca={}\"\n",
        untrusted.display()
    ));
    let agent = Agent::start(config.serve());
    assert_eq!(agent.wait_for_verdict("trusted", "up").0, 200);
    let (status, health) = agent.wait_for_verdict("untrusted", "down");
    assert_eq!((status, &health["cause"]), (503, &"tls_untrusted".into()));
}
