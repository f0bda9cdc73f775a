//! Tests of the signatures: who is recognised, how early, and that PostgreSQL never is.
//!
//! The client's own tests feed the same servers to a session.

use super::{FirstWords, Foreign, LENGTH_MAX, SIGNATURES, judge};

fn check(first: &[u8], expected: FirstWords) {
    let first = &first[..first.len().min(LENGTH_MAX)];
    assert_eq!(judge(first, b"RENv"), expected, "{}", first.escape_ascii());
}

#[test]
fn foreign_servers_are_named() {
    check(
        b"HTTP/1.1 400 Bad Request\r\n",
        FirstWords::Foreign(Foreign::Http),
    );
    check(
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        FirstWords::Foreign(Foreign::Ssh),
    );
    check(
        b"\x15\x03\x01\0\x02\x02\x46",
        FirstWords::Foreign(Foreign::Tls),
    );
    check(
        b"\x4a\0\0\0\x0a5.7.44\0",
        FirstWords::Foreign(Foreign::MySql),
    );
    check(
        b"\x17\0\0\0\xff\x10\x04Too many connections",
        FirstWords::Foreign(Foreign::MySql),
    );
    check(
        b"220 mail.example ESMTP\r\n",
        FirstWords::Foreign(Foreign::Unrecognised),
    );
    check(
        b"-ERR unknown command\r\n",
        FirstWords::Foreign(Foreign::Unrecognised),
    );
}

#[test]
fn a_mysql_server_is_told_from_postgresql_when_its_length_is_one_of_our_letters() {
    for letter in *b"RENvS" {
        let greeting = [letter, 0, 0, 0, 10, b'8', b'.'];
        check(&greeting, FirstWords::Foreign(Foreign::MySql));
        let blocked = [letter, 0, 0, 0, 0xff, 0x6a, 0x04];
        check(&blocked, FirstWords::Foreign(Foreign::MySql));
    }
}

#[test]
fn answers_of_postgresql_are_not_taken_for_foreign() {
    for answer in [
        &b"R\0\0\0\x08\0\0\0\0"[..],
        b"R\0\0\0\x0c\0\0\0\x05salt",
        b"R\0\0\0\xff\0\0\0\x0aSCRAM-SHA-256\0",
        b"E\0\0\0\xffSFATAL\0",
        b"N\0\0\0\x0aSX\0\0",
        b"v\0\0\0\xff\0\x03\0\0",
        b"E",
    ] {
        check(answer, FirstWords::Expected(answer[0]));
    }
}

#[test]
fn the_decision_falls_as_early_as_the_bytes_allow() {
    check(b"", FirstWords::Undecided);
    check(b"H", FirstWords::Undecided);
    check(b"HT", FirstWords::Undecided);
    check(b"HE", FirstWords::Foreign(Foreign::Unrecognised));
    check(b"\x4a\0\0", FirstWords::Undecided);
    check(b"hi", FirstWords::Foreign(Foreign::Unrecognised));
}

#[test]
fn the_longest_signature_gives_the_limit() {
    let longest = SIGNATURES
        .iter()
        .map(|(_, signature)| signature.len())
        .max();
    assert_eq!(longest, Some(LENGTH_MAX));
}
