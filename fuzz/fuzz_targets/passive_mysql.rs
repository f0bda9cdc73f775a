//! Fuzzes what a listener makes of a conversation; what has to hold is in `listen.rs`.

#![no_main]

#[path = "../listen.rs"]
#[expect(dead_code, unreachable_pub, reason = "the other protocol has a target of its own")]
mod listen;

libfuzzer_sys::fuzz_target!(|data: &[u8]| listen::passive_mysql(data));
