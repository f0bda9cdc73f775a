//! What a probe costs its server, on real ones, is what `docs/probe-depths.md` says.
//!
//! The figures are read out of the document's tables, so that it cannot drift away from the truth:
//! packets, bytes, round trips, sessions, counters and log lines of each depth and path, and
//! processor time as an upper bound and an order of magnitude, since machines differ. When a figure
//! is wrong, the failure prints the whole table as it was measured. `real_cost/measure.rs` is the
//! place to begin reading.

#[path = "real_cost/asker.rs"]
mod asker;
#[path = "real_cost/capture.rs"]
mod capture;
#[path = "real_cost/document.rs"]
mod document;
#[path = "real_cost/leftovers.rs"]
mod leftovers;
#[path = "real_cost/locks.rs"]
mod locks;
#[path = "real_cost/measure.rs"]
mod measure;
#[path = "real_cost/namespace.rs"]
mod namespace;
#[path = "real_cost/server.rs"]
mod server;

use dbvitals_testkit::{MariaDb, Postgres, require_servers};

#[test]
fn probes_cost_mariadb_what_the_document_says() {
    require_servers!();
    if namespace::is_here("probes_cost_mariadb_what_the_document_says") {
        measure::check::<MariaDb>();
    }
}

#[test]
fn probes_cost_postgresql_what_the_document_says() {
    require_servers!();
    if namespace::is_here("probes_cost_postgresql_what_the_document_says") {
        measure::check::<Postgres>();
    }
}
