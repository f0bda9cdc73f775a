//! Packets of an interface as they pass, by a packet socket.
//!
//! The kernel filters: only the port's packets that carry something, or begin or end a connection,
//! come here, and only their first bytes. They are fetched many at a time, a few milliseconds
//! apart, so that listening costs the load little; the socket's buffer holds what comes in
//! between, and the kernel counts what it could not. Needs CAP_NET_RAW. `nix`, which the system's
//! own bindings are kept in, has the one safe call that fetches many packets with their times.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, recvmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::pings::{Frame, Link};

/// So much of each packet is fetched; every ping's form and every answer's head fit.
const SNAP_LENGTH: usize = 384;
/// So many packets are fetched at once.
const BATCH: usize = 256;
/// How many bytes the kernel may hold meanwhile.
const BUFFER_BYTES: usize = 64 << 20;
/// What the kernel calls all protocols, in network byte order as packet(7) wants it.
const ALL_PROTOCOLS: i32 = 0x0003_u16.to_be() as i32;
/// A packet is as long as its IP header says; this is longer than any.
const LENGTH_MAX: usize = 1 << 17;

/// Why nothing can be heard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InterfaceError {
    /// There is no such interface.
    #[error("there is no interface {0:?}; `ip link` lists them")]
    Unknown(String),
    /// The kernel does not let this process.
    #[error(
        "listening needs CAP_NET_RAW: run it as root, or once `setcap cap_net_raw+ep` on the program"
    )]
    NotAllowed,
    /// The kernel refuses something else.
    #[error("the packet socket fails: {0}")]
    Socket(#[from] io::Error),
}

impl InterfaceError {
    fn of_opening(error: io::Error) -> Self {
        match error.kind() == io::ErrorKind::PermissionDenied {
            true => Self::NotAllowed,
            false => Self::Socket(error),
        }
    }
}

impl From<Errno> for InterfaceError {
    fn from(errno: Errno) -> Self {
        Self::Socket(errno.into())
    }
}

/// Listens to an interface.
pub(crate) struct Interface {
    socket: Socket,
    headers: MultiHeaders<()>,
    buffer: Vec<u8>,
    lost: u32,
}

impl Interface {
    /// Listens to a port's packets from now on.
    pub(crate) fn open(name: &str, port: u16) -> Result<Self, InterfaceError> {
        let unknown = || InterfaceError::Unknown(name.to_owned());
        let index = if_nametoindex(name).map_err(|_| unknown())?;
        let interface = getifaddrs()?.find(|it| it.interface_name == name);
        let flags = interface.ok_or_else(unknown)?.flags;
        let is_loopback = flags.contains(InterfaceFlags::IFF_LOOPBACK);

        let family = Domain::from(nix::libc::AF_PACKET);
        let socket = Socket::new(family, Type::DGRAM, Some(Protocol::from(ALL_PROTOCOLS)))
            .map_err(InterfaceError::of_opening)?;
        // What came before the filter is of all interfaces, and thrown away.
        socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
        socket.set_nonblocking(true)?;
        let mut buffer = vec![0; BATCH * SNAP_LENGTH];
        while io::Read::read(&mut &socket, &mut buffer).is_ok() {}
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        socket.attach_filter(&filter(index, is_loopback, port))?;
        Ok(Self {
            socket,
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec, u32))),
            buffer,
            lost: 0,
        })
    }

    /// Hands over what has come; says whether more may be there already.
    pub(crate) fn receive(
        &mut self,
        mut hear: impl FnMut(Frame<'_>),
    ) -> Result<bool, InterfaceError> {
        let pieces = self.buffer.chunks_exact_mut(SNAP_LENGTH);
        let mut slices: Vec<_> = pieces.map(|piece| [IoSliceMut::new(piece)]).collect();
        let received = recvmmsg(
            self.socket.as_raw_fd(),
            &mut self.headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        let messages = match received {
            Ok(messages) => messages,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        let mut count = 0;
        for message in messages {
            count += 1;
            let (at, lost) = told_of(&message);
            self.lost = lost.unwrap_or(self.lost);
            if let Some(bytes) = message.iovs().next() {
                hear(Frame {
                    at,
                    link: Link::Ip,
                    bytes,
                    length: LENGTH_MAX,
                });
            }
        }
        Ok(count == BATCH)
    }

    /// How many packets the kernel had no room for, as it said with the last one.
    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }
}

/// When a packet came, and how many were lost before.
fn told_of(message: &RecvMsg<'_, '_, ()>) -> (u64, Option<u32>) {
    let (mut at, mut lost) = (0, None);
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmTimestampns(time) = control {
            let time = Duration::from(time);
            at = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        } else if let ControlMessageOwned::RxqOvfl(count) = control {
            lost = Some(count);
        }
    }
    (at, lost)
}

// The classic filter's instructions (BPF_…), as far as they are used.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEHIND: u16 = 0x48;
const LOAD_BYTE_BEHIND: u16 = 0x50;
/// The index becomes the length of the IPv4 header.
const INDEX_OF_HEADER: u16 = 0xb1;
const INDEX: u16 = 0x07;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const ADD_INDEX: u16 = 0x0c;
const IF_EQUAL: u16 = 0x15;
const IF_EQUAL_INDEX: u16 = 0x1d;
const IF_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;
/// What the kernel knows beside the packet's bytes (SKF_AD_…).
const PACKET_TYPE: u32 = 0xffff_f004;
const INTERFACE_INDEX: u32 = 0xffff_f008;
const OUTGOING: u32 = 4;

/// FIN, SYN and RST.
const BEGINS_OR_ENDS: u32 = 0b111;

/// An instruction, with the names of the places that it goes on at.
type Step = (u16, u32, &'static str, &'static str);

/// The program that lets through TCP packets of a port which carry something, begin or end.
fn filter(index: u32, is_loopback: bool, port: u16) -> Vec<SockFilter> {
    let port = u32::from(port);
    // A loopback shows each packet twice: as it goes, and as it comes.
    let direction = if is_loopback { OUTGOING } else { u32::MAX };
    let steps: [(&str, Step); 34] = [
        ("", (LOAD_WORD, INTERFACE_INDEX, "", "")),
        ("", (IF_EQUAL, index, "", "drop")),
        ("", (LOAD_WORD, PACKET_TYPE, "", "")),
        ("", (IF_EQUAL, direction, "drop", "")),
        ("", (LOAD_BYTE, 0, "", "")),
        ("", (AND, 0xf0, "", "")),
        ("", (IF_EQUAL, 0x40, "v4", "")),
        ("", (IF_EQUAL, 0x60, "v6", "drop")),
        ("v4", (LOAD_BYTE, 9, "", "")),
        ("", (IF_EQUAL, 6, "", "drop")),
        ("", (LOAD_HALF, 6, "", "")),
        // A fragment that is not the first.
        ("", (IF_ANY, 0x1fff, "drop", "")),
        ("", (INDEX_OF_HEADER, 0, "", "")),
        ("", (LOAD_HALF_BEHIND, 0, "", "")),
        ("", (IF_EQUAL, port, "v4 port", "")),
        ("", (LOAD_HALF_BEHIND, 2, "", "")),
        ("", (IF_EQUAL, port, "", "drop")),
        ("v4 port", (LOAD_BYTE_BEHIND, 13, "", "")),
        ("", (IF_ANY, BEGINS_OR_ENDS, "keep", "")),
        ("", (LOAD_BYTE_BEHIND, 12, "", "")),
        ("", (AND, 0xf0, "", "")),
        ("", (SHIFT_RIGHT, 2, "", "")),
        ("", (ADD_INDEX, 0, "", "")),
        ("", (INDEX, 0, "", "")),
        ("", (LOAD_HALF, 2, "", "")),
        // Nothing behind the headers: an acknowledgement.
        ("", (IF_EQUAL_INDEX, 0, "drop", "keep")),
        ("v6", (LOAD_BYTE, 6, "", "")),
        ("", (IF_EQUAL, 6, "", "drop")),
        ("", (LOAD_HALF, 40, "", "")),
        ("", (IF_EQUAL, port, "keep", "")),
        ("", (LOAD_HALF, 42, "", "")),
        ("", (IF_EQUAL, port, "", "drop")),
        ("keep", (RETURN, SNAP_LENGTH as u32, "", "")),
        ("drop", (RETURN, 0, "", "")),
    ];
    let place = |label: &str, at: usize| {
        let there = steps.iter().position(|(name, _)| *name == label);
        let distance = there
            .filter(|_| !label.is_empty())
            .map_or(0, |there| there - at - 1);
        u8::try_from(distance).unwrap_or(u8::MAX)
    };
    let instructions = steps.iter().enumerate().map(|(at, (_, step))| {
        let (code, number, yes, no) = *step;
        SockFilter::new(code, place(yes, at), place(no, at), number)
    });
    instructions.collect()
}
