//! Fuzzes what a MySQL server may send to a client; what has to hold is in `drive.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::mysql_client(data));
