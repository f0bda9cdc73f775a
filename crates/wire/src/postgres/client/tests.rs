//! Tests of the client against bytes written by hand: what no server of good will sends, and the
//! moments between messages. Whole conversations are in `tests/`.

use super::*;
use crate::{ANSWER_LENGTH_MAX, Answer, Credentials, Foreign, Greeting, Refusal, Table, TlsOffer};

const AUTHENTICATION_OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";
const FATAL: &[u8] = b"E\0\0\0\x13SFATAL\0C57P01\0\0";
const ERROR: &[u8] = b"E\0\0\0\x13SERROR\0C42601\0\0";
const NOTICE: &[u8] = b"N\0\0\0\x0fSWARNING\0\0\0";
const PARAMETER: &[u8] = b"S\0\0\0\x08a\0b\0";

fn login(tls: TlsOffer) -> Login {
    Login::new(
        Credentials::new("vitals").with_password("sesame"),
        tls,
        [7; 32],
    )
}

fn client(tls: TlsOffer) -> Client {
    Client::new(login(tls), &mut Vec::new())
}

/// All events that `pieces`, delivered one after another, give.
fn feed(client: &mut Client, pieces: &[&[u8]]) -> Vec<Event> {
    let mut events = Vec::new();
    for mut piece in pieces.iter().copied() {
        while let Some(event) = client.handle_input(&mut piece, &mut Vec::new()) {
            events.push(event);
        }
        assert!(piece.is_empty());
    }
    events
}

fn idle_client() -> Client {
    let mut client = client(TlsOffer::Never);
    let events = feed(&mut client, &[AUTHENTICATION_OK, READY]);
    assert!(matches!(
        events[..],
        [Event::Greeted(_), Event::LoggedIn(_)]
    ));
    client
}

fn refused(sqlstate: &str, fatal: bool) -> Event {
    Event::Refused(Refusal {
        sqlstate: sqlstate.into(),
        fatal,
        ..Refusal::default()
    })
}

#[test]
fn an_idle_client_is_small_and_owns_no_buffer() {
    assert!(size_of::<Client>() <= 64, "{}", size_of::<Client>());
    let mut client = client(TlsOffer::Never);
    let bytes = [NOTICE, AUTHENTICATION_OK, PARAMETER, READY].concat();
    let pieces: Vec<&[u8]> = bytes.chunks(2).collect();
    assert_eq!(feed(&mut client, &pieces).len(), 2);
    assert!(matches!(client.phase, Phase::Idle), "the login is dropped");
    assert!(client.pending.is_empty_of_memory());
}

#[test]
fn a_password_is_not_shown_by_debug() {
    assert!(!format!("{:?}", client(TlsOffer::Never)).contains("sesame"));
}

/// Checks a first answer that ends the session, in one piece.
fn check_first(tls: TlsOffer, answer: &[u8], expected: Event) {
    let mut client = client(tls);
    assert_eq!(
        feed(&mut client, &[answer]),
        [expected],
        "{}",
        answer.escape_ascii()
    );
    assert_eq!(feed(&mut client, &[answer]), [], "further input is ignored");
    assert!(client.pending.is_empty_of_memory());
}

#[test]
fn foreign_servers_are_told_by_their_first_words() {
    for tls in [TlsOffer::Never, TlsOffer::Prefer, TlsOffer::Require] {
        for (answer, foreign) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Foreign::Http),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", Foreign::Ssh),
            (b"\x15\x03\x03\0\x02\x02\x28", Foreign::Tls),
            (b"\x4a\0\0\0\x0a5.7.44\0", Foreign::MySql),
            (b"\x4e\0\0\0\x0a8.0.39\0", Foreign::MySql),
            (b"\x53\0\0\0\x0a8.0.39\0", Foreign::MySql),
            (
                b"\x45\0\0\0\xff\x6a\x04Host 'probe' is not allowed",
                Foreign::MySql,
            ),
            (b"ERROR\r\n", Foreign::Unrecognised),
            (b"220 mail.example ESMTP\r\n", Foreign::Unrecognised),
        ] {
            check_first(tls, answer, Event::WrongProtocol(foreign));
        }
    }
}

#[test]
fn foreign_servers_are_told_byte_by_byte_too() {
    for (answer, foreign) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Foreign::Http),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", Foreign::Ssh),
        (
            b"\x45\0\0\0\xff\x10\x04Too many connections",
            Foreign::MySql,
        ),
        (b"\x52\0\0\0\x0a5.7.44\0", Foreign::MySql),
        (b"-ERR\r\n", Foreign::Unrecognised),
    ] {
        let mut client = client(TlsOffer::Never);
        let pieces: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(feed(&mut client, &pieces), [Event::WrongProtocol(foreign)]);
    }
}

#[test]
fn plain_text_slipped_in_before_tls_is_malformed() {
    let expected = Event::Malformed("a single byte in answer to an SSLRequest");
    check_first(TlsOffer::Require, b"SR\0\0\0\x08\0\0\0\0", expected.clone());
    check_first(TlsOffer::Prefer, b"NR\0\0\0\x08\0\0\0\0", expected);

    let mut client = client(TlsOffer::Require);
    let events = feed(&mut client, &[b"S", AUTHENTICATION_OK]);
    let malformed = Event::Malformed("no plain text before the TLS handshake");
    assert_eq!(events, [Event::StartTls, malformed]);
}

#[test]
fn absurd_lengths_are_malformed() {
    for answer in [
        &b"R\0\x01\0\0"[..],
        b"E\0\0\0\x03",
        b"v\0\0\xff\xff",
        b"NOTHING",
    ] {
        check_first(
            TlsOffer::Never,
            answer,
            Event::Malformed("a message of sane length"),
        );
    }
    let mut client = idle_client();
    let events = feed(&mut client, &[b"N\0\x10\0\x01"]);
    assert_eq!(events, [Event::Malformed("a message of sane length")]);
}

#[test]
fn a_refusal_in_answer_to_an_ssl_request_is_understood() {
    check_first(TlsOffer::Require, FATAL, refused("57P01", true));
    let line = b"Ecould not fork new process for connection: Cannot allocate memory\n\0";
    let message = "could not fork new process for connection: Cannot allocate memory";
    let expected = Refusal {
        message: message.into(),
        fatal: true,
        ..Refusal::default()
    };
    check_first(TlsOffer::Require, line, Event::Refused(expected.clone()));
    check_first(TlsOffer::Never, line, Event::Refused(expected));
}

#[test]
fn notices_and_a_version_negotiation_come_before_the_greeting() {
    let negotiation = b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0";
    let mut client = client(TlsOffer::Never);
    let events = feed(
        &mut client,
        &[NOTICE, negotiation, NOTICE, AUTHENTICATION_OK],
    );
    assert_eq!(events, [Event::Greeted(Greeting::default())]);
}

#[test]
fn a_caller_that_only_wants_the_greeting_sends_no_password() {
    let mut client = client(TlsOffer::Never);
    let mut out = Vec::new();
    let mut input = &b"R\0\0\0\x08\0\0\0\x03"[..];
    let event = client.handle_input(&mut input, &mut out);
    assert_eq!(event, Some(Event::Greeted(Greeting::default())));
    assert!(client.goodbye(&mut out));
    assert!(out.is_empty());
}

#[test]
fn messages_out_of_order_are_malformed() {
    let expected = Event::Malformed("the messages of a login in their order");
    let mut client = client(TlsOffer::Never);
    let events = feed(&mut client, &[AUTHENTICATION_OK, READY, READY]);
    assert_eq!(
        events[2..],
        [Event::Malformed("silence while no command is under way")]
    );
    for pieces in [[NOTICE, READY], [AUTHENTICATION_OK, AUTHENTICATION_OK]] {
        let mut client = self::client(TlsOffer::Never);
        assert_eq!(feed(&mut client, &pieces).last(), Some(&expected));
    }
}

#[test]
fn goodbye_is_a_terminate_once_the_server_reads_commands() {
    let terminate = b"X\0\0\0\x04";
    let check = |pieces: &[&[u8]], expected: &[u8]| {
        let mut client = client(TlsOffer::Never);
        feed(&mut client, pieces);
        let mut out = Vec::new();
        assert!(client.goodbye(&mut out));
        assert_eq!(out, expected);
        assert!(client.goodbye(&mut out), "a second goodbye says nothing");
        assert_eq!(out, expected);
    };
    check(&[], b"");
    check(&[b"R\0\0"], b"");
    check(&[b"R\0\0\0\x08\0\0\0\x03"], b"");
    check(&[AUTHENTICATION_OK], terminate);
    check(&[AUTHENTICATION_OK, READY], terminate);
    check(&[FATAL], b"");

    let (mut client, mut out) = (idle_client(), Vec::new());
    assert!(client.ping(&mut out));
    assert!(client.goodbye(&mut out));
    assert_eq!(out, b"Q\0\0\0\x05\0X\0\0\0\x04");
}

#[test]
fn a_command_out_of_turn_appends_nothing() {
    let mut out = Vec::new();
    let mut client = client(TlsOffer::Never);
    assert!(!client.ping(&mut out) && !client.query("select 1", &mut out));
    assert!(out.is_empty());
    let mut client = idle_client();
    assert!(client.ping(&mut out));
    out.clear();
    assert!(!client.ping(&mut out) && out.is_empty());
}

/// What a query tells when it is answered with `messages`, and whether the client is idle then.
fn check_query(messages: &[&[u8]], expected: &[Event], idle: bool) {
    let mut client = idle_client();
    assert!(client.query("select 1", &mut Vec::new()));
    assert_eq!(feed(&mut client, messages), expected);
    assert_eq!(client.is_idle(), idle);
}

#[test]
fn an_error_is_told_when_the_session_is_idle_again_and_a_fatal_at_once() {
    check_query(&[ERROR], &[], false);
    check_query(&[ERROR, NOTICE, READY], &[refused("42601", false)], true);
    check_query(&[FATAL, READY], &[refused("57P01", true)], false);
}

fn answer(tables: impl Into<Vec<Table>>) -> Event {
    Event::Answer(Box::new(Answer::of(tables.into())))
}

const COLUMN_A: &[u8] = b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
const COMPLETE: &[u8] = b"C\0\0\0\x0dSELECT 1\0";

#[test]
fn rows_are_kept_with_their_columns() {
    let one = b"D\0\0\0\x0b\0\x01\0\0\0\x011";
    let null = b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff";
    let no_column = b"D\0\0\0\x06\0\0";
    let a = || Table::new(["a"]);
    let check = |messages: &[&[u8]], table: Table| {
        let messages = [&[COLUMN_A][..], messages, &[COMPLETE, READY]].concat();
        check_query(&messages, &[answer([table])], true);
    };
    check(&[], a());
    check(&[one, null], a().with_row([Some("1")]).with_row([None]));
    check(&[no_column], a().with_row([]));
    check_query(&[COMPLETE, READY], &[answer([])], true);
    let unannounced = Event::Malformed("columns before rows");
    check_query(&[one, COMPLETE, READY], &[unannounced], false);
}

#[test]
fn statements_answer_one_after_the_other() {
    let row = b"D\0\0\0\x0b\0\x01\0\0\0\x011";
    let a = || Table::new(["a"]).with_row([Some("1")]);
    check_query(
        &[
            COLUMN_A, row, COMPLETE, COMPLETE, COLUMN_A, row, COMPLETE, READY,
        ],
        &[answer([a(), a()])],
        true,
    );
}

#[test]
fn a_long_value_is_cut() {
    let mut long = b"D\0\x01\x86\xaa\0\x01\0\x01\x86\xa0".to_vec();
    long.resize(long.len() + 100_000, b'x');
    let mut client = idle_client();
    assert!(client.query("select 1", &mut Vec::new()));
    let events = feed(&mut client, &[COLUMN_A, &long, &long, COMPLETE, READY]);
    let [Event::Answer(answer)] = &events[..] else {
        panic!("{events:?}")
    };
    let kept = answer.value().map(<[u8]>::len);
    assert_eq!(kept, Some(ANSWER_LENGTH_MAX - "a".len()));
    assert_eq!(answer.tables()[0].rows().len(), 1);
}

#[test]
fn a_ready_without_an_answer_is_malformed() {
    check_query(
        &[READY],
        &[Event::Malformed("the answer to a query")],
        false,
    );
}

#[test]
fn copies_are_declined_or_skipped() {
    let mut client = idle_client();
    let mut out = Vec::new();
    assert!(client.query("copy t from stdin", &mut out));
    out.clear();
    assert_eq!(
        client.handle_input(&mut &b"G\0\0\0\x07\0\0\0"[..], &mut out),
        None
    );
    assert_eq!(out.first(), Some(&b'f'));

    let (start, data, done) = (b"H\0\0\0\x07\0\0\0", b"d\0\0\0\x05x", b"c\0\0\0\x04");
    let complete = b"C\0\0\0\x0bCOPY 1\0";
    check_query(&[start, data, done, complete, READY], &[answer([])], true);
}

#[test]
fn an_idle_session_hears_refusals_and_overhears_the_rest() {
    let mut client = idle_client();
    let notification = b"A\0\0\0\x0c\0\0\0\x01a\0b\0";
    assert_eq!(feed(&mut client, &[NOTICE, PARAMETER, notification]), []);
    assert_eq!(feed(&mut client, &[ERROR]), [refused("42601", false)]);
    assert!(client.is_idle());
    assert_eq!(feed(&mut client, &[FATAL]), [refused("57P01", true)]);
    assert!(!client.is_idle() && !client.ping(&mut Vec::new()));
}
