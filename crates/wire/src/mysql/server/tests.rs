//! The server against what clients other than ours may send; ours meet it in `client/tests.rs`.

use super::super::response;
use super::*;

const REQUIRED: Capabilities =
    Capabilities(Capabilities::PROTOCOL_41.0 | Capabilities::SECURE_CONNECTION.0);

fn server(authentication: Authentication) -> Server {
    let options = ServerOptions {
        version: "8.0.36".to_owned(),
        session_id: 42,
        tls: true,
        authentication,
        entropy: [36; 32],
        in_hot_standby: false,
    };
    Server::new(options, &mut Vec::new())
}

/// The response of a client that knows one plugin and gives this answer.
fn response(plugin: &str, answer: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let response = Response {
        capabilities: REQUIRED | Capabilities::PLUGIN_AUTH,
        user: b"vitals",
        answer,
        database: b"",
        plugin: plugin.as_bytes(),
        program: b"",
    };
    response.append(1, &mut out);
    out
}

fn feed(server: &mut Server, mut bytes: &[u8]) -> (Vec<Request>, Vec<u8>) {
    let (mut requests, mut out) = (Vec::new(), Vec::new());
    while let Some(request) = server.handle_input(&mut bytes, &mut out) {
        requests.push(request);
    }
    (requests, out)
}

fn logged_in_server() -> Server {
    let mut server = server(Authentication::Trust);
    let (requests, _) = feed(&mut server, &response("", b""));
    assert_eq!(
        requests,
        [Request::LoggedIn {
            user: "vitals".to_owned()
        }]
    );
    server
}

#[test]
fn a_salt_has_no_byte_that_clients_trip_over() {
    for byte in 0..=255 {
        let nonce = greeting_nonce(&[byte; 32]);
        assert!(
            nonce.iter().all(|byte| (b'%'..=b'~').contains(byte)),
            "{nonce:?}"
        );
    }
}

#[test]
fn a_client_that_knows_no_plugins_is_switched() {
    let mut server = server(Authentication::Ed25519("secret".to_owned()));
    let (requests, out) = feed(&mut server, &response("mysql_native_password", b""));
    assert_eq!(requests, []);
    assert_eq!(out[3..20], *b"\x02\xfeclient_ed25519\0");
    assert_eq!(out[20..], [36; 32]);
}

#[test]
fn the_methods_of_another_database_let_nobody_in() {
    for other in [
        Authentication::Md5(String::new()),
        Authentication::Scram(String::new()),
    ] {
        let (requests, out) = feed(&mut server(other), &response("", b""));
        assert_eq!(
            requests,
            [Request::Denied {
                user: "vitals".to_owned()
            }]
        );
        assert_eq!(out[3..13], *b"\x02\xff\x15\x04#28000");
    }
}

#[test]
fn what_follows_a_request_for_tls_is_left_to_the_owner() {
    let mut server = server(Authentication::Trust);
    let mut sent = Vec::new();
    response::append_tls_request(REQUIRED, 1, &mut sent);
    sent.extend_from_slice(b"a ClientHello");
    let (mut input, mut out) = (&sent[..], Vec::new());
    assert_eq!(
        server.handle_input(&mut input, &mut out),
        Some(Request::StartTls)
    );
    assert_eq!(server.handle_input(&mut input, &mut out), None);
    assert_eq!(input, b"a ClientHello");

    server.handle_tls_established();
    let (requests, _) = feed(&mut server, &response("", b""));
    assert_eq!(
        requests,
        [Request::LoggedIn {
            user: "vitals".to_owned()
        }]
    );
}

#[test]
fn what_is_no_response_is_a_bad_handshake() {
    for payload in [
        &b"\x03\0\0\x01abc"[..],
        b"\x00\0\0\x01",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut server = server(Authentication::Trust);
        feed(&mut server, payload);
        assert_eq!(
            feed(&mut server, &response("", b"")).0,
            [],
            "the session is over"
        );
    }
    let (requests, out) = feed(&mut server(Authentication::Trust), b"\x03\0\0\x01abc");
    assert_eq!(requests, [Request::Other]);
    assert_eq!(out[3..13], *b"\x02\xff\x13\x04#08S01");
}

#[test]
fn commands_are_told_apart() {
    #[track_caller]
    fn check(payload: &[u8], expected: Request) {
        let mut packet = Vec::new();
        packet::append(&mut packet, 0, |out| out.extend_from_slice(payload));
        assert_eq!(feed(&mut logged_in_server(), &packet).0, [expected]);
    }
    check(b"\x0e", Request::Ping);
    check(b"\x03SELECT 1", Request::Query("SELECT 1".to_owned()));
    check(b"\x03", Request::Query(String::new()));
    check(b"\x03\xff", Request::Query("\u{fffd}".to_owned()));
    check(b"\x01", Request::Quit);
    check(b"\x09", Request::Other);
    check(b"", Request::Other);
}

#[test]
fn replies_bear_the_number_after_the_requests() {
    let (mut server, mut out) = (logged_in_server(), Vec::new());
    feed(&mut server, b"\x01\0\0\0\x0e");
    server.reply_pong(&mut out);
    assert_eq!(out[..4], [7, 0, 0, 1]);

    out.clear();
    feed(&mut server, b"\x01\0\0\0\x09");
    server.reply_error("1047", "Unknown command", &mut out);
    assert_eq!(out[3..13], *b"\x01\xff\x17\x04#HY000");
    out.clear();
    server.reply_error("1927", "unasked", &mut out);
    assert_eq!(out[3], 0);
    out.clear();
    server.reply_error("57P03", "a code of PostgreSQL's", &mut out);
    assert_eq!(out[4..7], [0xff, 0x51, 0x04], "1105");
}

#[test]
fn a_refusal_before_the_login_ends_the_session() {
    let (mut server, mut out) = (server(Authentication::Trust), Vec::new());
    server.reply_error("1040", "Too many connections", &mut out);
    assert_eq!(out[3..13], *b"\x01\xff\x10\x04#08004");
    assert_eq!(feed(&mut server, &response("", b"")).0, []);
}
