//! `check` against real servers in trouble: each fault is told by its cause, within the timeout.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/finding.rs"]
mod finding;
#[path = "support/program.rs"]
mod program;
#[path = "real_check_faults/remedies.rs"]
mod remedies;

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{Address, Clock, Order, Prober, Protocol, Target, TargetId};
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, require_servers,
};
use dbvitals_verdict::{Depth, Outcome, Path, ProbeId};
use dbvitals_wire::Credentials;

use crate::databases::{Database, databases};
use crate::finding::Finding;

const V4: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
const TIMEOUT: Duration = Duration::from_millis(500);

fn check(url: &str, depth: &str) -> Finding {
    let finding = Finding::of(url, &["--timeout", "500ms", "--depth", depth]);
    finding.assert_within(TIMEOUT);
    finding
}

#[test]
fn a_stopped_server_refuses() {
    require_servers!();
    for server in databases(&V4, None) {
        server.stop_gracefully();
        let over_socket = format!("{}?socket={}", server.url(), server.socket.display());
        for url in [server.url(), over_socket] {
            for depth in ["connect", "ping"] {
                let finding = check(&url, depth);
                finding.assert_told("down, refused (dead), exit 2");
                assert_eq!(finding.phases(), "connect!");
                assert!(finding.result["depth_reached"].is_null(), "{finding:?}");
                assert!(
                    finding.text("remedy").contains("Start the server"),
                    "{finding:?}"
                );
            }
        }
    }
}

#[test]
fn a_frozen_server_is_found_out_in_time() {
    require_servers!();
    for server in databases(&V4, None) {
        server.freeze();
        let over_socket = format!("{}?socket={}", server.url(), server.socket.display());
        for url in [server.url(), over_socket] {
            for depth in ["greeting", "ping", "query"] {
                let finding = check(&url, depth);
                finding.assert_told("down, no_greeting (dead), exit 2");
                assert_eq!(finding.phases(), "connect greeting!");
                println!("frozen {url} {depth}: {} ms", finding.result["took_ms"]);
            }
        }
        // This is what plain connects prove: a kernel.
        check(&server.url(), "connect").assert_told("up, exit 0");
        server.thaw();
        check(&server.url(), "ping").assert_told("up, exit 0");
    }
}

#[test]
fn a_statement_that_hangs_is_given_up_in_time() {
    require_servers!();
    for server in databases(&V4, None) {
        let sleep = match server.scheme {
            "mysql" => "SELECT SLEEP(60)",
            _ => "SELECT pg_sleep(60)",
        };
        let finding = Finding::of(&server.url(), &["--timeout", "500ms", "--query", sleep]);
        finding.assert_told(GIVEN_UP);
        assert_eq!(finding.phases(), "connect greeting login query!");
        finding.assert_within(TIMEOUT);
    }
}

/// The server is told to give up a statement a moment before the probe would, and says so: it is
/// alive.
const GIVEN_UP: &str = "down, rejecting_queries (unfit), exit 2";

#[test]
fn an_answer_without_end_is_given_up_in_time() {
    require_servers!();
    for server in databases(&V4, None) {
        let flood = match server.scheme {
            "mysql" => {
                "SELECT REPEAT('x', 1000) FROM information_schema.collations a,
                 information_schema.collations b, information_schema.collations c"
            }
            _ => "SELECT repeat('x', 1000), generate_series(1, 100000000)",
        };
        // A tenth of it is the server's to stop in, while its flood is still on the way to us.
        let finding = Finding::of(&server.url(), &["--timeout", "2s", "--query", flood]);
        finding.assert_told(GIVEN_UP);
        finding.assert_within(Duration::from_secs(2));
    }
}

#[test]
fn a_postgresql_that_replays_its_log_is_starting_up() {
    require_servers!();
    let server = Postgres::start_replaying(PostgresOptions::default());
    let url = format!("postgres://vitals@{}", server.address());
    for depth in ["greeting", "ping"] {
        let finding = check(&url, depth);
        finding.assert_told("down, starting_up (unfit), exit 2");
        assert!(finding.text("detail").contains("57P03"), "{finding:?}");
    }
    check(&url, "connect").assert_told("up, exit 0");
    server.finish_replay();
    check(&url, "ping").assert_told("up, exit 0");
}

#[test]
fn a_full_mariadb_is_degraded() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions {
        arguments: vec!["--max-connections=10".to_owned()],
        ..Default::default()
    });
    let server = Database::from(server);
    let _crowd = Crowd::of(&server, Protocol::MySql, 10);
    // An eleventh is let in, in case it is the administrator, and refused when it is not.
    let finding = check(&server.url(), "ping");
    finding.assert_told("degraded, too_many_connections (full), exit 1");
    assert_eq!(finding.phases(), "connect greeting login!");

    let mut eleventh = TcpStream::connect(server.address()).expect("the server accepts");
    eleventh.read_exact(&mut [0; 4]).expect("the server greets");
    for depth in ["greeting", "ping"] {
        let finding = check(&server.url(), depth);
        finding.assert_told("degraded, too_many_connections (full), exit 1");
        assert_eq!(finding.phases(), "connect greeting!");
        assert!(finding.text("detail").contains("1040"), "{finding:?}");
    }
}

#[test]
fn a_full_postgresql_is_degraded() {
    require_servers!();
    for (reserved, words) in [
        ("0", "sorry, too many clients already"),
        ("1", "reserved for"),
    ] {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let server = Postgres::start(PostgresOptions {
            settings: vec![
                setting("max_connections", "4"),
                setting("superuser_reserved_connections", reserved),
            ],
            ..Default::default()
        });
        let server = Database::from(server);
        let admitted = 4 - reserved.parse::<u32>().expect("a number");
        let _crowd = Crowd::of(&server, Protocol::Postgres, admitted);
        let finding = check(&server.url(), "ping");
        finding.assert_told("degraded, too_many_connections (full), exit 1");
        let detail = finding.text("detail");
        assert!(
            detail.contains("53300") && detail.contains(words),
            "{finding:?}"
        );
    }
}

#[test]
fn a_check_user_at_its_own_limit_is_no_full_server() {
    require_servers!();
    let [mariadb, postgres] = databases(&V4, None);
    mariadb.sql("GRANT USAGE ON *.* TO vitals WITH MAX_USER_CONNECTIONS 1");
    postgres.sql("ALTER ROLE vitals CONNECTION LIMIT 1");
    for (server, protocol) in [(mariadb, Protocol::MySql), (postgres, Protocol::Postgres)] {
        let _crowd = Crowd::of(&server, protocol, 1);
        let finding = check(&server.url(), "ping");
        finding.assert_told("degraded, check_user_limit (ours), exit 3");
    }
}

/// Sessions that are held open, and closed when this is dropped.
struct Crowd(#[expect(dead_code, reason = "held, not used")] Prober);

impl Crowd {
    fn of(server: &Database, protocol: Protocol, size: u32) -> Self {
        let address = Address::Tcp {
            host: server.address().ip().to_string(),
            port: server.port(),
        };
        let mut target = Target::new(protocol, address);
        target.credentials = Some(Credentials::new("vitals").with_password("secret").into());
        let target = Arc::new(target);

        let clock = Clock::start();
        let mut prober = Prober::new(clock).expect("an epoll descriptor");
        for id in (0..size).map(TargetId) {
            prober.add_target(id, Arc::clone(&target));
            prober.start(Order {
                target: id,
                probe: ProbeId(0),
                path: Path::Fresh,
                depth: Depth::Login,
                deadline: clock.now() + Duration::from_secs(10),
                hold: true,
            });
        }
        for _ in 0..size {
            let (_, observation) = loop {
                match prober.poll_observation() {
                    Some(observed) => break observed,
                    None => prober
                        .wait(None)
                        .expect("an epoll descriptor can be waited for"),
                }
            };
            assert_eq!(observation.outcome, Outcome::Pass, "{observation:?}");
        }
        Self(prober)
    }
}
