//! The SQL of a user for checks, who may do nothing.

use dbvitals_probe::Protocol;

use super::limits::Limits;
use crate::target_url::TargetUrl;

/// A statement, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) sql: &'static str,
    pub(super) what_for: &'static str,
}

/// What makes a user for checks on this server; nothing where it has no SQL.
pub(super) fn grants(target: &TargetUrl, limits: &Limits) -> Vec<Grant> {
    let grant = |sql, what_for| Grant { sql, what_for };
    match (target.protocol, limits.product) {
        (_, Some("pgbouncer")) => Vec::new(),
        (Protocol::Postgres, _) => vec![grant(
            "CREATE ROLE vitals LOGIN PASSWORD '…'",
            "enough for all depths up to lag",
        )],
        (Protocol::MySql | Protocol::Opaque, product) => vec![
            grant(
                "CREATE USER 'vitals'@'%' IDENTIFIED BY '…'",
                "enough for all depths up to role",
            ),
            match product {
                Some("mariadb") => grant(
                    "GRANT SLAVE MONITOR ON *.* TO 'vitals'@'%'",
                    "for the depths lag and write, since MariaDB 10.5",
                ),
                _ => grant(
                    "GRANT REPLICATION CLIENT ON *.* TO 'vitals'@'%'",
                    "for the depths lag and write",
                ),
            },
        ],
    }
}
