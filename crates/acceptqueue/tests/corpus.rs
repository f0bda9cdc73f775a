//! The fuzz corpora replayed as a plain test, and mutated for a few seconds more.
//!
//! What has to hold for each input is in `fuzz/drive_queues.rs`, which the fuzz targets share.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/drive_queues.rs"]
mod drive_queues;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use crate::replay::check;

#[test]
fn answers_through_netlink_are_read_whatever_they_hold() {
    check("sock_diag", drive_queues::sock_diag);
}

#[test]
fn tables_are_read_whatever_they_hold() {
    check("proc_tables", drive_queues::proc_tables);
}
