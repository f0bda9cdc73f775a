//! Every packet between a server and its clients, as the kernel hands it over.
//!
//! A packet socket bound to IPv4 alone hears each packet of the loopback once, on its way in. What
//! belongs to other ports is passed over, so the network need not be the test's own; the socket
//! wants CAP_NET_RAW, though, and `namespace.rs` is the way to it for those who are not root.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::net::AddressFamily;
use socket2::{Domain, Protocol, Socket, Type};

/// ETH_P_IP, in network byte order as packet(7) wants it.
const IPV4: i32 = 0x0800_u16.to_be() as i32;
/// Room for the packets of one probe, many times over.
const BUFFER_BYTES: usize = 4 << 20;
/// How long an acknowledgement may take: Linux holds one back for 40 ms, up to 200.
const PATIENCE: Duration = Duration::from_secs(5);

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// What was sent, in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    /// Packets that say something: SYN, data, FIN, RST.
    pub(crate) packets: u64,
    /// Packets that acknowledge and do nothing else.
    pub(crate) acknowledgements: u64,
    /// What they carry, headers not counted.
    pub(crate) bytes: u64,
    /// How often the client had to wait for the server: for its SYN, and for each answer.
    pub(crate) round_trips: u64,
    /// All of it in order, for people: who said what.
    pub(crate) story: String,
}

/// Hears the packets of one server's port.
pub(crate) struct Capture {
    socket: Socket,
    port: u16,
    traffic: Traffic,
    /// Whose turn it is, by the client's port: whether the server has answered already.
    answered: BTreeMap<u16, bool>,
    /// Sequence numbers by sender and client: the next one to be sent, the last one acknowledged.
    sent: BTreeMap<(Sender, u16), u32>,
    acknowledged: BTreeMap<(Sender, u16), u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sender {
    Client,
    Server,
}

/// A TCP packet, as far as it is looked at.
struct Packet {
    source: u16,
    destination: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    bytes: u32,
}

impl Capture {
    /// Listens to the packets of a port from now on.
    ///
    /// # Errors
    ///
    /// Where the kernel does not let this process.
    pub(crate) fn start(port: u16) -> io::Result<Self> {
        let family = Domain::from(i32::from(AddressFamily::PACKET.as_raw()));
        let socket = Socket::new(family, Type::DGRAM, Some(Protocol::from(IPV4)))?;
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            port,
            traffic: Traffic::default(),
            answered: BTreeMap::new(),
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        })
    }

    /// The traffic since the last call, once all that was sent is acknowledged.
    pub(crate) fn take(&mut self) -> Traffic {
        let settled = eventually(PATIENCE, || {
            self.listen();
            self.sent
                .iter()
                .all(|(key, sent)| self.acknowledged.get(key) == Some(sent))
        });
        assert!(settled, "packets on port {} stay unanswered", self.port);
        std::mem::take(&mut self.traffic)
    }

    fn listen(&mut self) {
        let mut buffer = vec![0; 128 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(length) => {
                    if let Some(packet) = Packet::parse(&buffer[..length]) {
                        self.note(&packet);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("a packet socket can be read: {error}"),
            }
        }
    }

    fn note(&mut self, packet: &Packet) {
        let (sender, client) = match (packet.source, packet.destination) {
            (source, client) if source == self.port => (Sender::Server, client),
            (client, destination) if destination == self.port => (Sender::Client, client),
            _ => return,
        };
        let flags = packet.flags & (SYN | FIN | RST);
        if self.is_repeated(sender, client, packet, flags) {
            return;
        }
        let speaks = packet.bytes > 0 || flags & SYN != 0;
        if speaks || flags != 0 {
            self.traffic.packets += 1;
        } else {
            self.traffic.acknowledgements += 1;
        }
        self.traffic.bytes += u64::from(packet.bytes);
        self.traffic.story += &format!("{sender:?} {} ", words(packet.bytes, flags));
        self.note_turn(sender, client, speaks, flags);
        self.note_order(sender, client, packet, flags);
    }

    /// Whether all of a packet was sent before: where an answer takes a few milliseconds, TCP sends
    /// the last packet once more to be sure.
    fn is_repeated(&self, sender: Sender, client: u16, packet: &Packet, flags: u8) -> bool {
        let length = packet.length(flags);
        let end = packet.sequence.wrapping_add(length);
        let sent = self.sent.get(&(sender, client));
        let behind = |sent: &u32| sent.wrapping_sub(end) < u32::MAX / 2;
        length > 0 && flags & SYN == 0 && sent.is_some_and(behind)
    }

    /// A round trip ends with the first words after the other side's. MySQL's greeting answers the
    /// end of the TCP handshake, so after a SYN it is the client's turn at once.
    fn note_turn(&mut self, sender: Sender, client: u16, speaks: bool, flags: u8) {
        let answered = self.answered.entry(client).or_default();
        match sender {
            Sender::Client if speaks => *answered = false,
            Sender::Server if speaks && !*answered => {
                self.traffic.round_trips += 1;
                *answered = flags & SYN == 0;
            }
            Sender::Client | Sender::Server => {}
        }
    }

    fn note_order(&mut self, sender: Sender, client: u16, packet: &Packet, flags: u8) {
        if flags & RST != 0 {
            for sender in [Sender::Client, Sender::Server] {
                self.sent.remove(&(sender, client));
            }
            return;
        }
        let length = packet.length(flags);
        if length > 0 {
            let end = packet.sequence.wrapping_add(length);
            self.sent.insert((sender, client), end);
        }
        let other = match sender {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
        };
        self.acknowledged
            .insert((other, client), packet.acknowledgement);
    }
}

/// What a packet says, in short.
fn words(bytes: u32, flags: u8) -> String {
    let names = [(SYN, "SYN"), (FIN, "FIN"), (RST, "RST")];
    let mut words: Vec<_> = names
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    if bytes > 0 {
        words.push(bytes.to_string());
    }
    match words.is_empty() {
        true => "ack".to_owned(),
        false => words.join("+"),
    }
}

impl Packet {
    /// How far a packet takes its sender's sequence numbers.
    fn length(&self, flags: u8) -> u32 {
        self.bytes + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0)
    }

    /// Reads the headers of IPv4 and TCP.
    fn parse(packet: &[u8]) -> Option<Self> {
        let ip_header = usize::from(packet.first()? & 0x0f) * 4;
        if *packet.get(9)? != 6 {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        let tcp = packet.get(ip_header..total)?;
        let short = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
        let long = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
        let tcp_header = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            source: short(0)?,
            destination: short(2)?,
            sequence: long(4)?,
            acknowledgement: long(8)?,
            flags: *tcp.get(13)?,
            bytes: u32::try_from(tcp.len().checked_sub(tcp_header)?).ok()?,
        })
    }
}
