//! A gate from the outside: a port that can be connected to, or refuses.
//!
//! A [`GatePort`] is asked by connects, a millisecond apart, as nobody but an impatient balancer
//! would. A [`Vigil`] asks from a thread of its own while the test does something else.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::Port;
use dbvitals_verdict::Moment;
use socket2::SockRef;

/// The pause between two connects.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a connect to this machine may take; one into a full accept queue takes longer.
const CONNECTS_WITHIN: Duration = Duration::from_secs(1);
/// How much longer than its bound something is waited for, so that a failure shows the figure.
const GRACE: Duration = Duration::from_secs(10);

/// The port of a gate, reserved while it is closed.
#[derive(Debug)]
pub(crate) struct GatePort {
    port: Port,
    clock: Clock,
}

impl GatePort {
    pub(crate) fn reserve() -> Self {
        Self {
            port: Port::reserve(),
            clock: Clock::start(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number()))
    }

    /// The present moment, for measuring from.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) fn is_open(&self) -> bool {
        is_open(self.address())
    }

    /// Waits until the gate is open, and returns how long that took since a moment.
    pub(crate) fn opens_within(&self, bound: Duration, since: Moment) -> Duration {
        self.becomes(true, bound, since)
    }

    /// Waits until the gate refuses, and returns how long that took since a moment.
    pub(crate) fn refuses_within(&self, bound: Duration, since: Moment) -> Duration {
        self.becomes(false, bound, since)
    }

    fn becomes(&self, open: bool, bound: Duration, since: Moment) -> Duration {
        loop {
            let arrived = self.is_open() == open;
            let took = self.now().since(since);
            if arrived || took > bound + GRACE {
                let what = if open { "open" } else { "refused" };
                assert!(
                    arrived && took <= bound,
                    "{what} after {took:?}, not {bound:?}"
                );
                return took;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Connects all the time from now on.
    pub(crate) fn watch(&self) -> Vigil {
        let ending = Arc::new(AtomicBool::new(false));
        let (ended, address) = (Arc::clone(&ending), self.address());
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            while !ended.load(Ordering::Relaxed) {
                match is_open(address) {
                    true => seen.open += 1,
                    false => seen.refused += 1,
                }
                thread::sleep(PAUSE);
            }
            seen
        });
        Vigil { ending, thread }
    }
}

/// A thread that keeps connecting.
#[derive(Debug)]
pub(crate) struct Vigil {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What the connects met.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) open: u32,
    pub(crate) refused: u32,
}

impl Vigil {
    pub(crate) fn end(self) -> Seen {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("connects succeed or are refused")
    }
}

fn is_open(address: SocketAddr) -> bool {
    loop {
        let error = match TcpStream::connect_timeout(&address, CONNECTS_WITHIN) {
            Ok(stream) => {
                // Thousands of connects must not leave thousands of sockets in TIME_WAIT.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return true;
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::ConnectionRefused {
            return false;
        }
        // A reset means that the gate closed between the handshake and our look at its outcome,
        // which is neither open nor refused: ask again.
        assert!(
            error.kind() == ErrorKind::ConnectionReset,
            "cannot connect to {address}: {error}"
        );
    }
}
