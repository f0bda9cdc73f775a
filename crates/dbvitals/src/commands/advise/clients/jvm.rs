//! Java: HikariCP (README and HikariConfig as of 6.x and 7.x).

use std::time::Duration;

use super::super::setting::Value::{Count, Millis};
use super::super::setting::{Syntax, set};
use super::super::shape::{ACQUIRE, PING, Shape};
use super::{BOTH, Client, Looks, bounds};
use crate::cli::PoolClient;

/// Below this HikariCP takes its default of 30 minutes instead, and sends no keepalives.
const FLOOR: Duration = Duration::from_secs(30);
/// Its default.
const KEEPALIVE: Duration = Duration::from_secs(120);

fn lifetime(shape: &Shape) -> Duration {
    shape.max_lifetime.max(FLOOR)
}

pub(super) fn hikaricp() -> Client {
    Client {
        name: PoolClient::Hikaricp,
        title: "HikariCP",
        protocols: BOTH,
        syntax: Syntax::Properties,
        // Its idle timeout has no effect on a pool of fixed size.
        defaults: bounds(Some(10), Some(1_800), None),
        size_follows: None,
        looks: (Looks::PingsAfterIdling, Looks::PingsAfterIdling),
        settings: |_, shape| {
            let lifetime = lifetime(shape);
            let mut settings = vec![
                set(
                    "maximumPoolSize",
                    Count(shape.max_open),
                    shape.max_open_reason.clone(),
                ),
                set(
                    "maxLifetime",
                    Millis(lifetime),
                    shape.lifetime_reason(lifetime),
                ),
                set(
                    "connectionTimeout",
                    Millis(ACQUIRE),
                    "30 s by default: an outage fills the application's threads",
                ),
                set(
                    "validationTimeout",
                    Millis(PING),
                    "of the test of a connection that was not used for 0.5 s",
                ),
            ];
            let keepalive = KEEPALIVE.min(shape.max_idle_time);
            if keepalive >= FLOOR {
                settings.push(set(
                    "keepaliveTime",
                    Millis(keepalive),
                    "idle ones are pinged in the background, before the server or a router ends them",
                ));
            }
            settings
        },
        notes: |_, shape| {
            let mut notes =
                vec!["idleTimeout has no effect unless minimumIdle is below maximumPoolSize"];
            if !shape.stays_below(lifetime(shape)) {
                notes.push(
                    "it takes no lifetime below 30 s: raise the server's limit, or live with a failed test at many checkouts",
                );
            }
            notes
        },
    }
}
