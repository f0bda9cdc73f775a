//! What the adapters for MySQL and MariaDB ask a server, and what its words mean.

use crate::ending::Ending;

/// What is asked once of each session: how long it may idle (for clients that call themselves
/// interactive that is `interactive_timeout`, here too), and whom the server sees.
pub(crate) const ASK: &str = "SELECT @@wait_timeout, \
    (SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID())";
/// The server has ended the session, or is about to: shutdown, killed, idle for too long.
const SHUTDOWN: u16 = 1053;
const KILLED: [u16; 2] = [1927, 3169];
const IDLE: u16 = 4031;

/// What the server's words say of the end of a session.
pub(crate) fn name_ending(code: u16) -> Option<Ending> {
    match code {
        SHUTDOWN => Some(Ending::Shutdown),
        IDLE => Some(Ending::IdleLimit),
        code if KILLED.contains(&code) => Some(Ending::Killed),
        _ => None,
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
    fn what_the_server_says_at_the_end_is_named() {
        assert_eq!(name_ending(4031), Some(Ending::IdleLimit));
        assert_eq!(name_ending(1053), Some(Ending::Shutdown));
        assert_eq!(name_ending(1064), None);
    }
}
