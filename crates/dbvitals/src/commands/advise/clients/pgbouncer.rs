//! PgBouncer 1.18 to 1.24: its connections to the server (pgbouncer.ini).

use std::time::Duration;

use super::super::setting::Value::{Count, Seconds};
use super::super::setting::{Syntax, set};
use super::super::shape::{ACQUIRE, whole_seconds};
use super::{Client, Looks, POSTGRES, bounds};
use crate::cli::PoolClient;

/// How long its clients wait for a connection: its default is two minutes.
const QUERY_WAIT: Duration = Duration::from_secs(10);
/// Of silence, before the kernel asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(10);

pub(super) fn pgbouncer() -> Client {
    Client {
        name: PoolClient::Pgbouncer,
        title: "PgBouncer (pgbouncer.ini)",
        protocols: POSTGRES,
        syntax: Syntax::Ini,
        defaults: bounds(Some(20), Some(3_600), Some(600)),
        size_follows: None,
        looks: (Looks::AtSocket, Looks::AtSocket),
        settings: |_, shape| {
            let lifetime = whole_seconds(shape.max_lifetime);
            let idle_time = whole_seconds(shape.max_idle_time);
            vec![
                set(
                    "default_pool_size",
                    Count(shape.max_open),
                    shape.max_open_reason.clone(),
                ),
                set(
                    "max_db_connections",
                    Count(shape.max_open),
                    "default_pool_size counts for each pair of user and database, this for all users",
                ),
                set(
                    "server_lifetime",
                    Seconds(lifetime),
                    shape.lifetime_reason(lifetime),
                ),
                set(
                    "server_idle_timeout",
                    Seconds(idle_time),
                    shape.idle_reason(idle_time),
                ),
                set(
                    "server_connect_timeout",
                    Seconds(ACQUIRE),
                    "15 s by default",
                ),
                set(
                    "query_wait_timeout",
                    Seconds(QUERY_WAIT),
                    "120 s by default: an outage is to be told, not queued up",
                ),
                set(
                    "tcp_keepidle",
                    Seconds(KEEPALIVE),
                    "the kernel's own is two hours",
                ),
            ]
        },
        notes: |_, _| {
            vec![
                "max_client_conn, 100 by default, has to admit its clients: the applications' instances times the max_open of each; the others are refused",
                "its clients meet its own limits: ask it too, with postgres://USER@HOST:6432/pgbouncer",
            ]
        },
    }
}
