//! The signals of a command that runs until it is told to end: SIGTERM, SIGINT, and SIGHUP for a
//! reload.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The end, and which signal asked for it.
    End(&'static str),
    /// A reload.
    Reload,
}

/// Waits for the next of them.
pub(super) struct Signals {
    ending: Ending,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on, in place of the system's default.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            ending: Ending::new()?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits. Cancel safe.
    pub(super) async fn wait(&mut self) -> Heard {
        tokio::select! {
            signal = self.ending.wait() => Heard::End(signal),
            _ = self.hangup.recv() => Heard::Reload,
        }
    }
}

/// Waits for the first signal that ends.
pub(super) struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Listens from now on, in place of the system's default.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits, and names the signal. Cancel safe.
    pub(super) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
