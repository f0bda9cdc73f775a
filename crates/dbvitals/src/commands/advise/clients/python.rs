//! Python: SQLAlchemy 1.4 and 2.0, whose QueuePool bounds a connection by its age alone.

use super::super::setting::Value::{Count, Flag, Seconds};
use super::super::setting::{Syntax, set};
use super::super::shape::{ACQUIRE, whole_seconds};
use super::{BOTH, Client, Looks, bounds};
use crate::cli::PoolClient;

pub(super) fn sqlalchemy() -> Client {
    Client {
        name: PoolClient::Sqlalchemy,
        title: "SQLAlchemy (create_engine)",
        protocols: BOTH,
        syntax: Syntax::Keyword,
        // pool_size 5, and max_overflow 10.
        defaults: bounds(Some(15), None, None),
        size_follows: None,
        looks: (Looks::Never, Looks::Never),
        settings: |_, shape| {
            let recycle = whole_seconds(shape.max_lifetime);
            let (pre_ping, why) = match shape.stays_below(recycle) {
                true => (
                    false,
                    "a round trip for every use; true only where killed connections must not fail a query",
                ),
                false => (
                    true,
                    "a round trip for every use: pool_recycle does not go below the server's limit",
                ),
            };
            vec![
                set(
                    "pool_size",
                    Count(shape.max_open),
                    shape.max_open_reason.clone(),
                ),
                set(
                    "max_overflow",
                    Count(0),
                    "10 by default, on top of pool_size: opened and closed at each use",
                ),
                set(
                    "pool_recycle",
                    Seconds(recycle),
                    shape.lifetime_reason(recycle),
                ),
                set(
                    "pool_timeout",
                    Seconds(ACQUIRE),
                    "30 s by default: an outage fills the workers",
                ),
                set("pool_pre_ping", Flag(pre_ping), why),
            ]
        },
        notes: |_, _| {
            vec![
                "each process has a pool of its own: --instances counts workers, not hosts",
                "it closes all connections as old as one that a query met dead: a restart costs one failed query for each process",
            ]
        },
    }
}
