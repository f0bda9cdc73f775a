//! The HTTP server: the same for the TCP port and for the control socket.
//!
//! It stands at an open port, so everything that a client can make it wait for or keep has a
//! bound: connections, the head of a request and its body in bytes and in time, and writes that
//! nobody takes. What is asked is the router's; what a connection may do is said here.

mod answer;
mod connection;
mod express;
mod names;
mod places;
mod steady;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

use self::answer::Pages;
use self::connection::Visit;
use self::places::{Place, Places};
use super::shortcut::Shortcut;
use super::tls::Tls;

/// Connections at a time. A balancer needs one, a fleet of them some dozens; with its buffers one
/// costs less than 50 KiB, and all of them leave the descriptors of a thousand to the probes.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// The same at the control socket, where a few people ask.
pub(crate) const OPERATORS_MAX: usize = 64;

/// How long to wait until a connection is taken again where the system has nothing to give.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// The same where a connection was told to go.
const ROOM_PAUSE: Duration = Duration::from_millis(2);
/// How often such a lack is told while it lasts.
const COMPLAINED_EVERY: Duration = Duration::from_secs(60);
/// How long answers under way may take when the agent ends.
const PARTING_WITHIN: Duration = Duration::from_millis(500);
/// How much of an answer the kernel keeps for a reader.
const SEND_BUFFER: usize = 64 * 1024;
/// When a peer that acknowledges nothing counts as gone, whoever has to say something to it.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One that came.
#[derive(Debug)]
enum Caller {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Caller {
    /// Whether it came to a loopback address.
    fn is_near(&self) -> bool {
        match self {
            Self::Tcp(stream) => {
                let own = stream.local_addr();
                own.is_ok_and(|own| own.ip().to_canonical().is_loopback())
            }
            Self::Unix(_) => false,
        }
    }
}

impl Door {
    /// What it is called in the log.
    fn name(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "port",
            Self::Unix(_) => "control",
        }
    }

    async fn accept(&self) -> io::Result<Caller> {
        Ok(match self {
            Self::Tcp(listener) => Caller::Tcp(listener.accept().await?.0),
            Self::Unix(listener) => Caller::Unix(listener.accept().await?.0),
        })
    }
}

/// What answers at one door.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) clock: Clock,
    pub(crate) router: Router,
    /// What is asked most, answered without the router.
    pub(crate) shortcut: Shortcut,
    pub(crate) connections_max: usize,
    /// The certificate in force, which a reload may change; plain HTTP while there is none.
    pub(crate) tls: Arc<ArcSwapOption<Tls>>,
    pub(crate) ending: Ending,
}

/// Knows when the agent ends.
#[derive(Debug, Clone)]
pub(crate) struct Ending(watch::Receiver<bool>);

impl Ending {
    /// The end, and the means to bring it about.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns when the agent ends.
    pub(super) async fn come(&mut self) {
        // Where nobody can tell any more, it has come too.
        let _ = self.0.wait_for(|ends| *ends).await;
    }
}

impl Server {
    /// Answers until the agent ends: then the door is closed at once, and what is under way may be
    /// answered for a moment.
    pub(crate) async fn run(mut self, door: Door) {
        let places = Arc::new(Places::new(self.connections_max));
        let pages = Pages::new();
        let mut visits = JoinSet::new();
        let mut complained: Option<Moment> = None;
        loop {
            tokio::select! {
                accepted = door.accept() => match accepted {
                    Ok(caller) => {
                        let Some(place) = places.take() else {
                            self.turn_away(&caller);
                            continue;
                        };
                        self.welcome(caller, place, &pages, &mut visits);
                        if places.are_exceeded() {
                            // Many may wait to be accepted: who gave way is to be gone before the
                            // next one comes, or the bound is none.
                            tokio::task::yield_now().await;
                        }
                    }
                    Err(error) if is_shortage(&error) => {
                        let now = self.clock.now();
                        if complained.is_none_or(|at| now.since(at) >= COMPLAINED_EVERY) {
                            complained = Some(now);
                            tracing::error!(
                                door = door.name(), %error,
                                "HTTP takes no connections; tried again all the time"
                            );
                        }
                        // An idle one may give what is missing.
                        let pause = match places.make_room() {
                            true => ROOM_PAUSE,
                            false => SHORTAGE_PAUSE,
                        };
                        time::sleep(pause).await;
                    }
                    // The caller has gone already.
                    Err(_) => {}
                },
                Some(_) = visits.join_next() => {}
                () = self.ending.come() => break,
            }
        }
        drop(door);
        let parting = async { while visits.join_next().await.is_some() {} };
        // Whoever takes longer is cut off when the set is dropped.
        let _ = time::timeout(PARTING_WITHIN, parting).await;
    }

    fn welcome(&self, caller: Caller, place: Arc<Place>, pages: &Pages, visits: &mut JoinSet<()>) {
        let visit = Visit {
            router: self.router.clone(),
            shortcut: self.shortcut.clone(),
            place,
            pages: pages.clone(),
            tls: self.tls.load_full(),
            is_near: caller.is_near(),
            ending: self.ending.clone(),
        };
        match caller {
            Caller::Tcp(stream) => {
                prepare(&stream);
                visits.spawn(visit.attend(stream));
            }
            Caller::Unix(stream) => {
                visits.spawn(visit.attend(stream));
            }
        }
    }

    /// Says that every place is taken by somebody with a request under way, if the caller can be
    /// told without waiting.
    fn turn_away(&self, caller: &Caller) {
        const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
            Retry-After: 1\r\nContent-Length: 0\r\n\r\n";
        if self.tls.load().is_some() {
            return;
        }
        // A caller that is gone needs no answer.
        let _ = match caller {
            Caller::Tcp(stream) => stream.try_write(BUSY),
            Caller::Unix(stream) => stream.try_write(BUSY),
        };
    }
}

/// An answer is one write or two, and nobody is to wait for an acknowledgement in between; a peer
/// that vanished is not to be kept for the quarter of an hour that TCP would.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // None of these is worth a refusal.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
}

/// Whether the system has no descriptor or no memory for another connection.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    shortages
        .iter()
        .any(|it| error.raw_os_error() == Some(it.raw_os_error()))
}
