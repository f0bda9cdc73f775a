//! Tests of what becomes of a peer's texts: control characters, broken UTF-8, limits.
//!
//! The limits are the point: what a peer sends is stored and shown.

use super::clean;

fn check(bytes: &[u8], length_max: usize, expected: &str) {
    assert_eq!(clean(bytes, length_max), expected);
}

#[test]
fn plain_text_is_kept() {
    check(
        "zu viele Verbindungen: größer".as_bytes(),
        512,
        "zu viele Verbindungen: größer",
    );
    check(b"", 512, "");
}

#[test]
fn terminal_escapes_and_line_ends_become_spaces() {
    check(b"a\x1b[31mb\r\nc\0", 512, "a [31mb  c ");
}

#[test]
fn a_long_text_is_cut_between_characters() {
    check(b"abcdef", 3, "abc");
    check("aé".as_bytes(), 3, "aé");
    check(b"\xff\xff", 3, "\u{fffd}");
}

#[test]
fn a_character_that_the_limit_would_cut_is_left_out() {
    check("ééé".as_bytes(), 5, "éé");
    check("abc😀".as_bytes(), 6, "abc");
    check("abc😀".as_bytes(), 7, "abc😀");
}
