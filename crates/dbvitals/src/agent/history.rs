//! The history in the state directory: what changed in the last 30 days, and how long the probes of
//! the last 24 hours took, a minute at a time.
//!
//! ```text
//!   shards ── transitions, digests ──▶ bounded queues ──▶ one thread ──▶ history.db (SQLite)
//!                                                                            │
//!   HTTP, on a thread for blocking work, at most two at a time ◀── reads ────┘
//! ```
//!
//! Nothing waits for it. A shard that finds a queue full counts what it drops and goes on; the file
//! is opened, checked, written and pruned by the one thread. A file that cannot be read is set aside
//! and begun anew; a disk that is full is told once and tried again. People read the file with
//! `sqlite3`, by way of the views that `docs/operating/history.md` names.

mod digest;
mod feed;
mod reader;
mod store;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use dbvitals_probe::Clock;
use tokio::sync::Semaphore;

use crate::agent::transitions::Told;

pub(crate) use feed::{Feed, MinuteUnderWay};
pub(crate) use reader::{
    ANSWER_BYTES_MAX, Latencies, LatencyQuestion, READ_WITHIN, Reader, TransitionQuestion,
    Transitions, Unreadable,
};

use self::feed::Minute;
use self::writer::Writer;

/// The file's name in the state directory.
const FILE: &str = "history.db";
/// Minutes of backends that may wait to be written: those that a fleet hands over within a second.
const MINUTES_MAX: usize = 16_384;
/// The same for transitions.
const TRANSITIONS_MAX: usize = 4096;
/// Who may read at a time.
const READERS_MAX: usize = 2;
/// How long the last lines may take to be written.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// How long transitions are kept.
const TRANSITIONS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long digests are kept.
const DIGESTS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How far ahead of the clock what was written may be, as the clock may have been set back a little.
/// Beyond that it is of a run whose clock was wrong, or this one's is.
pub(crate) const AHEAD_MAX: Duration = Duration::from_secs(3600);

/// The history as everybody knows it: where it is, whether it is kept, how writing fares.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    is_on: AtomicBool,
    /// The file is there and can be read, as far as is known.
    is_open: AtomicBool,
    /// Nobody can write it now, so it is read as a file that does not change.
    is_still: AtomicBool,
    /// A reader met what no writer made: the file is to be looked at.
    is_suspect: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
    readers: Arc<Semaphore>,
}

impl Kept {
    fn new(directory: &Path, is_on: bool) -> Self {
        Self {
            path: directory.join(FILE),
            is_on: AtomicBool::new(is_on),
            is_open: AtomicBool::new(false),
            is_still: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }

    /// Whether a history is kept now.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Whether there is something to read.
    pub(crate) fn is_open(&self) -> bool {
        self.is_on() && self.is_open.load(Ordering::Relaxed)
    }

    /// Places for those who read.
    pub(crate) fn readers(&self) -> &Arc<Semaphore> {
        &self.readers
    }

    /// Transitions and digests that were written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Transitions and digests that were not kept, because nothing waits for the disk.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What the history takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count_dropped(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }
}

/// Keeps the history, by a thread of its own.
#[derive(Debug)]
pub(crate) struct Keeper {
    kept: Arc<Kept>,
    clock: Clock,
    minutes: SyncSender<Minute>,
    transitions: SyncSender<Arc<Told>>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl Keeper {
    /// Begins to keep the history in a state directory, or to wait until that is wanted. Returns at
    /// once: what there is, is looked at by the thread.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread.
    pub(crate) fn start(directory: &Path, is_on: bool, clock: Clock) -> io::Result<Self> {
        let kept = Arc::new(Kept::new(directory, is_on));
        let (minutes, minutes_heard) = mpsc::sync_channel(MINUTES_MAX);
        let (transitions, transitions_heard) = mpsc::sync_channel(TRANSITIONS_MAX);
        let (ending, ended) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&kept), clock);
        thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                writer.run(&minutes_heard, &transitions_heard);
                drop(ending);
            })?;
        Ok(Self {
            kept,
            clock,
            minutes,
            transitions,
            ended,
        })
    }

    /// A shard's way to the history.
    pub(crate) fn feed(&self) -> Feed {
        Feed {
            kept: Arc::clone(&self.kept),
            clock: self.clock,
            minutes: self.minutes.clone(),
            transitions: self.transitions.clone(),
        }
    }

    /// What others may know of it.
    pub(crate) fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// Keeps a history from now on, or keeps none; the file stays where it is.
    pub(crate) fn switch(&self, is_on: bool) {
        self.kept.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Waits a moment for what is to be written still. To be called after all feeds are gone, which
    /// is what ends the thread.
    pub(crate) fn finish(self) {
        drop((self.minutes, self.transitions));
        let _ = self.ended.recv_timeout(FINISH_WITHIN);
    }
}
