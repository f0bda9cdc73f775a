//! What the kernel answers through sock_diag: rows, one per socket.
//!
//! Pure, and public for those who have sockets and an event loop of their own. Whatever the bytes,
//! reading ends, nothing panics, and no more is kept than they hold; the fuzz target `sock_diag`
//! tries. Attributes that are not known are passed over: newer kernels have more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::name::UnixName;
use crate::netlink::{Attributes, Malformed, Messages, u16_at, u32_at};
use crate::question::{INET, INET6, SOCK_DIAG_BY_FAMILY, UNIX};

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Attributes of TCP rows.
pub(crate) const INET_SKMEMINFO: u8 = 7;
const INET_V6_ONLY: u8 = 11;
/// Where the drops are among the memory figures.
const DROPS_AT: usize = 4 * 8;
/// Attributes of unix rows.
const UNIX_NAME: u16 = 0;
const UNIX_FILE: u16 = 1;
const UNIX_PENDING: u16 = 3;
const UNIX_QUEUE: u16 = 4;
const UNIX_USER: u16 = 7;

/// How an answer stands after a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More datagrams follow.
    More,
    /// That was all.
    Done,
    /// The same, but sockets came and went meanwhile: rows may be missing, or there twice.
    Torn,
    /// The kernel refused, with this errno.
    Refused(i32),
}

/// The state of a TCP socket, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcpState {
    /// Connected. At the server, without an inode, it waits to be accepted.
    Established,
    /// The client has sent its SYN, and nothing came back yet.
    SynSent,
    /// The server has answered a SYN and waits for the last acknowledgement, or dropped it.
    SynReceived,
    /// Connected, and the other end has closed.
    CloseWait,
    /// It listens.
    Listen,
    /// Any other, by the kernel's number.
    Other(u8),
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A TCP socket.
    Tcp(TcpRow),
    /// A unix socket.
    Unix(UnixRow),
}

/// A TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpRow {
    /// Its state.
    pub state: TcpState,
    /// This end.
    pub local: SocketAddr,
    /// The other end; of a listener, zeros.
    pub remote: SocketAddr,
    /// The interface it is bound to; 0 is none.
    pub interface: u32,
    /// How often the last packet was repeated.
    pub retransmits: u8,
    /// Of a listener, the length of its accept queue.
    pub receive_queue: u32,
    /// Of a listener, the limit of its accept queue.
    pub send_queue: u32,
    /// Who made it.
    pub uid: u32,
    /// Its inode; 0 while no process has it.
    pub inode: u32,
    /// What no other socket of this boot ever has.
    pub cookie: u64,
    /// The packets it dropped.
    pub drops: Option<u32>,
    /// Whether an IPv6 socket refuses IPv4.
    pub only_v6: bool,
}

/// A unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixRow {
    /// Its inode.
    pub inode: u32,
    /// What no other socket of this boot ever has.
    pub cookie: u64,
    /// What it is bound to.
    pub name: UnixName,
    /// The file of a socket that has one.
    pub file: Option<FileId>,
    /// Of a listener, the length of its accept queue and the limit.
    pub queue: Option<(u32, u32)>,
    /// Of a listener, the inodes of the clients in its queue, oldest first; 0 are those that have
    /// closed already.
    pub pending: Option<Vec<u32>>,
    /// Who made it.
    pub uid: Option<u32>,
}

/// Which file something is, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The device's numbers.
    pub major: u32,
    /// The device's numbers.
    pub minor: u32,
    /// The inode on that device, of which the kernel tells the lower half.
    pub inode: u64,
}

/// Reads one datagram of the answer to the request with this `sequence`, and hands over its rows.
///
/// Messages that belong to other requests are passed over.
///
/// # Errors
///
/// Fails where lengths lead outside of the bytes; rows before that were handed over.
pub fn read_answer(
    bytes: &[u8],
    sequence: u32,
    mut tell: impl FnMut(Row),
) -> Result<Progress, Malformed> {
    let mut torn = false;
    for message in Messages(bytes) {
        let message = message?;
        if message.sequence != sequence {
            continue;
        }
        torn |= message.is_interrupted();
        match message.kind {
            ERROR | DONE => {
                // Zero, or an errno with its sign turned; an empty DONE is a zero.
                let error = u32_at(message.payload, 0).map_or(0, u32::cast_signed);
                return Ok(match error {
                    0 if torn => Progress::Torn,
                    0 => Progress::Done,
                    error => Progress::Refused(error.saturating_neg()),
                });
            }
            SOCK_DIAG_BY_FAMILY => {
                if let Some(row) = read_row(message.payload)? {
                    tell(row);
                }
                if !message.is_one_of_many() {
                    return Ok(Progress::Done);
                }
            }
            _ => {}
        }
    }
    Ok(Progress::More)
}

fn read_row(payload: &[u8]) -> Result<Option<Row>, Malformed> {
    match payload.first() {
        Some(&family @ (INET | INET6)) => {
            let row = read_tcp(family, payload).ok_or(Malformed("a TCP row is cut off"))?;
            Ok(Some(Row::Tcp(read_tcp_attributes(row, payload)?)))
        }
        Some(&UNIX) => {
            let row = read_unix(payload).ok_or(Malformed("a unix row is cut off"))?;
            Ok(Some(Row::Unix(read_unix_attributes(row, payload)?)))
        }
        Some(_) => Ok(None),
        None => Err(Malformed("a row is empty")),
    }
}

/// `struct inet_diag_msg`.
fn read_tcp(family: u8, payload: &[u8]) -> Option<TcpRow> {
    let address = |port_at: usize, at: usize| {
        let port = u16::from_be(u16_at(payload, port_at)?);
        let octets: [u8; 16] = *payload.get(at..)?.first_chunk()?;
        let ip = match (family, octets) {
            (INET, [a, b, c, d, ..]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            (_, octets) => IpAddr::V6(Ipv6Addr::from(octets)),
        };
        Some(SocketAddr::new(ip, port))
    };
    Some(TcpRow {
        state: TcpState::of(*payload.get(1)?),
        retransmits: *payload.get(3)?,
        local: address(4, 8)?,
        remote: address(6, 24)?,
        interface: u32_at(payload, 40)?,
        cookie: cookie_at(payload, 44)?,
        receive_queue: u32_at(payload, 56)?,
        send_queue: u32_at(payload, 60)?,
        uid: u32_at(payload, 64)?,
        inode: u32_at(payload, 68)?,
        drops: None,
        only_v6: false,
    })
}

fn read_tcp_attributes(mut row: TcpRow, payload: &[u8]) -> Result<TcpRow, Malformed> {
    for attribute in Attributes(payload.get(72..).unwrap_or_default()) {
        let (kind, value) = attribute?;
        match u8::try_from(kind) {
            Ok(INET_SKMEMINFO) => row.drops = u32_at(value, DROPS_AT),
            Ok(INET_V6_ONLY) => row.only_v6 = value.first() == Some(&1),
            _ => {}
        }
    }
    Ok(row)
}

/// `struct unix_diag_msg`.
fn read_unix(payload: &[u8]) -> Option<UnixRow> {
    Some(UnixRow {
        inode: u32_at(payload, 4)?,
        cookie: cookie_at(payload, 8)?,
        name: UnixName::Unnamed,
        file: None,
        queue: None,
        pending: None,
        uid: None,
    })
}

fn read_unix_attributes(mut row: UnixRow, payload: &[u8]) -> Result<UnixRow, Malformed> {
    for attribute in Attributes(payload.get(16..).unwrap_or_default()) {
        let (kind, value) = attribute?;
        match kind {
            UNIX_NAME => row.name = UnixName::from_kernel(value),
            UNIX_FILE => {
                let read = u32_at(value, 0).zip(u32_at(value, 4));
                row.file = read.map(|(inode, device)| FileId::from_kernel(device, inode));
            }
            UNIX_PENDING => {
                let inodes = value.as_chunks().0;
                row.pending = Some(inodes.iter().copied().map(u32::from_ne_bytes).collect());
            }
            UNIX_QUEUE => row.queue = u32_at(value, 0).zip(u32_at(value, 4)),
            UNIX_USER => row.uid = u32_at(value, 0),
            _ => {}
        }
    }
    Ok(row)
}

fn cookie_at(bytes: &[u8], at: usize) -> Option<u64> {
    let (low, high) = u32_at(bytes, at).zip(u32_at(bytes, at + 4))?;
    Some(u64::from(high) << 32 | u64::from(low))
}

impl TcpState {
    /// By the kernel's number.
    pub(crate) fn of(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            8 => Self::CloseWait,
            10 => Self::Listen,
            other => Self::Other(other),
        }
    }
}

impl FileId {
    /// The kernel's own encoding of a device, which is not that of stat().
    fn from_kernel(device: u32, inode: u32) -> Self {
        Self {
            major: device >> 20,
            minor: device & 0xf_ffff,
            inode: inode.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    fn read(bytes: &[u8]) -> (Result<Progress, Malformed>, Vec<Row>) {
        let mut rows = Vec::new();
        let progress = read_answer(bytes, 7, |row| rows.push(row));
        (progress, rows)
    }

    #[test]
    fn a_refusal_names_its_errno() {
        let bytes = message(ERROR, 0, 7, &(-2_i32).to_ne_bytes());
        assert_eq!(read(&bytes).0, Ok(Progress::Refused(2)));
        let bytes = message(DONE, 2, 7, &(-22_i32).to_ne_bytes());
        assert_eq!(read(&bytes).0, Ok(Progress::Refused(22)));
    }

    #[test]
    fn the_answer_to_another_question_is_passed_over() {
        let mut bytes = message(ERROR, 0, 6, &(-2_i32).to_ne_bytes());
        assert_eq!(read(&bytes).0, Ok(Progress::More));
        bytes.extend(message(DONE, 2, 7, &[0; 4]));
        assert_eq!(read(&bytes).0, Ok(Progress::Done));
    }

    #[test]
    fn a_unix_listener_is_read_with_its_queue_and_its_clients() {
        let mut payload = vec![UNIX, 1, 10, 0];
        payload.extend(4242_u32.to_ne_bytes());
        payload.extend([1, 0, 0, 0, 2, 0, 0, 0]);
        payload.extend([9, 0, 0, 0, b'/', b'a', b'\n', b'c', 0, 0, 0, 0]);
        payload.extend([12, 0, 4, 0, 101, 0, 0, 0, 100, 0, 0, 0]);
        payload.extend([12, 0, 3, 0, 77, 0, 0, 0, 0, 0, 0, 0]);
        let (progress, rows) = read(&message(SOCK_DIAG_BY_FAMILY, 0, 7, &payload));
        assert_eq!(progress, Ok(Progress::Done));
        let [Row::Unix(row)] = &rows[..] else {
            panic!("one unix row, not {rows:?}");
        };
        assert_eq!((row.inode, row.cookie), (4242, 2 << 32 | 1));
        assert_eq!(row.queue, Some((101, 100)));
        assert_eq!(row.pending, Some(vec![77, 0]));
        assert_eq!(row.name.to_string(), "/a\\nc");
    }

    #[test]
    fn rows_that_are_cut_off_are_malformed() {
        for family in [UNIX, INET, INET6] {
            let bytes = message(SOCK_DIAG_BY_FAMILY, 0, 7, &[family; 14]);
            assert!(read(&bytes).0.is_err(), "family {family}");
        }
        assert!(read(&message(SOCK_DIAG_BY_FAMILY, 0, 7, &[])).0.is_err());
    }

    #[test]
    fn a_walk_that_the_kernel_calls_interrupted_is_torn() {
        let bytes = message(DONE, 0x12, 7, &[0; 4]);
        assert_eq!(read(&bytes).0, Ok(Progress::Torn));
    }
}
