//! Tests of the opening packets, as the client writes them and as the server reads them.
//!
//! The expected bytes are those of the protocol's chapter "Message Formats".

use super::{super::message::Pending, *};
use crate::{Credentials, TlsOffer};

fn check(packet: &[u8], expected: Result<Packet, Malformed>) {
    let mut input = packet;
    let packet = Pending::default().next_packet(&mut input, PACKET_LENGTH_MAX);
    assert_eq!(Packet::parse(packet.unwrap().unwrap().body()), expected);
}

#[test]
fn a_startup_message_carries_the_login() {
    let credentials = Credentials::new("vitals").with_database("shop");
    let mut out = Vec::new();
    put_startup_message(&Login::new(credentials, TlsOffer::Never, [0; 32]), &mut out);
    let expected = b"\0\0\0\x52\0\x03\0\0user\0vitals\0database\0shop\0\
        application_name\0dbvitals\0client_encoding\0UTF8\0\0";
    assert_eq!(
        out.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    check(
        &out,
        Ok(Packet::StartupMessage {
            minor: 0,
            user: "vitals".into(),
        }),
    );
}

#[test]
fn a_user_name_cannot_smuggle_in_parameters() {
    let credentials = Credentials::new("vitals\0database\0other");
    let mut out = Vec::new();
    put_startup_message(&Login::new(credentials, TlsOffer::Never, [0; 32]), &mut out);
    assert!(!out.windows(8).any(|window| window == b"database"));
}

#[test]
fn requests_are_told_by_their_codes() {
    let mut ssl_request = Vec::new();
    put_ssl_request(&mut ssl_request);
    assert_eq!(ssl_request, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    check(&ssl_request, Ok(Packet::SslRequest));
    check(b"\0\0\0\x08\x04\xd2\x16\x30", Ok(Packet::GssEncRequest));
    check(
        b"\0\0\0\x10\x04\xd2\x16\x2epid1key1",
        Ok(Packet::CancelRequest),
    );
    check(b"\0\0\0\x08\0\x02\0\0", Ok(Packet::UnsupportedProtocol));
}

#[test]
fn parameters_without_end_are_malformed() {
    let expected = Err(Malformed("a text that ends with NUL"));
    check(b"\0\0\0\x0d\0\x03\0\0user\0", expected);
}

#[test]
fn a_cancel_request_names_the_session() {
    let key = CancelKey { pid: 7, secret: 9 };
    let packet = cancel_request(key);
    assert_eq!(&packet, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09");
    check(&packet, Ok(Packet::CancelRequest));
}
