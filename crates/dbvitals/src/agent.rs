//! The agent: event loops that watch backends, and a board on which everybody can read.
//!
//! ```text
//!   event loop (one thread per shard)              publishers (their own thread)
//!   Monitor ⇄ Prober ──── writes ───▶ Board ◀─── read ──── gates, HTTP, metrics
//!      ▲            └── transitions ─────────────────────▶ log, demo, --json
//!      └── looks ── accept queues (a thread) ── writes ──▶ Board
//! ```
//!
//! Backends are dealt out to shards; a shard knows nothing of the others. What crosses between
//! threads is the board (atomics and snapshots) and transitions, through a bounded channel whose
//! slow readers lose the oldest. Nothing that a reader does can make a shard wait.

pub(crate) mod agent_check;
pub(crate) mod agent_plan;
pub(crate) mod board;
pub(crate) mod control;
pub(crate) mod event_loop;
pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod http;
pub(crate) mod listening;
pub(crate) mod log;
mod look;
pub(crate) mod metrics;
pub(crate) mod orders;
pub(crate) mod plan;
pub(crate) mod publishers;
pub(crate) mod queues;
mod seen;
pub(crate) mod subject;
pub(crate) mod transition_line;
pub(crate) mod transitions;

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use dbvitals_probe::Clock;
use dbvitals_verdict::Admin;
use tokio::sync::broadcast;

use crate::agent::board::Board;
use crate::agent::control::{Control, Watchlist};
use crate::agent::event_loop::EventLoop;
use crate::agent::history::Keeper;
use crate::agent::queues::QueueWatch;
use crate::agent::transitions::Told;
use crate::record::Recorder;

/// Backends for which another shard is worth its thread: their pings, one a second each, keep a core
/// busy for less than a tenth of its time, and cost more where two threads share them out, because
/// each then wakes for half as many.
const BACKENDS_PER_SHARD_MIN: usize = 10_000;

/// How many shards share out so many backends.
pub(crate) fn shards_for(backends: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(backends.div_ceil(BACKENDS_PER_SHARD_MIN)).max(1)
}

/// A running agent; dropping it without [`stop`](Self::stop) leaves its threads to the end of the
/// process.
#[derive(Debug)]
pub(crate) struct Agent {
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
    queues: QueueWatch,
}

impl Agent {
    /// Starts watching, each backend under the order that an operator gave; whoever listens already
    /// hears of transitions from the very first on.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread or no descriptor.
    pub(crate) fn start(
        watchlist: Watchlist<'_>,
        order: &dyn Fn(&str) -> Admin,
        clock: Clock,
        seed: u64,
        told: broadcast::Sender<Arc<Told>>,
        recorder: Option<&Recorder>,
        keeper: Option<&Keeper>,
    ) -> anyhow::Result<Self> {
        let board = Arc::new(Board::new(clock));
        let shards = shards_for(watchlist.backends.len());
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for shard in 0..shards {
            let beat = board.add_shard();
            let record = recorder.map(|recorder| recorder.feed(shard));
            let history = keeper.map(Keeper::feed);
            let (event_loop, handle) = EventLoop::new(
                clock,
                seed ^ shard as u64,
                beat,
                told.clone(),
                record,
                history,
            )
            .context("failed to open an epoll descriptor")?;
            let thread = std::thread::Builder::new()
                .name(format!("shard-{shard}"))
                .spawn(move || event_loop.run())
                .context("failed to start a thread")?;
            handles.push(handle);
            threads.push(thread);
        }
        let control = Arc::new(Control::new(board, handles));
        control.watch(watchlist, order)?;
        let queues = QueueWatch::start(&control).context("failed to start a thread")?;
        Ok(Self {
            control,
            threads,
            queues,
        })
    }

    /// What is known now.
    pub(crate) fn board(&self) -> &Arc<Board> {
        self.control.board()
    }

    /// What may be asked of the agent while it runs.
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Says goodbye to every server and ends; takes about a second at most.
    pub(crate) fn stop(self) {
        self.queues.stop();
        self.control.stop();
        for thread in self.threads {
            // A shard that panicked has said so already.
            let _ = thread.join();
        }
    }
}
