//! From errno, error packet and foreign bytes to a cause: the one place where they are read.
//!
//! Numbers decide, texts do not (they may be translated), with one exception that is named below.
//! Sources: MySQL's and MariaDB's error references, PostgreSQL's appendix "Error Codes".

use std::io;
use std::sync::Arc;

use dbvitals_verdict::{Cause, Phase};
use dbvitals_wire::{Foreign, Refusal};
use rustix::io::Errno;

/// Why a probe ended short: a cause, and the sentence that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) detail: Arc<str>,
}

impl Failure {
    /// The detail may hold a server's own words: it is cut to a bounded length, and what a terminal
    /// or a log would take for a command is replaced.
    pub(crate) fn new(cause: Cause, detail: impl Into<Arc<str>>) -> Self {
        let detail = detail.into();
        let sound = detail.len() <= DETAIL_MAX && !detail.contains(char::is_control);
        let detail = match sound {
            true => detail,
            false => cleaned(&detail).into(),
        };
        Self { cause, detail }
    }

    /// An error of a system call on the way to or on a connection.
    pub(crate) fn from_io(error: &io::Error, phase: Phase) -> Self {
        let cause = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::CONNREFUSED | Errno::NOENT) => Cause::Refused,
            Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => Cause::Reset,
            Some(Errno::TIMEDOUT) if phase == Phase::Connect => Cause::ConnectTimeout,
            Some(Errno::TIMEDOUT) => Cause::Unresponsive,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                Cause::OutOfDescriptors
            }
            Some(Errno::AGAIN) if phase == Phase::Connect => Cause::QueueFull,
            Some(Errno::ACCESS | Errno::PERM) => Cause::AccessDenied,
            Some(_) | None if phase == Phase::Connect => Cause::Unreachable,
            Some(_) | None => Cause::Reset,
        };
        Self::new(cause, plain(error))
    }

    /// The deadline ended in this phase.
    pub(crate) fn late(phase: Phase) -> Self {
        let (cause, waited_for) = match phase {
            Phase::Resolve => (Cause::DnsFailed, "the name to be resolved"),
            Phase::Connect => (Cause::ConnectTimeout, "the connect to be answered"),
            Phase::Greeting => (Cause::NoGreeting, "the server's first words"),
            Phase::Tls => (Cause::Unresponsive, "the TLS handshake"),
            Phase::Login => (Cause::Unresponsive, "the login to be answered"),
            Phase::Ping => (Cause::Unresponsive, "the ping to be answered"),
            Phase::Query => (Cause::Unresponsive, "the statement to be answered"),
            Phase::Role => (
                Cause::Unresponsive,
                "the question for the role to be answered",
            ),
            Phase::Lag => (
                Cause::Unresponsive,
                "the question for the state of replication to be answered",
            ),
            // A moment before, the same server said that it takes writes.
            Phase::Write => (Cause::WriteFailed, "the write to be committed"),
            // The kernel answers within the call; only the agent itself can be late with it.
            Phase::Listening => (Cause::AgentStalled, "the kernel to tell who listens"),
        };
        Self::new(
            cause,
            format!("the deadline ended while waiting for {waited_for}"),
        )
    }

    /// The peer closed the connection.
    pub(crate) fn closed(phase: Phase) -> Self {
        let when = match phase {
            Phase::Resolve | Phase::Listening | Phase::Connect | Phase::Greeting => {
                "before saying anything"
            }
            Phase::Tls => "in the TLS handshake",
            Phase::Login => "during the login",
            Phase::Ping => "instead of answering the ping",
            Phase::Query => "instead of answering the statement",
            Phase::Role => "instead of telling its role",
            Phase::Lag => "instead of telling the state of replication",
            Phase::Write => "instead of committing the write",
        };
        Self::new(
            Cause::Closed,
            format!("the server closed the connection {when}"),
        )
    }

    /// Something else answers.
    pub(crate) fn foreign(foreign: Foreign) -> Self {
        Self::new(Cause::WrongProtocol, format!("{foreign} answers here"))
    }

    /// The server refused in its own words.
    pub(crate) fn refused(refusal: &Refusal, phase: Phase) -> Self {
        let cause = if refusal.number > 0 {
            mysql_cause(refusal, phase)
        } else {
            postgres_cause(refusal, phase)
        };
        Self::new(cause, refusal.to_string())
    }
}

/// The longest detail, in bytes.
const DETAIL_MAX: usize = 1024;

fn cleaned(text: &str) -> String {
    let visible = |letter: char| match letter.is_control() {
        true => ' ',
        false => letter,
    };
    let fits = |(at, letter): &(usize, char)| at + letter.len_utf8() <= DETAIL_MAX;
    let letters = text.char_indices().take_while(fits);
    letters.map(|(_, letter)| visible(letter)).collect()
}

/// An error of the system as people want to read it: without Rust's "(os error 111)", and without
/// its announcement of a failed name resolution.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

/// What a user without the privileges for a write is refused with: ER_DBACCESS_DENIED,
/// ER_NO_DB, ER_BAD_DB, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED, ER_NO_SUCH_TABLE,
/// ER_SPECIFIC_ACCESS_DENIED.
const MYSQL_NOT_ALLOWED: [u16; 7] = [1044, 1046, 1049, 1142, 1143, 1146, 1227];

/// Whether a text of MySQL's or MariaDB's names ENOSPC, in one of their ways to write it.
fn names_a_full_disk(text: &str) -> bool {
    ["errno: 28 ", "errno 28 ", "Errcode: 28 ", "error 28 "]
        .iter()
        .any(|words| text.contains(words))
}

fn mysql_cause(refusal: &Refusal, phase: Phase) -> Cause {
    match refusal.number {
        // ER_CON_COUNT_ERROR
        1040 => Cause::TooManyConnections,
        // ER_HOST_IS_BLOCKED
        1129 => Cause::HostBlocked,
        // ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
        1203 | 1226 => Cause::CheckUserLimit,
        // ER_SERVER_SHUTDOWN, ER_NORMAL_SHUTDOWN
        1053 | 1077 => Cause::ShuttingDown,
        // ER_UNKNOWN_COM_ERROR: what Galera answers while a node is not part of its cluster.
        1047 => Cause::RejectingQueries,
        // ER_DISK_FULL, ER_RECORD_FILE_FULL, ER_DISK_FULL_NOWAIT (MySQL's for a new table)
        1021 | 1114 | 3675 => Cause::DiskFull,
        // EE_CANTCREATEFILE, EE_WRITE, ER_CANT_CREATE_TABLE, ER_ERROR_ON_WRITE, ER_GET_ERRNO: why,
        // is in the text alone, as the system's error number.
        1 | 3 | 1005 | 1026 | 1030 if names_a_full_disk(&refusal.message) => Cause::DiskFull,
        // ER_SERVER_OFFLINE_MODE; with a reason or a user since MySQL 9.0, each under a number of its
        // own (ER_SERVER_OFFLINE_MODE_REASON, ER_SERVER_OFFLINE_MODE_USER).
        3032 | 6400 | 6401 => Cause::RejectingQueries,
        // ER_MUST_CHANGE_PASSWORD: the session of an expired password may do nothing else.
        1820 => Cause::AccessDenied,
        // ER_LOCK_WAIT_TIMEOUT, ER_QUERY_INTERRUPTED, ER_STATEMENT_TIMEOUT, ER_QUERY_TIMEOUT
        1205 | 1317 | 1969 | 3024 if phase != Phase::Write => Cause::RejectingQueries,
        // ER_OPTION_PREVENTS_STATEMENT names its option, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION,
        // ER_READ_ONLY_MODE
        1290 if refusal.message.contains("read-only") => Cause::ReadOnly,
        1290 if phase == Phase::Write => Cause::WriteFailed,
        1792 | 1836 => Cause::ReadOnly,
        // ER_CONNECTION_KILLED, ER_CLIENT_INTERACTION_TIMEOUT
        1927 | 4031 => Cause::Closed,
        _ => match phase {
            Phase::Query | Phase::Role | Phase::Lag => Cause::BadQuery,
            Phase::Write if MYSQL_NOT_ALLOWED.contains(&refusal.number) => Cause::BadQuery,
            Phase::Write => Cause::WriteFailed,
            Phase::Ping => Cause::RejectingQueries,
            // Whatever else the login is refused for (1045 wrong password or no TLS, 1044 and
            // 1049 the database, 1130 the host, 1251 and 2059 the method, 1862 an expired
            // password), the server lives and the check is at fault.
            Phase::Resolve
            | Phase::Listening
            | Phase::Connect
            | Phase::Tls
            | Phase::Greeting
            | Phase::Login => Cause::AccessDenied,
        },
    }
}

fn postgres_cause(refusal: &Refusal, phase: Phase) -> Cause {
    let (class, _) = refusal.sqlstate.split_at_checked(2).unwrap_or_default();
    match (refusal.sqlstate.as_str(), class) {
        // too_many_connections. One number for two things; the routine that raises it tells the
        // role's own limit from the server's.
        ("53300", _) if refusal.routine == "InitializeSessionUserId" => Cause::CheckUserLimit,
        ("53300", _) => Cause::TooManyConnections,
        // cannot_connect_now. One number for starting, stopping and recovering from a crash; only
        // the text tells them apart, and where it is translated this reads as starting up.
        ("57P03", _) if refusal.message.contains("shutting down") => Cause::ShuttingDown,
        ("57P03", _) if refusal.message.contains("recovery mode") => Cause::InRecovery,
        ("57P03", _) => Cause::StartingUp,
        // admin_shutdown, crash_shutdown
        ("57P01" | "57P02", _) => Cause::ShuttingDown,
        // idle_session_timeout, idle_in_transaction_session_timeout
        ("57P05" | "25P03", _) => Cause::Closed,
        // disk_full
        ("53100", _) => Cause::DiskFull,
        // read_only_sql_transaction
        ("25006", _) => Cause::ReadOnly,
        // invalid authorization, unknown database, missing privilege, a protocol or feature the
        // server does not have: the server lives and the check is at fault.
        (_, "28" | "3D" | "0A" | "08") if phase < Phase::Ping => Cause::AccessDenied,
        (_, "42") if phase < Phase::Ping => Cause::AccessDenied,
        // object_not_in_prerequisite_state: this one database takes no connections.
        ("55000", _) if phase < Phase::Ping => Cause::AccessDenied,
        (_, "42" | "22" | "0A" | "3D" | "3F" | "26") if phase > Phase::Ping => Cause::BadQuery,
        _ if phase == Phase::Write => Cause::WriteFailed,
        _ => Cause::RejectingQueries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: u16, sqlstate: &str, routine: &str, phase: Phase, expected: Cause) {
        let refusal = Refusal {
            number,
            sqlstate: sqlstate.to_owned(),
            routine: routine.to_owned(),
            ..Refusal::default()
        };
        assert_eq!(
            Failure::refused(&refusal, phase).cause,
            expected,
            "{refusal:?}"
        );
    }

    #[test]
    fn refusals_are_told_by_their_numbers() {
        check(1040, "", "", Phase::Greeting, Cause::TooManyConnections);
        check(1045, "28000", "", Phase::Login, Cause::AccessDenied);
        check(1049, "42000", "", Phase::Login, Cause::AccessDenied);
        check(1129, "", "", Phase::Greeting, Cause::HostBlocked);
        check(1203, "42000", "", Phase::Login, Cause::CheckUserLimit);
        check(3032, "HY000", "", Phase::Login, Cause::RejectingQueries);
        check(3118, "HY000", "", Phase::Login, Cause::AccessDenied);
        check(3159, "HY000", "", Phase::Login, Cause::AccessDenied);
        check(6400, "HY000", "", Phase::Login, Cause::RejectingQueries);
        check(1047, "08S01", "", Phase::Query, Cause::RejectingQueries);
        check(1146, "42S02", "", Phase::Query, Cause::BadQuery);
        check(0, "28P01", "auth_failed", Phase::Login, Cause::AccessDenied);
        check(0, "3D000", "", Phase::Login, Cause::AccessDenied);
        check(0, "55000", "", Phase::Login, Cause::AccessDenied);
        check(0, "42P01", "", Phase::Query, Cause::BadQuery);
        check(
            0,
            "53300",
            "InitProcess",
            Phase::Login,
            Cause::TooManyConnections,
        );
        check(
            0,
            "53300",
            "InitializeSessionUserId",
            Phase::Login,
            Cause::CheckUserLimit,
        );
        check(1969, "70100", "", Phase::Query, Cause::RejectingQueries);
        check(1969, "70100", "", Phase::Write, Cause::WriteFailed);
        check(1142, "42000", "", Phase::Write, Cause::BadQuery);
        check(1227, "42000", "", Phase::Lag, Cause::BadQuery);
        check(1820, "HY000", "", Phase::Query, Cause::AccessDenied);
        check(0, "57014", "", Phase::Role, Cause::RejectingQueries);
        check(0, "57014", "", Phase::Write, Cause::WriteFailed);
        check(0, "42501", "", Phase::Write, Cause::BadQuery);
        check(0, "57P03", "", Phase::Greeting, Cause::StartingUp);
        check(0, "XX000", "", Phase::Login, Cause::RejectingQueries);
        check(0, "", "", Phase::Login, Cause::RejectingQueries);
    }

    #[test]
    fn a_full_disk_is_told_by_its_number_or_by_the_system_s_in_the_text() {
        #[track_caller]
        fn check(number: u16, message: &str, expected: Cause) {
            let refusal = Refusal {
                number,
                message: message.to_owned(),
                ..Refusal::default()
            };
            assert_eq!(Failure::refused(&refusal, Phase::Write).cause, expected);
        }
        let full = Cause::DiskFull;
        check(1114, "The table 'dbvitals_heartbeat' is full", full);
        check(
            3675,
            "Create table/tablespace 'dbvitals_heartbeat' failed, as disk is full.",
            full,
        );
        check(
            3,
            "Error writing file 'MLfd=33' (OS errno 28 - No space left on device)",
            full,
        );
        check(
            1026,
            "Error writing file './bin.000001' (errno: 28 \"No space left on device\")",
            full,
        );
        check(
            3,
            "Error writing file 'MLfd=33' (OS errno 5 - Input/output error)",
            Cause::WriteFailed,
        );
    }

    #[test]
    fn a_server_s_words_are_bounded_and_no_commands_to_a_terminal() {
        let detail = format!("\u{1b}[2Jé\n{}", "é".repeat(1000));
        let failure = Failure::new(Cause::Lagging, detail);
        assert!(failure.detail.len() <= DETAIL_MAX);
        assert!(failure.detail.starts_with(" [2Jé é"), "{}", failure.detail);
    }

    #[test]
    fn system_errors_are_told_without_their_numbers() {
        let error = io::Error::from_raw_os_error(111);
        let failure = Failure::from_io(&error, Phase::Connect);
        assert_eq!(failure.cause, Cause::Refused);
        assert_eq!(&*failure.detail, "Connection refused");
    }
}
