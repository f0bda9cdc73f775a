//! The other ends, in the same thread: a server that says what it is told to, when it is told, and an
//! address that refuses.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// MySQL's first words.
pub(crate) const GREETING: &[u8] =
    b"\x4a\x00\x00\x00\x0a8.0.40\0\x01\x00\x00\x00abcdefgh\0\xff\xf7\x2d\x02\x00\
      \x08\x00\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0";
const WELCOME: &[u8] = &[7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
const PONG: &[u8] = &[7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];

/// How long a client is waited for that says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A MySQL server with one client.
pub(crate) struct Peer {
    listener: TcpListener,
    session: Option<TcpStream>,
}

impl Peer {
    pub(crate) fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"),
            session: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    /// Lets the client in that is waiting, and greets it.
    pub(crate) fn greet(&mut self) {
        let (mut stream, _) = self.listener.accept().expect("a client waits");
        stream.set_nodelay(true).expect("a socket takes it");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket takes it");
        stream.write_all(GREETING).expect("the client is there");
        self.session = Some(stream);
    }

    /// Whether the client has said something.
    pub(crate) fn hears(&self) -> bool {
        let session = self.session.as_ref().expect("a client was let in");
        session.set_nonblocking(true).expect("a socket takes it");
        let heard = session.peek(&mut [0]).is_ok();
        session.set_nonblocking(false).expect("a socket takes it");
        heard
    }

    pub(crate) fn welcome(&mut self) {
        self.answer(WELCOME);
    }

    pub(crate) fn pong(&mut self) {
        self.answer(PONG);
    }

    /// Reads what the client said, and answers.
    fn answer(&mut self, words: &[u8]) {
        let session = self.session.as_mut().expect("a client was let in");
        let length = session.read(&mut [0; 1024]).expect("the client is there");
        assert!(length > 0, "the client is gone");
        session.write_all(words).expect("the client is there");
    }
}

/// An address that refuses connections, and that nobody else is given meanwhile.
pub(crate) struct Refusing(Socket);

impl Refusing {
    pub(crate) fn start() -> Self {
        let socket =
            Socket::new(Domain::IPV4, Type::STREAM, None).expect("the kernel has a socket");
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket
            .bind(&any_port.into())
            .expect("loopback has a free port");
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.0.local_addr().expect("it is bound");
        address.as_socket().expect("it is of the internet")
    }
}
