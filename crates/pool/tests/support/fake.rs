//! A server inside the test: its connections are unix sockets, and what goes wrong is on order.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbvitals_pool::{
    ConnectFault, Driver, Ending, Fault, Observer, Opened, Pool, Returned, Settings,
};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A pool of so many, whose checkouts and pings do not take long to fail.
pub(crate) fn settings(max_open: usize) -> Settings {
    Settings {
        max_open,
        acquire_timeout: 5_000 * MS,
        ping_timeout: 50 * MS,
        ..Settings::default()
    }
}

/// A server that misbehaves on order; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Server {
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    down: AtomicBool,
    panics: AtomicUsize,
    /// The driver panics wherever it is asked without waiting.
    panics_when_asked: AtomicBool,
    rejects: AtomicBool,
    /// Connections that the driver keeps open when they are dropped.
    clings: AtomicBool,
    clung_to: Mutex<Vec<UnixStream>>,
    /// How long a refusal, or a connection, takes.
    delay_us: AtomicU64,
    idle_limit_ms: AtomicU64,
    without_sockets: AtomicBool,
    attempts: AtomicUsize,
    attempts_now: AtomicUsize,
    attempts_most: AtomicUsize,
    open_now: AtomicUsize,
    open_most: AtomicUsize,
    pings: AtomicUsize,
    next: AtomicU64,
    /// The server's end of each connection.
    peers: Mutex<BTreeMap<u64, UnixStream>>,
    /// Connections that do not answer.
    silent: Mutex<Vec<u64>>,
}

/// A connection; closed for the server when it is dropped.
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) returned: Returned,
    stream: UnixStream,
    world: Arc<World>,
}

/// What a command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Refused,
    Lost,
    LostBefore,
    Answered,
    Rejected,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Failure {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.number)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.world.open_now.fetch_sub(1, Ordering::SeqCst);
        if self.world.clings.load(Ordering::SeqCst) {
            let kept = self.stream.try_clone().unwrap();
            self.world.clung_to.lock().unwrap().push(kept);
            return;
        }
        self.world.peers.lock().unwrap().remove(&self.number);
    }
}

impl Connection {
    /// A command: fails where the server has gone, never ends where it is silent.
    pub(crate) async fn query(&mut self) -> Result<u64, Failure> {
        if self.world.silent.lock().unwrap().contains(&self.number) {
            std::future::pending::<()>().await;
        }
        match self.world.peers.lock().unwrap().contains_key(&self.number) {
            true => Ok(self.number),
            false => Err(Failure::Lost),
        }
    }
}

impl Server {
    pub(crate) fn pool(&self, settings: Settings) -> Pool<Self> {
        Pool::builder(self.clone())
            .settings(settings)
            .build()
            .unwrap()
    }

    pub(crate) fn watched_pool(&self, settings: Settings, observer: impl Observer) -> Pool<Self> {
        let builder = Pool::builder(self.clone()).settings(settings);
        builder.observer(observer).build().unwrap()
    }

    /// Refuses new connections, or lets them in again.
    pub(crate) fn set_down(&self, down: bool) {
        self.world.down.store(down, Ordering::SeqCst);
    }

    /// Panics in the driver, at so many attempts to come.
    pub(crate) fn panic_at_attempts(&self, count: usize) {
        self.world.panics.store(count, Ordering::SeqCst);
    }

    /// Panics in the driver, wherever it is asked without waiting.
    pub(crate) fn panic_when_asked(&self, panics: bool) {
        let world = &self.world;
        world.panics_when_asked.store(panics, Ordering::SeqCst);
    }

    /// Lets nobody in, for good, or lets them in again.
    pub(crate) fn reject_all(&self, rejects: bool) {
        self.world.rejects.store(rejects, Ordering::SeqCst);
    }

    /// Has the driver keep connections open that are dropped.
    pub(crate) fn cling(&self) {
        self.world.clings.store(true, Ordering::SeqCst);
    }

    /// Whether the server sees the end of a connection.
    pub(crate) fn sees_end_of(&self, number: u64) -> bool {
        use std::io::Read as _;
        let peers = self.world.peers.lock().unwrap();
        let mut peer = &peers[&number];
        peer.set_nonblocking(true).unwrap();
        matches!(peer.read(&mut [0; 1]), Ok(0))
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        let delay_us = delay.as_micros().try_into().unwrap();
        self.world.delay_us.store(delay_us, Ordering::SeqCst);
    }

    pub(crate) fn set_idle_limit(&self, limit: Duration) {
        let limit_ms = limit.as_millis().try_into().unwrap();
        self.world.idle_limit_ms.store(limit_ms, Ordering::SeqCst);
    }

    /// Lets the pool see no sockets.
    pub(crate) fn hide_sockets(&self) {
        self.world.without_sockets.store(true, Ordering::SeqCst);
    }

    /// Closes all connections from the server's side.
    pub(crate) fn kill_all(&self) {
        self.world.peers.lock().unwrap().clear();
    }

    pub(crate) fn kill(&self, number: u64) {
        self.world.peers.lock().unwrap().remove(&number);
    }

    /// Says a few bytes on a connection.
    pub(crate) fn say(&self, number: u64, words: &[u8]) {
        use std::io::Write as _;
        let peers = self.world.peers.lock().unwrap();
        (&peers[&number]).write_all(words).unwrap();
    }

    /// Lets all connections that are open by now fall silent.
    pub(crate) fn swallow_all(&self) {
        let numbers = self.world.peers.lock().unwrap().keys().copied().collect();
        *self.world.silent.lock().unwrap() = numbers;
    }

    /// Lets one fall silent.
    pub(crate) fn swallow(&self, number: u64) {
        self.world.silent.lock().unwrap().push(number);
    }

    pub(crate) fn pings(&self) -> usize {
        self.world.pings.load(Ordering::SeqCst)
    }

    pub(crate) fn attempts(&self) -> usize {
        self.world.attempts.load(Ordering::SeqCst)
    }

    /// The most attempts that there were at a time, and the most connections.
    pub(crate) fn most(&self) -> (usize, usize) {
        let most = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (most(&self.world.attempts_most), most(&self.world.open_most))
    }

    pub(crate) fn open(&self) -> usize {
        self.world.open_now.load(Ordering::SeqCst)
    }
}

impl Driver for Server {
    type Connection = Connection;
    type Error = Failure;

    async fn connect(&self) -> Result<Opened<Connection>, Failure> {
        let world = &self.world;
        world.attempts.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay::begin(world);
        let panics = &world.panics;
        if panics
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            panic!("on order");
        }
        let delay = Duration::from_micros(world.delay_us.load(Ordering::SeqCst));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if world.rejects.load(Ordering::SeqCst) {
            return Err(Failure::Rejected);
        }
        if world.down.load(Ordering::SeqCst) {
            return Err(Failure::Refused);
        }
        let (stream, peer) = UnixStream::pair().map_err(|_: io::Error| Failure::Refused)?;
        let number = world.next.fetch_add(1, Ordering::SeqCst);
        world.peers.lock().unwrap().insert(number, peer);
        let open = world.open_now.fetch_add(1, Ordering::SeqCst) + 1;
        world.open_most.fetch_max(open, Ordering::SeqCst);
        let socket = stream.as_fd().try_clone_to_owned().unwrap();
        let mut opened = Opened::new(Connection {
            number,
            returned: Returned::Unknown,
            stream,
            world: Arc::clone(world),
        });
        let idle_limit_ms = world.idle_limit_ms.load(Ordering::SeqCst);
        if idle_limit_ms > 0 {
            opened = opened.with_idle_limit(Duration::from_millis(idle_limit_ms));
        }
        Ok(match world.without_sockets.load(Ordering::SeqCst) {
            true => opened,
            false => opened.with_socket(socket),
        })
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), Failure> {
        self.world.pings.fetch_add(1, Ordering::SeqCst);
        connection.query().await.map(drop)
    }

    fn at_return(&self, connection: &mut Connection) -> Returned {
        self.world.answer();
        connection.returned
    }

    fn is_closed(&self, _: &Connection) -> bool {
        self.world.answer();
        false
    }

    fn ending(&self, _: &Connection) -> Option<Ending> {
        self.world.answer();
        None
    }

    fn judge_attempt(&self, error: &Failure) -> ConnectFault {
        match *error == Failure::Rejected {
            true => ConnectFault::Rejected,
            false => ConnectFault::Unreachable,
        }
    }

    fn judge_error(&self, error: &Failure) -> Fault {
        match error {
            Failure::Refused | Failure::Rejected | Failure::Lost => Fault::Lost,
            Failure::LostBefore => Fault::LostBefore,
            Failure::Answered => Fault::Answered,
        }
    }
}

impl World {
    /// Lets the driver answer, or panic.
    fn answer(&self) {
        assert!(!self.panics_when_asked.load(Ordering::SeqCst), "on order");
    }
}

/// An attempt under way.
struct UnderWay<'w>(&'w World);

impl<'w> UnderWay<'w> {
    fn begin(world: &'w World) -> Self {
        let now = world.attempts_now.fetch_add(1, Ordering::SeqCst) + 1;
        world.attempts_most.fetch_max(now, Ordering::SeqCst);
        Self(world)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.attempts_now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until something holds, ten seconds at most.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("in ten seconds it did not come to this: {what}");
}
