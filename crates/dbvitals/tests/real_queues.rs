//! `queues` on real database servers: their limits as shipped, their names, and what is said when
//! they freeze while clients arrive.

#[path = "support/program.rs"]
mod program;

use std::net::TcpStream;
use std::time::Duration;

use dbvitals_acceptqueue::Namespace;
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, eventually, require_servers,
};
use serde_json::Value;

use crate::program::{Run, dbvitals};

const SOON: Duration = Duration::from_secs(10);
const CLIENTS: u32 = 5;

/// What is said of the listener at a port.
fn listener(port: u16) -> Value {
    let run = Run::of(&mut dbvitals(&["queues", "--json", &port.to_string()]));
    assert!(run.code < 2, "{run:?}");
    let mut document: Value = serde_json::from_str(&run.stdout).expect("one document");
    document["listeners"][0].take()
}

/// Freezes a server, lets clients arrive, and looks without a connection.
fn check_frozen(server: &impl RealServer, command: &str, limit: u32) {
    let port = server.port();
    let calm = listener(port);
    assert_eq!(
        (&calm["limit"], &calm["command"]),
        (&limit.into(), &command.into())
    );
    assert_eq!(
        (&calm["pid"], &calm["length"]),
        (&server.pid().into(), &0.into())
    );
    server.freeze();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| TcpStream::connect(server.address()).expect("a frozen server lets connect"))
        .collect();
    let frozen = listener(port);
    assert_eq!(frozen["length"], CLIENTS, "{frozen}");
    assert_eq!(
        frozen["waiting"].as_array().map(Vec::len),
        Some(CLIENTS as usize)
    );
    let said = frozen["explanation"].to_string();
    let stopped = format!("{command} ({}) is stopped (state T)", server.pid());
    let more = format!("would still pass, {} more times", limit + 1 - CLIENTS);
    assert!(said.contains(&stopped) && said.contains(&more), "{said}");
    check_standstill(server, clients);
}

/// Two samples tell that nobody is accepted: it grows, and all who waited still do.
fn check_standstill(server: &impl RealServer, mut clients: Vec<TcpStream>) {
    let mut namespace = Namespace::current().expect("sock_diag is there");
    let mut look = || {
        let sample = namespace.sample().expect("a sample");
        let listener = sample.reached_at(server.address())[0].clone();
        let waiting = namespace.waiting(&listener, &sample).expect("who waits");
        (listener.length, waiting)
    };
    let (length, waiting) = look();
    assert_eq!(length, CLIENTS);
    clients.push(TcpStream::connect(server.address()).expect("there is room"));
    let (grown, still_waiting) = look();
    assert_eq!(grown, CLIENTS + 1);
    assert!(
        still_waiting.stands_still_since(&waiting),
        "{still_waiting:?}"
    );
    server.thaw();
    assert!(eventually(SOON, || look().1.has_moved_since(&waiting)));
    assert!(eventually(SOON, || look().0 == 0));
    drop(clients);
}

#[test]
fn a_frozen_mariadb_is_told_by_its_queue_and_its_process() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions::default());
    check_frozen(
        &server,
        "mariadbd",
        limit_of(&server.sql("SELECT @@back_log")),
    );
}

#[test]
fn a_frozen_postgresql_is_told_by_its_queue_and_its_process() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    let limit = listener(server.port())["limit"].as_u64();
    let most = limit_of(&server.sql("SHOW max_connections"));
    let limit = u32::try_from(limit.expect("a limit")).expect("few");
    assert!(limit >= 2 * most, "{limit} of {most} connections");
    check_frozen(&server, "postgres", limit);
}

fn limit_of(answer: &str) -> u32 {
    answer.trim().parse().expect("a number")
}
