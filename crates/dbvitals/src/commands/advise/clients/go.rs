//! Go: database/sql (its sources as of Go 1.19 to 1.25, with go-sql-driver/mysql 1.5 and later,
//! which looks at the socket before a first write, and lib/pq, on whose word that a connection is
//! bad database/sql asks again), and pgx v5.

use super::super::setting::Value::{Count, Span};
use super::super::setting::{Syntax, set};
use super::super::shape::PING;
use super::{BOTH, Client, Looks, POSTGRES, bounds};
use crate::cli::PoolClient;

pub(super) fn database_sql() -> Client {
    Client {
        name: PoolClient::Go,
        title: "Go database/sql",
        protocols: BOTH,
        syntax: Syntax::GoCall,
        defaults: bounds(None, None, None),
        looks: (Looks::AtSocket, Looks::AtFirstUse),
        settings: |shape| {
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
                    shape.idle_reason(),
                ),
                set(
                    "SetConnMaxLifetime",
                    Span(shape.max_lifetime),
                    shape.lifetime_reason(),
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
        // The greater of 4 and the number of processors.
        defaults: bounds(Some(4), Some(3_600), Some(1_800)),
        looks: (Looks::PingsAfterIdling, Looks::PingsAfterIdling),
        settings: |shape| {
            let jitter = shape.max_lifetime / 10;
            vec![
                set(
                    "MaxConns",
                    Count(shape.max_open),
                    shape.max_open_reason.clone(),
                ),
                set(
                    "MaxConnLifetime",
                    Span(shape.max_lifetime - jitter),
                    shape.lifetime_reason(),
                ),
                set(
                    "MaxConnLifetimeJitter",
                    Span(jitter),
                    "comes on top; without it all are replaced at once",
                ),
                set(
                    "MaxConnIdleTime",
                    Span(shape.max_idle_time),
                    shape.idle_reason(),
                ),
                set(
                    "HealthCheckPeriod",
                    Span(shape.look_every(std::time::Duration::from_secs(60))),
                    "how often the two limits before it are looked after",
                ),
                set(
                    "PingTimeout",
                    Span(PING),
                    "none by default: the ping of a connection that idled waits for a silent peer",
                ),
            ]
        },
        notes: |_, _| vec!["a checkout waits for ever: give Acquire a context with a deadline"],
    }
}
