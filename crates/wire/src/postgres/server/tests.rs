//! Tests of the server against bytes written by hand; whole conversations are in `tests/`.

use super::*;
use crate::Authentication;

const STARTUP: &[u8] = b"\0\0\0\x15\0\x03\0\0user\0vitals\0\0";
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const READY: &[u8] = b"Z\0\0\0\x05I";

fn server(tls: bool, authentication: Authentication) -> Server {
    Server::new(ServerOptions {
        version: "15.18".into(),
        session_id: 42,
        tls,
        authentication,
        entropy: [9; 32],
        in_hot_standby: false,
    })
}

/// All requests that `input` gives, and what the server says to it.
fn feed(server: &mut Server, mut input: &[u8]) -> (Vec<Request>, Vec<u8>) {
    let (mut requests, mut out) = (Vec::new(), Vec::new());
    while let Some(request) = server.handle_input(&mut input, &mut out) {
        requests.push(request);
    }
    assert!(input.is_empty());
    (requests, out)
}

fn ready_server() -> Server {
    let mut server = server(false, Authentication::Trust);
    let (requests, out) = feed(&mut server, STARTUP);
    assert_eq!(
        requests,
        [Request::LoggedIn {
            user: "vitals".into()
        }]
    );
    assert!(out.starts_with(b"R\0\0\0\x08\0\0\0\0S") && out.ends_with(READY));
    server
}

#[test]
fn encryption_is_declined_where_it_is_not_offered() {
    let gssenc_request = b"\0\0\0\x08\x04\xd2\x16\x30";
    let mut server = server(false, Authentication::Trust);
    assert_eq!(feed(&mut server, gssenc_request), (vec![], b"N".into()));
    assert_eq!(feed(&mut server, SSL_REQUEST), (vec![], b"N".into()));
    assert_eq!(feed(&mut server, STARTUP).0.len(), 1);
}

#[test]
fn plain_text_before_the_tls_handshake_ends_the_session() {
    let mut server = server(true, Authentication::Trust);
    let input = [SSL_REQUEST, STARTUP].concat();
    let mut input = &input[..];
    let mut out = Vec::new();
    assert_eq!(
        server.handle_input(&mut input, &mut out),
        Some(Request::StartTls)
    );
    assert_eq!(
        server.handle_input(&mut input, &mut out),
        Some(Request::Other)
    );
    assert_eq!(server.handle_input(&mut input, &mut out), None);
    assert_eq!(out, b"S");
}

#[test]
fn a_cancel_request_and_another_protocol_end_the_session() {
    let mut canceled = server(false, Authentication::Trust);
    let (requests, out) = feed(&mut canceled, b"\0\0\0\x10\x04\xd2\x16\x2epid1key1");
    assert_eq!((requests, out), (vec![Request::Other], vec![]));

    let mut old = server(false, Authentication::Trust);
    let (requests, out) = feed(&mut old, b"\0\0\0\x08\0\x02\0\0");
    assert_eq!(requests, [Request::Other]);
    assert!(out.starts_with(b"E") && out.windows(5).any(|window| window == b"FATAL"));
}

#[test]
fn a_later_minor_version_is_negotiated_down() {
    let mut server = server(false, Authentication::Trust);
    let (requests, out) = feed(&mut server, b"\0\0\0\x15\0\x03\0\x02user\0vitals\0\0");
    assert_eq!(requests.len(), 1);
    assert!(out.starts_with(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0R"));
}

#[test]
fn a_method_of_mysql_admits_nobody() {
    let mut server = server(false, Authentication::MySqlNative("sesame".into()));
    let (requests, out) = feed(&mut server, STARTUP);
    assert_eq!(
        requests,
        [Request::Denied {
            user: "vitals".into()
        }]
    );
    assert!(out.starts_with(b"E"));
}

#[test]
fn broken_bytes_end_the_session() {
    for authentication in [
        Authentication::Cleartext("sesame".into()),
        Authentication::Md5("sesame".into()),
        Authentication::Scram("sesame".into()),
    ] {
        for input in [
            &b"p\0\0\0\x04"[..],
            b"Q\0\0\0\x05\0",
            b"p\xff\xff\xff\xff",
            b"p\0\0\0\x06ab",
        ] {
            let mut server = server(false, authentication.clone());
            feed(&mut server, STARTUP);
            assert_eq!(
                feed(&mut server, input).0,
                [Request::Other],
                "{}",
                input.escape_ascii()
            );
            assert_eq!(feed(&mut server, input), (vec![], vec![]));
        }
    }
}

#[test]
fn empty_statements_are_pings() {
    for (input, expected) in [
        (&b"Q\0\0\0\x05\0"[..], Request::Ping),
        (b"Q\0\0\0\x08 ;\n\0", Request::Ping),
        (b"Q\0\0\0\x0dselect 1\0", Request::Query("select 1".into())),
        (b"X\0\0\0\x04", Request::Quit),
        (b"P\0\0\0\x08\0\0\0\0", Request::Other),
    ] {
        assert_eq!(feed(&mut ready_server(), input), (vec![expected], vec![]));
    }
}

#[test]
fn the_end_of_an_extended_query_is_answered() {
    let mut server = ready_server();
    assert_eq!(feed(&mut server, b"S\0\0\0\x04"), (vec![], READY.into()));
}

#[test]
fn an_error_leaves_the_session_ready_and_a_fatal_ends_it() {
    let mut server = ready_server();
    let mut out = Vec::new();
    server.reply_error("42601", "syntax error", false, &mut out);
    let fields = b"SERROR\0VERROR\0C42601\0Msyntax error\0Rdbvitals\0\0";
    assert_eq!(out[5..], [fields, READY].concat());

    out.clear();
    server.reply_error("53300", "sorry", true, &mut out);
    assert_eq!(
        out[5..],
        b"SFATAL\0VFATAL\0C53300\0Msorry\0RInitProcess\0\0"[..]
    );
    assert_eq!(feed(&mut server, b"Q\0\0\0\x05\0").0, []);
}

#[test]
fn before_the_login_every_error_is_fatal() {
    let mut server = server(true, Authentication::Trust);
    let mut out = Vec::new();
    server.reply_error("57P03", "starting up", false, &mut out);
    assert_eq!(
        out[5..],
        b"SFATAL\0VFATAL\0C57P03\0Mstarting up\0RProcessStartupPacket\0\0"[..]
    );
}
