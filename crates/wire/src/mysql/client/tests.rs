//! The client against this crate's server, cut into pieces of every kind, and against bytes that no
//! honest server sends.

use super::super::rsa::test_key;
use super::super::{Server, reply};
use super::*;
use crate::{Authentication, Channel, Credentials, Foreign, Request, ServerOptions};

const USER: &str = "vitals";

fn login(password: &str) -> Login {
    let credentials = Credentials::new(USER)
        .with_password(password)
        .with_database("orders");
    Login::new(credentials, TlsOffer::Never, [7; 32])
}

fn options(authentication: Authentication) -> ServerOptions {
    ServerOptions {
        version: "5.5.5-10.11.19-MariaDB-0+deb12u1".to_owned(),
        session_id: 42,
        tls: false,
        authentication,
        entropy: [200; 32],
        in_hot_standby: false,
    }
}

/// Both sides, and the bytes under way between them.
struct Pair {
    client: Client,
    server: Server,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    events: Vec<Event>,
    requests: Vec<Request>,
}

impl Pair {
    fn new(login: Login, options: ServerOptions) -> Self {
        let mut to_client = Vec::new();
        let server = Server::new(options, &mut to_client);
        let (client, to_server) = (Client::new(login), Vec::new());
        Self {
            client,
            server,
            to_client,
            to_server,
            events: vec![],
            requests: vec![],
        }
    }

    /// Carries bytes to and fro, cut as `piece_length` says, until nobody has more to say.
    fn run(&mut self, mut piece_length: impl FnMut() -> usize) {
        while !self.to_client.is_empty() || !self.to_server.is_empty() {
            let piece = take(&mut self.to_client, piece_length());
            self.deliver_to_client(&piece);
            let piece = take(&mut self.to_server, piece_length());
            self.deliver_to_server(&piece);
        }
    }

    /// The client logs in, pings, queries and leaves.
    fn deliver_to_client(&mut self, mut piece: &[u8]) {
        let out = &mut self.to_server;
        while let Some(event) = self.client.handle_input(&mut piece, out) {
            match &event {
                Event::StartTls => self.client.handle_tls_established(out),
                Event::LoggedIn(_) => assert!(self.client.ping(out)),
                Event::Pong => assert!(self.client.query("SELECT 'fine'", out)),
                Event::Answer(_) => assert!(self.client.goodbye(out)),
                Event::Greeted(_)
                | Event::TlsRefused
                | Event::Refused(_)
                | Event::WrongProtocol(_)
                | Event::Malformed(_) => {}
            }
            self.events.push(event);
        }
        assert!(piece.is_empty());
    }

    fn deliver_to_server(&mut self, mut piece: &[u8]) {
        let out = &mut self.to_client;
        while let Some(request) = self.server.handle_input(&mut piece, out) {
            match &request {
                Request::StartTls => self.server.handle_tls_established(),
                Request::Ping => self.server.reply_pong(out),
                Request::Query(_) => {
                    let answer = crate::Answer::of_value("fine", Some("fine"));
                    self.server.reply_answer(&answer, out);
                }
                Request::LoggedIn { .. }
                | Request::Denied { .. }
                | Request::Quit
                | Request::Other => {}
            }
            self.requests.push(request);
        }
        assert!(piece.is_empty());
    }
}

fn take(bytes: &mut Vec<u8>, length: usize) -> Vec<u8> {
    bytes.drain(..length.min(bytes.len())).collect()
}

/// What both sides saw of a whole session, which has to be the same however it is cut.
fn converse(login: &Login, options: &ServerOptions) -> (Vec<Event>, Vec<Request>) {
    let run = |piece_length: &mut dyn FnMut() -> usize| {
        let mut pair = Pair::new(login.clone(), options.clone());
        pair.run(piece_length);
        (pair.events, pair.requests)
    };
    let whole = run(&mut || usize::MAX);
    assert_eq!(run(&mut || 1), whole, "byte by byte");
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        assert_eq!(
            run(&mut || random.usize(1..20)),
            whole,
            "in pieces of seed {seed}"
        );
    }
    whole
}

fn kinds(events: &[Event]) -> String {
    let kind = |event: &Event| match event {
        Event::Greeted(_) => "greeted".to_owned(),
        Event::StartTls => "start TLS".to_owned(),
        Event::TlsRefused => "TLS refused".to_owned(),
        Event::LoggedIn(_) => "logged in".to_owned(),
        Event::Pong => "pong".to_owned(),
        Event::Answer(answer) => format!("{:?}", answer.value().map(String::from_utf8_lossy)),
        Event::Refused(refusal) => format!("refused {}", refusal.number),
        Event::WrongProtocol(foreign) => format!("{foreign:?}"),
        Event::Malformed(expected) => format!("malformed: {expected}"),
    };
    events.iter().map(kind).collect::<Vec<_>>().join(", ")
}

const FINE: &str = "greeted, logged in, pong, Some(\"fine\")";
const FINE_WITH_TLS: &str = "greeted, start TLS, logged in, pong, Some(\"fine\")";
const DENIED: &str = "greeted, refused 1045";

#[test]
fn every_plugin_lets_the_right_password_in_and_no_other() {
    #[track_caller]
    fn check(authentication: fn(String) -> Authentication, channel: Channel) {
        for (held, given, expected) in [
            ("secret", "secret", FINE),
            ("secret", "Secret", DENIED),
            ("secret", "", DENIED),
            ("", "secret", DENIED),
            ("", "", FINE),
        ] {
            let login = Login {
                channel,
                ..login(given)
            };
            let (events, requests) = converse(&login, &options(authentication(held.to_owned())));
            assert_eq!(kinds(&events), expected, "{given:?} for {held:?}");
            let user = USER.to_owned();
            let first = match expected {
                FINE => Request::LoggedIn { user },
                _ => Request::Denied { user },
            };
            assert_eq!(requests[0], first);
        }
    }
    check(Authentication::MySqlNative, Channel::Open);
    check(Authentication::CachingSha2Fast, Channel::Open);
    check(Authentication::CachingSha2Full, Channel::Private);
    check(Authentication::Ed25519, Channel::Open);
    check(Authentication::Cleartext, Channel::Private);
}

#[test]
fn a_session_is_greeted_used_and_left() {
    let (events, requests) = converse(&login(""), &options(Authentication::Trust));
    assert_eq!(kinds(&events), FINE);
    let Event::Greeted(greeting) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(greeting.product, Some(crate::Product::MariaDb));
    assert_eq!(greeting.version.as_deref(), Some("10.11.19"));
    assert_eq!(greeting.session_id, Some(42));
    assert_eq!(events[1], Event::LoggedIn(greeting.clone()));
    let user = USER.to_owned();
    let query = Request::Query("SELECT 'fine'".to_owned());
    assert_eq!(
        requests,
        [
            Request::LoggedIn { user },
            Request::Ping,
            query,
            Request::Quit
        ]
    );
}

#[test]
fn tls_is_asked_for_as_the_offers_say() {
    #[track_caller]
    fn check(asked: TlsOffer, offered: bool, expected: &str) {
        let login = Login {
            tls: asked,
            ..login("secret")
        };
        // The full exchange shows that the channel has become private.
        let authentication = Authentication::CachingSha2Full("secret".to_owned());
        let options = ServerOptions {
            tls: offered,
            ..options(authentication)
        };
        assert_eq!(kinds(&converse(&login, &options).0), expected);
    }
    check(TlsOffer::Prefer, true, FINE_WITH_TLS);
    check(TlsOffer::Require, true, FINE_WITH_TLS);
    check(TlsOffer::Require, false, "greeted, TLS refused");
    // Without TLS this client asks for an RSA key, which this server does not have.
    check(TlsOffer::Prefer, false, DENIED);
    check(TlsOffer::Never, true, DENIED);
}

#[test]
fn nothing_is_told_after_tls_was_refused() {
    #[track_caller]
    fn check(rest: &[u8]) {
        let login = Login {
            tls: TlsOffer::Require,
            ..login("secret")
        };
        let (mut client, mut input) = (Client::new(login), vec![]);
        Server::new(options(Authentication::Trust), &mut input);
        input.extend_from_slice(rest);
        let mut input = &input[..];
        let mut next = || client.handle_input(&mut input, &mut Vec::new());
        assert!(matches!(next(), Some(Event::Greeted(_))));
        assert_eq!(next(), Some(Event::TlsRefused));
        assert_eq!(next(), None);
        assert_eq!(input, []);
        assert!(client.goodbye(&mut Vec::new()), "the handshake is over");
    }
    const OK: &[u8] = &[7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
    const TOO_LONG: &[u8] = &[0xff, 0xff, 0xff, 3, 0];
    check(OK);
    check(TOO_LONG);
    check(&[OK, TOO_LONG].concat());
    check(&[OK, OK].concat());
}

/// A client that has answered the greeting of an open server, and the number of its next packet.
fn greeted_client(password: &str) -> (Client, u8) {
    let (mut client, mut greeting, mut out) = (Client::new(login(password)), vec![], vec![]);
    Server::new(options(Authentication::Trust), &mut greeting);
    let event = client.handle_input(&mut &greeting[..], &mut out);
    assert!(matches!(event, Some(Event::Greeted(_))));
    (client, 2)
}

fn idle_client() -> Client {
    let (mut client, sequence) = greeted_client("");
    let mut ok = Vec::new();
    reply::append_ok(sequence, &mut ok);
    let event = client.handle_input(&mut &ok[..], &mut Vec::new());
    assert!(matches!(event, Some(Event::LoggedIn(_))));
    client
}

/// Feeds bytes and returns the events by name and what the client had to say.
fn feed(client: &mut Client, mut bytes: &[u8]) -> (String, Vec<u8>) {
    let (mut events, mut out) = (Vec::new(), Vec::new());
    while let Some(event) = client.handle_input(&mut bytes, &mut out) {
        events.push(event);
    }
    (kinds(&events), out)
}

#[test]
fn without_tls_the_password_goes_encrypted_with_the_servers_key() {
    let (mut client, sequence) = greeted_client("secret");
    let nonce = *b"a nonce of 20 bytes!";
    let mut input = Vec::new();
    let switch = [&nonce[..], &[0]].concat();
    reply::append_switch(sequence, "caching_sha2_password", &switch, &mut input);
    let (_, scramble) = feed(&mut client, &input);
    assert_eq!(scramble.len(), 4 + 32);

    input.clear();
    reply::append_more_data(sequence + 2, &[reply::caching_sha2::FULL], &mut input);
    assert_eq!(
        feed(&mut client, &input).1,
        [1, 0, 0, 5, 2],
        "the request for the key"
    );

    input.clear();
    reply::append_more_data(sequence + 4, test_key::PUBLIC_KEY.as_bytes(), &mut input);
    let (_, encrypted) = feed(&mut client, &input);
    let masked = test_key::decrypt(&encrypted[4..]);
    let password: Vec<u8> = masked
        .iter()
        .zip(nonce)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    assert_eq!(password, b"secret\0");
}

#[test]
fn sha256_password_asks_for_the_key_at_once_and_says_an_empty_password_in_clear() {
    let nonce = *b"a nonce of 20 bytes!";
    let switch = [&nonce[..], &[0]].concat();
    let (mut client, sequence) = greeted_client("secret");
    let mut input = Vec::new();
    reply::append_switch(sequence, "sha256_password", &switch, &mut input);
    let request = [1, 0, 0, sequence + 1, 1];
    assert_eq!(feed(&mut client, &input).1, request);
    input.clear();
    reply::append_more_data(sequence + 2, test_key::PUBLIC_KEY.as_bytes(), &mut input);
    let (_, encrypted) = feed(&mut client, &input);
    let masked = test_key::decrypt(&encrypted[4..]);
    let password: Vec<u8> = masked
        .iter()
        .zip(nonce)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    assert_eq!(password, b"secret\0");

    let (mut client, sequence) = greeted_client("");
    input.clear();
    reply::append_switch(sequence, "sha256_password", &switch, &mut input);
    assert_eq!(feed(&mut client, &input).1, [1, 0, 0, sequence + 1, 0]);
}

#[test]
fn a_key_that_is_none_is_malformed() {
    let (mut client, sequence) = greeted_client("secret");
    let mut input = Vec::new();
    reply::append_switch(sequence, "caching_sha2_password", &[1; 21], &mut input);
    reply::append_more_data(sequence + 2, &[reply::caching_sha2::FULL], &mut input);
    reply::append_more_data(sequence + 4, b"no key", &mut input);
    assert!(
        feed(&mut client, &input)
            .0
            .starts_with("malformed: an RSA public key")
    );
}

#[test]
fn a_plugin_that_cannot_be_used_is_named() {
    #[track_caller]
    fn check(plugin: &str, mentions: &str) {
        let (mut client, sequence) = greeted_client("secret");
        let (mut input, mut out) = (Vec::new(), Vec::new());
        reply::append_switch(sequence, plugin, &[1; 20], &mut input);
        let event = client.handle_input(&mut &input[..], &mut out);
        let Some(Event::Refused(refusal)) = event else {
            panic!("{event:?}")
        };
        assert_eq!((refusal.number, refusal.sqlstate.as_str()), (2059, "HY000"));
        assert!(refusal.fatal);
        assert!(refusal.message.contains(mentions), "{}", refusal.message);
        assert!(refusal.message.len() <= 512, "{}", refusal.message.len());
        assert_eq!(
            out,
            [],
            "nothing is told to a server that asks for too much"
        );
    }
    check(
        "auth_gssapi_client",
        "\"auth_gssapi_client\"; supported are mysql_native_password",
    );
    check("dialog", "\"dialog\"");
    check("mysql_clear_password", "needs TLS or a unix socket");
    check("\x1b[31m", "\" [31m\"");
    check(
        &"x".repeat(70_000),
        "\"; supported are mysql_native_password",
    );
}

#[test]
fn the_switch_to_the_oldest_plugin_is_refused() {
    let (mut client, sequence) = greeted_client("secret");
    assert_eq!(
        feed(&mut client, &[1, 0, 0, sequence, 0xfe]).0,
        "refused 2059"
    );
}

#[test]
fn a_login_without_end_is_malformed() {
    let (mut client, sequence) = greeted_client("secret");
    let mut input = Vec::new();
    for round in 0..20 {
        let plugin = "mysql_native_password";
        reply::append_switch(sequence + 2 * round, plugin, &[1; 20], &mut input);
    }
    assert_eq!(
        feed(&mut client, &input).0,
        "malformed: a login that comes to an end"
    );
}

#[test]
fn a_refusal_in_place_of_the_greeting_is_the_only_event() {
    let mut input = Vec::new();
    Server::refuse(1040, "Too many connections", &mut input);
    let mut client = Client::new(login(""));
    let event = client.handle_input(&mut &input[..], &mut Vec::new());
    let Some(Event::Refused(refusal)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(refusal.to_string(), "1040: Too many connections");
    assert!(refusal.fatal);
    assert_eq!(
        feed(&mut client, &input).0,
        "",
        "nothing is heard after the end"
    );
}

#[test]
fn a_foreign_peer_is_told_before_a_packet_is_whole() {
    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        for piece_length in [1, 3, bytes.len()] {
            let mut client = Client::new(login(""));
            let pieces = bytes.chunks(piece_length);
            let events: String = pieces.map(|piece| feed(&mut client, piece).0).collect();
            assert_eq!(events, expected, "in pieces of {piece_length}");
        }
    }
    check(
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &format!("{:?}", Foreign::Http),
    );
    check(b"SSH-2.0-OpenSSH\r\n", &format!("{:?}", Foreign::Ssh));
    check(
        b"E\0\0\0\x5cSFATAL\0",
        &format!("{:?}", Foreign::PostgreSql),
    );
    check(&[0x15, 3, 1, 0, 2, 2, 10], &format!("{:?}", Foreign::Tls));
    check(
        &[0x30, 0, 0, 0, 9, b'3', b'.'],
        "malformed: protocol 10, not protocol 9",
    );
    check(&[0x30, 0, 0, 0, 10, b'8', b'.'], "");
}

#[test]
fn plain_text_where_tls_begins_is_malformed() {
    let mut input = Vec::new();
    let options = ServerOptions {
        tls: true,
        ..options(Authentication::Trust)
    };
    Server::new(options, &mut input);
    reply::append_ok(2, &mut input);
    let mut client = Client::new(Login {
        tls: TlsOffer::Require,
        ..login("")
    });
    let expected = "greeted, malformed: no plain text where TLS begins";
    assert_eq!(feed(&mut client, &input).0, expected);
}

#[test]
fn an_error_while_idle_ends_the_session_and_anything_else_is_malformed() {
    let mut input = Vec::new();
    reply::append_error(
        0,
        4031,
        Some("HY000"),
        "disconnected by the server",
        &mut input,
    );
    let event = idle_client().handle_input(&mut &input[..], &mut Vec::new());
    assert!(
        matches!(&event, Some(Event::Refused(refusal)) if refusal.fatal),
        "{event:?}"
    );

    input.clear();
    reply::append_ok(0, &mut input);
    let expected = "malformed: silence while no command runs";
    assert_eq!(feed(&mut idle_client(), &input).0, expected);
}

#[test]
fn an_error_in_answer_to_a_ping_is_fatal_where_it_ends_the_session() {
    #[track_caller]
    fn check(sequence: u8, number: u16, fatal: bool) {
        let (mut client, mut input) = (idle_client(), Vec::new());
        assert!(client.ping(&mut Vec::new()));
        reply::append_error(sequence, number, Some("HY000"), "no", &mut input);
        let event = client.handle_input(&mut &input[..], &mut Vec::new());
        let Some(Event::Refused(refusal)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(refusal.fatal, fatal);
        assert_eq!(client.is_idle(), !fatal);
    }
    check(1, 1047, false);
    check(1, 1053, true);
    check(1, 1927, true);
    // Sent before the ping was read.
    check(0, 4031, true);
    check(0, 1047, true);
}

#[test]
fn an_answer_that_is_none_is_malformed() {
    let mut client = idle_client();
    assert!(client.ping(&mut Vec::new()));
    let eof = [5, 0, 0, 1, 0xfe, 0, 0, 2, 0];
    assert_eq!(
        feed(&mut client, &eof).0,
        "malformed: OK or an error in answer to a ping"
    );
    assert!(!client.is_idle());
}

#[test]
fn commands_out_of_turn_say_nothing() {
    let mut out = Vec::new();
    let (mut greeted, _) = greeted_client("");
    let mut busy = idle_client();
    assert!(busy.ping(&mut Vec::new()));
    for client in [&mut Client::new(login("")), &mut greeted, &mut busy] {
        assert!(!client.ping(&mut out) && !client.query("SELECT 1", &mut out));
    }
    assert!(!idle_client().query(&"x".repeat(MESSAGE_LENGTH_MAX + 1), &mut out));
    assert_eq!(out, []);
}

#[test]
fn goodbye_finishes_a_login_and_interrupts_nothing_else() {
    #[track_caller]
    fn check(mut client: Client, may_close: bool, says: &[u8]) {
        let mut out = Vec::new();
        assert_eq!(client.goodbye(&mut out), may_close);
        assert_eq!(out, says);
    }
    let mut half_greeted = Client::new(login(""));
    feed(&mut half_greeted, &[0x4a, 0, 0, 0, 10]);
    let mut busy = idle_client();
    assert!(busy.ping(&mut Vec::new()));

    check(Client::new(login("")), true, &[]);
    check(half_greeted, false, &[]);
    check(greeted_client("").0, false, &[]);
    check(idle_client(), true, &[1, 0, 0, 0, command::QUIT]);
    check(busy, true, &[]);
}

#[test]
fn an_idle_client_is_a_few_words_and_owns_no_memory() {
    assert!(size_of::<Client>() <= 48, "{} bytes", size_of::<Client>());
    let client = idle_client();
    assert!(matches!(client.phase, Phase::Idle));
    assert!(
        client.inbox.is_empty(),
        "and an empty inbox has no capacity, see packet.rs"
    );
}
