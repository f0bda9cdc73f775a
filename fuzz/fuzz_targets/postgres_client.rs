//! Fuzzes what a PostgreSQL server may send to a client; what has to hold is in `drive.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::postgres_client(data));
