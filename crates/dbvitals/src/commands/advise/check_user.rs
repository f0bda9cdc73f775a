//! The SQL of a user for checks, who may do next to nothing.

use dbvitals_probe::Protocol;

use super::limits::Limits;
use crate::target_url::TargetUrl;

/// The first MariaDB that has the privilege of looking at replication.
const SLAVE_MONITOR_SINCE: (u32, u32) = (10, 5);

/// A statement, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) sql: String,
    pub(super) what_for: &'static str,
}

/// What makes a user for checks on this server; nothing where it has no SQL. All but the first are
/// for who wants more.
pub(super) fn grants(target: &TargetUrl, limits: &Limits) -> Vec<Grant> {
    match target.protocol {
        _ if limits.is_console() => Vec::new(),
        Protocol::Postgres => of_postgres(),
        Protocol::MySql | Protocol::Opaque => of_mysql(target, limits),
    }
}

fn grant(sql: impl Into<String>, what_for: &'static str) -> Grant {
    let sql = sql.into();
    Grant { sql, what_for }
}

fn of_postgres() -> Vec<Grant> {
    let write = "optional, for the depth write, in the database of its URL";
    vec![
        grant(
            "CREATE ROLE vitals LOGIN PASSWORD '…'",
            "no privileges: enough for all depths up to lag",
        ),
        grant(
            "CREATE TABLE dbvitals_heartbeat (id smallint PRIMARY KEY, beaten_at timestamptz NOT NULL) WITH (fillfactor=10)",
            write,
        ),
        grant(
            "GRANT SELECT, INSERT, UPDATE ON dbvitals_heartbeat TO vitals",
            write,
        ),
    ]
}

fn of_mysql(target: &TargetUrl, limits: &Limits) -> Vec<Grant> {
    let has_slave_monitor =
        limits.product == Some("mariadb") && !limits.is_older_than(SLAVE_MONITOR_SINCE);
    let to_look = match has_slave_monitor {
        true => "SLAVE MONITOR",
        false => "REPLICATION CLIENT",
    };
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let database = target.database.as_deref();
    let database = database.map_or("DATABASE".to_owned(), quoted);
    vec![
        grant(
            "CREATE USER 'vitals'@'%' IDENTIFIED BY '…'",
            "no privileges: enough for all depths up to role",
        ),
        grant(
            format!("GRANT {to_look} ON *.* TO 'vitals'@'%'"),
            "optional, for the depth lag",
        ),
        grant(
            format!(
                "GRANT CREATE, SELECT, INSERT, UPDATE ON {database}.dbvitals_heartbeat TO 'vitals'@'%'"
            ),
            "optional, for the depth write, which makes this one table",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_look(product: &'static str, version: Option<&str>) -> String {
        let target = TargetUrl::parse("mysql://u@127.0.0.1/app").unwrap();
        let limits = Limits {
            product: Some(product),
            version: version.map(str::to_owned),
            ..Limits::default()
        };
        grants(&target, &limits)[1].sql.clone()
    }

    #[test]
    fn a_server_is_told_of_privileges_that_it_knows() {
        for (product, version, privilege) in [
            ("mariadb", Some("10.11.19"), "SLAVE MONITOR"),
            ("mariadb", Some("10.5.0"), "SLAVE MONITOR"),
            ("mariadb", None, "SLAVE MONITOR"),
            ("mariadb", Some("10.4.34"), "REPLICATION CLIENT"),
            ("mariadb", Some("5.5.68"), "REPLICATION CLIENT"),
            ("mysql", Some("8.4.0"), "REPLICATION CLIENT"),
        ] {
            let sql = to_look(product, version);
            assert!(
                sql.starts_with(&format!("GRANT {privilege} ON")),
                "{version:?}: {sql}"
            );
        }
    }

    #[test]
    fn a_databases_name_stays_a_name() {
        let target = TargetUrl::parse("mysql://u@127.0.0.1/a%60b").unwrap();
        let grants = grants(&target, &Limits::default());
        assert!(
            grants[2].sql.contains("ON `a``b`.dbvitals_heartbeat"),
            "{grants:?}"
        );
    }
}
