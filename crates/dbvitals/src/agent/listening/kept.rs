//! Sockets that outlive the agent: systemd passes them when it starts the agent again.
//!
//! Such a gate is closed by `shutdown`: the kernel's inet_shutdown() has tcp_disconnect() take a
//! listening socket back to closed, and since its port was asked for by number it stays bound
//! (SOCK_BINDPORT_LOCK). Connects are refused, and `listen` opens it again. While the agent is away
//! it stays as it was, and who connects to an open one waits in its accept queue.
//!
//! A unix socket that was shut down refuses for ever, whoever listens, so none of those is kept.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use listenfd::ListenFd;
use socket2::Socket;
use tokio::net::TcpListener;

use super::{BACKLOG, bind};
use crate::agent::plan::{GateAddress, GatePlan, OnRestart};
use crate::systemd::Systemd;

/// What systemd passed, or whoever else set `LISTEN_FDS`.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<(SocketAddr, Socket)>,
    /// What is of no use, a sentence each.
    pub(crate) notices: Vec<String>,
    /// Unix sockets, by their paths.
    unix: Vec<String>,
}

impl Inherited {
    /// Takes the sockets, once. To be called before there are threads, because it takes the
    /// variables out of the environment.
    pub(crate) fn take() -> Self {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                match listener.local_addr() {
                    Ok(address) => inherited.sockets.push((address, listener.into())),
                    Err(error) => inherited.notices.push(useless(index, &error)),
                }
                continue;
            }
            match passed.take_unix_listener(index) {
                Ok(Some(listener)) => inherited.unix.push(refuse(listener)),
                Ok(None) => {}
                Err(error) => inherited.notices.push(useless(index, &error)),
            }
        }
        inherited
    }

    /// Why the agent cannot start with what it was passed.
    pub(crate) fn refusal(&self) -> Option<String> {
        let paths = self.unix.join(", ");
        (!self.unix.is_empty()).then(|| {
            format!(
                "the unix socket {paths} was passed to the agent, but one that was closed once could never open again; take it out of the socket unit, and let the gate make its own"
            )
        })
    }

    /// Whether a gate's address is that of a socket that was passed.
    pub(crate) fn has(&self, address: &GateAddress) -> bool {
        self.sockets.iter().any(|(it, _)| is_at(*it, address))
    }
}

fn useless(index: usize, error: &io::Error) -> String {
    let why = dbvitals_probe::plain(error);
    format!("of the sockets that were passed to the agent, number {index} is of no use: {why}")
}

/// Nobody will accept there: whoever connects is to learn it.
fn refuse(listener: UnixListener) -> String {
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|it| it.as_pathname());
    let path = path.map_or_else(String::new, |path| path.display().to_string());
    let _ = Socket::from(listener).shutdown(Shutdown::Both);
    path
}

fn is_at(socket: SocketAddr, address: &GateAddress) -> bool {
    match address {
        GateAddress::One(address) => *address == socket,
        GateAddress::All(port) => socket.ip().is_unspecified() && *port == socket.port(),
        GateAddress::Unix(_) => false,
    }
}

/// A socket that may be open while nobody is there.
#[derive(Debug)]
pub(crate) struct KeptSocket(Socket);

impl KeptSocket {
    /// Whether connects to it succeed now.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_listener().unwrap_or(false)
    }

    /// Opens it, or takes over one that is open. The listener is to be dropped before
    /// [`close`](Self::close): an epoll that saw the end of a socket once takes it for ended.
    pub(super) fn open(&self) -> io::Result<TcpListener> {
        self.0.listen(BACKLOG)?;
        let own = self.0.try_clone()?;
        own.set_nonblocking(true)?;
        TcpListener::from_std(own.into())
    }

    /// Has the kernel refuse; who waits in the accept queue is reset.
    pub(crate) fn close(&self) {
        // One that does not listen is closed already.
        let _ = self.0.shutdown(Shutdown::Read);
    }
}

/// The sockets of gates that stay as they are while the agent is away, by their names in systemd's
/// store of descriptors.
#[derive(Debug, Default)]
pub(crate) struct KeptSockets {
    systemd: Arc<Systemd>,
    sockets: BTreeMap<String, Arc<KeptSocket>>,
}

impl KeptSockets {
    /// Takes over what was passed for these gates, and closes what is for none: nobody would
    /// accept there, and who connects would take it for a gate that is open.
    pub(crate) fn new(systemd: Arc<Systemd>, inherited: Inherited, gates: &[GatePlan]) -> Self {
        let mut sockets = BTreeMap::new();
        for (address, socket) in inherited.sockets {
            let socket = KeptSocket(socket);
            let gate = gates.iter().find(|gate| is_at(address, &gate.listen));
            let Some(gate) = gate else {
                tracing::warn!(%address, "a socket that was passed belongs to no gate; it is closed");
                socket.close();
                for address in [GateAddress::One(address), GateAddress::All(address.port())] {
                    systemd.forget(&name_of(&address));
                }
                continue;
            };
            let state = if socket.is_open() { "open" } else { "closed" };
            tracing::warn!(
                gate = gate.name, address = %gate.listen, state,
                "the gate's socket was passed to the agent: while no agent runs, it stays as it was"
            );
            sockets.insert(name_of(&gate.listen), Arc::new(socket));
        }
        Self { systemd, sockets }
    }

    /// The socket of a gate, if it has one that is kept.
    pub(crate) fn of(&self, gate: &GatePlan) -> Option<Arc<KeptSocket>> {
        self.sockets.get(&name_of(&gate.listen)).map(Arc::clone)
    }

    /// Keeps the sockets of the gates that are to be held, and closes those of gates that are gone,
    /// whose tasks have ended.
    pub(crate) fn handle_plan(&mut self, gates: &[GatePlan]) {
        let names: Vec<_> = gates.iter().map(|gate| name_of(&gate.listen)).collect();
        let systemd = &self.systemd;
        self.sockets.retain(|name, socket| {
            let stays = names.contains(name);
            if !stays {
                socket.close();
                systemd.forget(name);
            }
            stays
        });
        for (gate, name) in gates.iter().zip(names) {
            match gate.on_restart {
                OnRestart::Hold => self.hold(gate, name),
                OnRestart::Closed => {
                    if self.sockets.contains_key(&name) {
                        self.systemd.forget(&name);
                    }
                }
            }
        }
    }

    fn hold(&mut self, gate: &GatePlan, name: String) {
        if !self.systemd.is_there() {
            tracing::warn!(
                gate = gate.name,
                "on_restart = \"hold\" takes a systemd that keeps the socket; the gate closes with the agent"
            );
            return;
        }
        let socket = match self.sockets.get(&name) {
            Some(socket) => Arc::clone(socket),
            None => match bind(&gate.listen) {
                Ok(bound) => Arc::new(KeptSocket(bound.socket)),
                Err(error) => {
                    tracing::error!(
                        gate = gate.name, address = %gate.listen, %error,
                        "the gate's socket cannot be kept; it closes with the agent"
                    );
                    return;
                }
            },
        };
        self.systemd.store(&name, socket.0.as_fd());
        self.sockets.insert(name, socket);
    }
}

/// A name as systemd takes it: printable, and without a colon.
fn name_of(address: &GateAddress) -> String {
    format!("gate-{}", address.to_string().replace(':', "_"))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use dbvitals_testkit::Port;

    use super::*;

    /// A socket at a port that was asked for by number, as every gate's is.
    fn socket(port: &Port) -> (KeptSocket, SocketAddr) {
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let bound = bind(&GateAddress::One(address)).unwrap();
        (KeptSocket(bound.socket), address)
    }

    fn refusal(address: SocketAddr) -> Option<ErrorKind> {
        TcpStream::connect(address).err().map(|error| error.kind())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_kernel_lets_a_listening_socket_close_and_open_again() {
        let port = Port::reserve();
        let (socket, address) = socket(&port);
        for _ in 0..100 {
            assert!(!socket.is_open());
            assert_eq!(refusal(address), Some(ErrorKind::ConnectionRefused));
            let listener = socket.open().unwrap();
            assert!(socket.is_open());
            let visitor = TcpStream::connect(address).unwrap();
            let (_, from) = listener.accept().await.unwrap();
            assert_eq!(Some(from), visitor.local_addr().ok());
            drop(listener);
            // What waits while nobody is there is reset with the close, and not before.
            let _waiting = TcpStream::connect(address).unwrap();
            socket.close();
            // Its port stays its own: nobody else gets it without sharing on purpose.
            let other = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let taken = other.bind(&address.into()).unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn a_unix_socket_that_was_closed_never_opens_again() {
        let path = std::env::temp_dir().join(format!("dbvitals-{}-final", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let socket = Socket::from(listener);
        socket.shutdown(Shutdown::Read).unwrap();
        socket.listen(1).unwrap();
        let refused = std::os::unix::net::UnixStream::connect(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_socket_is_found_by_the_address_that_a_gate_has() {
        let check = |socket: &str, gate: &str, expected: bool| {
            let address = GateAddress::parse(gate).unwrap();
            assert_eq!(is_at(socket.parse().unwrap(), &address), expected, "{gate}");
        };
        check("127.0.0.1:13306", "127.0.0.1:13306", true);
        check("[::]:13306", "13306", true);
        check("0.0.0.0:13306", "13306", true);
        check("127.0.0.1:13306", "13306", false);
        check("127.0.0.1:13306", "127.0.0.1:13307", false);
        check("127.0.0.1:13306", "unix:/run/gate", false);
        assert_eq!(
            name_of(&GateAddress::parse("[::1]:13306").unwrap()),
            "gate-[__1]_13306"
        );
    }
}
