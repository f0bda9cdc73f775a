//! Metrics of accept queues, of the backends whose queues can be seen.

use std::fmt::{self, Write};
use std::sync::Arc;

use dbvitals_verdict::Moment;

use super::head;
use crate::agent::board::{AcceptQueue, BackendBoard};

/// Writes them.
pub(super) fn write<'a>(
    out: &mut String,
    named: impl Iterator<Item = (&'a Arc<BackendBoard>, &'a String)>,
    now: Moment,
) -> fmt::Result {
    let seen = named.filter_map(|(backend, name)| Some((name, backend.queue()?)));
    let seen: Vec<_> = seen.collect();
    let mut gauge =
        |name: &str, kind: &str, help: &str, value: &dyn Fn(&AcceptQueue) -> Option<f64>| {
            head(out, name, kind, help)?;
            for (backend, queue) in &seen {
                if let Some(value) = value(queue) {
                    writeln!(out, "{name}{{backend=\"{backend}\"}} {value}")?;
                }
            }
            Ok(())
        };
    gauge(
        "dbvitals_accept_queue_length",
        "gauge",
        "Connections that wait to be accepted; absent where the queue cannot be seen.",
        &|queue| Some(queue.length.into()),
    )?;
    gauge(
        "dbvitals_accept_queue_limit",
        "gauge",
        "The limit in force; one more fits.",
        &|queue| queue.limit.map(f64::from),
    )?;
    gauge(
        "dbvitals_accept_queue_overflows_total",
        "counter",
        "Connections that met a full accept queue, at most; absent for unix sockets, of which nothing counts them.",
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        &|queue| queue.overflows.map(|count| count as f64),
    )?;
    gauge(
        "dbvitals_accept_queue_standstill_seconds",
        "gauge",
        "For how long clients have waited of whom nobody was accepted; 0 while the queue moves.",
        &|queue| {
            let still = queue.still_since.map(|since| now.since(since));
            Some(still.unwrap_or_default().as_secs_f64())
        },
    )
}
