//! Listening: binds the address of a gate or an agent check, and ends what connects there in order.
//!
//! What an audience is told is for [`gate`](super::gate) and [`agent_check`](super::agent_check) to
//! say; here is where and how they listen: at a TCP port, or at a unix socket whose file is there as
//! long as somebody listens.

mod kept;
mod socket_file;

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

pub(crate) use kept::{Inherited, KeptSocket, KeptSockets};
pub(crate) use socket_file::SocketFile;

use crate::agent::plan::GateAddress;

/// Connections that wait for us to accept them; balancers probe from many nodes at once.
const BACKLOG: i32 = 1024;
/// How much a visitor may send before we stop listening to it.
const HEARD_MAX: u64 = 4096;

/// The mode of a gate's file: like a port, it is there for everybody who can reach it.
const FILE_MODE: u32 = 0o666;

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix {
        /// It goes before the socket: what is closed is not there.
        #[expect(dead_code, reason = "kept for its end, which removes the file")]
        file: SocketFile,
        listener: UnixListener,
    },
    Kept {
        listener: TcpListener,
        socket: Arc<KeptSocket>,
    },
}

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// Where the address is taken, or not this machine's.
    pub(crate) fn open(address: &GateAddress) -> io::Result<Self> {
        let Bound { file, socket } = bind(address)?;
        socket.listen(BACKLOG)?;
        match file {
            None => TcpListener::from_std(socket.into()).map(Self::Tcp),
            Some(file) => {
                let listener = UnixListener::from_std(socket.into())?;
                Ok(Self::Unix { file, listener })
            }
        }
    }

    /// Opens a socket that outlives the agent.
    ///
    /// # Errors
    ///
    /// Where the address is taken meanwhile.
    pub(crate) fn open_kept(socket: &Arc<KeptSocket>) -> io::Result<Self> {
        let listener = socket.open()?;
        let socket = Arc::clone(socket);
        Ok(Self::Kept { listener, socket })
    }

    /// Listens no more. Dropping it does the same, unless its socket outlives the agent: that one
    /// then stays open.
    pub(crate) fn close(self) {
        if let Self::Kept { listener, socket } = self {
            drop(listener);
            socket.close();
        }
    }

    /// The next who connects. Cancel safe.
    pub(crate) async fn accept(&self) -> io::Result<Visitor> {
        match self {
            Self::Tcp(listener) | Self::Kept { listener, .. } => {
                listener.accept().await.map(|(it, _)| Visitor::Tcp(it))
            }
            Self::Unix { listener, .. } => listener.accept().await.map(|(it, _)| Visitor::Unix(it)),
        }
    }
}

/// Who has connected.
#[derive(Debug)]
pub(crate) enum Visitor {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Visitor {
    /// Says this, says no more, and reads what the other end sends up to its end: unread bytes
    /// would turn the close into a reset.
    pub(crate) async fn answer(self, words: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => answer(stream, words).await,
            Self::Unix(stream) => answer(stream, words).await,
        }
    }

    /// Closes at once. What has come so far is read here, too, but nothing is waited for.
    pub(crate) fn dismiss(self) {
        let socket = match &self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        // Whatever goes wrong goes wrong for a connection that ends anyway.
        let _ = (&*socket).read(&mut [0; HEARD_MAX as usize]);
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(HEARD_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Tells, before anything starts, whether an address could be listened at.
pub(crate) fn try_address(address: &GateAddress) -> io::Result<()> {
    bind(address).map(drop)
}

/// A socket that is bound, with its file if it has one.
struct Bound {
    file: Option<SocketFile>,
    socket: Socket,
}

fn bind(address: &GateAddress) -> io::Result<Bound> {
    let socket = match address {
        GateAddress::One(address) => bind_one(*address)?,
        GateAddress::All(port) => bind_all(*port)?,
        GateAddress::Unix(path) => {
            let (file, socket) = SocketFile::bind(path, FILE_MODE)?;
            let file = Some(file);
            return Ok(Bound { file, socket });
        }
    };
    Ok(Bound { file: None, socket })
}

/// One socket for both families; on a machine without IPv6, for the one there is.
fn bind_all(port: u16) -> io::Result<Socket> {
    match bind_one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        bound => bound,
    }
}

fn bind_one(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        None,
    )?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // Connections of the last time the gate was open must not keep it from opening again.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
