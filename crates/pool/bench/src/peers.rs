//! Each pool behind one trait, with a manager whose connections are numbers.

#![expect(
    deprecated,
    reason = "fastpool names a successor; it is still the one that is used"
)]

use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

/// A server that can be away, and counts who tries to reach it.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) down: AtomicBool,
    pub(crate) attempts: AtomicUsize,
    under_way: AtomicUsize,
    pub(crate) most_under_way: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

/// What opens connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opener(pub(crate) Arc<World>);

impl Opener {
    /// A refusal takes 5 ms, a connection no time.
    pub(crate) async fn open(&self) -> Result<u64, Refused> {
        let world = &self.0;
        world.attempts.fetch_add(1, Ordering::SeqCst);
        if !world.down.load(Ordering::SeqCst) {
            return Ok(1);
        }
        let now = world.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        world.most_under_way.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        world.under_way.fetch_sub(1, Ordering::SeqCst);
        match world.down.load(Ordering::SeqCst) {
            true => Err(Refused),
            false => Ok(1),
        }
    }
}

/// A pool.
pub(crate) trait Peer: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    type Held: Send;

    fn build(size: usize, opener: Opener) -> impl Future<Output = Self> + Send;

    fn get(&self) -> impl Future<Output = Option<Self::Held>> + Send;
}

// --- The floor ----------------------------------------------------------------------------------

#[derive(Clone)]
pub(crate) struct Floor(Arc<FloorState>);

struct FloorState {
    permits: Semaphore,
    idle: Mutex<Vec<Box<u64>>>,
    opener: Opener,
}

pub(crate) struct FloorHeld {
    state: Arc<FloorState>,
    connection: Option<Box<u64>>,
}

impl Drop for FloorHeld {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.state.idle.lock().unwrap().push(connection);
        }
        self.state.permits.add_permits(1);
    }
}

impl Peer for Floor {
    const NAME: &'static str = "floor: semaphore, mutex, vector";
    type Held = FloorHeld;

    async fn build(size: usize, opener: Opener) -> Self {
        Self(Arc::new(FloorState {
            permits: Semaphore::new(size),
            idle: Mutex::default(),
            opener,
        }))
    }

    async fn get(&self) -> Option<FloorHeld> {
        self.0.permits.acquire().await.unwrap().forget();
        let idle = self.0.idle.lock().unwrap().pop();
        let mut held = FloorHeld {
            state: Arc::clone(&self.0),
            connection: idle,
        };
        if held.connection.is_none() {
            held.connection = Some(Box::new(self.0.opener.open().await.ok()?));
        }
        Some(held)
    }
}

// --- Ours ---------------------------------------------------------------------------------------

impl dbvitals_pool::Driver for Opener {
    type Connection = u64;
    type Error = Refused;

    async fn connect(&self) -> Result<dbvitals_pool::Opened<u64>, Refused> {
        self.open().await.map(dbvitals_pool::Opened::new)
    }

    async fn ping(&self, _: &mut u64) -> Result<(), Refused> {
        Ok(())
    }

    fn judge_error(&self, _: &Refused) -> dbvitals_pool::Fault {
        dbvitals_pool::Fault::Lost
    }
}

fn build_ours<D: dbvitals_pool::Driver>(size: usize, driver: D) -> dbvitals_pool::Pool<D> {
    let settings = dbvitals_pool::Settings {
        max_open: size,
        ..dbvitals_pool::Settings::default()
    };
    let builder = dbvitals_pool::Pool::builder(driver).settings(settings);
    builder.build().unwrap()
}

/// Beside the others: as they are set here, it does not look at what it hands out.
#[derive(Clone)]
pub(crate) struct Ours(dbvitals_pool::Pool<Opener>);

impl Peer for Ours {
    const NAME: &'static str = "dbvitals-pool";
    type Held = dbvitals_pool::Lease<Opener>;

    async fn build(size: usize, opener: Opener) -> Self {
        Self(build_ours(size, opener))
    }

    async fn get(&self) -> Option<Self::Held> {
        self.0.acquire().await.ok()
    }
}

/// As it is used: every checkout looks at a socket, which none of the others does.
#[derive(Clone)]
pub(crate) struct OursThatLooks(dbvitals_pool::Pool<SocketOpener>);

pub(crate) struct SocketOpener(Opener);

impl dbvitals_pool::Driver for SocketOpener {
    type Connection = [OwnedFd; 2];
    type Error = Refused;

    async fn connect(&self) -> Result<dbvitals_pool::Opened<[OwnedFd; 2]>, Refused> {
        self.0.open().await?;
        let pair = UnixStream::pair().map_err(|_| Refused)?;
        let socket = pair.0.try_clone().map_err(|_| Refused)?;
        let opened = dbvitals_pool::Opened::new([pair.0.into(), pair.1.into()]);
        Ok(opened.with_socket(socket.into()))
    }

    async fn ping(&self, _: &mut [OwnedFd; 2]) -> Result<(), Refused> {
        Ok(())
    }

    fn judge_error(&self, _: &Refused) -> dbvitals_pool::Fault {
        dbvitals_pool::Fault::Lost
    }
}

impl Peer for OursThatLooks {
    const NAME: &'static str = "dbvitals-pool, looking at sockets";
    type Held = dbvitals_pool::Lease<SocketOpener>;

    async fn build(size: usize, opener: Opener) -> Self {
        Self(build_ours(size, SocketOpener(opener)))
    }

    async fn get(&self) -> Option<Self::Held> {
        self.0.acquire().await.ok()
    }
}

// --- deadpool -----------------------------------------------------------------------------------

impl deadpool::managed::Manager for Opener {
    type Type = u64;
    type Error = Refused;

    async fn create(&self) -> Result<u64, Refused> {
        self.open().await
    }

    async fn recycle(
        &self,
        _: &mut u64,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Refused> {
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct Deadpool(deadpool::managed::Pool<Opener>);

impl Peer for Deadpool {
    const NAME: &'static str = "deadpool";
    type Held = deadpool::managed::Object<Opener>;

    async fn build(size: usize, opener: Opener) -> Self {
        Self(
            deadpool::managed::Pool::builder(opener)
                .max_size(size)
                .build()
                .unwrap(),
        )
    }

    async fn get(&self) -> Option<Self::Held> {
        self.0.get().await.ok()
    }
}

// --- bb8 ----------------------------------------------------------------------------------------

impl bb8::ManageConnection for Opener {
    type Connection = u64;
    type Error = Refused;

    async fn connect(&self) -> Result<u64, Refused> {
        self.open().await
    }

    async fn is_valid(&self, _: &mut u64) -> Result<(), Refused> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}

#[derive(Clone)]
pub(crate) struct Bb8(bb8::Pool<Opener>);

impl Peer for Bb8 {
    const NAME: &'static str = "bb8";
    type Held = bb8::PooledConnection<'static, Opener>;

    async fn build(size: usize, opener: Opener) -> Self {
        let builder = bb8::Pool::builder()
            .max_size(size.try_into().unwrap())
            .test_on_check_out(false);
        Self(builder.build_unchecked(opener))
    }

    async fn get(&self) -> Option<Self::Held> {
        self.0.get_owned().await.ok()
    }
}

// --- mobc ---------------------------------------------------------------------------------------

pub(crate) struct MobcOpener(Opener);

#[mobc::async_trait]
impl mobc::Manager for MobcOpener {
    type Connection = u64;
    type Error = Refused;

    async fn connect(&self) -> Result<u64, Refused> {
        self.0.open().await
    }

    async fn check(&self, connection: u64) -> Result<u64, Refused> {
        Ok(connection)
    }
}

#[derive(Clone)]
pub(crate) struct Mobc(mobc::Pool<MobcOpener>);

impl Peer for Mobc {
    const NAME: &'static str = "mobc";
    type Held = mobc::Connection<MobcOpener>;

    async fn build(size: usize, opener: Opener) -> Self {
        let size = size as u64;
        let builder = mobc::Pool::builder().max_open(size).max_idle(size);
        Self(builder.test_on_check_out(false).build(MobcOpener(opener)))
    }

    async fn get(&self) -> Option<Self::Held> {
        self.0.get().await.ok()
    }
}

// --- fastpool -----------------------------------------------------------------------------------

impl fastpool::ManageObject for Opener {
    type Object = u64;
    type Error = Refused;

    async fn create(&self) -> Result<u64, Refused> {
        self.open().await
    }

    async fn is_recyclable(&self, _: &mut u64, _: &fastpool::ObjectStatus) -> Result<(), Refused> {
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct Fastpool(Arc<fastpool::bounded::Pool<Opener>>);

impl Peer for Fastpool {
    const NAME: &'static str = "fastpool";
    type Held = fastpool::bounded::Object<Opener>;

    async fn build(size: usize, opener: Opener) -> Self {
        let config = fastpool::bounded::PoolConfig::new(size);
        Self(fastpool::bounded::Pool::new(config, opener))
    }

    async fn get(&self) -> Option<Self::Held> {
        self.0.get().await.ok()
    }
}

// --- r2d2, for one task only: it blocks ----------------------------------------------------------

#[derive(Debug)]
pub(crate) struct R2d2Opener;

impl r2d2::ManageConnection for R2d2Opener {
    type Connection = u64;
    type Error = Refused;

    fn connect(&self) -> Result<u64, Refused> {
        Ok(1)
    }

    fn is_valid(&self, _: &mut u64) -> Result<(), Refused> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}

/// Runs one row of a table on every pool that awaits and is wanted; `$row` is a generic function.
macro_rules! for_each_peer {
    ($row:ident ( $($argument:expr),* )) => {
        crate::peers::for_each_peer!(
            $row ( $($argument),* );
            crate::peers::Floor,
            crate::peers::Ours,
            crate::peers::OursThatLooks,
            crate::peers::Fastpool,
            crate::peers::Deadpool,
            crate::peers::Bb8,
            crate::sqlx_peer::Sqlx,
            crate::peers::Mobc
        )
    };
    ($row:ident $arguments:tt; $($peer:ty),*) => {{
        let mut figures = Vec::new();
        $(
            if crate::is_wanted(<$peer as crate::peers::Peer>::NAME) {
                figures.push($row::<$peer> $arguments);
            }
        )*
        figures
    }};
}
pub(crate) use for_each_peer;
