//! Tests of ErrorResponse: where the severity is read, limits, the line without a frame.
//!
//! Recorded ones of a real server are in the crate's `tests/golden/`.

use super::{super::message::Pending, *};

fn check(fields: &[u8], expected: Result<Refusal, Malformed>) {
    let mut bytes = Vec::new();
    put_message(&mut bytes, backend::ERROR_RESPONSE, |body| {
        body.extend_from_slice(fields)
    });
    let message = Pending::default().next_message(&mut &bytes[..], 1 << 20);
    assert_eq!(parse(message.unwrap().unwrap().body()), expected);
}

fn refusal(sqlstate: &str, message: &str, routine: &str, fatal: bool) -> Refusal {
    let (sqlstate, message, routine) = (sqlstate.into(), message.into(), routine.into());
    Refusal {
        number: 0,
        sqlstate,
        message,
        routine,
        fatal,
    }
}

#[test]
fn the_severity_is_read_where_it_is_not_translated() {
    check(
        b"SFATAL\0VFATAL\0C53300\0Mtoo many\0Fproc.c\0L350\0RInitProcess\0\0",
        Ok(refusal("53300", "too many", "InitProcess", true)),
    );
    check(
        "SFATALE\0VFATAL\0Mzu\0\0".as_bytes(),
        Ok(refusal("", "zu", "", true)),
    );
    check(b"SFATAL\0C57P01\0\0", Ok(refusal("57P01", "", "", true)));
    check(b"SPANIC\0VPANIC\0\0", Ok(refusal("", "", "", true)));
    check(
        b"SERROR\0VERROR\0C42601\0\0",
        Ok(refusal("42601", "", "", false)),
    );
}

#[test]
fn fields_without_an_end_are_malformed() {
    check(b"SFATAL\0", Err(Malformed("a longer message")));
    check(b"SFATAL", Err(Malformed("a text that ends with NUL")));
}

#[test]
fn texts_are_bounded_and_clean() {
    let mut fields = b"M\x1b[2J".to_vec();
    fields.resize(5000, b'm');
    fields.extend_from_slice(b"\0\0");
    check(
        &fields,
        Ok(refusal("", &format!(" [2J{}", "m".repeat(508)), "", false)),
    );
}

#[test]
fn a_postmaster_that_cannot_fork_is_understood() {
    let line = b"Ecould not fork new process for connection: Cannot allocate memory";
    let message = "could not fork new process for connection: Cannot allocate memory";
    assert_eq!(parse_unframed(line), Some(refusal("", message, "", true)));
    assert_eq!(parse_unframed(b"ERROR\r"), None);
}

#[test]
fn what_is_written_is_read_back() {
    let written = refusal(
        "57P03",
        "the database system is starting up",
        "dbvitals",
        true,
    );
    let mut bytes = Vec::new();
    put(&written, &mut bytes);
    let message = Pending::default()
        .next_message(&mut &bytes[..], 1024)
        .unwrap()
        .unwrap();
    assert_eq!(parse(message.body()), Ok(written));
}
