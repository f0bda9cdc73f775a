//! A loopback port that stays reserved while nobody listens at it.
//!
//! Servers crash and gates close, and both have to come back at the same port. A socket that is
//! bound but never listens keeps the kernel from giving the port to anybody else, as a listener's
//! or as a client's, and leaves connects to it refused.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections that wait for the server to accept them.
const BACKLOG: i32 = 128;

/// A reserved port.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    _placeholder: Socket,
}

impl Port {
    /// Reserves a port of the kernel's choice.
    pub(crate) fn reserve() -> io::Result<Self> {
        let placeholder = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = placeholder.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self {
            address,
            _placeholder: placeholder,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens, without blocking, until the listener is dropped; one at a time.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        let socket = bind(self.address)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }
}

/// Binds such that a port may be bound twice as long as one of the two listens at the most.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let stream = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), stream, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_reserved_port_refuses_until_somebody_listens_and_again_after() {
        let port = Port::reserve().unwrap();
        for _ in 0..2 {
            let refused = TcpStream::connect(port.address()).map_err(|error| error.kind());
            assert_eq!(refused.err(), Some(io::ErrorKind::ConnectionRefused));
            let listener = port.listen().unwrap();
            assert!(TcpStream::connect(port.address()).is_ok());
            assert!(port.listen().is_err(), "one at a time");
            drop(listener);
        }
    }
}
