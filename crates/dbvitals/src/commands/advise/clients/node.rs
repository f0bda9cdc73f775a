//! Node: the pools of node-postgres 8 and of mysql2 3. Both hear of a close as it happens, since
//! their event loop reads all the while.

use std::time::Duration;

use super::super::setting::Value::{Count, Flag, Millis, Seconds};
use super::super::setting::{Syntax, set};
use super::super::shape::{ACQUIRE, whole_seconds};
use super::{Client, Looks, MYSQL, POSTGRES, bounds};
use crate::cli::PoolClient;

/// Of silence, before the kernel asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(10);

pub(super) fn pg() -> Client {
    Client {
        name: PoolClient::Pg,
        title: "Node pg (new Pool)",
        protocols: POSTGRES,
        syntax: Syntax::Object,
        defaults: bounds(Some(10), None, Some(10)),
        size_follows: None,
        looks: (Looks::AtSocket, Looks::AtSocket),
        settings: |_, shape| {
            let lifetime = whole_seconds(shape.max_lifetime);
            vec![
                set("max", Count(shape.max_open), shape.max_open_reason.clone()),
                set(
                    "idleTimeoutMillis",
                    Millis(shape.max_idle_time),
                    format!(
                        "10 s by default, which opens anew all day; {}",
                        shape.idle_reason(shape.max_idle_time)
                    ),
                ),
                set(
                    "maxLifetimeSeconds",
                    Seconds(lifetime),
                    shape.lifetime_reason(lifetime),
                ),
                set(
                    "connectionTimeoutMillis",
                    Millis(ACQUIRE),
                    "0 by default: a checkout waits for ever",
                ),
                set(
                    "keepAlive",
                    Flag(true),
                    "off by default: a router that forgets is never noticed",
                ),
                set(
                    "keepAliveInitialDelayMillis",
                    Millis(KEEPALIVE),
                    "the kernel's own is two hours",
                ),
            ]
        },
        notes: |_, _| {
            vec![
                "pool.on('error', …) is not optional: without it the end of an idle connection ends the process",
            ]
        },
    }
}

pub(super) fn mysql2() -> Client {
    Client {
        name: PoolClient::Mysql2,
        title: "Node mysql2 (createPool)",
        protocols: MYSQL,
        syntax: Syntax::Object,
        // idleTimeout has no effect as long as maxIdle is connectionLimit, as it is.
        defaults: bounds(Some(10), None, None),
        size_follows: None,
        looks: (Looks::AtSocket, Looks::AtSocket),
        settings: |_, shape| {
            let mut settings = vec![set(
                "connectionLimit",
                Count(shape.max_open),
                shape.max_open_reason.clone(),
            )];
            if shape.max_open > 1 {
                settings.push(set(
                    "maxIdle",
                    Count(shape.max_open - 1),
                    "below connectionLimit, or idleTimeout has no effect",
                ));
                settings.push(set(
                    "idleTimeout",
                    Millis(shape.max_idle_time),
                    shape.idle_reason(shape.max_idle_time),
                ));
            }
            settings.push(set("enableKeepAlive", Flag(true), "its default"));
            settings.push(set(
                "keepAliveInitialDelay",
                Millis(KEEPALIVE),
                "0 by default, which leaves the kernel's two hours: a router forgets sooner",
            ));
            settings
        },
        notes: |_, _| {
            vec![
                "it has neither a lifetime nor a limit for a checkout: bound the queue with queueLimit",
            ]
        },
    }
}
