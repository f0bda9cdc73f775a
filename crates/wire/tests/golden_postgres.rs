//! Replays conversations recorded from a real PostgreSQL 15: the client must say, byte for byte,
//! what it said then, and tell the same events.
//!
//! `golden/postgres/*.hex` holds one conversation each, lines in hexadecimal: `>` client, `<`
//! server, `#` comment. The client's nonce comes from fixed entropy, so even SCRAM repeats itself.

use dbvitals_wire::{
    Answer, Credentials, Event, Greeting, Login, Product, Refusal, Session, TlsOffer,
};

const ENTROPY: [u8; 32] = [7; 32];

/// What the caller does whenever the session is idle, before it says goodbye.
enum Do {
    Ping,
    Query(&'static str),
}

use Do::{Ping, Query};

struct Conversation {
    name: &'static str,
    credentials: Credentials,
    tls: TlsOffer,
    commands: &'static [Do],
}

fn conversation(name: &'static str, user: &str, commands: &'static [Do]) -> Conversation {
    let credentials = Credentials::new(user)
        .with_password("sesame")
        .with_database("postgres");
    Conversation {
        name,
        credentials,
        tls: TlsOffer::Never,
        commands,
    }
}

impl Conversation {
    /// Replays it with the bytes of the server in pieces of several sizes.
    fn check(&self, expected: &[Event]) {
        for piece_length in [1, 2, 3, 7, 64, usize::MAX] {
            let events = self.replay(piece_length);
            assert_eq!(
                events, expected,
                "{} in pieces of {piece_length}",
                self.name
            );
        }
    }

    fn replay(&self, piece_length: usize) -> Vec<Event> {
        let mut out = Vec::new();
        let login = Login::new(self.credentials.clone(), self.tls, ENTROPY);
        let mut session = Session::postgres(login, &mut out);
        let mut commands = self.commands.iter();
        let mut events = Vec::new();
        for (speaker, bytes) in turns(self.name) {
            if speaker == '<' {
                for mut input in bytes.chunks(piece_length) {
                    while let Some(event) = session.handle_input(&mut input, &mut out) {
                        events.push(event);
                    }
                    assert!(input.is_empty(), "all input is used when there is no event");
                }
                continue;
            }
            if session.is_idle() {
                match commands.next() {
                    Some(Ping) => assert!(session.ping(&mut out)),
                    Some(Query(sql)) => assert!(session.query(sql, &mut out)),
                    None => assert!(session.goodbye(&mut out)),
                }
            }
            let (said, recorded) = (out.escape_ascii(), bytes.escape_ascii());
            assert_eq!(said.to_string(), recorded.to_string(), "{}", self.name);
            out.clear();
        }
        assert!(
            out.is_empty(),
            "{}: nothing was said that is not recorded",
            self.name
        );
        events
    }
}

/// The turns of a recorded conversation: who speaks, and what.
fn turns(name: &str) -> Vec<(char, Vec<u8>)> {
    let path = format!(
        "{}/tests/golden/postgres/{name}.hex",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).expect(&path);
    let mut turns: Vec<(char, Vec<u8>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (speaker, hex) = line.split_at(1);
        let speaker = speaker.chars().next().expect("a speaker");
        let bytes = hex
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).expect(byte));
        match turns.last_mut() {
            Some((last, turn)) if *last == speaker => turn.extend(bytes),
            _ => turns.push((speaker, bytes.collect())),
        }
    }
    turns
}

fn greeted() -> Event {
    Event::Greeted(Greeting::default())
}

fn logged_in(session_id: u32) -> Event {
    Event::LoggedIn(Greeting {
        product: Some(Product::PostgreSql),
        version: Some("15.18".into()),
        session_id: Some(session_id),
        in_hot_standby: Some(false),
        default_read_only: Some(false),
    })
}

fn value(text: Option<&str>) -> Event {
    Event::Answer(Box::new(Answer::of_value("?column?", text)))
}

fn error(sqlstate: &str, message: &str, routine: &str) -> Refusal {
    let (sqlstate, message, routine) = (sqlstate.into(), message.into(), routine.into());
    Refusal {
        number: 0,
        sqlstate,
        message,
        routine,
        fatal: false,
    }
}

fn refused(sqlstate: &str, message: &str, routine: &str) -> Event {
    Event::Refused(Refusal {
        fatal: true,
        ..error(sqlstate, message, routine)
    })
}

#[test]
fn trust_then_a_ping_and_a_query() {
    let mut conversation = conversation("trust_ping_query", "trusty", &[Ping, Query("select 42")]);
    conversation.credentials.password = None;
    conversation.tls = TlsOffer::Prefer;
    conversation.check(&[greeted(), logged_in(9572), Event::Pong, value(Some("42"))]);
}

#[test]
fn a_password_in_clear() {
    conversation("password_login", "clear", &[]).check(&[greeted(), logged_in(9590)]);
}

#[test]
fn a_password_as_md5() {
    conversation("md5_login", "mad5", &[]).check(&[greeted(), logged_in(9578)]);
}

#[test]
fn a_password_by_scram() {
    let conversation = conversation("scram_login", "scrammy", &[Ping]);
    conversation.check(&[greeted(), logged_in(9584), Event::Pong]);
}

#[test]
fn refusals_during_login_end_the_session() {
    let mut wrong = conversation("refused_28p01", "scrammy", &[]);
    wrong.credentials = wrong.credentials.with_password("wrong");
    let message = "password authentication failed for user \"scrammy\"";
    wrong.check(&[greeted(), refused("28P01", message, "auth_failed")]);

    let mut nowhere = conversation("refused_3d000", "trusty", &[]);
    nowhere.credentials = nowhere.credentials.with_database("nowhere");
    let message = "database \"nowhere\" does not exist";
    nowhere.check(&[greeted(), refused("3D000", message, "InitPostgres")]);

    let mut missing = conversation("refused_no_password", "mad5", &[]);
    missing.credentials.password = None;
    let message = "the server asks for a password and none is configured";
    missing.check(&[greeted(), refused("28P01", message, "")]);
}

#[test]
fn a_full_server_is_told_from_a_full_role_by_the_routine() {
    let mut full = conversation("refused_53300_full", "trusty", &[]);
    full.tls = TlsOffer::Prefer;
    full.check(&[refused(
        "53300",
        "sorry, too many clients already",
        "InitProcess",
    )]);

    let reserved = conversation("refused_53300_reserved", "trusty", &[]);
    let message =
        "remaining connection slots are reserved for non-replication superuser connections";
    reserved.check(&[greeted(), refused("53300", message, "InitPostgres")]);

    let role = conversation("refused_53300_role", "trusty", &[]);
    let message = "too many connections for role \"trusty\"";
    role.check(&[
        greeted(),
        refused("53300", message, "InitializeSessionUserId"),
    ]);
}

#[test]
fn a_server_without_tls_is_left_when_tls_is_required() {
    let mut conversation = conversation("tls_refused", "trusty", &[]);
    conversation.tls = TlsOffer::Require;
    conversation.check(&[Event::TlsRefused]);
}

#[test]
fn errors_of_statements_leave_the_session_usable() {
    const COMMANDS: &[Do] = &[
        Query("selec"),
        Query("select null"),
        Query("select 1/0"),
        Ping,
    ];
    conversation("query_errors", "trusty", COMMANDS).check(&[
        greeted(),
        logged_in(9608),
        Event::Refused(error(
            "42601",
            "syntax error at or near \"selec\"",
            "scanner_yyerror",
        )),
        value(None),
        Event::Refused(error("22012", "division by zero", "int4div")),
        Event::Pong,
    ]);
}

#[test]
fn an_idle_session_hears_that_it_is_terminated() {
    let message = "terminating connection due to administrator command";
    conversation("terminated_57p01", "trusty", &[Ping]).check(&[
        greeted(),
        logged_in(9892),
        Event::Pong,
        refused("57P01", message, "ProcessInterrupts"),
    ]);
}

#[test]
fn recordings_with_broken_bytes_never_break_the_client() {
    let mut rng = fastrand::Rng::with_seed(15);
    for name in [
        "scram_login",
        "trust_ping_query",
        "query_errors",
        "refused_53300_role",
    ] {
        let turns = turns(name);
        for _ in 0..500 {
            let login = Login::new(
                Credentials::new("scrammy").with_password("sesame"),
                TlsOffer::Never,
                ENTROPY,
            );
            let mut session = Session::postgres(login, &mut Vec::new());
            for (_, bytes) in turns.iter().filter(|(speaker, _)| *speaker == '<') {
                let mut bytes = bytes.clone();
                for _ in 0..rng.usize(0..4) {
                    let at = rng.usize(0..bytes.len());
                    bytes[at] = rng.u8(..);
                }
                for mut input in bytes.chunks(rng.usize(1..100)) {
                    while session.handle_input(&mut input, &mut Vec::new()).is_some() {}
                    assert!(input.is_empty());
                }
                session.query("select 42", &mut Vec::new());
            }
        }
    }
}
