//! `serve --json`: transitions as lines of JSON on standard output.
//!
//! Whoever reads them may stop reading, so they are printed by a thread of their own: a write that
//! waits holds up nothing but itself, and what was lost meanwhile is told in the log.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use dbvitals_probe::Clock;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::agent::transition_line::TransitionLine;
use crate::agent::transitions::Told;

/// How long the last lines may take to be written.
const FINISH_WITHIN: Duration = Duration::from_millis(200);

/// The thread that prints.
#[derive(Debug)]
pub(super) struct Printer {
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl Printer {
    /// Prints transitions until there are no more to come.
    pub(super) fn start(
        transitions: broadcast::Receiver<Arc<Told>>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let (ending, ended) = mpsc::channel();
        thread::Builder::new()
            .name("transitions".to_owned())
            .spawn(move || {
                print(transitions, clock);
                drop(ending);
            })
            .context("failed to start a thread")?;
        Ok(Self { ended })
    }

    /// Waits for the last lines, unless nobody reads them. To be called after the agent has
    /// stopped, which is what ends the thread.
    pub(super) fn finish(self) {
        let _ = self.ended.recv_timeout(FINISH_WITHIN);
    }
}

fn print(mut transitions: broadcast::Receiver<Arc<Told>>, clock: Clock) {
    loop {
        match transitions.blocking_recv() {
            Ok(told) => {
                let line = serde_json::to_string(&TransitionLine::of(&told, clock));
                let mut out = io::stdout().lock();
                // Where nobody reads any more, watching goes on.
                let _ = line.map(|line| writeln!(out, "{line}").and_then(|()| out.flush()));
            }
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(
                    lost,
                    "standard output is too slow; transitions were not printed"
                );
            }
            Err(RecvError::Closed) => return,
        }
    }
}
