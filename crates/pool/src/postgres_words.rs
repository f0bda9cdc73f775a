//! What PostgreSQL's SQLSTATEs mean for a session, for its adapters.

use crate::driver::ConnectFault;
#[cfg(feature = "tokio-postgres")]
use crate::ending::Ending;

/// What a server means that does not let a session in.
pub(crate) fn judge_refusal(code: &str) -> ConnectFault {
    // Class 28: no such role, wrong password, no entry in pg_hba.conf. 3D000: no such database;
    // 42501: no right to connect to it.
    match code.starts_with("28") || matches!(code, "3D000" | "42501") {
        true => ConnectFault::Rejected,
        false => ConnectFault::NotNow,
    }
}

/// Whether the server ends the session after these words, where it is not known that they are
/// FATAL.
#[cfg(feature = "tokio-postgres")]
pub(crate) fn ends_session(code: &str) -> bool {
    // 25P03 and 25P04: idle in a transaction, or in a transaction, for too long.
    code.starts_with("57P0") || code.starts_with("08") || matches!(code, "25P03" | "25P04")
}

/// Why it ended one, by the last words if there were any.
#[cfg(feature = "tokio-postgres")]
pub(crate) fn name_ending(code: Option<&str>) -> Ending {
    match code {
        // A fast shutdown, and the death of the main process, say the same as pg_terminate_backend.
        Some("57P01") => Ending::Killed,
        Some("57P02" | "57P03") => Ending::Shutdown,
        Some("57P05" | "25P03") => Ending::IdleLimit,
        Some(_) => Ending::Broken,
        None => Ending::HungUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_password_is_wrong_a_moment_later_too() {
        assert_eq!(judge_refusal("28P01"), ConnectFault::Rejected);
        assert_eq!(judge_refusal("3D000"), ConnectFault::Rejected);
        assert_eq!(judge_refusal("53300"), ConnectFault::NotNow);
        assert_eq!(judge_refusal("57P03"), ConnectFault::NotNow);
    }

    #[cfg(feature = "tokio-postgres")]
    #[test]
    fn a_refused_statement_does_not_end_a_session() {
        assert!(ends_session("57P01") && ends_session("08006"));
        assert!(ends_session("25P03") && ends_session("25P04"));
        assert!(!ends_session("42601") && !ends_session("57014") && !ends_session("25P02"));
    }
}
