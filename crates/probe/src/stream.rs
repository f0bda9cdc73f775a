//! A non-blocking TCP or unix stream, and how a probe opens and leaves one.
//!
//! A quiet connect probe: with quick acknowledgement off, the kernel holds the last ACK of the
//! handshake back; closing with linger zero then sends a RST in its place. The server's kernel
//! never completes the connection, so nothing reaches its accept queue (see TCP_QUICKACK and
//! SO_LINGER in tcp(7) and socket(7); HAProxy's TCP checks do the same).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, SockRef, Socket, Type};

/// A stream of either family.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Begins a TCP connect. `quiet` means that connecting is all that is wanted.
    pub(crate) fn connect_tcp(address: SocketAddr, quiet: bool) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            None,
        )?;
        socket.set_tcp_nodelay(true)?;
        if quiet {
            socket.set_tcp_quickack(false)?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self::Tcp(TcpStream::from_std(socket.into())))
    }

    /// Makes a unix connect, which ends at once: `WouldBlock` means a full accept queue.
    pub(crate) fn connect_unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(Self::Unix)
    }

    /// Whether the connect has come to its end: `None` while it has not.
    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        let Self::Tcp(stream) = self else {
            return Some(Ok(()));
        };
        match stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
        }
        match stream.peer_addr() {
            Ok(_) => Some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Closes with a RST, so that a handshake that the server has not seen the end of never ends.
    pub(crate) fn abandon(self) {
        if let Self::Tcp(stream) = &self {
            // Where it fails, the close below is an ordinary one: louder, but not wrong.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shutdown_write(&self) {
        // A peer that is gone already needs no telling.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// The address at the other end, for dialling it again.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    /// Has the poll report on this stream. Edges are reported for both directions at all times,
    /// so that no system call is spent on changing one's interest.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(self.source(), token, interest)
    }
}

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

// The system calls themselves, not the C library's: those are points of cancellation, which costs a
// ping a fiftieth of what it takes.

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (taken, _) = recv(self.descriptor(), buffer, RecvFlags::empty())?;
        Ok(taken)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.descriptor(), bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
