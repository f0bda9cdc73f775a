//! What the adapters for MySQL and MariaDB ask a server, and what its words mean.

use crate::driver::ConnectFault;
use crate::ending::Ending;

/// What is asked once of each session: how long it may idle (for clients that call themselves
/// interactive that is `interactive_timeout`, here too), and what it is a session of.
pub(crate) const ASK: &str = "SELECT @@wait_timeout, @@version";
/// Goes through all threads of the server under a lock, and is deprecated by MySQL 8.0.35; MariaDB
/// has nothing else.
const OLD_PROCESS_LIST: &str =
    "SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID()";
/// Takes no lock and finds a thread by its number; MySQL from 8.0.22 on (and late 5.7), unless it
/// was started without.
const PROCESS_LIST: &str =
    "SELECT host FROM performance_schema.processlist WHERE id = CONNECTION_ID()";
/// The server has ended the session, or is about to: shutdown, killed, idle for too long.
const SHUTDOWN: u16 = 1053;
const KILLED: [u16; 2] = [1927, 3169];
const IDLE: u16 = 4031;

/// The server lets this client in only once something is changed: a name, a password, a right, what
/// the account may do or whence, how it logs in.
const REJECTED: [u16; 11] = [
    1044, 1045, 1049, 1129, 1130, 1251, 1698, 1862, 3118, 3159, 4151,
];

/// What a server means that does not let a session in.
pub(crate) fn judge_refusal(code: u16) -> ConnectFault {
    match REJECTED.contains(&code) {
        true => ConnectFault::Rejected,
        false => ConnectFault::NotNow,
    }
}

/// What the server's words say of the end of a session.
pub(crate) fn name_ending(code: u16) -> Option<Ending> {
    match code {
        SHUTDOWN => Some(Ending::Shutdown),
        IDLE => Some(Ending::IdleLimit),
        code if KILLED.contains(&code) => Some(Ending::Killed),
        _ => None,
    }
}

/// What to ask a server of this version for whom it sees, one after the other until it says so.
pub(crate) fn where_it_says_whom_it_sees(version: &str) -> &'static [&'static str] {
    match version.contains("MariaDB") {
        true => &[OLD_PROCESS_LIST],
        false => &[PROCESS_LIST, OLD_PROCESS_LIST],
    }
}

/// The port of "host:port", as the server's process list has it.
pub(crate) fn port_of(seen: Option<&str>) -> Option<u16> {
    seen?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_the_server_sees_is_read() {
        assert_eq!(port_of(Some("localhost:51234")), Some(51234));
        assert_eq!(port_of(Some("::1:51234")), Some(51234));
        assert_eq!(port_of(Some("localhost")), None);
        assert_eq!(port_of(None), None);
    }

    #[test]
    fn mariadb_is_not_asked_for_what_only_mysql_has() {
        let asked = where_it_says_whom_it_sees("10.11.19-MariaDB-1:10.11");
        assert_eq!(asked, [OLD_PROCESS_LIST]);
        assert_eq!(where_it_says_whom_it_sees("8.4.6")[0], PROCESS_LIST);
    }

    #[test]
    fn a_wrong_password_is_wrong_a_moment_later_too() {
        assert_eq!(judge_refusal(1045), ConnectFault::Rejected);
        assert_eq!(judge_refusal(1040), ConnectFault::NotNow, "too many");
    }

    #[test]
    fn what_the_server_says_at_the_end_is_named() {
        assert_eq!(name_ending(4031), Some(Ending::IdleLimit));
        assert_eq!(name_ending(1053), Some(Ending::Shutdown));
        assert_eq!(name_ending(1064), None);
    }
}
