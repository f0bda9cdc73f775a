//! Fuzzes what `pings` makes of a capture; what has to hold is in `capture.rs`.

#![no_main]

#[path = "../capture.rs"]
#[expect(dead_code, reason = "each entry has a target of its own")]
mod capture;
#[path = "../../crates/dbvitals/src"]
#[allow(dead_code, unused_imports, reason = "the program uses more of it")]
mod program {
    pub(crate) mod pings;
}

pub(crate) use program::pings::{
    Account, CaptureFile, Frame, GroupBy, Link, Listener, Settings, Tally,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| capture::capture_file(data));
