//! Clients that connect all the time, and remember when nobody served them.
//!
//! MariaDB speaks first, and its first words name its version: a client that has read them has
//! been served, and knows by whom.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use socket2::SockRef;

/// How many connect beside each other; one that waits for a silent server does not ask another.
const CLIENTS: usize = 8;
/// How long a server may be silent before an attempt has failed.
pub(crate) const SILENCE: Duration = Duration::from_millis(250);
/// The pause of a client between two attempts.
const PAUSE: Duration = Duration::from_millis(15);
/// What the versions of the two servers end with.
const NAMES: [&[u8]; 2] = [b"-one", b"-two"];

/// An attempt: when it began, and the index of the server that served it.
type Attempt = (Moment, Option<usize>);

/// Threads that connect until they are dropped.
#[derive(Debug)]
pub(crate) struct Clients {
    clock: Clock,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of attempts.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many each server served.
    pub(crate) served: [usize; 2],
    /// When the others began.
    pub(crate) failed: Vec<Moment>,
}

impl Clients {
    pub(crate) fn start(front: SocketAddr) -> Self {
        let clock = Clock::start();
        let (attempts, ending) = (Arc::<Mutex<Vec<Attempt>>>::default(), Arc::default());
        let client = |_| {
            let (attempts, ending) = (Arc::clone(&attempts), Arc::clone(&ending));
            thread::spawn(move || attempt_on(front, clock, &attempts, &ending))
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self {
            clock,
            attempts,
            ending,
            threads,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// What became of the attempts that began since a moment, as far as they have ended.
    pub(crate) fn seen_since(&self, moment: Moment) -> Seen {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = Seen::default();
        for (at, server) in attempts.iter().filter(|(at, _)| *at >= moment) {
            match server {
                Some(index) => seen.served[*index] += 1,
                None => seen.failed.push(*at),
            }
        }
        seen
    }
}

fn attempt_on(
    front: SocketAddr,
    clock: Clock,
    attempts: &Mutex<Vec<Attempt>>,
    ending: &AtomicBool,
) {
    while !ending.load(Ordering::Relaxed) {
        let began = clock.now();
        let served = attempt(front);
        let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.push((began, served));
        drop(attempts);
        thread::sleep(PAUSE);
    }
}

/// Connects once and listens to the first words.
fn attempt(front: SocketAddr) -> Option<usize> {
    let mut stream = TcpStream::connect_timeout(&front, SILENCE).ok()?;
    stream.set_read_timeout(Some(SILENCE)).ok()?;
    let mut words = [0; 128];
    let count = stream.read(&mut words).ok()?;
    // Thousands of attempts must not leave thousands of sockets in TIME_WAIT.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    let words = words.get(..count)?;
    NAMES
        .iter()
        .position(|name| words.windows(name.len()).any(|window| window == *name))
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
