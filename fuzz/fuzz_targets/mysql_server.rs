//! Fuzzes what a MySQL client may send to a server; what has to hold is in `drive.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::mysql_server(data));
