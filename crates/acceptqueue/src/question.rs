//! What the kernel can be asked through sock_diag, as the bytes of a request.
//!
//! Pure, and public for those who have sockets and an event loop of their own; for all others
//! [`Namespace`](crate::Namespace) asks. Each question names only the states that it needs: a walk
//! through the listeners is short, one through all connections is not.

use std::net::{IpAddr, SocketAddr};

use crate::netlink::{DUMP, HEADER, REQUEST};

/// The message kind of sock_diag's requests and answers.
pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Address families.
pub(crate) const UNIX: u8 = 1;
pub(crate) const INET: u8 = 2;
pub(crate) const INET6: u8 = 10;

const TCP: u8 = 6;
/// The bit of the extension that brings a socket's memory figures, its drops among them.
const WITH_MEMORY: u8 = 1 << (crate::answer::INET_SKMEMINFO - 1);
/// Sets of states.
const LISTENING: u32 = 1 << 10;
/// Established, SYN sent, SYN received (under both of its numbers), close wait.
const IN_THE_WAY: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 8 | 1 << 12;
/// What a unix row shall tell: its name, its file, its queue.
const NAME: u32 = 1;
const FILE: u32 = 2;
const PENDING: u32 = 8;
const QUEUE: u32 = 0x10;
const USER: u32 = 0x40;
/// The attribute that holds a filter of connections.
const BYTECODE: u16 = 1;
/// Operations of that filter.
const JUMP: u8 = 1;
const LOCAL_PORT_IS: u8 = 11;
const REMOTE_PORT_IS: u8 = 12;

/// IPv4 or IPv6: the kernel keeps their sockets apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6, which includes the sockets that take IPv4 as well.
    V6,
}

/// A question to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The listener that a connect to this address reaches. By lookup: its cost hardly depends on
    /// how many sockets there are. Of a group that shares a port (SO_REUSEPORT) it finds one.
    TcpListener(SocketAddr),
    /// All TCP listeners of a version.
    TcpListeners(IpVersion),
    /// The connections with this port at either end that wait to be accepted, or to be made. It
    /// walks through all connections.
    TcpConnections(IpVersion, u16),
    /// All unix listeners.
    UnixListeners,
    /// The clients in the queues of all unix listeners.
    UnixClients,
    /// The clients in the queue of the unix listener with this inode. It fails with EMSGSIZE where
    /// they are about a thousand.
    UnixClientsOf(u32),
}

impl Question {
    /// Appends the request; its answer will carry the same `sequence`.
    pub fn write(&self, sequence: u32, out: &mut Vec<u8>) {
        let start = out.len();
        let flags = match self {
            Self::TcpListener(_) | Self::UnixClientsOf(_) => REQUEST,
            Self::TcpListeners(_)
            | Self::TcpConnections(..)
            | Self::UnixListeners
            | Self::UnixClients => REQUEST | DUMP,
        };
        out.extend([0; 4]);
        out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        // To the kernel, from whoever the socket is.
        out.extend([0; 4]);
        debug_assert_eq!(out.len() - start, HEADER);
        match *self {
            Self::TcpListener(address) => write_inet(out, version(address), LISTENING, address),
            Self::TcpListeners(ip) => write_inet(out, ip, LISTENING, nowhere(ip)),
            Self::TcpConnections(ip, port) => {
                write_inet(out, ip, IN_THE_WAY, nowhere(ip));
                write_port_filter(out, port);
            }
            Self::UnixListeners => write_unix(out, 0, NAME | FILE | QUEUE | USER),
            Self::UnixClients => write_unix(out, 0, PENDING),
            Self::UnixClientsOf(inode) => write_unix(out, inode, PENDING),
        }
        let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

fn version(address: SocketAddr) -> IpVersion {
    match address {
        SocketAddr::V4(_) => IpVersion::V4,
        SocketAddr::V6(_) => IpVersion::V6,
    }
}

fn nowhere(ip: IpVersion) -> SocketAddr {
    match ip {
        IpVersion::V4 => ([0; 4], 0).into(),
        IpVersion::V6 => ([0_u8; 16], 0).into(),
    }
}

/// `struct inet_diag_req_v2`.
fn write_inet(out: &mut Vec<u8>, ip: IpVersion, states: u32, local: SocketAddr) {
    let family = match ip {
        IpVersion::V4 => INET,
        IpVersion::V6 => INET6,
    };
    out.extend([family, TCP, WITH_MEMORY, 0]);
    out.extend(states.to_ne_bytes());
    out.extend(local.port().to_be_bytes());
    out.extend([0; 2]);
    let mut address = [0; 16];
    match local.ip() {
        IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => address = ip.octets(),
    }
    out.extend(address);
    // The other end: no address, so no connection can be meant.
    out.extend([0; 16]);
    let interface = match local {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(local) => local.scope_id(),
    };
    out.extend(interface.to_ne_bytes());
    write_any_cookie(out);
}

/// `struct unix_diag_req`.
fn write_unix(out: &mut Vec<u8>, inode: u32, show: u32) {
    out.extend([UNIX, 0, 0, 0]);
    out.extend(LISTENING.to_ne_bytes());
    out.extend(inode.to_ne_bytes());
    out.extend(show.to_ne_bytes());
    write_any_cookie(out);
}

/// Whichever socket it is.
fn write_any_cookie(out: &mut Vec<u8>) {
    out.extend([0xff; 8]);
}

/// A filter that lets pass what has the port at one of its ends. Each operation says how far to go
/// on when it holds, and how far when not; exactly the end passes, beyond it does not. Ports are
/// operands in the place of an operation.
fn write_port_filter(out: &mut Vec<u8>, port: u16) {
    const OPERATIONS: [(u8, u8, u16); 5] = [
        (LOCAL_PORT_IS, 8, 12),
        (0, 0, 0),
        (JUMP, 4, 12),
        (REMOTE_PORT_IS, 8, 12),
        (0, 0, 0),
    ];
    let length = 4 + 4 * OPERATIONS.len() as u16;
    out.extend(length.to_ne_bytes());
    out.extend(BYTECODE.to_ne_bytes());
    for (code, yes, no) in OPERATIONS {
        let no = match code {
            0 => port,
            _ => no,
        };
        out.extend([code, yes]);
        out.extend(no.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(question: Question) -> Vec<u8> {
        let mut out = Vec::new();
        question.write(7, &mut out);
        out
    }

    #[test]
    fn a_lookup_is_72_bytes_and_asks_for_one() {
        let out = written(Question::TcpListener(([127, 0, 0, 1], 3306).into()));
        assert_eq!(out.len(), 72);
        assert_eq!(out[..4], 72_u32.to_ne_bytes());
        assert_eq!(out[6..8], 1_u16.to_ne_bytes());
        assert_eq!(out[24..26], [0x0c, 0xea]);
        assert_eq!(out[28..32], [127, 0, 0, 1]);
    }

    #[test]
    fn walks_ask_for_all_and_name_their_states() {
        let out = written(Question::UnixListeners);
        assert_eq!(out.len(), 40);
        assert_eq!(out[6..8], 0x301_u16.to_ne_bytes());
        assert_eq!(out[20..24], 0x400_u32.to_ne_bytes());
        let out = written(Question::TcpConnections(IpVersion::V6, 3306));
        assert_eq!(out.len(), 72 + 24);
        assert_eq!(out[72..76], [24, 0, 1, 0]);
    }
}
