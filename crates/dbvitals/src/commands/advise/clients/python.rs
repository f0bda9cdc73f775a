//! Python: SQLAlchemy 1.4 and 2.0, whose QueuePool bounds a connection by its age alone.

use super::super::setting::Value::{Count, Flag, Seconds};
use super::super::setting::{Syntax, set};
use super::super::shape::ACQUIRE;
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
        looks: (Looks::Never, Looks::Never),
        settings: |shape| {
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
                    Seconds(shape.max_lifetime),
                    shape.lifetime_reason(),
                ),
                set(
                    "pool_timeout",
                    Seconds(ACQUIRE),
                    "30 s by default: an outage fills the workers",
                ),
                set(
                    "pool_pre_ping",
                    Flag(false),
                    "a round trip for every use; true only where killed connections must not fail a query",
                ),
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
