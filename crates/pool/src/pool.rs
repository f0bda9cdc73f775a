//! The pool: its handle, how to build one, and everything that is asked of it but a checkout.

use std::fmt;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::acquire::{Acquire, AcquireError};
use crate::clock;
use crate::counters::Stats;
use crate::counters::add_one;
use crate::driver::{Driver, Fault};
use crate::keeper::Keeper;
use crate::observer::{Leak, Nobody, Observer};
use crate::settings::{Settings, SettingsError};
use crate::shared::Shared;
use crate::watch::Watch;

/// How often a command that may be repeated is tried in all.
const TRIES: u32 = 3;

/// A pool of connections. Clones share it; it ends with the last of them.
///
/// Connections are opened, tried and closed by one task on the runtime on which the pool was
/// built; that runtime has to live as long as the pool, which is closed when it ends.
///
/// Where the server may be away, because a connection was found dead or none was opened yet, a
/// single attempt goes ahead, whoever waits. During an outage attempts follow each other, paced by
/// half a percent of the outage's age: a reconnect comes late by that much at most. A success
/// serves the first in the line and lets the other attempts begin at once.
pub struct Pool<D: Driver> {
    owner: Arc<Owner<D>>,
}

/// What ends with the last handle.
struct Owner<D: Driver> {
    shared: Arc<Shared<D>>,
    /// The keeper; aborted when dropped.
    _tasks: JoinSet<()>,
}

impl<D: Driver> Drop for Owner<D> {
    fn drop(&mut self) {
        drop(self.shared.ledger.orphan());
    }
}

impl<D: Driver> Clone for Pool<D> {
    fn clone(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<D: Driver> fmt::Debug for Pool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("stats", &self.stats())
            .finish()
    }
}

/// Builds a [`Pool`].
pub struct Builder<D: Driver> {
    driver: D,
    settings: Settings,
    observer: Box<dyn Observer>,
    preparation: Option<Preparation<D>>,
}

/// What every new connection goes through before it is handed out.
pub(crate) type Preparation<D> = Box<
    dyn for<'c> Fn(
            &'c mut <D as Driver>::Connection,
        )
            -> Pin<Box<dyn Future<Output = Result<(), <D as Driver>::Error>> + Send + 'c>>
        + Send
        + Sync,
>;

impl<D: Driver> fmt::Debug for Builder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why there is no pool.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The settings contradict themselves.
    #[error("build a pool: {0}")]
    Settings(#[from] SettingsError),
    /// There is no runtime to run its task on.
    #[error("build a pool outside of a tokio runtime: call it from within one, with IO and time")]
    NoRuntime,
    /// The kernel gave no epoll set.
    #[error("build a pool: no epoll set")]
    NoWatch(#[source] io::Error),
}

impl<D: Driver> Builder<D> {
    /// How the pool is to behave.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who is to be told of what happens.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Prepares every new connection before it is handed out, with a `SET` or a `LISTEN`. Within
    /// `connect_timeout`, and an error is that of an attempt that failed.
    ///
    /// ```
    /// # use dbvitals_pool::{Builder, Driver};
    /// # fn prepare<D: Driver>(builder: Builder<D>) -> Builder<D> {
    /// builder.after_connect(|_connection| Box::pin(async move { Ok(()) }))
    /// # }
    /// ```
    #[must_use]
    pub fn after_connect(
        mut self,
        prepare: impl for<'c> Fn(
            &'c mut D::Connection,
        )
            -> Pin<Box<dyn Future<Output = Result<(), D::Error>> + Send + 'c>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.preparation = Some(Box::new(prepare));
        self
    }

    /// Builds the pool. No connection is waited for; `min_idle` of them are opened at once.
    ///
    /// # Errors
    ///
    /// Settings that contradict themselves, or nothing to run on.
    pub fn build(self) -> Result<Pool<D>, BuildError> {
        self.settings.check()?;
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let watch = Watch::new().map_err(BuildError::NoWatch)?;
        let ends = watch.ends().map_err(BuildError::NoWatch)?;
        let shared = Arc::new(Shared::new(
            self.driver,
            self.settings,
            self.observer,
            self.preparation,
            watch,
        ));
        shared.change_bounds(|_| {});
        let mut tasks = JoinSet::new();
        tasks.spawn_on(Keeper::new(Arc::clone(&shared)).run(ends), &runtime);
        let owner = Owner {
            shared,
            _tasks: tasks,
        };
        Ok(Pool {
            owner: Arc::new(owner),
        })
    }
}

impl<D: Driver> Pool<D> {
    /// Begins to build a pool.
    pub fn builder(driver: D) -> Builder<D> {
        Builder {
            driver,
            settings: Settings::default(),
            observer: Box::new(Nobody),
            preparation: None,
        }
    }

    /// Checks out a connection that is alive, waiting in turn for up to `acquire_timeout`.
    ///
    /// # Errors
    ///
    /// The error tells a pool that is too small from a server that is away.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point; see [`Acquire`].
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_, D> {
        let patience = self.shared().settings.acquire_timeout;
        Acquire::new(self.shared(), Location::caller(), patience)
    }

    /// Checks out a connection as [`acquire`](Self::acquire) does, with a limit of its own.
    #[track_caller]
    pub fn acquire_within(&self, limit: Duration) -> Acquire<'_, D> {
        Acquire::new(self.shared(), Location::caller(), limit)
    }

    /// Runs commands on a connection, once.
    ///
    /// What was lost before the server can have seen it is run again on another connection; what
    /// may have been seen is not, as nobody knows whether it took effect.
    ///
    /// # Errors
    ///
    /// No connection could be had, or the commands' own error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed rather than given back.
    #[track_caller]
    pub fn run<R>(
        &self,
        commands: impl AsyncFnMut(&mut D::Connection) -> Result<R, D::Error>,
    ) -> impl Future<Output = Result<R, RunError<D::Error>>> {
        self.attempt(commands, false, Location::caller())
    }

    /// Runs commands that do no harm when done twice, such as reads: whenever their connection is
    /// lost they are run again on another one, up to three times in all.
    ///
    /// # Errors
    ///
    /// No connection could be had, or the commands' own error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed rather than given back.
    #[track_caller]
    pub fn run_repeatable<R>(
        &self,
        commands: impl AsyncFnMut(&mut D::Connection) -> Result<R, D::Error>,
    ) -> impl Future<Output = Result<R, RunError<D::Error>>> {
        self.attempt(commands, true, Location::caller())
    }

    async fn attempt<R>(
        &self,
        mut commands: impl AsyncFnMut(&mut D::Connection) -> Result<R, D::Error>,
        repeatable: bool,
        place: &'static Location<'static>,
    ) -> Result<R, RunError<D::Error>> {
        let shared = self.shared();
        let mut tries = 1;
        loop {
            let patience = shared.settings.acquire_timeout;
            let mut lease = Acquire::new(shared, place, patience).await?;
            let error = match lease.run(&mut commands).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let may_repeat = match shared.judge_error(&error) {
                Fault::LostBefore => true,
                Fault::Lost => repeatable,
                Fault::Answered | Fault::Spoiled => false,
            };
            if !may_repeat || tries == TRIES {
                return Err(RunError::Commands(error));
            }
            tries += 1;
            add_one(&shared.counters.repeats);
        }
    }

    /// What there is, and what happened so far.
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// The leases that are out for longer than `than`, and where they were checked out.
    pub fn leases_older(&self, than: Duration) -> Vec<Leak> {
        let now = clock::exact();
        let cards = self.shared().roll.cards();
        let holdings = cards.iter().filter_map(|card| card.holding());
        let leaks = holdings.map(|it| it.told_at(now));
        leaks.filter(|leak| leak.held > than).collect()
    }

    /// Changes how many connections there may be, at once: what is too many is closed, leased ones
    /// when they come back.
    ///
    /// # Errors
    ///
    /// Numbers that contradict each other; nothing changes then.
    pub fn resize(&self, max_open: usize, min_idle: usize) -> Result<(), SettingsError> {
        let changed = Settings {
            max_open,
            min_idle,
            ..self.shared().settings.clone()
        };
        changed.check()?;
        self.shared().change_bounds(|bounds| {
            bounds.max_open = max_open;
            bounds.min_idle = min_idle;
        });
        Ok(())
    }

    /// Closes the pool: refuses checkouts from now on, and waits until every connection was given
    /// back and said goodbye, or the limit has passed. Returns how many are left.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed; the waiting may be begun again.
    pub async fn close(&self, limit: Duration) -> usize {
        self.shared().ledger.close();
        let empty = async {
            loop {
                let news = self.shared().news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if self.shared().ledger.census().open() == 0 {
                    return;
                }
                // What comes back to a pool without its keeper is told to nobody.
                let _ = tokio::time::timeout(Duration::from_millis(50), news).await;
            }
        };
        let _ = tokio::time::timeout(limit, empty).await;
        self.shared().ledger.census().open()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<D>> {
        &self.owner.shared
    }
}

/// How [`Pool::run`] fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError<E: std::error::Error + 'static> {
    /// No connection could be had.
    #[error(transparent)]
    Acquire(#[from] AcquireError<E>),
    /// The commands failed.
    #[error(transparent)]
    Commands(E),
}
