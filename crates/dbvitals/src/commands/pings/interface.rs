//! Packets of an interface as they pass, by a packet socket.
//!
//! The kernel filters: only the port's packets that carry something, or begin or end a connection,
//! come here, and only their first bytes. They are fetched many at a time, a few milliseconds
//! apart, so that listening costs the load little; the socket's buffer holds what comes in
//! between, and the kernel counts what it could not. Needs CAP_NET_RAW. `nix`, which the system's
//! own bindings are kept in, has the one safe call that fetches many packets with their times.

mod filter;

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

use self::filter::Instruction;
use crate::pings::{Frame, Link};

/// So much of each packet is fetched; every ping's form and every answer's head fit.
const SNAP_LENGTH: usize = 384;
/// So many packets are fetched at once.
const BATCH: usize = 256;
/// So many batches are fetched in a row; the kernel holds hardly more.
const BATCHES_MAX: usize = 1024;
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
        socket.attach_filter(&kernel_filter(&filter::NOTHING))?;
        socket.set_nonblocking(true)?;
        let mut buffer = vec![0; BATCH * SNAP_LENGTH];
        while io::Read::read(&mut &socket, &mut buffer).is_ok() {}
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        let wanted = filter::Wanted {
            interface: index,
            is_loopback,
            port,
            length: SNAP_LENGTH as u32,
        };
        socket.attach_filter(&kernel_filter(&wanted.program()))?;
        Ok(Self {
            socket,
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec, u32))),
            buffer,
            lost: 0,
        })
    }

    /// Hands over what waits in the kernel, but not all that comes meanwhile.
    pub(crate) fn receive_waiting(
        &mut self,
        hear: &mut impl FnMut(Frame<'_>),
    ) -> Result<(), InterfaceError> {
        for _ in 0..BATCHES_MAX {
            if !self.receive(hear)? {
                break;
            }
        }
        Ok(())
    }

    /// Hands over a batch; says whether it was full, and there may be more.
    fn receive(&mut self, hear: &mut impl FnMut(Frame<'_>)) -> Result<bool, InterfaceError> {
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

/// The program as the kernel takes it.
fn kernel_filter(program: &[Instruction]) -> Vec<SockFilter> {
    let instructions = program.iter();
    instructions
        .map(|it| SockFilter::new(it.code, it.yes, it.no, it.number))
        .collect()
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
