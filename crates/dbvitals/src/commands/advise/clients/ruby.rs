//! Ruby: Active Record of Rails 7.1 to 8.1 (its ConnectionPool, HashConfig, and MySQL adapters).

use std::time::Duration;

use super::super::setting::Value::{Count, Seconds};
use super::super::setting::{Syntax, set};
use super::super::shape::ACQUIRE;
use super::{BOTH, Client, Looks, bounds};
use crate::cli::PoolClient;

pub(super) fn rails() -> Client {
    Client {
        name: PoolClient::Rails,
        title: "Rails (database.yml)",
        protocols: BOTH,
        syntax: Syntax::Yaml,
        defaults: bounds(Some(5), None, Some(300)),
        looks: (Looks::PingsAfterIdling, Looks::PingsAfterIdling),
        settings: |shape| {
            vec![
                set("pool", Count(shape.max_open), shape.max_open_reason.clone()),
                set("checkout_timeout", Seconds(ACQUIRE), "its default"),
                set(
                    "idle_timeout",
                    Seconds(shape.max_idle_time.min(Duration::from_secs(300))),
                    shape.idle_reason(),
                ),
                set(
                    "reaping_frequency",
                    Seconds(shape.look_every(Duration::from_secs(60))),
                    "how often idle ones are looked for",
                ),
                set(
                    "max_age",
                    Seconds(shape.max_lifetime),
                    format!("since Rails 8.1; {}", shape.lifetime_reason()),
                ),
            ]
        },
        notes: |limits, _| match limits.product {
            Some("mysql" | "mariadb") => vec![
                "its MySQL adapters set wait_timeout to 24 days for each session: the server's limit has no effect unless wait_timeout is set here too",
                "more threads than connections wait for checkout_timeout: keep pool at RAILS_MAX_THREADS or above",
            ],
            _ => vec![
                "more threads than connections wait for checkout_timeout: keep pool at RAILS_MAX_THREADS or above",
            ],
        },
    }
}
