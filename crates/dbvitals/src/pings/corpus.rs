//! The corpora of the fuzz targets of `pings`, replayed as plain tests and mutated a little.
//!
//! What has to hold for each input is in `fuzz/capture.rs`, which the fuzz targets share.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use super::capture;
use replay::check;

#[test]
fn capture_file_stands_whatever_a_file_holds() {
    check("capture_file", capture::capture_file);
}

#[test]
fn packets_are_read_or_passed_over_whatever_they_are() {
    check("packets", capture::packets);
}

#[test]
fn reassembly_stands_whatever_the_numbers() {
    check("reassembly", capture::reassembly);
}
