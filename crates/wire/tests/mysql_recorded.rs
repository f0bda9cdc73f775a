//! The client against what real servers said, recorded byte for byte in `golden/mysql/`.
//!
//! A recording has a line `< HEX` for each piece that the server sent (long ones go on in the next
//! line), and a line `> ping` or `> query SQL` for each command that the client gave in between.
//! The nonces are old, but a recorded server takes any answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use dbvitals_wire::{Credentials, Event, Login, Row, Session, Table, TlsOffer};

enum Line {
    Server(Vec<u8>),
    Ping,
    Query(String),
}

fn read(name: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/mysql/{name}.hex"));
    let mut lines = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        match (line.split_once(' '), lines.last_mut()) {
            (Some(("#", _)), _) => {}
            (Some(("<", hex)), _) => lines.push(Line::Server(unhex(hex))),
            (Some((">", "ping")), _) => lines.push(Line::Ping),
            (Some((">", command)), _) => {
                let sql = command.strip_prefix("query ").unwrap();
                lines.push(Line::Query(sql.to_owned()));
            }
            (None, Some(Line::Server(bytes))) => bytes.extend(unhex(line)),
            _ => panic!("{name}: {line}"),
        }
    }
    lines
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

/// Plays a recording, cut into pieces, and describes the events.
fn replay(name: &str, piece_length: usize) -> Vec<String> {
    play(name, piece_length).iter().map(describe).collect()
}

fn play(name: &str, piece_length: usize) -> Vec<Event> {
    let credentials = Credentials::new("vitals").with_password("secret");
    let mut session = Session::mysql(Login::new(credentials, TlsOffer::Never, [7; 32]));
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for line in read(name) {
        match line {
            Line::Ping => assert!(session.ping(&mut out)),
            Line::Query(sql) => assert!(session.query(&sql, &mut out)),
            Line::Server(bytes) => {
                for mut piece in bytes.chunks(piece_length) {
                    while let Some(event) = session.handle_input(&mut piece, &mut out) {
                        events.push(event);
                    }
                }
            }
        }
    }
    events
}

fn describe(event: &Event) -> String {
    match event {
        Event::Greeted(greeting) => format!(
            "greeted by {} {}",
            greeting.product.map_or("nobody", |product| product.name()),
            greeting.version.as_deref().unwrap_or_default(),
        ),
        Event::LoggedIn(_) => "logged in".to_owned(),
        Event::Pong => "pong".to_owned(),
        Event::Answer(answer) => match answer.value() {
            None => "NULL".to_owned(),
            Some(value) => String::from_utf8_lossy(value).into_owned(),
        },
        Event::Refused(refusal) if refusal.fatal => format!("{refusal}; the end"),
        Event::Refused(refusal) => refusal.to_string(),
        Event::StartTls | Event::TlsRefused | Event::WrongProtocol(_) | Event::Malformed(_) => {
            format!("{event:?}")
        }
    }
}

#[track_caller]
fn check(name: &str, expected: &[&str]) {
    for piece_length in [usize::MAX, 1, 7] {
        assert_eq!(
            replay(name, piece_length),
            expected,
            "in pieces of {piece_length}"
        );
    }
}

const GREETED: &str = "greeted by mariadb 10.11.19";

#[test]
fn mariadb_lets_in_with_native_password_and_answers_every_kind_of_command() {
    check(
        "mariadb_native",
        &[
            GREETED,
            "logged in",
            "pong",
            "10.11.19-MariaDB-0+deb12u1",
            "1",
            "NULL",
            "NULL",
            "NULL",
            "1146 (42S02): Table 'nope.nope' doesn't exist",
            "pong",
        ],
    );
}

#[test]
fn mariadb_switches_to_ed25519() {
    check("mariadb_ed25519", &[GREETED, "logged in", "pong"]);
}

#[test]
fn mariadb_refuses_a_wrong_password() {
    let denied = "1045 (28000): Access denied for user 'native'@'localhost' (using password: YES)";
    check(
        "mariadb_access_denied",
        &[GREETED, &format!("{denied}; the end")],
    );
}

#[test]
fn mariadb_refuses_an_unknown_database() {
    let refused = "1049 (42000): Unknown database 'nodb'; the end";
    check("mariadb_unknown_database", &[GREETED, refused]);
}

#[test]
fn mariadb_is_full_before_it_greets() {
    check(
        "mariadb_too_many_connections",
        &["1040: Too many connections; the end"],
    );
}

#[test]
fn mariadb_kills_a_session() {
    let killed = "1927 (70100): Connection was killed; the end";
    check("mariadb_killed", &[GREETED, "logged in", killed]);
}

const GREETED_BY_MYSQL: &str = "greeted by mysql 9.7.4";

#[test]
fn mysql_lets_in_by_caching_sha2_password_fast_and_in_full_and_by_sha256_password() {
    let expected = [GREETED_BY_MYSQL, "logged in", "pong"];
    check("mysql_sha256", &expected);
    check("mysql_caching_sha2_fast", &expected);
    check("mysql_caching_sha2_full", &expected);
}

#[test]
fn mysql_answers_several_statements_with_a_table_each() {
    let events = play("mysql_replica", usize::MAX);
    let Some(Event::Answer(answer)) = events.last() else {
        panic!("{events:?}")
    };
    let [variables, counters, channels] = answer.tables() else {
        panic!("{answer:?}")
    };
    let shown = |table: &Table| -> Vec<String> {
        let text = |row: Row<'_>| {
            [row.value("Variable_name"), row.value("Value")]
                .map(Option::unwrap)
                .join("=")
        };
        table.rows().map(text).collect()
    };
    let expected = [
        "max_connections=151",
        "read_only=OFF",
        "super_read_only=OFF",
    ];
    assert_eq!(shown(variables), expected);
    assert_eq!(shown(counters), ["Threads_connected=1"]);
    let channel = channels.rows().next().unwrap();
    for (column, expected) in [
        ("Replica_IO_Running", Some("Yes")),
        ("Replica_SQL_Running", Some("Yes")),
        ("Seconds_Behind_Source", Some("0")),
        ("Last_SQL_Errno", Some("0")),
        ("Channel_Name", Some("")),
        ("SQL_Remaining_Delay", None),
        ("Slave_IO_Running", None),
    ] {
        assert_eq!(channel.value(column), expected, "{column}");
    }
    for piece_length in [1, 7] {
        assert_eq!(play("mysql_replica", piece_length), events);
    }
}

#[test]
fn mysql_refuses_the_last_of_several_statements() {
    let refused = "1227 (42000): Access denied; you need (at least one of) the SUPER, REPLICATION \
        CLIENT privilege(s) for this operation";
    check(
        "mysql_replication_denied",
        &[GREETED_BY_MYSQL, "logged in", refused],
    );
}
