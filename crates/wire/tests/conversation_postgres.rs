//! The client and the server of this crate in conversation, in one process, without a socket.
//!
//! Every way to log in, then commands; the bytes are delivered whole, one by one, and in pieces of
//! random length from fixed seeds. TLS is agreed upon but left out: both sides are told that it is
//! there.

use dbvitals_wire::{
    Answer, Authentication, Channel, Credentials, Event, Greeting, Login, Product, Refusal,
    Request, Server, ServerOptions, Session, TlsOffer,
};

/// How the bytes of one side reach the other.
enum Delivery {
    Whole,
    Single,
    Random(fastrand::Rng),
}

impl Delivery {
    fn all() -> impl Iterator<Item = Self> {
        let random = (0..20).map(|seed| Self::Random(fastrand::Rng::with_seed(seed)));
        [Self::Whole, Self::Single].into_iter().chain(random)
    }

    fn piece_length(&mut self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Single => 1,
            Self::Random(rng) => rng.usize(1..40),
        }
    }

    /// Cuts the next piece off `bytes`.
    fn cut<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let (piece, rest) = bytes.split_at(self.piece_length().min(bytes.len()));
        *bytes = rest;
        piece
    }
}

/// What the caller does whenever the session is idle.
#[derive(Clone, Copy)]
enum Do {
    Ping,
    Query(&'static str),
}

use Do::{Ping, Query};

const COMMANDS: [Do; 4] = [
    Ping,
    Query("select 1"),
    Query("select null"),
    Query("nonsense"),
];

fn login(password: Option<&str>) -> Login {
    let mut credentials = Credentials::new("vitals").with_database("shop");
    if let Some(password) = password {
        credentials = credentials.with_password(password);
    }
    Login::new(credentials, TlsOffer::Never, [7; 32])
}

fn options(authentication: Authentication) -> ServerOptions {
    ServerOptions {
        version: "15.18 (dbvitals)".into(),
        session_id: 42,
        tls: false,
        authentication,
        entropy: std::array::from_fn(|i| i as u8),
        in_hot_standby: true,
    }
}

/// Lets both sides talk until the client has left or the server has; what each of them told.
fn converse(
    login: Login,
    options: ServerOptions,
    commands: &[Do],
    mut delivery: Delivery,
) -> (Vec<Event>, Vec<Request>) {
    let (mut events, mut requests) = (Vec::new(), Vec::new());
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut client = Session::postgres(login, &mut to_server);
    let mut server = Server::postgres(options);
    let mut commands = commands.iter();
    let mut tls_awaited = false;
    while !to_server.is_empty() {
        let sent = std::mem::take(&mut to_server);
        let mut sent = &sent[..];
        while !sent.is_empty() {
            let mut piece = delivery.cut(&mut sent);
            while let Some(request) = server.handle_input(&mut piece, &mut to_client) {
                answer(&mut server, &request, &mut to_client);
                requests.push(request);
            }
        }
        let sent = std::mem::take(&mut to_client);
        let mut sent = &sent[..];
        while !sent.is_empty() {
            let mut piece = delivery.cut(&mut sent);
            while let Some(event) = client.handle_input(&mut piece, &mut to_server) {
                tls_awaited |= event == Event::StartTls;
                events.push(event);
            }
        }
        if std::mem::take(&mut tls_awaited) {
            server.handle_tls_established();
            client.handle_tls_established(&mut to_server);
        }
        if client.is_idle() {
            match commands.next() {
                Some(Ping) => assert!(client.ping(&mut to_server)),
                Some(Query(sql)) => assert!(client.query(sql, &mut to_server)),
                None => assert!(client.goodbye(&mut to_server)),
            }
        }
    }
    (events, requests)
}

fn answer(server: &mut Server, request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::Ping => server.reply_pong(out),
        Request::Query(sql) => match sql.as_str() {
            "select 1" => server.reply_value("?column?", Some("1"), out),
            "select null" => server.reply_value("?column?", None, out),
            _ => server.reply_error("42601", "syntax error", false, out),
        },
        Request::StartTls
        | Request::LoggedIn { .. }
        | Request::Denied { .. }
        | Request::Quit
        | Request::Other => {}
    }
}

fn greeted() -> Event {
    Event::Greeted(Greeting::default())
}

fn logged_in() -> Event {
    Event::LoggedIn(Greeting {
        product: Some(Product::PostgreSql),
        version: Some("15.18".into()),
        session_id: Some(42),
        in_hot_standby: Some(true),
        default_read_only: Some(false),
    })
}

fn refused(sqlstate: &str, message: &str, routine: &str, fatal: bool) -> Event {
    let (sqlstate, message, routine) = (sqlstate.into(), message.into(), routine.into());
    Event::Refused(Refusal {
        number: 0,
        sqlstate,
        message,
        routine,
        fatal,
    })
}

fn user() -> String {
    "vitals".into()
}

fn value(value: Option<&str>) -> Event {
    Event::Answer(Box::new(Answer::of_value("?column?", value)))
}

/// Logs in with the password `sesame` and runs all commands, in every kind of delivery.
fn check_admitted(authentication: Authentication) {
    for delivery in Delivery::all() {
        let options = options(authentication.clone());
        let (events, requests) = converse(login(Some("sesame")), options, &COMMANDS, delivery);
        let expected = [
            greeted(),
            logged_in(),
            Event::Pong,
            value(Some("1")),
            value(None),
            refused("42601", "syntax error", "dbvitals", false),
        ];
        assert_eq!(events, expected);
        let expected = [
            Request::LoggedIn { user: user() },
            Request::Ping,
            Request::Query("select 1".into()),
            Request::Query("select null".into()),
            Request::Query("nonsense".into()),
            Request::Quit,
        ];
        assert_eq!(requests, expected);
    }
}

fn check_denied(authentication: Authentication) {
    for delivery in Delivery::all() {
        let options = options(authentication.clone());
        let (events, requests) = converse(login(Some("sesame")), options, &COMMANDS, delivery);
        let message = "password authentication failed for user \"vitals\"";
        assert_eq!(
            events,
            [greeted(), refused("28P01", message, "auth_failed", true)]
        );
        assert_eq!(requests, [Request::Denied { user: user() }]);
    }
}

#[test]
fn trust_admits() {
    check_admitted(Authentication::Trust);
}

#[test]
fn a_password_in_clear_admits() {
    check_admitted(Authentication::Cleartext("sesame".into()));
    check_denied(Authentication::Cleartext("open".into()));
}

#[test]
fn a_password_as_md5_admits() {
    check_admitted(Authentication::Md5("sesame".into()));
    check_denied(Authentication::Md5("open".into()));
}

#[test]
fn a_password_by_scram_admits() {
    check_admitted(Authentication::Scram("sesame".into()));
    check_denied(Authentication::Scram("open".into()));
}

#[test]
fn a_client_without_password_says_nothing_more_when_asked_for_one() {
    for authentication in [
        Authentication::Cleartext("sesame".into()),
        Authentication::Md5("sesame".into()),
        Authentication::Scram("sesame".into()),
    ] {
        for delivery in Delivery::all() {
            let options = options(authentication.clone());
            let (events, requests) = converse(login(None), options, &COMMANDS, delivery);
            let message = "the server asks for a password and none is configured";
            assert_eq!(events, [greeted(), refused("28P01", message, "", true)]);
            assert_eq!(requests, []);
        }
    }
}

#[test]
fn tls_comes_before_everything() {
    for tls in [TlsOffer::Prefer, TlsOffer::Require] {
        for delivery in Delivery::all() {
            let options = ServerOptions {
                tls: true,
                ..options(Authentication::Trust)
            };
            let login = Login { tls, ..login(None) };
            let (events, requests) = converse(login, options, &[Ping], delivery);
            assert_eq!(
                events,
                [Event::StartTls, greeted(), logged_in(), Event::Pong]
            );
            assert_eq!(requests[0], Request::StartTls);
        }
    }
}

#[test]
fn a_server_without_tls_is_taken_or_left_as_told() {
    for delivery in Delivery::all() {
        let login = Login {
            tls: TlsOffer::Prefer,
            ..login(None)
        };
        let (events, _) = converse(login, options(Authentication::Trust), &[Ping], delivery);
        assert_eq!(events, [greeted(), logged_in(), Event::Pong]);
    }
    let login = Login {
        tls: TlsOffer::Require,
        ..login(None)
    };
    let (events, requests) = converse(
        login,
        options(Authentication::Trust),
        &[Ping],
        Delivery::Whole,
    );
    assert_eq!(events, [Event::TlsRefused]);
    assert_eq!(requests, []);
}

#[test]
fn a_private_channel_needs_no_tls() {
    let login = Login {
        tls: TlsOffer::Require,
        channel: Channel::Private,
        ..login(None)
    };
    let options = ServerOptions {
        tls: true,
        ..options(Authentication::Trust)
    };
    let (events, _) = converse(login, options, &[Ping], Delivery::Whole);
    assert_eq!(events, [greeted(), logged_in(), Event::Pong]);
}
