//! The fuzz corpora replayed as a plain test, and mutated for a few seconds more.
//!
//! What has to hold for each input is in `fuzz/drive.rs` and `fuzz/listen.rs`, which the fuzz
//! targets share.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(
    unreachable_pub,
    reason = "public for the fuzz targets, to which it is a library"
)]
#[path = "../../../fuzz/drive.rs"]
mod drive;
#[expect(
    unreachable_pub,
    reason = "public for the fuzz targets, to which it is a library"
)]
#[path = "../../../fuzz/listen.rs"]
mod listen;

#[path = "../../../fuzz/replay.rs"]
mod replay;

use crate::replay::check;

#[test]
fn mysql_client_stands_whatever_a_server_sends() {
    check("mysql_client", drive::mysql_client);
}

#[test]
fn mysql_server_stands_whatever_a_client_sends() {
    check("mysql_server", drive::mysql_server);
}

#[test]
fn postgres_client_stands_whatever_a_server_sends() {
    check("postgres_client", drive::postgres_client);
}

#[test]
fn postgres_server_stands_whatever_a_client_sends() {
    check("postgres_server", drive::postgres_server);
}

#[test]
fn a_listener_stands_whatever_is_said_in_mysqls_protocol() {
    check("passive_mysql", listen::passive_mysql);
}

#[test]
fn a_listener_stands_whatever_is_said_in_postgresqls_protocol() {
    check("passive_postgres", listen::passive_postgres);
}
