//! Listening: binds the address of a gate or an agent check, and ends what connects there in order.
//!
//! What an audience is told is for [`gate`](super::gate) and [`agent_check`](super::agent_check) to
//! say; here is where and how they listen.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::agent::plan::GateAddress;

/// Connections that wait for us to accept them; balancers probe from many nodes at once.
const BACKLOG: i32 = 1024;
/// How much a visitor may send before we stop listening to it.
const HEARD_MAX: u64 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// Where the address is taken, or not this machine's.
    pub(crate) fn open(address: GateAddress) -> io::Result<Self> {
        let socket = bind(address)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into()).map(Self)
    }

    /// The next who connects. Cancel safe.
    pub(crate) async fn accept(&self) -> io::Result<Visitor> {
        let (stream, _) = self.0.accept().await?;
        Ok(Visitor(stream))
    }
}

/// Who has connected.
#[derive(Debug)]
pub(crate) struct Visitor(TcpStream);

impl Visitor {
    /// Says this, says no more, and reads what the other end sends up to its end: unread bytes
    /// would turn the close into a reset.
    pub(crate) async fn answer(mut self, words: &[u8]) -> io::Result<()> {
        self.0.write_all(words).await?;
        self.0.shutdown().await?;
        tokio::io::copy(&mut self.0.take(HEARD_MAX), &mut tokio::io::sink()).await?;
        Ok(())
    }

    /// Closes at once. What has come so far is read here, too, but nothing is waited for.
    pub(crate) fn dismiss(self) {
        // Whatever goes wrong goes wrong for a connection that ends anyway.
        let _ = (&*SockRef::from(&self.0)).read(&mut [0; HEARD_MAX as usize]);
    }
}

/// Tells, before anything starts, whether an address could be listened at.
pub(crate) fn try_address(address: GateAddress) -> io::Result<()> {
    bind(address).map(drop)
}

fn bind(address: GateAddress) -> io::Result<Socket> {
    match address {
        GateAddress::One(address) => bind_one(address),
        GateAddress::All(port) => {
            // One socket for both families; on a machine without IPv6, for the one there is.
            let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            match bind_one(both) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
                }
                bound => bound,
            }
        }
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
