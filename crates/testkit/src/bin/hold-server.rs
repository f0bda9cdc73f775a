//! Starts a real server and holds it until standard input ends.
//!
//! Prints one line, the number of its process, its port and its directory. The guardian's tests
//! kill this program to see the server go with it; a person gets a throw-away server to play with:
//!
//! `cargo run -p dbvitals-testkit --bin hold-server -- mariadb`, or `postgres`, `galera`, or
//! `confined`: a PostgreSQL with a small disk and a network of its own

use std::env;
use std::io;

use dbvitals_testkit::{
    GaleraNode, MariaDb, MariaDbOptions, Network, Postgres, PostgresOptions, RealServer, SmallDisk,
};

fn main() {
    match env::args().nth(1).as_deref() {
        Some("mariadb") => hold(&MariaDb::start(MariaDbOptions::default())),
        Some("postgres") => hold(&Postgres::start(PostgresOptions::default())),
        Some("galera") => hold(&GaleraNode::start(MariaDbOptions::default())),
        Some("confined") => hold(&confined()),
        Some(_) | None => {
            panic!("say which server to hold: mariadb, postgres, galera or confined")
        }
    }
}

/// A PostgreSQL with a disk and a network of its own.
fn confined() -> Postgres {
    Postgres::start(PostgresOptions {
        disk: Some(SmallDisk {
            directory: "data".to_owned(),
            size_mib: 100,
        }),
        network: Some(Network::new()),
        ..Default::default()
    })
}

#[expect(clippy::print_stdout, reason = "the line is what the caller waits for")]
fn hold(server: &impl RealServer) {
    println!(
        "{} {} {}",
        server.pid(),
        server.port(),
        server.directory().display()
    );
    let ended = io::copy(&mut io::stdin(), &mut io::sink());
    ended.expect("standard input can be read");
}
