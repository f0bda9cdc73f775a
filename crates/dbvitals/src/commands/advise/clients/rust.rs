//! Rust: sqlx 0.8 and 0.9, deadpool 0.12 and 0.13, bb8 0.9, dbvitals-pool.

use std::time::Duration;

use super::super::page::span;
use super::super::setting::Value::{Code, Count, Flag, MaybeSpan, Span};
use super::super::setting::{Setting, Syntax, set};
use super::super::shape::{ACQUIRE, PING, Shape};
use super::{BOTH, Client, Looks, bounds};
use crate::cli::PoolClient;

/// How often bb8 looks for old and idle connections by itself.
const REAPER: Duration = Duration::from_secs(30);

fn max_open(key: &'static str, shape: &Shape) -> Setting {
    set(key, Count(shape.max_open), shape.max_open_reason.clone())
}

pub(super) fn sqlx() -> Client {
    Client {
        name: PoolClient::Sqlx,
        title: "sqlx (PoolOptions)",
        protocols: BOTH,
        syntax: Syntax::RustCall,
        defaults: bounds(Some(10), Some(1_800), Some(600)),
        size_follows: None,
        looks: (Looks::Pings, Looks::Pings),
        settings: |_, shape| {
            vec![
                max_open("max_connections", shape),
                set(
                    "acquire_timeout",
                    Span(ACQUIRE),
                    "30 s by default: an outage is to be told",
                ),
                set(
                    "max_lifetime",
                    Span(shape.max_lifetime),
                    shape.lifetime_reason(shape.max_lifetime),
                ),
                set(
                    "idle_timeout",
                    Span(shape.max_idle_time),
                    shape.idle_reason(shape.max_idle_time),
                ),
                set(
                    "test_before_acquire",
                    Flag(true),
                    "a round trip for every use; a before_acquire hook can ask by idle_for instead",
                ),
            ]
        },
        notes: |_, _| {
            vec![
                "it pings at each return as well, and without a limit: a silent peer keeps its place in the pool",
            ]
        },
    }
}

pub(super) fn deadpool() -> Client {
    Client {
        name: PoolClient::Deadpool,
        title: "deadpool (Pool::builder)",
        protocols: BOTH,
        syntax: Syntax::RustCall,
        defaults: bounds(None, None, None),
        size_follows: Some("twice the number of processors"),
        // By its managers of diesel and r2d2, for MySQL; for PostgreSQL its driver's own flag.
        looks: (Looks::Pings, Looks::AtSocket),
        settings: |_, shape| {
            let idle = comparison("last_used", shape.max_idle_time);
            let lifetime = comparison("age", shape.max_lifetime);
            vec![
                max_open("max_size", shape),
                set(
                    "wait_timeout",
                    MaybeSpan(ACQUIRE),
                    "none by default: a checkout waits for ever",
                ),
                set("create_timeout", MaybeSpan(ACQUIRE), "none by default"),
                set(
                    "recycle_timeout",
                    MaybeSpan(PING),
                    "none by default: the test waits for a silent peer, in front of a user",
                ),
                set(
                    "retain",
                    Code(format!("pool.retain(|_, it| {idle} && {lifetime})")),
                    format!(
                        "every {}, from a task of your own: it has no lifetime and no idle time",
                        span(shape.look_every(REAPER))
                    ),
                ),
            ]
        },
        notes: |_, _| vec!["the timeouts need .runtime(Runtime::Tokio1)"],
    }
}

/// A time of an object of deadpool's, compared with a limit.
fn comparison(time: &str, limit: Duration) -> String {
    match limit.subsec_millis() {
        0 => format!("it.{time}().as_secs() < {}", limit.as_secs()),
        _ => format!("it.{time}().as_millis() < {}", limit.as_millis()),
    }
}

pub(super) fn bb8() -> Client {
    Client {
        name: PoolClient::Bb8,
        title: "bb8 (Pool::builder)",
        protocols: BOTH,
        syntax: Syntax::RustCall,
        defaults: bounds(Some(10), Some(1_800), Some(600)),
        size_follows: None,
        looks: (Looks::Pings, Looks::Pings),
        settings: |_, shape| {
            vec![
                max_open("max_size", shape),
                set(
                    "connection_timeout",
                    Span(ACQUIRE),
                    "30 s by default: an outage is to be told",
                ),
                set(
                    "max_lifetime",
                    MaybeSpan(shape.max_lifetime),
                    shape.lifetime_reason(shape.max_lifetime),
                ),
                set(
                    "idle_timeout",
                    MaybeSpan(shape.max_idle_time),
                    shape.idle_reason(shape.max_idle_time),
                ),
                set(
                    "reaper_rate",
                    Span(shape.look_every(REAPER)),
                    "how often the two limits before it are looked after",
                ),
                set(
                    "test_on_check_out",
                    Flag(true),
                    "its default, a round trip for every use",
                ),
            ]
        },
        notes: |_, _| {
            vec!["waiters are not served in turn: under load some may wait for very long"]
        },
    }
}

pub(super) fn dbvitals_pool() -> Client {
    Client {
        name: PoolClient::DbvitalsPool,
        title: "dbvitals-pool (Settings)",
        protocols: BOTH,
        syntax: Syntax::RustField,
        defaults: bounds(Some(10), Some(1_800), Some(600)),
        size_follows: None,
        looks: (Looks::AtSocket, Looks::AtSocket),
        settings: |_, shape| {
            vec![
                max_open("max_open", shape),
                set(
                    "acquire_timeout",
                    Span(ACQUIRE),
                    "30 s by default: an outage is to be told",
                ),
            ]
        },
        notes: |_, _| vec!["it reads the server's idle limit by itself, and stays below it"],
    }
}
