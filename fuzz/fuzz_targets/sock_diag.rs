//! Fuzzes the reading of the kernel's answers through netlink; what has to hold is in `drive_queues.rs`.

#![no_main]

#[path = "../drive_queues.rs"]
mod drive_queues;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive_queues::sock_diag(data));
