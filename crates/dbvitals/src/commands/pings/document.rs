//! The JSON of `pings`: schema `dbvitals.pings.v1`, a part of the contract. Fields are only ever
//! added.

use std::collections::BTreeMap;

use dbvitals_wire::passive::{PingForm, Protocol};
use serde::Serialize;

use super::Report;
use super::comparison::{Comparison, Since};
use crate::pings::{Account, Asker, Connections, Death, Endpoint, Group, Habit, IDLE_ENDS, Tally};

/// A whole capture.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: &'static str,
    packets: u64,
    /// Packets that came too fast; null where a capture does not tell.
    packets_lost: Option<u32>,
    seconds: f64,
    idle_threshold_ms: f64,
    connections: ConnectionsEntry,
    servers: Vec<ServerEntry>,
    /// With `--compare-with` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<ComparedEntry>,
}

/// What the server has counted by itself.
#[derive(Debug, Serialize)]
struct ComparedEntry {
    target: String,
    /// The addresses in the capture that are meant.
    servers: Vec<String>,
    /// `listening` or `start`.
    since: &'static str,
    /// How long the server has been counting, where it says.
    seconds: Option<u64>,
    counters: Vec<CounterEntry>,
    unreadable: Vec<UnreadableEntry>,
}

#[derive(Debug, Serialize)]
struct CounterEntry {
    counter: &'static str,
    server: u64,
    heard: u64,
    difference: i64,
}

#[derive(Debug, Serialize)]
struct UnreadableEntry {
    source: &'static str,
    detail: String,
}

#[derive(Debug, Serialize)]
struct ServerEntry {
    address: String,
    protocol: &'static str,
    #[serde(flatten)]
    counts: CountsEntry,
    groups: Vec<GroupEntry>,
}

/// A client, a connection, or all others.
#[derive(Debug, Serialize)]
struct GroupEntry {
    client: String,
    #[serde(flatten)]
    counts: CountsEntry,
}

#[derive(Debug, Serialize)]
struct CountsEntry {
    commands: u64,
    pings: BTreeMap<&'static str, u64>,
    useless: u64,
    dead_when_used: u64,
    latency_us: LatencyEntry,
    ping_share: f64,
    pings_per_second: f64,
    time_spent_ms: f64,
    useless_ms: f64,
    followed: u64,
    dead: DeadEntry,
    idle_before_ping: Vec<IdleEntry>,
    idle_unknown: u64,
    connections: ConnectionsEntry,
    connects_per_second: f64,
    disconnects_per_second: f64,
    habit: Option<HabitEntry>,
}

/// Null where no ping was answered.
#[derive(Debug, Serialize)]
struct LatencyEntry {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Serialize)]
struct DeadEntry {
    closed: u64,
    reset: u64,
    error: u64,
}

/// Pings after an idle time of up to so many milliseconds; null is without limit.
#[derive(Debug, Serialize)]
struct IdleEntry {
    up_to_ms: Option<f64>,
    pings: u64,
    dead: u64,
}

#[derive(Debug, Serialize)]
struct ConnectionsEntry {
    seen: u64,
    opaque: u64,
    opaque_by: OpaqueEntry,
    opened: u64,
    closed: u64,
    used_once: u64,
    unused: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct OpaqueEntry {
    tls: u64,
    gss: u64,
    unread: u64,
}

#[derive(Debug, Serialize)]
struct HabitEntry {
    name: &'static str,
    explanation: &'static str,
    settings: &'static [&'static str],
}

pub(super) fn document(report: &Report) -> Document {
    let account = &report.account;
    let seconds = report.seconds();
    let mut all = Tally::default();
    let servers = by_server(account)
        .map(|(server, protocol, groups)| {
            let mut tally = Tally::default();
            groups.iter().for_each(|group| tally.merge(&group.tally));
            all.merge(&tally);
            ServerEntry {
                address: server.to_string(),
                protocol: protocol.name(),
                counts: counts(&tally, seconds),
                groups: groups.iter().filter_map(|it| group(it, seconds)).collect(),
            }
        })
        .collect();
    Document {
        schema: "dbvitals.pings.v1",
        packets: account.packets,
        packets_lost: report.live.as_ref().map(|live| live.lost),
        seconds: rounded(seconds, 6),
        idle_threshold_ms: ms(account.settings.idle_threshold),
        connections: connections(&all.connections),
        servers,
        compared: report.comparison.as_ref().map(compared),
    }
}

fn compared(comparison: &Comparison) -> ComparedEntry {
    let (since, seconds) = match comparison.since {
        Since::Listening => ("listening", None),
        Since::Start(seconds) => ("start", seconds),
    };
    let silent = comparison.silent.iter();
    ComparedEntry {
        target: comparison.target.clone(),
        servers: comparison.servers.iter().map(Endpoint::to_string).collect(),
        since,
        seconds,
        counters: comparison
            .rows
            .iter()
            .map(|row| CounterEntry {
                counter: row.name,
                server: row.server,
                heard: row.heard,
                difference: row.difference(),
            })
            .collect(),
        unreadable: silent
            .map(|(source, detail)| UnreadableEntry {
                source,
                detail: detail.clone(),
            })
            .collect(),
    }
}

/// The groups of each server.
pub(super) fn by_server(account: &Account) -> impl Iterator<Item = (Endpoint, Protocol, &[Group])> {
    let runs = account
        .groups
        .chunk_by(|one, other| one.server == other.server);
    runs.filter_map(|groups| {
        let first = groups.first()?;
        Some((first.server, first.protocol, groups))
    })
}

/// Who asked, in words; `None` where everybody is meant.
pub(super) fn name_of(asker: Asker) -> Option<String> {
    match asker {
        Asker::Everybody => None,
        Asker::Client(address) => Some(address.to_string()),
        Asker::Connection(end) => Some(end.to_string()),
        Asker::Others => Some("others".to_owned()),
    }
}

fn group(group: &Group, seconds: f64) -> Option<GroupEntry> {
    Some(GroupEntry {
        client: name_of(group.asker)?,
        counts: counts(&group.tally, seconds),
    })
}

fn counts(tally: &Tally, seconds: f64) -> CountsEntry {
    let forms = PingForm::ALL.iter().zip(tally.pings);
    let us = |percent| {
        let time = tally.latency.percentile(percent);
        time.map(|time| rounded(time as f64 / 1e3, 1))
    };
    let [closed, reset, error] = tally.dead;
    let ends = IDLE_ENDS.map(|end| Some(ms(end))).into_iter().chain([None]);
    let idle = ends.zip(tally.idle).zip(tally.idle_dead);
    CountsEntry {
        commands: tally.commands,
        pings: forms.map(|(form, count)| (form.name(), count)).collect(),
        useless: tally.useless,
        dead_when_used: tally.dead(),
        latency_us: LatencyEntry {
            p50: us(50),
            p95: us(95),
            p99: us(99),
        },
        ping_share: rounded(share(tally.pings(), tally.commands), 4),
        pings_per_second: rate(tally.pings(), seconds),
        time_spent_ms: ms(tally.latency.sum()),
        useless_ms: ms(tally.useless_time),
        followed: tally.followed,
        dead: DeadEntry {
            closed,
            reset,
            error,
        },
        idle_before_ping: idle
            .map(|((up_to_ms, pings), dead)| IdleEntry {
                up_to_ms,
                pings,
                dead,
            })
            .collect(),
        idle_unknown: tally.idle_unknown,
        connections: connections(&tally.connections),
        connects_per_second: rate(tally.connections.opened, seconds),
        disconnects_per_second: rate(tally.connections.closed, seconds),
        habit: Habit::of(tally).map(|habit| HabitEntry {
            name: habit.name(),
            explanation: habit.explanation(),
            settings: habit.settings(),
        }),
    }
}

fn connections(connections: &Connections) -> ConnectionsEntry {
    ConnectionsEntry {
        seen: connections.seen,
        opaque: connections.opaque(),
        opaque_by: OpaqueEntry {
            tls: connections.tls,
            gss: connections.gss,
            unread: connections.unread,
        },
        opened: connections.opened,
        closed: connections.closed,
        used_once: connections.used_once,
        unused: connections.unused,
        refused: connections.refused,
    }
}

/// A part of a whole; 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

/// So many a second; a capture without extent has no rates.
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    match seconds > 0.0 {
        true => rounded(count as f64 / seconds, 3),
        false => 0.0,
    }
}

fn ms(nanoseconds: u64) -> f64 {
    rounded(nanoseconds as f64 / 1e6, 3)
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

const _: () = assert!(Death::ALL.len() == 3, "each has its field in DeadEntry");
