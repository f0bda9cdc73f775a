//! Hundreds of databases in one thread: each at an address of its own, all of one mind.
//!
//! For what only many servers show. They speak just enough of MySQL's protocol to let anybody in and
//! to answer pings, at little cost, so that a machine has its cores for what watches them. A fleet
//! crashes, freezes and comes back as one. Its servers share a port: the k-th is at 127.1.x.y.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;

use crate::shared::Port;

/// How long the loop waits before it looks what is wanted of it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Connections that wait while a frozen fleet accepts nobody.
const BACKLOG: i32 = 4096;
const EVENTS_MAX: usize = 512;
/// The event of the listener; no descriptor has this number.
const LISTENER: u64 = u64::MAX;

const GREETING: &[u8] =
    b"\x4a\x00\x00\x00\x0a8.0.40\0\x01\x00\x00\x00abcdefgh\0\xff\xf7\x2d\x02\x00\
    \x08\x00\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0";
/// The answer to a login, and with another number to a ping.
const OK: [u8; 11] = [7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
const COM_PING: u8 = 14;

/// What a fleet is told.
const FINE: u8 = 0;
const FROZEN: u8 = 1;
const ENDED: u8 = 2;
const END_SESSIONS: u8 = 3;

/// Many servers that speak MySQL's protocol and let everybody in.
#[derive(Debug)]
pub struct ScriptedFleet {
    stage: Arc<Stage>,
    port: Port,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Stage {
    told: AtomicU8,
    /// Clients that each server has let in so far.
    logins: Vec<AtomicU32>,
}

impl ScriptedFleet {
    /// Starts so many servers; they take connections when this returns.
    ///
    /// # Panics
    ///
    /// Panics when it cannot listen.
    #[must_use]
    pub fn start(size: usize) -> Self {
        let mut logins = Vec::new();
        logins.resize_with(size, AtomicU32::default);
        let told = AtomicU8::new(FINE);
        let mut fleet = Self {
            stage: Arc::new(Stage { told, logins }),
            port: Port::reserve(),
            thread: None,
        };
        fleet.come_back();
        fleet
    }

    /// Returns the address of one of its servers.
    #[must_use]
    pub fn address(&self, server: usize) -> SocketAddr {
        let [x, y] =
            [server / 250, server % 250 + 1].map(|it| u8::try_from(it).expect("not as many"));
        SocketAddr::from(([127, 1, x, y], self.port.number()))
    }

    /// Ends every session with a reset, and refuses new ones, until it [comes back](Self::come_back).
    pub fn crash(&mut self) {
        self.stage.told.store(ENDED, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so already.
            let _ = thread.join();
        }
    }

    /// Takes connections again after a crash.
    ///
    /// # Panics
    ///
    /// Panics when it cannot listen.
    pub fn come_back(&mut self) {
        let listener = self.port.listen(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        rustix::net::listen(&listener, BACKLOG).expect("a listener can listen again");
        let stage = Arc::clone(&self.stage);
        stage.told.store(FINE, Ordering::Relaxed);
        self.thread = Some(thread::spawn(move || {
            let ended = Loop::new(&stage, listener).and_then(Loop::run);
            ended.expect("a fleet of the testkit has a kernel that helps");
        }));
    }

    /// Accepts nobody and answers nothing, while the kernel goes on making connections.
    pub fn freeze(&self) {
        self.stage.told.store(FROZEN, Ordering::Relaxed);
    }

    /// Answers again after a freeze, what was asked meanwhile too.
    pub fn thaw(&self) {
        self.stage.told.store(FINE, Ordering::Relaxed);
    }

    /// Ends every session with a reset, and goes on taking new ones.
    pub fn end_sessions(&self) {
        self.stage.told.store(END_SESSIONS, Ordering::Relaxed);
    }

    /// Returns how many clients each server has let in so far.
    #[must_use]
    pub fn logins(&self) -> Vec<u32> {
        let logins = self.stage.logins.iter();
        logins.map(|it| it.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for ScriptedFleet {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The thread of a fleet.
struct Loop<'a> {
    stage: &'a Stage,
    listener: TcpListener,
    epoll: rustix::fd::OwnedFd,
    /// By their descriptors' numbers.
    sessions: Vec<Option<Session>>,
}

struct Session {
    stream: TcpStream,
    logged_in: bool,
}

impl<'a> Loop<'a> {
    fn new(stage: &'a Stage, listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, data, epoll::EventFlags::IN)?;
        Ok(Self {
            stage,
            listener,
            epoll,
            sessions: Vec::new(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let patience = Timespec::try_from(LOOK_EVERY).expect("a short time");
        loop {
            match self.stage.told.load(Ordering::Relaxed) {
                ENDED => return Ok(()),
                FROZEN => {
                    thread::sleep(LOOK_EVERY);
                    continue;
                }
                END_SESSIONS => {
                    self.sessions.clear();
                    self.stage.told.store(FINE, Ordering::Relaxed);
                }
                _ => {}
            }
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    descriptor => self.hear(descriptor as usize),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Who is gone before it was his turn concerns nobody.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                // Those who have left are let go first; the listener is told of again.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            // However it ends, it ends with a reset.
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            let descriptor = stream.as_raw_fd().unsigned_abs() as usize;
            let data = epoll::EventData::new_u64(descriptor as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
            if self.sessions.len() <= descriptor {
                self.sessions.resize_with(descriptor + 1, || None);
            }
            // The client may be gone.
            let _ = (&stream).write_all(GREETING);
            self.sessions[descriptor] = Some(Session {
                stream,
                logged_in: false,
            });
        }
    }

    fn hear(&mut self, descriptor: usize) {
        let Some(slot) = self.sessions.get_mut(descriptor) else {
            return;
        };
        let Some(session) = slot else { return };
        if session.hear(&self.stage.logins).is_err() {
            *slot = None;
        }
    }
}

impl Session {
    /// Whose client it is, by the address that the client knows.
    fn server(&self) -> Option<usize> {
        let SocketAddr::V4(address) = self.stream.local_addr().ok()? else {
            return None;
        };
        let [_, _, x, y] = address.ip().octets().map(usize::from);
        (x * 250 + y).checked_sub(1)
    }

    /// Answers a login, or a ping; an error ends the session. Messages arrive whole on loopback.
    fn hear(&mut self, logins: &[AtomicU32]) -> io::Result<()> {
        let mut bytes = [0; 1024];
        let length = match self.stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut answer = OK;
        if std::mem::replace(&mut self.logged_in, true) {
            if length < 5 || bytes[4] != COM_PING {
                // A goodbye: its end follows.
                return Ok(());
            }
            answer[3] = 1;
        } else if let Some(counter) = self.server().and_then(|server| logins.get(server)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.stream.write_all(&answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_of_a_fleet_lets_in_and_counts_for_itself() {
        let mut fleet = ScriptedFleet::start(600);
        let greeted = |server: usize| {
            let mut stream = TcpStream::connect(fleet.address(server)).unwrap();
            let mut words = [0; 5];
            stream.read_exact(&mut words).unwrap();
            stream.write_all(b"\x01\0\0\x01?").unwrap();
            let mut greeting = [0; GREETING.len() - 5 + OK.len()];
            stream.read_exact(&mut greeting).unwrap();
            words[4]
        };
        assert_eq!([0, 249, 250, 599, 599].map(greeted), [10; 5]);
        let logins = fleet.logins();
        assert_eq!([0, 1, 249, 250, 599].map(|it| logins[it]), [1, 0, 1, 1, 2]);
        fleet.crash();
        let refused = TcpStream::connect(fleet.address(3)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        fleet.come_back();
        assert!(TcpStream::connect(fleet.address(3)).is_ok());
    }
}
