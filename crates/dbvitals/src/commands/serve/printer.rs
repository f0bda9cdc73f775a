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
use dbvitals_verdict::Change;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::agent::Told;
use crate::agent::log;
use crate::duration::rfc3339;

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
                let line = serde_json::to_string(&transition_line(&told, clock));
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

/// One line of `serve --json`, schema `dbvitals.transition.v1`.
#[derive(Debug, Serialize)]
struct TransitionLine<'a> {
    schema: &'static str,
    at: String,
    backend: &'a str,
    change: &'static str,
    from: Option<&'static str>,
    to: &'static str,
    cause: Option<&'static str>,
    class: Option<&'static str>,
    /// What each path saw last: `pass` or a cause.
    held: Option<&'static str>,
    fresh: Option<&'static str>,
    detail: Option<&'a str>,
}

fn transition_line(told: &Told, clock: Clock) -> TransitionLine<'_> {
    let (change, from, to) = match told.transition.change {
        Change::Verdict { from, to } => ("verdict", Some(from.name()), to.name()),
        Change::Role { from, to } => ("role", from.map(|role| role.name()), to.name()),
        Change::Admin { from, to } => ("admin", Some(from.name()), to.name()),
    };
    let evidence = &told.transition.evidence;
    let decisive = evidence.decisive();
    TransitionLine {
        schema: "dbvitals.transition.v1",
        at: rfc3339(clock.wall(told.transition.at)),
        backend: &told.backend.name,
        change,
        from,
        to,
        cause: evidence.cause.map(|cause| cause.name()),
        class: evidence.class.map(|class| class.name()),
        held: log::word(&evidence.held),
        fresh: log::word(&evidence.fresh),
        detail: decisive.and_then(|observation| observation.detail.as_deref()),
    }
}
