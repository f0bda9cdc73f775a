//! Captures made up packet by packet: what is counted of them, whatever became of their order.

use std::net::Ipv6Addr;

use dbvitals_wire::passive::PingForm;

use super::super::connection::HELD_IN_ALL_MAX;
use super::super::packet::Link;
use super::super::tally::{Connections, Tally};
use super::*;

const MS: u64 = 1_000_000;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const PING: &[u8] = &[1, 0, 0, 0, 0x0e];
const OK: &[u8] = &[7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
const GREETING: &[u8] = b"\x12\0\0\0\x0a10.11.19-MariaDB\0";
/// The client's answer to it, with no capabilities.
const RESPONSE: &[u8] = b"\x20\0\0\x01\0\0\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const LOGGED_IN: &[u8] = &[7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];

fn query(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap();
    [&[length, 0, 0, 0, 3][..], text.as_bytes()].concat()
}

/// One packet of the conversation, to be framed.
#[derive(Debug, Clone)]
struct Packet {
    at: u64,
    from_client: bool,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    payload: Vec<u8>,
}

/// Two sides that talk, and all that they sent.
struct Talk {
    port: u16,
    now: u64,
    client: u32,
    server: u32,
    packets: Vec<Packet>,
}

impl Talk {
    /// A conversation that goes on.
    fn middle(port: u16) -> Self {
        Self {
            port,
            now: 1_700_000_000_000 * MS,
            client: u32::MAX - 20,
            server: 77,
            packets: Vec::new(),
        }
    }

    /// A conversation from its first packet to the end of its login.
    fn start(port: u16) -> Self {
        let mut talk = Self::middle(port);
        talk.client_sends(SYN, b"");
        talk.server_sends(SYN | ACK, b"");
        talk.server_sends(ACK, GREETING);
        talk.client_sends(ACK, RESPONSE);
        talk.server_sends(ACK, LOGGED_IN);
        talk
    }

    fn client_sends(&mut self, flags: u8, payload: &[u8]) {
        self.send(true, flags, payload);
    }

    fn server_sends(&mut self, flags: u8, payload: &[u8]) {
        self.send(false, flags, payload);
    }

    fn send(&mut self, from_client: bool, flags: u8, payload: &[u8]) {
        let (sequence, acknowledged) = match from_client {
            true => (self.client, self.server),
            false => (self.server, self.client),
        };
        self.packets.push(Packet {
            at: self.now,
            from_client,
            sequence,
            acknowledged,
            flags,
            payload: payload.to_vec(),
        });
        let taken = payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        match from_client {
            true => self.client = self.client.wrapping_add(taken),
            false => self.server = self.server.wrapping_add(taken),
        }
    }

    /// Asks and answers a millisecond later.
    fn exchange(&mut self, command: &[u8]) {
        self.client_sends(ACK, command);
        self.now += MS;
        self.server_sends(ACK, OK);
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms * MS;
    }

    fn frames(&self) -> Vec<(u64, Vec<u8>)> {
        let frame = |packet: &Packet| (packet.at, self.frame(packet));
        self.packets.iter().map(frame).collect()
    }

    /// An Ethernet frame of IPv4.
    fn frame(&self, packet: &Packet) -> Vec<u8> {
        let tcp = self.tcp(packet);
        let total = u16::try_from(20 + tcp.len()).unwrap().to_be_bytes();
        let mut ip = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0];
        let (client, server) = ([10, 0, 0, 7], [10, 0, 0, 1]);
        match packet.from_client {
            true => ip.extend([client, server].concat()),
            false => ip.extend([server, client].concat()),
        }
        [&[0; 12][..], &[8, 0], &ip, &tcp].concat()
    }

    fn tcp(&self, packet: &Packet) -> Vec<u8> {
        let ports = match packet.from_client {
            true => [50_000, self.port],
            false => [self.port, 50_000],
        };
        let mut tcp: Vec<u8> = ports.iter().flat_map(|it| it.to_be_bytes()).collect();
        tcp.extend(packet.sequence.to_be_bytes());
        tcp.extend(packet.acknowledged.to_be_bytes());
        tcp.extend([0x50, packet.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(&packet.payload);
        tcp
    }
}

fn settings() -> Settings {
    Settings {
        port: None,
        group_by: GroupBy::Client,
        idle_threshold: 500 * MS,
    }
}

fn hear(frames: &[(u64, Vec<u8>)]) -> Account {
    hear_as(Link::Ethernet, frames)
}

fn hear_as(link: Link, frames: &[(u64, Vec<u8>)]) -> Account {
    let mut listener = Listener::new(settings());
    for (at, bytes) in frames {
        listener.hear(Frame {
            at: *at,
            link,
            bytes,
            length: bytes.len(),
        });
    }
    listener.finish()
}

/// All groups together.
fn total(account: &Account) -> Tally {
    let mut tally = Tally::default();
    account
        .groups
        .iter()
        .for_each(|group| tally.merge(&group.tally));
    tally
}

fn connections(account: &Account) -> Connections {
    total(account).connections
}

#[test]
fn a_session_is_counted_from_its_first_packet_to_its_last() {
    let mut talk = Talk::start(33_333);
    talk.exchange(PING);
    talk.exchange(&query("SELECT now()"));
    talk.client_sends(ACK, &[1, 0, 0, 0, 1]);
    talk.client_sends(FIN | ACK, b"");
    talk.server_sends(FIN | ACK, b"");
    let account = hear(&talk.frames());
    let tally = total(&account);
    assert_eq!((tally.commands, tally.pings()), (2, 1));
    assert_eq!(tally.useless, 1);
    assert_eq!(tally.latency.percentile(50).map(|it| it / MS), Some(1));
    let Connections {
        seen,
        opened,
        closed,
        ..
    } = tally.connections;
    assert_eq!((seen, opened, closed), (1, 1, 1));
    assert_eq!(account.groups[0].server.to_string(), "10.0.0.1:33333");
    assert_eq!(
        account.groups[0].asker.to_owned(),
        super::super::Asker::Client([10, 0, 0, 7].into())
    );
}

/// Pings and work of all kinds, long enough to be disturbed.
fn long_talk(mut talk: Talk) -> Talk {
    for round in 0..200 {
        talk.exchange(PING);
        if round % 3 == 0 {
            talk.exchange(&query("SELECT 1"));
        }
        talk.exchange(&query("SELECT now()"));
        talk.wait(20);
    }
    talk
}

#[test]
fn packets_captured_twice_count_once() {
    let frames = long_talk(Talk::start(33_333)).frames();
    let twice: Vec<_> = frames
        .iter()
        .flat_map(|it| [it.clone(), it.clone()])
        .collect();
    let tally = total(&hear(&twice));
    assert_eq!(tally.pings, total(&hear(&frames)).pings);
    assert_eq!((tally.pings(), tally.commands), (267, 467));
    assert_eq!(tally.dead(), 0);
}

#[test]
fn packets_out_of_order_count_as_in_order() {
    for talk in [
        long_talk(Talk::start(33_333)),
        long_talk(Talk::middle(3306)),
    ] {
        let frames = talk.frames();
        for distance in 1..6 {
            let mut swapped = frames.clone();
            // The first packets stay: who connects is told by them.
            for at in (8..frames.len() - distance).step_by(2 * distance + 1) {
                swapped.swap(at, at + distance);
            }
            let (tally, expected) = (total(&hear(&swapped)), total(&hear(&frames)));
            // A packet that comes after its acknowledgement is taken for lost.
            let missing = expected.commands - tally.commands;
            assert!(
                missing * 4 <= expected.commands * distance as u64 / 2,
                "{distance}: {missing}"
            );
            assert!(distance > 1 || missing == 0, "{missing} of neighbours");
            assert_eq!(tally.dead(), 0);
        }
    }
}

#[test]
fn what_is_lost_takes_nothing_else_with_it() {
    let talk = long_talk(Talk::start(33_333));
    let frames = talk.frames();
    for nth in [3, 7, 20] {
        let kept = frames
            .iter()
            .zip(&talk.packets)
            .enumerate()
            .filter(|(at, _)| at % nth != nth - 1 || *at < 8);
        let (mut left, mut pings) = (Vec::new(), 0);
        for (_, (frame, packet)) in kept {
            left.push(frame.clone());
            pings += u64::from(packet.payload == PING || packet.payload.ends_with(b"SELECT 1"));
        }
        let tally = total(&hear(&left));
        assert_eq!(tally.pings(), pings, "every {nth}th lost");
        assert_eq!(tally.dead(), 0);
    }
}

#[test]
fn only_the_first_bytes_of_each_packet_are_needed() {
    let talk = long_talk(Talk::start(33_333));
    let mut listener = Listener::new(settings());
    for (at, bytes) in talk.frames() {
        let captured = bytes.len().min(14 + 20 + 20 + 14);
        listener.hear(Frame {
            at,
            link: Link::Ethernet,
            bytes: &bytes[..captured],
            length: bytes.len(),
        });
    }
    assert_eq!(
        total(&listener.finish()).pings,
        total(&hear(&talk.frames())).pings
    );
}

#[test]
fn every_link_and_both_address_families_are_read() {
    let mut talk = Talk::middle(3306);
    talk.exchange(PING);
    let ip: Vec<_> = talk
        .frames()
        .iter()
        .map(|(at, it)| (*at, it[14..].to_vec()))
        .collect();
    let with = |header: &[u8]| -> Vec<_> {
        ip.iter()
            .map(|(at, it)| (*at, [header, it].concat()))
            .collect()
    };
    let cooked = [&[0; 14][..], &[8, 0]].concat();
    let tagged = [&[0; 12][..], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 7, 8, 0]].concat();
    let cooked_v2 = [&[8, 0][..], &[0; 18]].concat();
    for (link, header) in [
        (Link::Ip, &[][..]),
        (Link::Loopback, &[2, 0, 0, 0]),
        (Link::Cooked, &cooked),
        (Link::CookedV2, &cooked_v2),
        (Link::Ethernet, &tagged),
    ] {
        let tally = total(&hear_as(link, &with(header)));
        assert_eq!((tally.pings(), tally.latency.count()), (1, 1), "{link:?}");
    }
    let v6: Vec<_> = talk
        .packets
        .iter()
        .map(|packet| (packet.at, ipv6(&talk, packet)))
        .collect();
    let account = hear_as(Link::Ip, &v6);
    assert_eq!(total(&account).pings(), 1);
    assert_eq!(account.groups[0].server.to_string(), "[2001:db8::1]:3306");
}

/// The packet over IPv6, with an extension header.
fn ipv6(talk: &Talk, packet: &Packet) -> Vec<u8> {
    let tcp = talk.tcp(packet);
    let length = u16::try_from(tcp.len() + 8).unwrap().to_be_bytes();
    let client = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets();
    let server = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets();
    let addresses = match packet.from_client {
        true => [client, server],
        false => [server, client],
    };
    let head = [0x60, 0, 0, 0, length[0], length[1], 60, 64];
    [
        &head[..],
        &addresses.concat(),
        &[6, 0, 1, 4, 0, 0, 0, 0],
        &tcp,
    ]
    .concat()
}

#[test]
fn a_ping_that_meets_a_closed_connection_is_what_pings_are_for() {
    let mut talk = Talk::start(33_333);
    talk.exchange(&query("SELECT now()"));
    talk.wait(60_000);
    talk.server_sends(FIN | ACK, b"");
    talk.wait(5000);
    talk.client_sends(ACK, PING);
    talk.server_sends(RST, b"");
    let tally = total(&hear(&talk.frames()));
    assert_eq!(tally.dead, [1, 0, 0]);
    assert_eq!(tally.idle_dead.iter().sum::<u64>(), 1);
    assert_eq!((tally.useless, tally.connections.closed), (0, 1));
}

#[test]
fn a_reset_in_place_of_an_answer_is_told_from_a_lost_answer() {
    let mut talk = Talk::middle(3306);
    talk.client_sends(ACK, PING);
    talk.server_sends(RST, b"");
    assert_eq!(total(&hear(&talk.frames())).dead, [0, 1, 0]);

    let mut talk = Talk::middle(3306);
    talk.exchange(&query("SELECT now()"));
    talk.client_sends(ACK, PING);
    talk.server_sends(ACK, OK);
    talk.packets.pop();
    // The client has the answer: it says goodbye.
    talk.client_sends(ACK, &[1, 0, 0, 0, 1]);
    talk.server_sends(FIN | ACK, b"");
    assert_eq!(total(&hear(&talk.frames())).dead(), 0);

    // The answer came, since the end is numbered behind it; the client said no more.
    let mut talk = Talk::middle(3306);
    talk.exchange(&query("SELECT now()"));
    talk.client_sends(ACK, PING);
    talk.server_sends(ACK, OK);
    talk.packets.pop();
    talk.server_sends(FIN | ACK, b"");
    assert_eq!(total(&hear(&talk.frames())).dead(), 0);
}

#[test]
fn a_ping_is_useless_only_if_it_is_followed_and_the_server_was_heard() {
    let mut talk = Talk::middle(3306);
    talk.exchange(PING); // Nothing was heard before.
    talk.exchange(&query("SELECT now()"));
    talk.wait(100);
    talk.exchange(PING); // Useless.
    talk.exchange(&query("SELECT now()"));
    talk.wait(2000);
    talk.exchange(PING); // After two seconds.
    talk.exchange(&query("SELECT now()"));
    talk.wait(100);
    talk.exchange(PING); // Nothing follows at once.
    talk.wait(100);
    talk.exchange(&query("SELECT now()"));
    let tally = total(&hear(&talk.frames()));
    assert_eq!((tally.pings(), tally.followed, tally.useless), (4, 3, 1));
    assert_eq!(tally.useless_time, MS);
    assert_eq!((tally.idle_unknown, tally.idle.iter().sum()), (1, 3));
}

#[test]
fn addresses_used_again_are_another_connection() {
    let mut first = Talk::start(33_333);
    first.exchange(PING);
    first.client_sends(FIN | ACK, b"");
    first.server_sends(FIN | ACK, b"");
    let mut second = Talk::start(33_333);
    for packet in &mut second.packets {
        match packet.from_client {
            true => packet.sequence = packet.sequence.wrapping_add(1 << 20),
            false => packet.acknowledged = packet.acknowledged.wrapping_add(1 << 20),
        }
    }
    let frames = [first.frames(), second.frames()].concat();
    let seen = connections(&hear(&frames));
    assert_eq!((seen.seen, seen.opened, seen.closed), (2, 2, 1));
    assert_eq!((seen.used_once, seen.unused), (1, 0));
}

#[test]
fn a_connection_that_was_there_before_is_not_opened_by_the_one_after_it() {
    let mut first = Talk::middle(3306);
    first.exchange(PING);
    first.client_sends(FIN | ACK, b"");
    first.server_sends(FIN | ACK, b"");
    let mut second = Talk::start(3306);
    second.packets.truncate(1);
    second.packets[0].sequence = 7;
    let frames = [first.frames(), second.frames()].concat();
    let seen = connections(&hear(&frames));
    assert_eq!((seen.seen, seen.opened, seen.closed), (2, 1, 1));
    assert_eq!((seen.used_once, seen.unused), (0, 0));
}

#[test]
fn a_refused_attempt_is_no_connection() {
    let mut talk = Talk::middle(3306);
    talk.client_sends(SYN, b"");
    talk.server_sends(RST | ACK, b"");
    let seen = connections(&hear(&talk.frames()));
    assert_eq!((seen.refused, seen.seen, seen.opened), (1, 0, 0));
    assert_eq!((seen.closed, seen.unused), (0, 0));
}

#[test]
fn what_speaks_another_protocol_is_nobodys() {
    let mut talk = Talk::middle(8080);
    for _ in 0..100 {
        talk.client_sends(ACK, b"GET / HTTP/1.1\r\n\r\n");
        talk.server_sends(ACK, b"HTTP/1.1 200 OK\r\n\r\n");
        // It fits, but the answer does not.
        talk.client_sends(ACK, PING);
        talk.server_sends(ACK, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }
    assert!(hear(&talk.frames()).groups.is_empty());
}

/// Hears frames whose end with this last number has another address each time.
fn hear_of(listener: &mut Listener, frames: &[(u64, Vec<u8>)], last: u8, number: usize) {
    for (at, bytes) in frames {
        let mut bytes = bytes.clone();
        for side in [26, 30] {
            if bytes[side + 3] == last {
                bytes[side + 1] = (number >> 8) as u8;
                bytes[side + 2] = number as u8;
            }
        }
        listener.hear(Frame {
            at: *at,
            link: Link::Ethernet,
            bytes: &bytes,
            length: bytes.len(),
        });
    }
}

#[test]
fn servers_are_bounded_in_number_and_none_goes_uncounted() {
    let mut listener = Listener::new(settings());
    let mut talk = Talk::start(3306);
    talk.exchange(PING);
    let frames = talk.frames();
    const SERVERS: usize = 20_000;
    for number in 0..SERVERS {
        hear_of(&mut listener, &frames, 1, number);
    }
    let account = listener.finish();
    assert_eq!(total(&account).pings(), SERVERS as u64);
    assert!(account.groups.len() < 8200, "{}", account.groups.len());
    assert_eq!(account.groups[0].server.to_string(), "others");
}

#[test]
fn what_is_held_is_bounded_in_all_and_nothing_of_it_goes_uncounted() {
    let mut listener = Listener::new(settings());
    let mut talk = Talk::middle(3306);
    talk.exchange(&query("SELECT now()"));
    // The rest of a long statement, but for its beginning, and then a ping.
    talk.client_sends(ACK, &[0xff; 1448]);
    talk.packets.pop();
    for _ in 0..12 {
        talk.client_sends(ACK, &[0xff; 1448]);
    }
    talk.server_sends(ACK, OK);
    talk.exchange(PING);
    let frames = talk.frames();
    let (early, late) = frames.split_at(frames.len() - 3);
    const CLIENTS: usize = 1000;
    for number in 0..CLIENTS {
        hear_of(&mut listener, early, 7, number);
        assert!(listener.around.held <= HELD_IN_ALL_MAX);
    }
    assert!(listener.around.held > HELD_IN_ALL_MAX / 2);
    for number in 0..CLIENTS {
        hear_of(&mut listener, late, 7, number);
    }
    assert_eq!(listener.around.held, 0);
    assert_eq!(total(&listener.finish()).pings(), CLIENTS as u64);
}

#[test]
fn connections_are_bounded_in_number_and_the_silent_ones_go() {
    let mut listener = Listener::new(settings());
    let mut talk = Talk::middle(3306);
    talk.exchange(PING);
    let frames = talk.frames();
    for number in 0..CONNECTIONS_MAX + 100 {
        hear_of(&mut listener, &frames, 7, number);
        assert!(listener.connections.len() <= CONNECTIONS_MAX);
    }
    let account = listener.finish();
    let tally = total(&account);
    assert_eq!(tally.pings(), (CONNECTIONS_MAX + 100) as u64);
    assert!(account.groups.len() <= 4097);
}

#[test]
fn what_may_be_shown_ends_before_the_first_word_that_is_no_ping() {
    let mut listener = Listener::new(settings());
    let mut talk = Talk::start(33_333);
    talk.exchange(&query("SELECT 1"));
    talk.exchange(&query("SELECT card_number FROM cards"));
    let mut shown_payloads = Vec::new();
    for (at, bytes) in talk.frames() {
        let shown = listener.hear(Frame {
            at,
            link: Link::Ethernet,
            bytes: &bytes,
            length: bytes.len(),
        });
        shown_payloads.push(bytes[54..shown.unwrap()].to_vec());
    }
    let shown: Vec<u8> = shown_payloads.concat();
    assert!(shown.windows(8).any(|it| it == b"SELECT 1"));
    for secret in [&b"card"[..], b"MariaDB", b"aaaa"] {
        assert!(
            !shown.windows(secret.len()).any(|it| it == secret),
            "{secret:?}"
        );
    }
}

#[test]
fn the_forms_have_their_places() {
    let mut talk = Talk::middle(3306);
    for command in [
        PING,
        &query("SELECT 1"),
        &[1, 0, 0, 0, 9],
        &[1, 0, 0, 0, 0x1f],
    ] {
        talk.exchange(command);
    }
    let pings = total(&hear(&talk.frames())).pings;
    let counted: Vec<_> = PingForm::ALL
        .iter()
        .zip(pings)
        .filter(|(_, it)| *it > 0)
        .collect();
    assert_eq!(counted.len(), 4);
    assert_eq!(pings.iter().sum::<u64>(), 4);
}
