//! Why connections end: a closed list, counted in the statistics.

use std::fmt;

/// Why a connection is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The server, or something on the way to it, ended what was idle for too long.
    IdleLimit,
    /// An administrator ended the session. PostgreSQL says the same when it shuts down fast, and when
    /// its main process has died.
    Killed,
    /// The server shut down.
    Shutdown,
    /// The peer closed it without a word.
    HungUp,
    /// The peer reset it.
    Reset,
    /// A ping was not answered in time, or the kernel waited for the peer in vain.
    Silent,
    /// A ping, or the tidying-up at return, failed.
    TrialFailed,
    /// The driver says that it is closed or of no use.
    Broken,
    /// A command on it was not ended, mostly because it was cancelled: its answer may still come, to
    /// whoever asks next.
    Cancelled,
    /// Its user did not want it to be used again.
    Condemned,
    /// Its user took it out of the pool.
    Detached,
    /// It reached its lifetime.
    Lifetime,
    /// It was idle for as long as the pool allows, or nearly as long as the server does.
    IdleTime,
    /// There were more than wanted.
    Surplus,
    /// The pool was closed.
    PoolClosed,
}

impl Ending {
    /// All endings, in the order in which they are counted.
    pub const ALL: [Self; 15] = [
        Self::IdleLimit,
        Self::Killed,
        Self::Shutdown,
        Self::HungUp,
        Self::Reset,
        Self::Silent,
        Self::TrialFailed,
        Self::Broken,
        Self::Cancelled,
        Self::Condemned,
        Self::Detached,
        Self::Lifetime,
        Self::IdleTime,
        Self::Surplus,
        Self::PoolClosed,
    ];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdleLimit => "idle_limit",
            Self::Killed => "killed",
            Self::Shutdown => "shutdown",
            Self::HungUp => "hung_up",
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::TrialFailed => "trial_failed",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
            Self::Condemned => "condemned",
            Self::Detached => "detached",
            Self::Lifetime => "lifetime",
            Self::IdleTime => "idle_time",
            Self::Surplus => "surplus",
            Self::PoolClosed => "pool_closed",
        }
    }

    /// Whether it was found dead, rather than ended by the pool or its user.
    pub const fn is_death(self) -> bool {
        matches!(
            self,
            Self::IdleLimit
                | Self::Killed
                | Self::Shutdown
                | Self::HungUp
                | Self::Reset
                | Self::Silent
                | Self::TrialFailed
                | Self::Broken
        )
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
