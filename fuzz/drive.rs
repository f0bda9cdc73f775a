//! Drives one side of a protocol with bytes of a peer, and checks what holds whatever the bytes.
//!
//! Nothing panics; every byte is used, in a number of calls bounded by their length; what is sent
//! in return is bounded too; and the same bytes cut differently are the same conversation. The
//! first byte of an input chooses the login or the server's options, the rest is what the peer
//! sends.
//! The fuzz targets use this as a library, `crates/wire/tests/corpus.rs` as a module.

use dbvitals_wire::{
    Authentication, Channel, Credentials, Event, Login, Request, Server, ServerOptions, Session,
    TlsOffer,
};

const USER: &str = "vitals";
const PASSWORD: &str = "secret";
const ENTROPY: [u8; 32] = [41; 32];

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
    let converse = |piece_length| {
        let mut out = Vec::new();
        let mut session = start(login.clone(), &mut out);
        let events = feed(bytes, piece_length, &mut out, |piece, out| {
            let event = session.handle_input(piece, out);
            if let Some(event) = &event {
                react(&mut session, event, out);
            }
            event
        });
        session.goodbye(&mut out);
        (events, out)
    };
    let whole = converse(usize::MAX);
    // Where TLS begins the cut matters: bytes in one piece with the agreement came without TLS.
    let comparable = login.tls == TlsOffer::Never;
    for piece_length in [1, 3] {
        let cut = converse(piece_length);
        assert!(
            !comparable || cut == whole,
            "{cut:?} and {whole:?} in pieces of {piece_length}"
        );
    }
}

fn drive_server(data: &[u8], start: impl Fn(ServerOptions, &mut Vec<u8>) -> Server) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let options = options(*choice);
    let converse = |piece_length| {
        let mut out = Vec::new();
        let mut server = start(options.clone(), &mut out);
        let requests = feed(bytes, piece_length, &mut out, |piece, out| {
            let request = server.handle_input(piece, out);
            if let Some(request) = &request {
                answer(&mut server, request, out);
            }
            request
        });
        (requests, out)
    };
    let whole = converse(usize::MAX);
    for piece_length in [1, 3] {
        let cut = converse(piece_length);
        assert!(
            options.tls || cut == whole,
            "{cut:?} and {whole:?} in pieces of {piece_length}"
        );
    }
}

/// Passes `bytes` in pieces to `handle` until each is used up, and collects what it returns.
fn feed<T>(
    bytes: &[u8],
    piece_length: usize,
    out: &mut Vec<u8>,
    mut handle: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Option<T>,
) -> Vec<T> {
    let (mut returned, mut calls) = (Vec::new(), 0);
    for mut piece in bytes.chunks(piece_length) {
        loop {
            let next = handle(&mut piece, out);
            calls += 1;
            assert!(
                calls <= 4 * bytes.len() + 16,
                "{calls} calls for {} bytes",
                bytes.len()
            );
            assert!(
                out.len() <= 64 * (1024 + bytes.len()),
                "{} bytes in return",
                out.len()
            );
            match next {
                Some(next) => returned.push(next),
                None => break,
            }
        }
        assert!(piece.is_empty(), "{} bytes are left", piece.len());
    }
    returned
}

fn react(session: &mut Session, event: &Event, out: &mut Vec<u8>) {
    let said = match event {
        Event::StartTls => {
            session.handle_tls_established(out);
            true
        }
        Event::LoggedIn(_) | Event::Answer(_) => session.ping(out),
        Event::Pong => session.query("SELECT 1", out),
        Event::Refused(refusal) if !refusal.fatal => session.ping(out),
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
        Request::Query(_) => server.reply_value("1", Some("1"), out),
        Request::Other => server.reply_error("1047", "Unknown command", false, out),
        Request::LoggedIn { .. } | Request::Denied { .. } | Request::Quit => {}
    }
}

/// The login chosen by the lower three bits.
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
    let credentials = Credentials::new(USER).with_password(PASSWORD);
    Login {
        channel,
        ..Login::new(credentials, tls, ENTROPY)
    }
}

/// The options chosen by the lower four bits.
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
        in_hot_standby: false,
    }
}
