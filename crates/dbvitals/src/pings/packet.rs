//! A captured frame, down to its TCP segment.
//!
//! Every length is the one that a header announces: a capture may hold only the first bytes of a
//! frame, and Ethernet pads short ones. What is no TCP, a fragment that is not the first, or cut
//! before the end of its TCP header is no segment. Called by [`Listener`](super::Listener).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Ethernet,
    /// The address family of BSD's loopback, in either byte order.
    Loopback,
    /// IPv4 or IPv6 at once.
    Ip,
    /// Linux's "cooked" header, as `-i any` has it.
    Cooked,
    /// Its second version.
    CookedV2,
}

impl Link {
    /// The link type by its number in pcap and pcapng files (LINKTYPE_…).
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Ethernet,
            0 | 108 => Self::Loopback,
            12 | 14 | 101 | 228 | 229 => Self::Ip,
            113 => Self::Cooked,
            276 => Self::CookedV2,
            _ => return None,
        })
    }

    /// The number of files of this link type.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Ethernet => 1,
            Self::Loopback => 0,
            Self::Ip => 101,
            Self::Cooked => 113,
            Self::CookedV2 => 276,
        }
    }
}

/// One captured frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    pub(crate) link: Link,
    pub(crate) bytes: &'a [u8],
    /// How long it was, captured or not.
    pub(crate) length: usize,
}

/// An address and a port, IPv4 within IPv6's range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Endpoint {
    pub(crate) address: u128,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Stands for all those that nobody can tell apart any more; told as `others`.
    pub(crate) const OTHERS: Self = Self {
        address: 0,
        port: 0,
    };

    pub(crate) fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self.address).to_canonical()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self == Self::OTHERS {
            true => "others".fmt(f),
            false => SocketAddr::new(self.ip(), self.port).fmt(f),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The flags of a segment that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) fn fin(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) fn syn(self) -> bool {
        self.0 & 2 != 0
    }

    pub(crate) fn rst(self) -> bool {
        self.0 & 4 != 0
    }

    pub(crate) fn ack(self) -> bool {
        self.0 & 16 != 0
    }
}

/// A TCP segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpSegment<'a> {
    pub(crate) source: Endpoint,
    pub(crate) destination: Endpoint,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: Flags,
    /// What was captured of what it carries.
    pub(crate) payload: &'a [u8],
    /// How much it carries beyond that.
    pub(crate) missing: usize,
    /// How many bytes of the frame come before the payload.
    pub(crate) headers: usize,
}

impl<'a> TcpSegment<'a> {
    /// Reads a frame.
    pub(crate) fn parse(frame: Frame<'a>) -> Option<Self> {
        let ip = network_offset(frame)?;
        let bytes = frame.bytes.get(ip..)?;
        let length = frame.length.checked_sub(ip)?;
        let packet = match bytes.first()? >> 4 {
            4 => Packet::v4(bytes, length)?,
            6 => Packet::v6(bytes, length)?,
            _ => return None,
        };
        let tcp = bytes.get(packet.header..)?;
        let head: &[u8; 20] = tcp.first_chunk()?;
        let tcp_header = usize::from(head[12] >> 4) * 4;
        let long =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let port = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let headers = packet.header + tcp_header;
        let carried = packet.length.checked_sub(headers)?;
        if tcp_header < head.len() {
            return None;
        }
        // Options may be cut off as well; the payload then is not there at all.
        let payload = bytes.get(headers..).unwrap_or_default();
        let payload = &payload[..payload.len().min(carried)];
        Some(Self {
            source: Endpoint {
                address: packet.source,
                port: port(0),
            },
            destination: Endpoint {
                address: packet.destination,
                port: port(2),
            },
            sequence: long(4),
            acknowledged: long(8),
            flags: Flags(head[13]),
            payload,
            missing: carried - payload.len(),
            headers: ip + headers,
        })
    }

    /// How many bytes it carries, captured or not.
    pub(crate) fn length(&self) -> usize {
        self.payload.len() + self.missing
    }
}

/// An IP packet that carries TCP.
struct Packet {
    source: u128,
    destination: u128,
    header: usize,
    /// With the header.
    length: usize,
}

const TCP: u8 = 6;

impl Packet {
    fn v4(bytes: &[u8], length: usize) -> Option<Self> {
        let head: &[u8; 20] = bytes.first_chunk()?;
        let header = usize::from(head[0] & 0x0f) * 4;
        let is_first = u16::from_be_bytes([head[6], head[7]]) & 0x1fff == 0;
        if head[9] != TCP || !is_first || header < head.len() {
            return None;
        }
        let address = |at: usize| {
            let address = Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
            address.to_ipv6_mapped().to_bits()
        };
        Some(Self {
            source: address(12),
            destination: address(16),
            header,
            length: announced(u16::from_be_bytes([head[2], head[3]]).into(), 0, length),
        })
    }

    fn v6(bytes: &[u8], length: usize) -> Option<Self> {
        let head: &[u8; 40] = bytes.first_chunk()?;
        let address = |at: usize| {
            let address: Option<&[u8; 16]> = head[at..].first_chunk();
            address.map(|address| u128::from_be_bytes(*address))
        };
        let (mut next, mut header) = (head[6], head.len());
        // Extension headers; nobody sends many.
        for _ in 0..8 {
            let extension = match next {
                TCP => {
                    let carried = usize::from(u16::from_be_bytes([head[4], head[5]]));
                    return Some(Self {
                        source: address(8)?,
                        destination: address(24)?,
                        header,
                        length: announced(carried, head.len(), length),
                    });
                }
                0 | 43 | 60 => {
                    let [following, units] = *bytes.get(header..)?.first_chunk()?;
                    next = following;
                    8 + usize::from(units) * 8
                }
                44 => {
                    let [following, _, high, low] = *bytes.get(header..)?.first_chunk()?;
                    if u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
                        return None;
                    }
                    next = following;
                    8
                }
                _ => return None,
            };
            header += extension;
        }
        None
    }
}

/// The length of a packet; segmentation offload leaves 0 where it does not fit the header.
fn announced(field: usize, header: usize, frame: usize) -> usize {
    match field {
        0 => frame,
        _ => (header + field).min(frame),
    }
}

/// Where the IP header begins.
fn network_offset(frame: Frame<'_>) -> Option<usize> {
    let bytes = frame.bytes;
    let (mut at, mut kind) = match frame.link {
        Link::Ip => return Some(0),
        Link::Loopback => return Some(4),
        Link::Ethernet => (14, ether_type(bytes, 12)?),
        Link::Cooked => (16, ether_type(bytes, 14)?),
        Link::CookedV2 => (20, ether_type(bytes, 0)?),
    };
    // VLAN tags, of providers too.
    for _ in 0..4 {
        match kind {
            0x0800 | 0x86dd => return Some(at),
            0x8100 | 0x88a8 | 0x9100 => {
                kind = ether_type(bytes, at + 2)?;
                at += 4;
            }
            _ => return None,
        }
    }
    None
}

fn ether_type(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
