//! Starts a real server and holds it until standard input ends.
//!
//! Prints one line, the number of its process, its port and its directory. The guardian's tests
//! kill this program to see the server go with it; a person gets a throw-away server to play with:
//!
//! `cargo run -p dbvitals-testkit --bin hold-server -- mariadb` (or `postgres`)

use std::env;
use std::io;

use dbvitals_testkit::{MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer};

fn main() {
    match env::args().nth(1).as_deref() {
        Some("mariadb") => hold(&MariaDb::start(MariaDbOptions::default())),
        Some("postgres") => hold(&Postgres::start(PostgresOptions::default())),
        Some(_) | None => panic!("say which server to hold: mariadb or postgres"),
    }
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
