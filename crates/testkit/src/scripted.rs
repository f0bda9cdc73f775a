//! Servers that are no databases: each connection meets a script of one misbehaviour.
//!
//! Plain threads and blocking sockets, one thread per connection. Dropping a [`ScriptedServer`]
//! shuts its sockets down, which ends every thread at once, whatever its script is doing; threads
//! are joined, so nothing runs on. Scripts know no database protocol: the bytes are the test's. For
//! misbehaviour within a protocol there is [`ScriptedDatabase`].

mod database;
mod fleet;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

pub use self::database::{Dialect, Moment, Mood, ScriptedDatabase};
pub use self::fleet::ScriptedFleet;
use crate::shared::Port;

const HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\nContent-Length: 11\r\nConnection: close\r\n\r\nBad Request";

/// How long a connection of our own may take while the accept queue has room.
const LOOPBACK: Duration = Duration::from_millis(200);

/// More connections than an accept queue with a limit of zero can hold.
const FILLERS_MAX: usize = 16;

/// What happens to every connection.
#[derive(Clone, Debug)]
pub enum Script {
    /// Accepts, reads what comes and never says a word.
    Silent,
    /// Accepts and closes at once, in order (FIN).
    CloseAtOnce,
    /// Accepts and aborts at once (RST).
    ResetAtOnce,
    /// Sends the bytes, then stays silent.
    Bytes(Vec<u8>),
    /// Sends one byte after the other, then stays silent.
    Trickle {
        /// What is sent.
        bytes: Vec<u8>,
        /// The time between two bytes.
        every: Duration,
    },
    /// Listens, but its accept queue is full: the kernel drops every attempt to connect.
    NeverAccepts,
    /// Waits for the client's first words and answers them as a web server does: bad request.
    HttpServer,
    /// Sends the bytes over and over, for ever.
    Endless(Vec<u8>),
}

/// A listening socket on 127.0.0.1 that plays its [`Script`] to every connection.
#[derive(Debug)]
pub struct ScriptedServer {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    acceptor: Option<JoinHandle<()>>,
    /// Our own connections in the accept queue of a server that never accepts.
    _fillers: Vec<TcpStream>,
    _port: Port,
}

impl ScriptedServer {
    /// Starts a server; it takes connections when this returns.
    ///
    /// # Panics
    ///
    /// Panics when it cannot listen, or when an endless script has nothing to say.
    #[must_use]
    pub fn start(script: Script) -> Self {
        let nothing = matches!(&script, Script::Endless(bytes) if bytes.is_empty());
        assert!(!nothing, "an endless script needs a byte or more");
        let port = Port::reserve();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let listener = Arc::new(port.listen(address.ip()));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (acceptor, fillers) = if matches!(script, Script::NeverAccepts) {
            (None, fill_accept_queue(&listener, address))
        } else {
            let acceptor = Acceptor {
                listener: Arc::clone(&listener),
                script: Arc::new(script),
                accepted: Arc::clone(&accepted),
                connections: Vec::new(),
            };
            (Some(thread::spawn(|| acceptor.run())), Vec::new())
        };
        Self {
            listener,
            address,
            accepted,
            acceptor,
            _fillers: fillers,
            _port: port,
        }
    }

    /// Returns the address the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port the server listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns how many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        // Wakes the acceptor from accept(), which ends the connections in turn.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// The thread that accepts connections and starts one for each.
struct Acceptor {
    listener: Arc<TcpListener>,
    script: Arc<Script>,
    accepted: Arc<AtomicUsize>,
    connections: Vec<Connection>,
}

/// A running connection; the socket itself belongs to its thread, which may close it.
struct Connection {
    stream: Weak<TcpStream>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    fn run(mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.accepted.fetch_add(1, Ordering::Relaxed);
            self.connections
                .retain(|connection| !connection.thread.is_finished());
            self.connections
                .push(Connection::start(stream, Arc::clone(&self.script)));
        }
        for connection in self.connections {
            connection.stop();
        }
    }
}

impl Connection {
    fn start(stream: TcpStream, script: Arc<Script>) -> Self {
        let stream = Arc::new(stream);
        let weak = Arc::downgrade(&stream);
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        // A connection that breaks has played its part.
        let thread = thread::spawn(move || drop(play(&script, &stream, &stopped)));
        Self {
            stream: weak,
            stopping,
            thread,
        }
    }

    fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(stream) = self.stream.upgrade() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.thread.thread().unpark();
        let _ = self.thread.join();
    }
}

fn play(script: &Script, mut stream: &TcpStream, stopping: &AtomicBool) -> io::Result<()> {
    match script {
        Script::Silent => {}
        Script::CloseAtOnce => stream.shutdown(Shutdown::Write)?,
        Script::ResetAtOnce => {
            set_socket_linger(stream, Some(Duration::ZERO))?;
            return Ok(());
        }
        Script::Bytes(bytes) => stream.write_all(bytes)?,
        Script::Trickle { bytes, every } => {
            for byte in bytes {
                stream.write_all(&[*byte])?;
                thread::park_timeout(*every);
                if stopping.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        Script::NeverAccepts => unreachable!("nothing is accepted"),
        Script::HttpServer => {
            if stream.read(&mut [0; 4096])? > 0 {
                stream.write_all(HTTP_ANSWER)?;
            }
            stream.shutdown(Shutdown::Write)?;
        }
        Script::Endless(bytes) => loop {
            stream.write_all(bytes)?;
        },
    }
    // Unread bytes would turn the close into a reset.
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// Makes the kernel drop further attempts to connect; the connections returned keep it so.
fn fill_accept_queue(listener: &TcpListener, address: SocketAddr) -> Vec<TcpStream> {
    rustix::net::listen(listener, 0).expect("a listener can listen with a shorter queue");
    let connect = |_| TcpStream::connect_timeout(&address, LOOPBACK).ok();
    let fillers: Vec<TcpStream> = (0..FILLERS_MAX).map_while(connect).collect();
    assert!(
        fillers.len() < FILLERS_MAX,
        "the accept queue does not fill up"
    );
    fillers
}
