//! Conversations of PostgreSQL's, as a listener hears them.

use crate::passive::ear::{Ear, answered};
use crate::passive::{Command, Follower, Heard, Opaque, Outcome, PingForm, Protocol};

const SELECT: Command = Command::Ping(PingForm::Select1);
const SYNC: Command = Command::Ping(PingForm::LoneSync);
const EMPTY: Command = Command::Ping(PingForm::EmptyQuery);

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), &[0]].concat())
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn complete() -> Vec<u8> {
    [message(b'C', b"SELECT 1\0"), ready()].concat()
}

/// Parse, Bind, Execute of a statement by name.
fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

fn bind(name: &str) -> Vec<u8> {
    message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes())
}

fn execute() -> Vec<u8> {
    message(b'E', &[0; 5])
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

#[test]
fn simple_queries_are_pings_by_what_they_ask() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::Postgres));
    assert_eq!(ear.client(&query("SELECT 1")), 14);
    ear.server(&complete());
    ear.client(&query(";"));
    ear.server(&[message(b'I', b""), ready()].concat());
    assert_eq!(ear.client(&query("SELECT secret FROM t")), 5);
    ear.expect(&[
        Heard::Asked(SELECT),
        answered(SELECT, 1),
        Heard::Asked(EMPTY),
        answered(EMPTY, 2),
        Heard::Asked(Command::Work),
    ]);
}

#[test]
fn a_sync_is_a_ping_only_where_it_stands_alone() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::Postgres));
    ear.client(&sync());
    ear.server(&ready());
    ear.client(&[parse("", "SELECT $1"), bind(""), execute(), sync()].concat());
    ear.server(&[message(b'1', b""), message(b'2', b""), complete()].concat());
    ear.client(&[parse("", "SELECT 1"), bind(""), execute(), sync()].concat());
    ear.server(&[message(b'1', b""), message(b'2', b""), complete()].concat());
    ear.expect(&[
        Heard::Asked(SYNC),
        answered(SYNC, 1),
        Heard::Asked(Command::Work),
        answered(Command::Work, 2),
        Heard::Asked(SELECT),
        answered(SELECT, 3),
    ]);
}

#[test]
fn a_named_statement_is_remembered_until_it_is_closed() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::Postgres));
    ear.client(&[parse("s1", "SELECT 1"), sync()].concat());
    ear.server(&[message(b'1', b""), ready()].concat());
    let run = [bind("s1"), execute(), sync()].concat();
    ear.client(&run);
    ear.server(&[message(b'2', b""), complete()].concat());
    ear.client(&[message(b'C', b"Ss1\0"), sync()].concat());
    ear.server(&[message(b'3', b""), ready()].concat());
    ear.client(&run);
    ear.expect(&[
        Heard::Asked(Command::Work),
        answered(Command::Work, 1),
        Heard::Asked(SELECT),
        answered(SELECT, 2),
        Heard::Asked(Command::Work),
        answered(Command::Work, 3),
        Heard::Asked(Command::Work),
    ]);
}

#[test]
fn a_round_that_was_cut_off_runs_what_it_had_bound() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::Postgres));
    let run = [parse("", "SELECT 1"), bind(""), execute(), sync()].concat();
    ear.client_cut(&run, 30);
    ear.server(&message(b'1', b""));
    ear.client(&query("SELECT 1"));
    ear.expect(&[
        Heard::Asked(SELECT),
        answered(SELECT, 1),
        Heard::Asked(SELECT),
    ]);
}

#[test]
fn the_sync_behind_a_copy_is_no_ping() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::Postgres));
    ear.client(&[parse("", "COPY t FROM STDIN"), bind(""), execute(), sync()].concat());
    ear.server(&message(b'G', &[0; 3]));
    ear.client(&[message(b'd', b"1\n"), message(b'c', b""), sync()].concat());
    ear.server(&complete());
    ear.client(&sync());
    ear.expect(&[
        Heard::Asked(Command::Work),
        answered(Command::Work, 1),
        Heard::Asked(SYNC),
    ]);
}

#[test]
fn errors_that_end_a_session_are_told_from_others() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::Postgres));
    for (error, outcome) in [
        ("SFATAL\0VFATAL\0C57P01\0Mbye\0\0", Outcome::Ended),
        ("SERROR\0VERROR\0C25P02\0Mno\0\0", Outcome::Refused),
    ] {
        ear.client(&query("SELECT 1"));
        // Nothing of the error's words is shown.
        assert_eq!(ear.server(&message(b'E', error.as_bytes())), 26);
        ear.server(&ready());
        ear.expect(&[
            Heard::Asked(SELECT),
            Heard::Answered {
                command: SELECT,
                mark: ear.mark,
                outcome,
            },
        ]);
    }
}

fn opening(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap().to_be_bytes();
    [&length[..], &code.to_be_bytes(), rest].concat()
}

const TLS: u32 = 1234 << 16 | 5679;
const GSS: u32 = 1234 << 16 | 5680;
const CANCEL: u32 = 1234 << 16 | 5678;

#[test]
fn a_login_says_nothing_and_is_not_shown() {
    let mut ear = Ear::new(Follower::from_start(Protocol::Postgres));
    ear.client(&opening(TLS, b""));
    ear.server(b"N");
    assert_eq!(ear.client(&opening(3 << 16, b"user\0vitals\0\0")), 8);
    ear.server(&message(b'R', &[0, 0, 0, 3]));
    assert_eq!(ear.client(&message(b'p', b"secret\0")), 5);
    ear.server(&[message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), ready()].concat());
    ear.expect(&[]);
    ear.client(&sync());
    ear.expect(&[Heard::Asked(SYNC)]);
}

#[test]
fn encryption_is_opaque_and_its_refusal_is_not() {
    for (code, answer, opaque) in [(TLS, b"S", Opaque::Tls), (GSS, b"G", Opaque::Gss)] {
        let mut ear = Ear::new(Follower::from_start(Protocol::Postgres));
        ear.client(&opening(code, b""));
        ear.server(answer);
        ear.expect(&[Heard::Opaque(opaque)]);
        ear.client(&query("SELECT 1"));
        ear.expect(&[]);
    }
    let mut direct = Ear::new(Follower::from_start(Protocol::Postgres));
    direct.client(&[0x16, 3, 1, 0, 200]);
    direct.expect(&[Heard::Opaque(Opaque::Tls)]);
    let mut middle = Ear::new(Follower::from_middle(Protocol::Postgres));
    middle.client(&[&[0x17, 3, 3, 0, 22][..], &[1; 22]].concat());
    middle.expect(&[Heard::Opaque(Opaque::Tls)]);
}

#[test]
fn a_cancel_request_is_no_session() {
    let mut ear = Ear::new(Follower::from_start(Protocol::Postgres));
    ear.client(&opening(CANCEL, &[0; 8]));
    ear.expect(&[Heard::Cancelled]);
}
