//! Pooled sessions of MySQL and MariaDB through mysql_async.
//!
//! The driver shows neither its stream nor its descriptor, so the socket is looked for among those
//! of this process. Where a proxy or a router is in the way, which lets the server see another port
//! than this side has, there is nothing to look at, and the pool pings by age alone.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use mysql_async::consts::StatusFlags;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, Error, IoError, OkPacket, Opts, OptsBuilder};

use crate::driver::{ConnectFault, Driver, Fault, Opened, Returned};
use crate::mysql_words::{ASK, judge_refusal, name_ending, port_of, where_it_says_whom_it_sees};
use crate::socket_search::Search;

/// Opens sessions of MySQL or MariaDB.
///
/// A pooled session is mysql_async's [`Conn`].
///
/// - **A transaction that is open at return**, or may be as the last answer was an error, is rolled
///   back before anybody else has the session, whether it was begun by the driver or by words.
///   Nothing else is reset; see the README.
/// - **A command that was cancelled** is marked by the driver itself: its session is closed rather
///   than given back. A result that was not read to its end is read by the driver before the next
///   command; what statements behind it in the same text have begun, nobody knows until then.
/// - **A command that was given the wrong parameters** is the caller's fault and not repeated, but
///   the driver closes its session.
/// - **Over TCP unless the options name a unix socket.** The driver's own preference for one opens
///   each session twice, so it has no effect here. To a unix socket the sessions of a process are
///   opened one after the other, else their sockets could not be told apart.
/// - **No socket to look at**: behind a proxy, or a router that changes the port. Such sessions are
///   counted in [`Stats::without_socket`](crate::Stats::without_socket), have no keepalive, and are
///   pinged when nothing was heard of them for a second.
/// - **Whether a command reached the server** before its session was lost the driver does not know:
///   [`Pool::run`](crate::Pool::run) repeats nothing.
#[derive(Clone)]
pub struct MySql {
    opts: Opts,
}

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No more of the options: they have the password.
        f.debug_struct("MySql")
            .field("host", &self.opts.ip_or_hostname())
            .field("port", &self.opts.tcp_port())
            .field("socket", &self.opts.socket())
            .field("user", &self.opts.user())
            .field("database", &self.opts.db_name())
            .finish_non_exhaustive()
    }
}

impl MySql {
    /// Sessions with these options; those of mysql_async's own pool have no effect.
    pub fn new(opts: impl Into<Opts>) -> Self {
        let opts: Opts = opts.into();
        if opts.socket().is_some() || !opts.prefer_socket() {
            return Self { opts };
        }
        // A URL has brackets around an address of IPv6, which a builder does not know.
        let host = opts.ip_or_hostname();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let opts = OptsBuilder::from_opts(opts).ip_or_hostname(host);
        Self {
            opts: opts.prefer_socket(false).into(),
        }
    }
}

/// The port that the server sees, if it tells.
async fn ask_for_port(session: &mut Conn, version: &str) -> Result<Option<u16>, Error> {
    for query in where_it_says_whom_it_sees(version) {
        match session.query_first::<Option<String>, _>(*query).await {
            Ok(Some(seen)) => return Ok(port_of(seen.as_deref())),
            Ok(None) | Err(Error::Server(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl Driver for MySql {
    type Connection = Conn;
    type Error = Error;

    async fn connect(&self) -> Result<Opened<Conn>, Error> {
        let search = match self.opts.socket() {
            Some(path) => Search::over_unix(path.into()).await,
            None => Search::over_tcp(self.opts.ip_or_hostname(), self.opts.tcp_port()).await,
        };
        let mut session = Conn::new(self.opts.clone()).await?;
        let row: Option<(u64, String)> = session.query_first(ASK).await?;
        let (limit, version) = row.unwrap_or_default();
        let port = match search.needs_port() {
            true => ask_for_port(&mut session, &version).await?,
            false => None,
        };
        let socket = search.find(port).await;
        let opened = Opened::new(session).with_idle_limit(match limit {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds),
        });
        Ok(match socket {
            Some(socket) => opened.with_socket(socket),
            None => opened,
        })
    }

    async fn ping(&self, session: &mut Conn) -> Result<(), Error> {
        session.ping().await
    }

    async fn settle(&self, session: &mut Conn) -> Result<(), Error> {
        session.query_drop("ROLLBACK").await
    }

    async fn close(&self, session: Conn) {
        // Whether the goodbye arrived does not matter.
        let _ = session.disconnect().await;
    }

    fn at_return(&self, session: &mut Conn) -> Returned {
        if session.is_disconnected() {
            // The driver calls it so from the beginning of a command to its end.
            return Returned::InFlight;
        }
        let status = session.last_ok_packet().map(OkPacket::status_flags);
        match status.is_some_and(is_settled) {
            true => Returned::Unknown,
            // After an error a transaction may or may not be open.
            false => Returned::Unsettled,
        }
    }

    fn is_closed(&self, session: &Conn) -> bool {
        session.is_disconnected()
    }

    fn judge_error(&self, error: &Error) -> Fault {
        let lost = match error {
            Error::Server(words) => name_ending(words.code).is_some(),
            Error::Io(error) => !is_too_large(error),
            Error::Driver(error) => is_loss(error),
            // The caller's own.
            Error::Other(_) | Error::Url(_) => false,
        };
        match lost {
            true => Fault::Lost,
            false => Fault::Answered,
        }
    }

    fn judge_attempt(&self, error: &Error) -> ConnectFault {
        match error {
            Error::Server(words) => judge_refusal(words.code),
            Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => {
                ConnectFault::Unreachable
            }
        }
    }
}

/// Whether no transaction is open. Where autocommit is off there is always one; and the driver takes
/// the number of a statement that was just prepared for a status, which has no such flag either.
fn is_settled(status: StatusFlags) -> bool {
    status.contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT)
        && !status.contains(StatusFlags::SERVER_STATUS_IN_TRANS)
}

/// Whether what was said on the wire makes no sense, or there is none. All else are mistakes of the
/// caller's; if the driver closes the session for one, that shows at return.
fn is_loss(error: &DriverError) -> bool {
    matches!(
        error,
        DriverError::ConnectionClosed
            | DriverError::PacketOutOfOrder
            | DriverError::UnexpectedPacket { .. }
            | DriverError::BadCompressedPacketHeader
    )
}

/// Whether the driver refused to send a packet, or to take one in, for its size; it says so as if
/// it were an error of the system's.
fn is_too_large(error: &IoError) -> bool {
    let cause = error
        .source()
        .and_then(|it| it.downcast_ref::<std::io::Error>());
    let cause = cause.filter(|it| it.kind() == std::io::ErrorKind::Other);
    cause.is_some_and(|it| it.to_string() == "Packet is larger than max_allowed_packet")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> MySql {
        MySql::new(Opts::from_url(url).unwrap())
    }

    #[test]
    fn a_driver_is_shown_without_its_password() {
        let shown = format!("{:?}", url("mysql://me:hidden@db.example:3307/app"));
        for part in ["db.example", "3307", "me", "app"] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_unix_socket_is_used_if_it_is_named_and_not_else() {
        let plain = url("mysql://me@[::1]:3307/app");
        assert!(!plain.opts.prefer_socket());
        let (host, port) = (plain.opts.ip_or_hostname(), plain.opts.tcp_port());
        assert_eq!(
            (host, port, plain.opts.db_name()),
            ("::1", 3307, Some("app"))
        );
        let named = url("mysql://me@127.0.0.1/?socket=/run/mysqld/mysqld.sock");
        assert_eq!(named.opts.socket(), Some("/run/mysqld/mysqld.sock"));
    }

    #[test]
    fn the_callers_mistakes_are_no_losses() {
        let driver = url("mysql://me@127.0.0.1");
        let answered = |error: Error| driver.judge_error(&error) == Fault::Answered;
        let mismatch = DriverError::StmtParamsMismatch {
            required: 2,
            supplied: 1,
        };
        let unreadable = DriverError::FromValue {
            value: mysql_async::Value::NULL,
        };
        let no_handler = mysql_async::LocalInfileError::NoHandler;
        for mistake in [
            mismatch,
            unreadable,
            DriverError::MixedParams,
            DriverError::NestedTransaction,
            DriverError::LocalInfile(no_handler),
        ] {
            assert!(answered(mistake.into()));
        }
        assert!(answered(Error::Other("the caller's own".into())));
        assert!(!answered(DriverError::ConnectionClosed.into()));
        assert!(!answered(DriverError::PacketOutOfOrder.into()));
        let eof = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert!(!answered(eof.into()));
    }
}
