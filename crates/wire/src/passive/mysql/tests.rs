//! Conversations of MySQL's, as a listener hears them.

use crate::passive::ear::{Ear, answered};
use crate::passive::{Command, Follower, Heard, Opaque, Outcome, PingForm, Protocol};

const PING: Command = Command::Ping(PingForm::ComPing);
const SELECT: Command = Command::Ping(PingForm::Select1);

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

fn query(text: &str) -> Vec<u8> {
    packet(0, &[b"\x03", text.as_bytes()].concat())
}

fn ok() -> Vec<u8> {
    packet(1, &[0, 0, 0, 2, 0, 0, 0])
}

#[test]
fn a_ping_and_its_answer_are_heard_from_the_middle() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    assert_eq!(ear.client(&packet(0, &[0x0e])), 5);
    assert_eq!(ear.server(&ok()), 11);
    ear.expect(&[Heard::Asked(PING), answered(PING, 1)]);
}

#[test]
fn the_bytes_of_a_ping_inside_a_statement_are_none() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    let pings = "\u{1}\0\0\0\u{e}".repeat(2000);
    let statement = query(&format!("INSERT INTO t VALUES ('{pings}')"));
    let mut segments = statement.chunks(1448);
    assert_eq!(ear.client(segments.next().unwrap()), 5);
    for segment in segments {
        assert_eq!(ear.client_more(segment), 0);
    }
    ear.server(&ok());
    ear.client(&packet(0, &[0x0e]));
    ear.expect(&[
        Heard::Asked(Command::Work),
        answered(Command::Work, 1),
        Heard::Asked(PING),
    ]);
}

#[test]
fn what_is_not_captured_is_passed_over_by_its_announced_length() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    let statement = query(&"x".repeat(4000));
    ear.client_cut(&statement[..1448], 30);
    ear.follower.miss_client(1448);
    let rest = statement[2896..].len();
    ear.say(&statement[2896..], 30.min(rest), false);
    ear.client(&query("SELECT 1"));
    ear.expect(&[Heard::Asked(Command::Work), Heard::Asked(SELECT)]);
}

#[test]
fn a_place_that_is_lost_is_found_at_the_next_command() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    ear.client(&query("SELECT now()"));
    ear.follower.miss_client(17);
    ear.client_more(b"\x01\0\0\0\x0e");
    ear.client(b"no command at all");
    ear.client(&packet(0, &[0x0e]));
    ear.expect(&[Heard::Asked(Command::Work), Heard::Asked(PING)]);
}

#[test]
fn a_prepared_ping_is_one_each_time_it_is_executed() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    ear.client(&packet(0, b"\x16SELECT 1"));
    ear.server(&packet(1, &[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    let execute = packet(0, &[0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0]);
    ear.client(&execute);
    ear.server(&packet(1, &[1]));
    // Its end is not answered, and travels with the next command.
    ear.client(&[packet(0, &[0x19, 7, 0, 0, 0]), execute].concat());
    ear.expect(&[
        Heard::Asked(Command::Work),
        answered(Command::Work, 1),
        Heard::Asked(SELECT),
        answered(SELECT, 2),
        Heard::Asked(Command::Work),
        Heard::Asked(Command::Work),
    ]);
}

#[test]
fn commands_sent_ahead_are_answered_in_their_order() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    ear.client(&query("SELECT 1"));
    ear.client_more(&packet(0, &[0x0e]));
    let rows = [packet(1, &[1]), packet(2, b"column"), packet(3, &[0xfe])].concat();
    ear.server(&[rows, ok()].concat());
    ear.expect(&[
        Heard::Asked(SELECT),
        Heard::Asked(PING),
        answered(SELECT, 1),
        answered(PING, 2),
    ]);
}

#[test]
fn an_answer_whose_numbers_go_round_is_one() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    ear.client(&query("SELECT 1"));
    ear.client_more(&packet(0, &[0x0e]));
    let mut rows: Vec<u8> = (1..=255)
        .flat_map(|number| packet(number, b"row"))
        .collect();
    rows.extend((0..=3).flat_map(|number| packet(number, b"row")));
    ear.server(&rows);
    ear.expect(&[
        Heard::Asked(SELECT),
        Heard::Asked(PING),
        answered(SELECT, 1),
    ]);
}

#[test]
fn errors_that_end_a_session_are_told_from_others() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    for (number, outcome) in [(1927_u16, Outcome::Ended), (1064, Outcome::Refused)] {
        ear.client(&packet(0, &[0x0e]));
        let [low, high] = number.to_le_bytes();
        ear.server(&packet(1, &[&[0xff, low, high][..], b"#HY000bye"].concat()));
        ear.expect(&[
            Heard::Asked(PING),
            Heard::Answered {
                command: PING,
                mark: ear.mark,
                outcome,
            },
        ]);
    }
}

/// The client's answer to the greeting, with these capabilities.
fn response(capabilities: u32) -> Vec<u8> {
    let rest = [&[0; 28][..], b"vitals\0"].concat();
    packet(1, &[&capabilities.to_le_bytes()[..], &rest].concat())
}

#[test]
fn a_login_is_no_command_and_says_what_follows() {
    let mut ear = Ear::new(Follower::from_start(Protocol::MySql));
    ear.server(&packet(0, b"\x0a10.11.19-MariaDB\0rest"));
    assert_eq!(ear.client(&response(0)), 8);
    ear.server(&packet(2, &[0xfe]));
    ear.client(&packet(3, b"a password's hash"));
    ear.server(&packet(4, &[0, 0, 0]));
    ear.expect(&[]);
    ear.client(&packet(0, &[0x0e]));
    ear.expect(&[Heard::Asked(PING)]);
}

#[test]
fn tls_is_opaque_from_its_request_or_its_records() {
    let mut ear = Ear::new(Follower::from_start(Protocol::MySql));
    ear.client(&packet(
        1,
        &[&(1_u32 << 11).to_le_bytes()[..], &[0; 28]].concat(),
    ));
    ear.expect(&[Heard::Opaque(Opaque::Tls)]);
    ear.client(&packet(0, &[0x0e]));
    ear.expect(&[]);

    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    ear.client(&[&[0x17, 3, 3, 0, 22][..], &[1; 22]].concat());
    ear.expect(&[Heard::Opaque(Opaque::Tls)]);
}

#[test]
fn a_statement_whose_length_reads_like_tls_is_one() {
    for length in [0x314, 0x315, 0x316, 0x317, 0x1_0314, 0x1_0316, 0x3_0317] {
        let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
        let statement = query(&"x".repeat(length - 1));
        let seen = statement.len().min(1448);
        ear.client(&statement[..seen]);
        ear.expect(&[Heard::Asked(Command::Work)]);
    }
}

/// A packet of the compressed protocol whose content is stored.
fn stored(sequence: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    [&[length, 0, 0, sequence, 0, 0, 0][..], content].concat()
}

#[test]
fn pings_inside_of_compression_are_heard() {
    let mut ear = Ear::new(Follower::from_start(Protocol::MySql));
    ear.client(&response(1 << 5));
    ear.server(&packet(2, &[0, 0, 0]));
    ear.client(&stored(0, &packet(0, &[0x0e])));
    ear.server(&stored(1, &ok()));
    let long = query(&format!("SELECT /* {} */ 1", "x".repeat(100)));
    let folded = miniz_oxide::deflate::compress_to_vec_zlib(&long, 6);
    let header = [folded.len(), 0, 0, 0, long.len(), 0, 0].map(|it| u8::try_from(it).unwrap());
    ear.client(&[&header[..], &folded].concat());
    ear.expect(&[
        Heard::Asked(PING),
        answered(PING, 2),
        Heard::Asked(Command::Ping(PingForm::CommentedSelect1)),
    ]);
}

#[test]
fn compression_is_found_in_the_middle_by_a_packet_that_fits() {
    let mut ear = Ear::new(Follower::from_middle(Protocol::MySql));
    ear.client(&stored(0, &packet(0, &[0x0e])));
    ear.server(&stored(1, &ok()));
    ear.expect(&[Heard::Asked(PING), answered(PING, 1)]);
}
