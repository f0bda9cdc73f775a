//! Ruby: Active Record of Rails 7.1 to 8.1 (its ConnectionPool, HashConfig, and MySQL adapters).

use std::time::Duration;

use super::super::limits::Limits;
use super::super::setting::Value::{Count, Seconds};
use super::super::setting::{Setting, Syntax, set};
use super::super::shape::{ACQUIRE, Shape, whole_seconds};
use super::{BOTH, Client, Looks, bounds};
use crate::cli::PoolClient;

/// How long connections idle if nothing is set.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often idle ones are looked for before Rails 8.1…
const REAPING_OLD: Duration = Duration::from_secs(60);
/// …and since, or more often where it is told to close or to ping earlier.
const REAPING: Duration = Duration::from_secs(20);

pub(super) fn rails() -> Client {
    Client {
        name: PoolClient::Rails,
        title: "Rails (database.yml)",
        protocols: BOTH,
        syntax: Syntax::Yaml,
        defaults: bounds(Some(5), None, Some(300)),
        size_follows: None,
        looks: (Looks::PingsAfterIdling, Looks::PingsAfterIdling),
        settings: |limits, shape| settings(&of_its_sessions(limits, shape)),
        notes: |limits, _| {
            let mut notes = vec![
                "more threads than connections wait for checkout_timeout: keep max_connections at RAILS_MAX_THREADS or above",
            ];
            if limits.is_mysql() {
                notes.push(
                    "its MySQL adapters set wait_timeout to 24 days for each session: the server's limit has no effect unless wait_timeout is set in database.yml",
                );
            }
            notes
        },
    }
}

/// With MySQL its sessions have a `wait_timeout` of their own.
fn of_its_sessions(limits: &Limits, shape: &Shape) -> Shape {
    match limits.is_mysql() {
        true => shape.without_idle_limit(),
        false => shape.clone(),
    }
}

fn settings(shape: &Shape) -> Vec<Setting> {
    let idle_timeout = whole_seconds(shape.max_idle_time.min(IDLE_TIMEOUT));
    let max_age = whole_seconds(shape.max_lifetime);
    let mut settings = vec![
        set(
            "max_connections",
            Count(shape.max_open),
            format!(
                "`pool` before Rails 8.1, never both; {}",
                shape.max_open_reason
            ),
        ),
        set("checkout_timeout", Seconds(ACQUIRE), "its default"),
        set(
            "idle_timeout",
            Seconds(idle_timeout),
            match idle_timeout {
                IDLE_TIMEOUT => "its default; a pool shrinks after a peak".to_owned(),
                shorter => shape.idle_reason(shorter),
            },
        ),
    ];
    // More rarely than by default it must not look: it also pings then.
    let reaping = shape.look_every(REAPING_OLD);
    if reaping < REAPING_OLD {
        settings.push(set(
            "reaping_frequency",
            Seconds(whole_seconds(reaping.min(REAPING))),
            "how often idle ones are looked for: by default every 60 s before Rails 8.1, every 20 s since",
        ));
    }
    settings.push(set(
        "max_age",
        Seconds(max_age),
        format!("since Rails 8.1; {}", shape.lifetime_reason(max_age)),
    ));
    settings
}
