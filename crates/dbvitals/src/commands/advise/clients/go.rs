//! Go: database/sql (its sources as of Go 1.19 to 1.25, with go-sql-driver/mysql 1.5 and later,
//! which looks at the socket before a first write, and lib/pq, on whose word that a connection is
//! bad database/sql asks again), and pgx v5 (5.0 to 5.10).

use std::time::Duration;

use super::super::setting::Value::{Count, Span};
use super::super::setting::{Setting, Syntax, set};
use super::super::shape::{PING, Shape};
use super::{BOTH, Client, Looks, POSTGRES, bounds};
use crate::cli::PoolClient;

/// How often pgx looks for old and idle connections by itself.
const HEALTH_CHECK_PERIOD: Duration = Duration::from_secs(60);
/// pgx draws a whole number of seconds below its jitter: of one second, none is left.
const JITTER_MIN: Duration = Duration::from_secs(2);

pub(super) fn database_sql() -> Client {
    Client {
        name: PoolClient::Go,
        title: "Go database/sql",
        protocols: BOTH,
        syntax: Syntax::GoCall,
        defaults: bounds(None, None, None),
        size_follows: None,
        looks: (Looks::AtSocket, Looks::AtFirstUse),
        settings: |_, shape| {
            vec![
                set(
                    "SetMaxOpenConns",
                    Count(shape.max_open),
                    shape.max_open_reason.clone(),
                ),
                set(
                    "SetMaxIdleConns",
                    Count(shape.max_open),
                    "2 by default: all others are closed and opened again under load",
                ),
                set(
                    "SetConnMaxIdleTime",
                    Span(shape.max_idle_time),
                    shape.idle_reason(shape.max_idle_time),
                ),
                set(
                    "SetConnMaxLifetime",
                    Span(shape.max_lifetime),
                    shape.lifetime_reason(shape.max_lifetime),
                ),
            ]
        },
        notes: |_, _| vec!["a checkout waits for ever: give each query a context with a deadline"],
    }
}

pub(super) fn pgx() -> Client {
    Client {
        name: PoolClient::Pgx,
        title: "pgx (pgxpool.Config)",
        protocols: POSTGRES,
        syntax: Syntax::GoField,
        defaults: bounds(None, Some(3_600), Some(1_800)),
        size_follows: Some("as many as there are processors, and at least 4"),
        looks: (Looks::PingsAfterIdling, Looks::PingsAfterIdling),
        settings: |_, shape| pgx_settings(shape),
        notes: |_, _| vec!["a checkout waits for ever: give Acquire a context with a deadline"],
    }
}

fn pgx_settings(shape: &Shape) -> Vec<Setting> {
    let jitter = Some(Duration::from_secs(shape.max_lifetime.as_secs() / 10));
    let jitter = jitter.filter(|it| *it >= JITTER_MIN);
    let mut settings = vec![
        set(
            "MaxConns",
            Count(shape.max_open),
            shape.max_open_reason.clone(),
        ),
        set(
            "MaxConnLifetime",
            Span(
                shape
                    .max_lifetime
                    .saturating_sub(jitter.unwrap_or_default()),
            ),
            shape.lifetime_reason(shape.max_lifetime),
        ),
    ];
    settings.extend(jitter.map(|jitter| {
        set(
            "MaxConnLifetimeJitter",
            Span(jitter),
            "comes on top; without it all are replaced at once",
        )
    }));
    settings.extend([
        set(
            "MaxConnIdleTime",
            Span(shape.max_idle_time),
            shape.idle_reason(shape.max_idle_time),
        ),
        set(
            "HealthCheckPeriod",
            Span(shape.look_every(HEALTH_CHECK_PERIOD)),
            "how often the limits before it are looked after",
        ),
        set(
            "PingTimeout",
            Span(PING),
            "since pgx 5.8, none by default: the ping of a connection that idled waits for a silent peer",
        ),
    ]);
    settings
}
