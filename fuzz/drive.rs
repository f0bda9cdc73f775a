//! Drives one side of a protocol with bytes of a peer, and checks what holds whatever the bytes.
//!
//! Nothing panics; every byte is used, in a number of calls bounded by their length; what is sent
//! in return, told and kept is bounded too; events come in their order; and the same bytes cut
//! differently are the same conversation. The first byte of an input chooses the login or the
//! server's options, the rest is what the peer sends.
//! The fuzz targets use this as a library, `crates/wire/tests/corpus.rs` as a module.

use dbvitals_wire::{
    ANSWER_CELLS_MAX, ANSWER_LENGTH_MAX, Answer, Authentication, Channel, Credentials, Event,
    Greeting, Login, Refusal, Request, Server, ServerOptions, Session, Table, TlsOffer,
};

const USER: &str = "vitals";
const PASSWORD: &str = "secret";
const ENTROPY: [u8; 32] = [41; 32];
/// Two statements; what they answer is up to the peer.
const STATEMENTS: &str = "SET lock_timeout = 1; SELECT 1, NULL";

/// Lets a MySQL server send `data` to a client.
pub fn mysql_client(data: &[u8]) {
    drive_client(data, |login, _| Session::mysql(login));
}

/// Lets a PostgreSQL server send `data` to a client.
pub fn postgres_client(data: &[u8]) {
    drive_client(data, Session::postgres);
}

/// Lets a MySQL client send `data` to a server.
pub fn mysql_server(data: &[u8]) {
    drive_server(data, Server::mysql);
}

/// Lets a PostgreSQL client send `data` to a server.
pub fn postgres_server(data: &[u8]) {
    drive_server(data, |options, _| Server::postgres(options));
}

fn drive_client(data: &[u8], start: impl Fn(Login, &mut Vec<u8>) -> Session) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let login = login(*choice);
    let trusting = choice & 0b1000 == 0;
    check_every_cut(bytes, |pieces| {
        let mut out = Vec::new();
        let mut session = start(login.clone(), &mut out);
        let mut told = feed(pieces, &mut out, |piece, out| {
            let event = session.handle_input(piece, out)?;
            check_event(&event);
            react(&mut session, &event, trusting, out);
            let starts_tls = event == Event::StartTls;
            Some((event, starts_tls))
        });
        check_order(&told.what);
        check_cancel_request(&session, &told.what);
        session.goodbye(&mut out);
        told.out = out;
        told
    });
}

fn drive_server(data: &[u8], start: impl Fn(ServerOptions, &mut Vec<u8>) -> Server) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let options = options(*choice);
    check_every_cut(bytes, |pieces| {
        let mut out = Vec::new();
        let mut server = start(options.clone(), &mut out);
        let mut told = feed(pieces, &mut out, |piece, out| {
            let request = server.handle_input(piece, out)?;
            answer(&mut server, &request, out);
            let starts_tls = request == Request::StartTls;
            Some((request, starts_tls))
        });
        told.out = out;
        told
    });
}

/// What came of the bytes of a peer.
#[derive(Debug)]
struct Told<T> {
    what: Vec<T>,
    /// What was sent in return.
    out: Vec<u8>,
    /// After how many bytes TLS began, each time.
    tls_starts: Vec<usize>,
}

/// Has the same conversation with the bytes cut in several ways.
///
/// Where TLS begins there is always a cut, and one after the first byte, which may be the answer to
/// an SSLRequest: more in one piece with these would have come without TLS, and is refused.
fn check_every_cut<T>(bytes: &[u8], converse: impl Fn(Vec<&[u8]>) -> Told<T>)
where
    T: std::fmt::Debug + PartialEq,
{
    let single = converse(bytes.chunks(1).collect());
    let mut borders = vec![1.min(bytes.len())];
    borders.extend(&single.tls_starts);
    for piece_length in [3, usize::MAX] {
        let other = converse(cut(bytes, &borders, piece_length));
        assert!(
            (&single.what, &single.out) == (&other.what, &other.out),
            "{single:?} byte by byte, {other:?} in pieces of {piece_length}"
        );
    }
    // Without these cuts much is refused, but the rest still has to hold.
    converse(vec![bytes]);
}

/// Pieces of `bytes`, of at most a length, none across any of the `borders`, which ascend.
fn cut<'a>(bytes: &'a [u8], borders: &[usize], length_max: usize) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest, mut start) = (Vec::new(), bytes, 0);
    for border in borders {
        let (before, after) = rest.split_at(border.saturating_sub(start));
        pieces.extend(before.chunks(length_max));
        (rest, start) = (after, *border.max(&start));
    }
    pieces.extend(rest.chunks(length_max));
    pieces
}

/// Passes pieces to `handle` until each is used up, and collects what it returns; with each, it
/// says whether TLS begins here.
fn feed<T>(
    pieces: Vec<&[u8]>,
    out: &mut Vec<u8>,
    mut handle: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Option<(T, bool)>,
) -> Told<T> {
    let (mut what, mut tls_starts) = (Vec::new(), Vec::new());
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let (mut arrived, mut calls) = (0, 0);
    for mut piece in pieces {
        arrived += piece.len();
        loop {
            let next = handle(&mut piece, out);
            calls += 1;
            assert!(calls <= 4 * length + 16, "{calls} calls for {length} bytes");
            assert!(
                out.len() <= 64 * (1024 + length),
                "{} bytes in return",
                out.len()
            );
            match next {
                Some((next, starts_tls)) => {
                    what.push(next);
                    if starts_tls {
                        tls_starts.push(arrived - piece.len());
                    }
                }
                None => break,
            }
        }
        assert!(piece.is_empty(), "{} bytes are left", piece.len());
    }
    Told {
        what,
        out: Vec::new(),
        tls_starts,
    }
}

/// Checks that what an event says of a peer is bounded and can be shown.
fn check_event(event: &Event) {
    match event {
        Event::Greeted(greeting) | Event::LoggedIn(greeting) => {
            check_text(greeting.version.as_deref().unwrap_or_default(), 64);
        }
        Event::Refused(refusal) => {
            check_text(&refusal.message, 512);
            check_text(&refusal.sqlstate, 5);
            check_text(&refusal.routine, 64);
        }
        Event::Answer(answer) => check_answer(answer),
        Event::StartTls
        | Event::TlsRefused
        | Event::Pong
        | Event::WrongProtocol(_)
        | Event::Malformed(_) => {}
    }
}

fn check_text(text: &str, length_max: usize) {
    assert!(text.len() <= length_max, "{} bytes of text", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn check_answer(answer: &Answer) {
    let (mut length, mut cells) = (0, 0);
    for table in answer.tables() {
        cells += 1 + table.columns().len() + table.rows().len();
        for name in table.columns() {
            check_text(name, ANSWER_LENGTH_MAX);
            length += name.len();
        }
        for value in table.rows().flat_map(|row| row.values()) {
            cells += 1;
            length += value.map_or(0, <[u8]>::len);
        }
        for row in table.rows() {
            for name in table.columns() {
                row.value(name);
            }
        }
    }
    assert!(length <= ANSWER_LENGTH_MAX, "an answer of {length} bytes");
    assert!(cells <= ANSWER_CELLS_MAX, "an answer of {cells} cells");
    answer.value();
}

/// Checks that a session is greeted, logs in, is used and ends, in this order, whatever is left
/// out.
fn check_order(events: &[Event]) {
    let mut stage = 0;
    for event in events {
        let (least, most, next) = match event {
            // MySQL's comes after the greeting.
            Event::StartTls => (0, 1, stage),
            Event::Greeted(_) => (0, 0, 1),
            Event::LoggedIn(_) => (1, 1, 2),
            Event::Pong | Event::Answer(_) | Event::Refused(Refusal { fatal: false, .. }) => {
                (2, 2, 2)
            }
            Event::TlsRefused | Event::WrongProtocol(_) => (0, 1, 3),
            Event::Refused(_) | Event::Malformed(_) => (0, 2, 3),
        };
        assert!(
            (least..=most).contains(&stage),
            "{event:?} in a session of {events:?}"
        );
        stage = next;
    }
}

/// Checks that a key to cancel statements with is there if the server gave one, and is that one.
fn check_cancel_request(session: &Session, events: &[Event]) {
    let session_id = events.iter().find_map(|event| {
        let Event::LoggedIn(Greeting { session_id, .. }) = event else {
            return None;
        };
        *session_id
    });
    let expected = match session {
        Session::MySql(_) => None,
        Session::Postgres(_) => session_id.map(u32::to_be_bytes),
    };
    let request = session.cancel_request();
    let named = request.as_ref().and_then(|packet| packet.get(8..12));
    assert_eq!(named, expected.as_ref().map(|id| &id[..]));
}

fn react(session: &mut Session, event: &Event, trusting: bool, out: &mut Vec<u8>) {
    let said = match event {
        Event::StartTls if trusting => {
            session.handle_tls_established(out);
            true
        }
        Event::StartTls => {
            session.decline(out);
            true
        }
        Event::LoggedIn(_) | Event::Answer(_) => session.ping(out),
        Event::Pong => session.query(STATEMENTS, out),
        Event::Refused(refusal) if !refusal.fatal => session.query(STATEMENTS, out),
        Event::Greeted(_)
        | Event::Refused(_)
        | Event::TlsRefused
        | Event::WrongProtocol(_)
        | Event::Malformed(_) => {
            // Out of turn, so nothing may come of it.
            !session.ping(out)
        }
    };
    assert!(said, "a command in turn, or out of turn, after {event:?}");
}

fn answer(server: &mut Server, request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::StartTls => server.handle_tls_established(),
        Request::Ping => server.reply_pong(out),
        Request::Query(sql) => server.reply_answer(&answer_to(sql), out),
        Request::Other => server.reply_error("1047", "Unknown command", false, out),
        Request::LoggedIn { .. } | Request::Denied { .. } | Request::Quit => {}
    }
}

/// A table for each of the first statements that are no SET.
fn answer_to(sql: &str) -> Answer {
    let selects = sql
        .split(';')
        .filter(|statement| !statement.trim_start().starts_with("SET"));
    let table = Table::new(["a", "b"]).with_row([Some("1"), None]);
    Answer::of(selects.take(3).map(|_| table.clone()).collect())
}

/// The login chosen by the bits of a byte; one bit more, the fourth, is the client's trust in TLS.
fn login(choice: u8) -> Login {
    let tls = match choice & 0b11 {
        0 | 1 => TlsOffer::Never,
        2 => TlsOffer::Prefer,
        _ => TlsOffer::Require,
    };
    let channel = match choice & 0b100 {
        0 => Channel::Open,
        _ => Channel::Private,
    };
    let mut credentials = Credentials::new(USER);
    if choice & 0b1_0000 == 0 {
        credentials = credentials.with_password(PASSWORD);
    }
    if choice & 0b10_0000 != 0 {
        credentials = credentials.with_database("orders");
    }
    Login {
        channel,
        ..Login::new(credentials, tls, ENTROPY)
    }
}

/// The options chosen by the lower five bits.
fn options(choice: u8) -> ServerOptions {
    let password = PASSWORD.to_owned();
    ServerOptions {
        version: "10.11.19".to_owned(),
        session_id: 7,
        tls: choice & 0b1000 != 0,
        authentication: match choice & 0b111 {
            0 => Authentication::Trust,
            1 => Authentication::MySqlNative(password),
            2 => Authentication::CachingSha2Fast(password),
            3 => Authentication::CachingSha2Full(password),
            4 => Authentication::Ed25519(password),
            5 => Authentication::Cleartext(password),
            6 => Authentication::Md5(password),
            _ => Authentication::Scram(password),
        },
        entropy: ENTROPY,
        in_hot_standby: choice & 0b1_0000 != 0,
    }
}
