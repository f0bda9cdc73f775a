//! The agent: event loops that watch backends, and a board on which everybody can read.
//!
//! ```text
//!   event loop (one thread per shard)              publishers (their own thread)
//!   Monitor ⇄ Prober ──── writes ───▶ Board ◀─── read ──── gates, HTTP, metrics
//!                   └── transitions ─────────────────────▶ log, demo, --json
//! ```
//!
//! Backends are dealt out to shards; a shard knows nothing of the others. What crosses between
//! threads is the board (atomics and snapshots) and transitions, through a bounded channel whose
//! slow readers lose the oldest. Nothing that a reader does can make a shard wait.

pub(crate) mod board;
pub(crate) mod event_loop;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod plan;
pub(crate) mod publishers;

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use dbvitals_probe::Clock;
use tokio::sync::broadcast;

use crate::agent::board::{BackendBoard, Board};
use crate::agent::event_loop::{EventLoop, ShardHandle};
use crate::agent::plan::BackendPlan;
use crate::record::Recorder;

/// Transitions that a slow reader may be behind before it loses the oldest.
const TRANSITIONS_KEPT: usize = 1024;
/// Backends for which another shard is worth its thread.
const BACKENDS_PER_SHARD_MIN: usize = 64;

/// How many shards share out so many backends.
pub(crate) fn shards_for(backends: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(backends.div_ceil(BACKENDS_PER_SHARD_MIN)).max(1)
}

/// One change on one backend, ready to be told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Which backend.
    pub(crate) backend: Arc<BackendBoard>,
    /// What changed, when, and why.
    pub(crate) transition: dbvitals_verdict::Transition,
}

/// A running agent; dropping it without [`stop`](Self::stop) leaves its threads to the end of the
/// process.
#[derive(Debug)]
pub(crate) struct Agent {
    board: Arc<Board>,
    shards: Vec<(ShardHandle, JoinHandle<()>)>,
}

impl Agent {
    /// Starts watching; returns the agent and its transitions, from the very first on.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread or no descriptor.
    pub(crate) fn start(
        backends: &[BackendPlan],
        clock: Clock,
        seed: u64,
        recorder: Option<&Recorder>,
    ) -> anyhow::Result<(Self, broadcast::Receiver<Arc<Told>>)> {
        let board = Arc::new(Board::new(backends, clock));
        let (told, transitions) = broadcast::channel(TRANSITIONS_KEPT);
        let shards = shards_for(backends.len());
        let mut running = Vec::new();
        for shard in 0..shards {
            let own: Vec<_> = backends
                .iter()
                .zip(board.backends())
                .skip(shard)
                .step_by(shards)
                .map(|(plan, board)| (plan.clone(), Arc::clone(board)))
                .collect();
            let beat = board.add_shard();
            let record = recorder.map(|recorder| recorder.feed(shard, shards));
            let (event_loop, handle) =
                EventLoop::new(own, clock, seed ^ shard as u64, beat, told.clone(), record)
                    .context("failed to open an epoll descriptor")?;
            let thread = std::thread::Builder::new()
                .name(format!("shard-{shard}"))
                .spawn(move || event_loop.run())
                .context("failed to start a thread")?;
            running.push((handle, thread));
        }
        let agent = Self {
            board,
            shards: running,
        };
        Ok((agent, transitions))
    }

    /// What is known now.
    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Says goodbye to every server and ends; takes about a second at most.
    pub(crate) fn stop(self) {
        for (handle, _) in &self.shards {
            handle.stop();
        }
        for (_, thread) in self.shards {
            // A shard that panicked has said so already.
            let _ = thread.join();
        }
    }
}
