//! What a server says of its limits: what it is asked, and how the answers read.
//!
//! One text for each product, which every version answers: what a server does not have is missing
//! from the answer rather than an error, and no privilege is needed.

use std::collections::BTreeMap;
use std::time::Duration;

use dbvitals_verdict::ServerFacts;
use dbvitals_wire::Answer;

/// Variables as this session has them: what `init_connect` or the account changed counts.
pub(super) const MYSQL_SQL: &str = "SHOW SESSION VARIABLES WHERE Variable_name IN \
    ('wait_timeout','interactive_timeout','max_connections','max_user_connections','back_log',\
    'idle_transaction_timeout','port','version');\
    SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected')";

/// Settings come in their base units: milliseconds for the timeouts.
pub(super) const POSTGRES_SQL: &str = "SELECT name, setting FROM pg_settings WHERE name IN \
    ('idle_session_timeout','max_connections','superuser_reserved_connections',\
    'reserved_connections','idle_in_transaction_session_timeout','server_version') \
    UNION ALL SELECT 'role_limit', rolconnlimit::text FROM pg_roles WHERE rolname = current_user \
    UNION ALL SELECT 'database_limit', datconnlimit::text FROM pg_database \
    WHERE datname = current_database() \
    UNION ALL SELECT 'port', inet_server_port()::text \
    UNION ALL SELECT 'used', count(*)::text FROM pg_stat_activity WHERE datid IS NOT NULL";

/// PgBouncer's console knows SHOW and little else; its times are in seconds.
pub(super) const CONSOLE_SQL: &str = "SHOW CONFIG";

/// A server's limits; what it does not have or does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Limits {
    pub(super) product: Option<&'static str>,
    pub(super) version: Option<String>,
    /// After how long it ends an idle session.
    pub(super) idle: Option<Duration>,
    /// The setting that says so, which has other names elsewhere.
    pub(super) idle_setting: &'static str,
    /// The same for clients that call themselves interactive.
    pub(super) interactive: Option<Duration>,
    /// After how long it ends a session that idles inside of a transaction.
    pub(super) idle_transaction: Option<Duration>,
    pub(super) max_connections: Option<u32>,
    /// How many of them ordinary users cannot have.
    pub(super) reserved: u32,
    /// How many this user, or all users of this database together, may have.
    pub(super) user: Option<u32>,
    pub(super) used: Option<u32>,
    /// Connects that may wait at a time.
    pub(super) backlog: Option<u32>,
    /// What stands between, as far as it shows.
    pub(super) between: Option<String>,
}

impl Limits {
    /// Reads the answer of a server that was reached at `port`.
    pub(super) fn read(
        answer: &Answer,
        facts: Option<&ServerFacts>,
        port: Option<u16>,
        is_console: bool,
    ) -> Self {
        let values = Values::of(answer);
        let product = facts.and_then(|facts| facts.product);
        let greeted = facts.and_then(|facts| facts.version.as_deref());
        let limits = match product {
            _ if is_console => Self::of_console(&values),
            Some("postgresql") => Self::of_postgres(&values),
            _ => Self::of_mysql(&values),
        };
        Self {
            product: match is_console {
                true => Some("pgbouncer"),
                false => product,
            },
            // PgBouncer calls itself "1.18.0/bouncer".
            version: greeted.and_then(|it| Some(it.split('/').next()?.to_owned())),
            between: values.between(greeted, port).filter(|_| !is_console),
            ..limits
        }
    }

    fn of_mysql(values: &Values) -> Self {
        Self {
            idle: values.time("wait_timeout", SECOND),
            idle_setting: "wait_timeout",
            interactive: values.time("interactive_timeout", SECOND),
            idle_transaction: values.time("idle_transaction_timeout", SECOND),
            max_connections: values.count("max_connections"),
            // The one for administrators comes on top.
            reserved: 0,
            user: values.count("max_user_connections"),
            used: values.count("threads_connected"),
            backlog: values.count("back_log"),
            ..Self::default()
        }
    }

    fn of_postgres(values: &Values) -> Self {
        let reserved = ["superuser_reserved_connections", "reserved_connections"];
        let users = ["role_limit", "database_limit"];
        Self {
            idle: values.time("idle_session_timeout", MILLISECOND),
            idle_setting: "idle_session_timeout",
            idle_transaction: values.time("idle_in_transaction_session_timeout", MILLISECOND),
            max_connections: values.count("max_connections"),
            reserved: reserved.iter().filter_map(|name| values.count(name)).sum(),
            user: users.iter().filter_map(|name| values.count(name)).min(),
            used: values.count("used"),
            ..Self::default()
        }
    }

    fn of_console(values: &Values) -> Self {
        Self {
            idle: values.time("client_idle_timeout", SECOND),
            idle_setting: "client_idle_timeout",
            idle_transaction: values.time("idle_transaction_timeout", SECOND),
            max_connections: values.count("max_client_conn"),
            backlog: values.count("listen_backlog"),
            ..Self::default()
        }
    }

    /// The product and its version, as a heading has them.
    pub(super) fn server(&self) -> String {
        let parts = [self.product, self.version.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Names and values, names in small letters.
struct Values(BTreeMap<String, String>);

impl Values {
    fn of(answer: &Answer) -> Self {
        let rows = answer.tables().iter().flat_map(|table| table.rows());
        let pairs = rows.filter_map(|row| {
            let mut values = row.values();
            let mut next = || Some(String::from_utf8_lossy(values.next()??).into_owned());
            Some((next()?.to_lowercase(), next()?))
        });
        Self(pairs.collect())
    }

    /// A number above zero: zero, and PostgreSQL's -1, stand for no limit.
    fn number(&self, name: &str) -> Option<u64> {
        // MariaDB's and PgBouncer's times may have fractions.
        let number: f64 = self.0.get(name)?.parse().ok()?;
        (number >= 1.0).then_some(number as u64)
    }

    fn count(&self, name: &str) -> Option<u32> {
        self.number(name)?.try_into().ok()
    }

    fn time(&self, name: &str, unit: Duration) -> Option<Duration> {
        let units = self.number(name)?.try_into().ok()?;
        unit.checked_mul(units)
    }

    /// Whether the one who greets is another one than the one who answers.
    fn between(&self, greeted: Option<&str>, port: Option<u16>) -> Option<String> {
        let behind = self.number("port").and_then(|it| u16::try_from(it).ok());
        if let (Some(port), Some(behind)) = (port, behind)
            && port != behind
        {
            return Some(format!(
                "a proxy or a forwarded port: the server that answers is at port {behind}"
            ));
        }
        let answers = self.0.get("version")?;
        let greeted = greeted.filter(|greeted| !answers.starts_with(greeted))?;
        Some(format!(
            "a proxy: it greets as {greeted}, and {answers} answers"
        ))
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_wire::Table;

    use super::*;

    fn answer(rows: &[(&str, &str)]) -> Answer {
        let table = Table::new(["name", "setting"]);
        Answer::of(vec![rows.iter().fold(table, |table, (name, value)| {
            table.with_row([Some(*name), Some(*value)])
        })])
    }

    fn facts(product: &'static str, version: &str) -> ServerFacts {
        ServerFacts {
            product: Some(product),
            version: Some(version.to_owned()),
            ..ServerFacts::default()
        }
    }

    #[test]
    fn what_means_no_limit_is_none() {
        let postgres = facts("postgresql", "15.18");
        let said = answer(&[
            ("idle_session_timeout", "0"),
            ("max_connections", "100"),
            ("superuser_reserved_connections", "3"),
            ("reserved_connections", "2"),
            ("role_limit", "-1"),
            ("database_limit", "40"),
        ]);
        let limits = Limits::read(&said, Some(&postgres), None, false);
        assert_eq!((limits.idle, limits.max_connections), (None, Some(100)));
        assert_eq!((limits.reserved, limits.user), (5, Some(40)));
        assert_eq!(limits.server(), "postgresql 15.18");
    }

    #[test]
    fn each_product_has_its_units() {
        let postgres = facts("postgresql", "15.18");
        let said = answer(&[("idle_session_timeout", "90000")]);
        let limits = Limits::read(&said, Some(&postgres), None, false);
        assert_eq!(limits.idle, Some(SECOND * 90));
        let mariadb = facts("mariadb", "10.11.19");
        let said = answer(&[("wait_timeout", "90"), ("Threads_connected", "7")]);
        let limits = Limits::read(&said, Some(&mariadb), None, false);
        assert_eq!((limits.idle, limits.used), (Some(SECOND * 90), Some(7)));
        let said = answer(&[("client_idle_timeout", "90"), ("max_client_conn", "500")]);
        let limits = Limits::read(
            &said,
            Some(&facts("postgresql", "1.18.0/bouncer")),
            None,
            true,
        );
        assert_eq!(limits.max_connections, Some(500));
        assert_eq!(limits.server(), "pgbouncer 1.18.0");
    }

    #[test]
    fn who_greets_for_another_one_is_told() {
        let mariadb = facts("mariadb", "10.11.19");
        let between = |version: &str, port: &str| {
            let said = answer(&[("version", version), ("port", port)]);
            Limits::read(&said, Some(&mariadb), Some(3306), false).between
        };
        assert_eq!(between("10.11.19-MariaDB-log", "3306"), None);
        let forwarded = between("10.11.19-MariaDB-log", "3307").unwrap();
        assert!(forwarded.ends_with("is at port 3307"), "{forwarded}");
        let proxied = between("8.0.40", "3306").unwrap();
        assert!(proxied.contains("greets as 10.11.19"), "{proxied}");
    }
}
