//! What a server says of its limits: what it is asked, and how the answers read.
//!
//! One text for each product, which every version answers: what a server does not have is missing
//! from the answer rather than an error, and no privilege is needed.

mod values;

use std::time::Duration;

use dbvitals_probe::Address;
use dbvitals_verdict::ServerFacts;
use dbvitals_wire::Answer;

use values::{MILLISECOND, SECOND, Values};

/// Variables as this session has them: what `init_connect` or the account changed counts.
pub(super) const MYSQL_SQL: &str = "SHOW SESSION VARIABLES WHERE Variable_name IN \
    ('wait_timeout','interactive_timeout','max_connections','max_user_connections','back_log',\
    'idle_transaction_timeout','port','version');\
    SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected')";

/// Settings come in their base units: milliseconds for the timeouts. Where the server's end of the
/// session is, is "none" for a unix socket.
pub(super) const POSTGRES_SQL: &str = "SELECT name, setting FROM pg_settings WHERE name IN \
    ('idle_session_timeout','max_connections','superuser_reserved_connections',\
    'reserved_connections','idle_in_transaction_session_timeout','server_version') \
    UNION ALL SELECT 'role_limit', rolconnlimit::text FROM pg_roles WHERE rolname = current_user \
    UNION ALL SELECT 'database_limit', datconnlimit::text FROM pg_database \
    WHERE datname = current_database() \
    UNION ALL SELECT 'end_port', coalesce(inet_server_port()::text, 'none') \
    UNION ALL SELECT 'end_address', coalesce(host(inet_server_addr()), 'none') \
    UNION ALL SELECT 'used', count(*)::text FROM pg_stat_activity WHERE datid IS NOT NULL";

/// PgBouncer's console knows SHOW and little else; its times are in seconds.
pub(super) const CONSOLE_SQL: &str = "SHOW CONFIG";

/// The first version of PostgreSQL that has `idle_session_timeout`.
const POSTGRES_WITH_IDLE_LIMIT: u32 = 14;

/// A server's limits; what it does not have or does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Limits {
    pub(super) product: Option<&'static str>,
    pub(super) version: Option<String>,
    /// After how long it ends an idle session.
    pub(super) idle: Option<Duration>,
    /// Whether it told of that limit: `None` above is then no limit.
    pub(super) idle_told: bool,
    /// The setting that says so, which has other names elsewhere.
    pub(super) idle_setting: &'static str,
    /// The same for clients that call themselves interactive.
    pub(super) interactive: Option<Duration>,
    /// After how long it ends a session that idles inside of a transaction.
    pub(super) idle_transaction: Option<Duration>,
    pub(super) max_connections: Option<u32>,
    /// The setting that says so.
    pub(super) connections_setting: &'static str,
    /// How many of them ordinary users cannot have.
    pub(super) reserved: u32,
    /// How many this account or role may have.
    pub(super) user: Option<u32>,
    /// How many all users of this database together may have.
    pub(super) database: Option<u32>,
    pub(super) used: Option<u32>,
    /// Connects that may wait at a time, as far as the server decides it.
    pub(super) backlog: Option<u32>,
    /// The setting that says so.
    pub(super) backlog_setting: &'static str,
    /// What stands between, as far as it shows.
    pub(super) between: Option<String>,
}

impl Limits {
    /// Reads the answer of a server that was reached at an address.
    pub(super) fn read(
        answer: &Answer,
        facts: Option<&ServerFacts>,
        address: &Address,
        is_console: bool,
    ) -> Self {
        let values = Values::of(answer);
        let product = facts.and_then(|facts| facts.product);
        let greeted = facts.and_then(|facts| facts.version.as_deref());
        let limits = match product {
            _ if is_console => Self::of_console(&values),
            Some("postgresql") => Self::of_postgres(&values, greeted),
            _ => Self::of_mysql(&values),
        };
        Self {
            product: match is_console {
                true => Some("pgbouncer"),
                false => product,
            },
            // PgBouncer calls itself "1.18.0/bouncer".
            version: greeted.and_then(|it| Some(it.split('/').next()?.to_owned())),
            between: values.between(greeted, address).filter(|_| !is_console),
            ..limits
        }
    }

    fn of_mysql(values: &Values) -> Self {
        Self {
            idle: values.time("wait_timeout", SECOND),
            idle_told: values.has("wait_timeout"),
            idle_setting: "wait_timeout",
            interactive: values.time("interactive_timeout", SECOND),
            idle_transaction: values.time("idle_transaction_timeout", SECOND),
            max_connections: values.count("max_connections"),
            connections_setting: "max_connections",
            // The one for administrators comes on top.
            reserved: 0,
            user: values.count("max_user_connections"),
            used: values.count("threads_connected"),
            backlog: values.count("back_log"),
            backlog_setting: "back_log",
            ..Self::default()
        }
    }

    fn of_postgres(values: &Values, version: Option<&str>) -> Self {
        let reserved = ["superuser_reserved_connections", "reserved_connections"];
        let reserved = reserved.iter().filter_map(|name| values.count(name));
        let is_older = numbers(version).is_some_and(|it| it.0 < POSTGRES_WITH_IDLE_LIMIT);
        Self {
            idle: values.time("idle_session_timeout", MILLISECOND),
            // What an older version does not have, it need not tell.
            idle_told: values.has("idle_session_timeout") || is_older,
            idle_setting: "idle_session_timeout",
            idle_transaction: values.time("idle_in_transaction_session_timeout", MILLISECOND),
            max_connections: values.count("max_connections"),
            connections_setting: "max_connections",
            reserved: reserved.fold(0, u32::saturating_add),
            user: values.count("role_limit"),
            database: values.count("database_limit"),
            used: values.count("used"),
            ..Self::default()
        }
    }

    fn of_console(values: &Values) -> Self {
        Self {
            idle: values.time("client_idle_timeout", SECOND),
            idle_told: values.has("client_idle_timeout"),
            idle_setting: "client_idle_timeout",
            idle_transaction: values.time("idle_transaction_timeout", SECOND),
            max_connections: values.count("max_client_conn"),
            connections_setting: "max_client_conn",
            backlog: values.count("listen_backlog"),
            backlog_setting: "listen_backlog",
            ..Self::default()
        }
    }

    pub(super) fn is_console(&self) -> bool {
        self.product == Some("pgbouncer")
    }

    pub(super) fn is_mysql(&self) -> bool {
        matches!(self.product, Some("mysql" | "mariadb"))
    }

    /// Whether its version is known, and below this one.
    pub(super) fn is_older_than(&self, version: (u32, u32)) -> bool {
        numbers(self.version.as_deref()).is_some_and(|own| own < version)
    }

    /// The product and its version, as a heading has them.
    pub(super) fn server(&self) -> String {
        let parts = [self.product, self.version.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// The first two numbers of a version.
fn numbers(version: Option<&str>) -> Option<(u32, u32)> {
    let mut parts = version?.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|it| it.parse().ok());
    Some((major, minor.unwrap_or(0)))
}

#[cfg(test)]
mod tests;
