//! How every command ends: the exit codes of the monitoring plugins, a part of the contract.

use std::process::ExitCode;

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: fine.
    Fine,
    /// 1: degraded, or fit only in part.
    Warning,
    /// 2: down, or the thing asked about is bad.
    Critical,
    /// 3: unknown or misuse: bad arguments, bad configuration, any cause of class ours.
    Unknown,
}

impl Exit {
    /// Of several outcomes, the one that the process reports: 2 before 3 before 1 before 0.
    pub(crate) fn worst(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Fine => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }

    /// The monitoring plugins' word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fine => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Warning => 1,
            Exit::Critical => 2,
            Exit::Unknown => 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_several_targets_the_worst_decides() {
        use Exit::{Critical, Fine, Unknown, Warning};
        assert_eq!(Fine.worst(Warning), Warning);
        assert_eq!(Warning.worst(Unknown), Unknown);
        assert_eq!(Unknown.worst(Critical), Critical);
        assert_eq!(Critical.worst(Fine), Critical);
    }
}
