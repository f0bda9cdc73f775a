//! The JSON of `queues`: schema `dbvitals.queues.v1`, a part of the contract. Fields are only ever
//! added.

use std::ops::RangeInclusive;

use dbvitals_acceptqueue::{Counters, Peer, ProcessState, Sight};
use serde::Serialize;

use super::explanation::explain;
use super::history::{History, Marks};
use super::scope::{Entry, NamespaceFacts, Snapshot};

/// One look, or one tick of a watch.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    listeners: Vec<ListenerEntry>,
    /// The caller's own, or the one asked for.
    namespace: Option<NamespaceEntry>,
    namespaces: Vec<NamespaceEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct ListenerEntry {
    local: String,
    family: &'static str,
    length: u32,
    limit: Option<u32>,
    full: Option<bool>,
    drops: Option<u32>,
    /// How many of those drops were overflows.
    overflows: Option<RangeEntry>,
    pid: Option<u32>,
    command: Option<String>,
    processes: Vec<ProcessEntry>,
    uid: Option<u32>,
    inode: u32,
    namespace: u64,
    waiting: Vec<String>,
    half_open: usize,
    knocking: Vec<String>,
    ghosts: Vec<String>,
    blocked: Option<usize>,
    explanation: Vec<String>,
    #[serde(flatten)]
    watched: Option<WatchedEntry>,
}

#[derive(Debug, Serialize)]
struct RangeEntry {
    min: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct ProcessEntry {
    pid: u32,
    command: String,
    state: &'static str,
}

/// What only a watch knows.
#[derive(Debug, Serialize)]
struct WatchedEntry {
    peak: u32,
    blocked_peak: usize,
    overflows_lately: Option<RangeEntry>,
    overflows_per_second: f64,
}

#[derive(Debug, Clone, Serialize)]
struct NamespaceEntry {
    id: u64,
    name: Option<String>,
    listen_overflows: u64,
    listen_drops: u64,
    request_queue_drops: u64,
    cookies_sent: u64,
    broken_handshakes: u64,
    somaxconn: Option<u32>,
    whole: bool,
}

/// The document of one look.
pub(super) fn document(snapshot: &Snapshot, is_named: bool) -> Document {
    let namespaces: Vec<_> = snapshot
        .namespaces
        .iter()
        .map(NamespaceEntry::new)
        .collect();
    let entries = snapshot.entries.iter();
    Document {
        schema: "dbvitals.queues.v1",
        at: None,
        listeners: entries
            .map(|entry| ListenerEntry::new(entry, snapshot, is_named))
            .collect(),
        namespace: namespaces.first().cloned(),
        namespaces,
        events: None,
    }
}

impl Document {
    /// Adds what a watch knows.
    pub(super) fn watched(mut self, at: String, history: &History, events: &[String]) -> Self {
        self.at = Some(at);
        self.events = Some(events.to_owned());
        for entry in &mut self.listeners {
            let marks = history.marks(entry.namespace, entry.inode);
            entry.watched = marks.map(WatchedEntry::new);
        }
        self
    }
}

impl WatchedEntry {
    fn new(marks: &Marks) -> Self {
        Self {
            peak: marks.peak,
            blocked_peak: marks.blocked_peak,
            overflows_lately: marks.overflows().as_ref().map(RangeEntry::new),
            overflows_per_second: (marks.overflows_per_second * 10.0).round() / 10.0,
        }
    }
}

impl RangeEntry {
    fn new(range: &RangeInclusive<u64>) -> Self {
        Self {
            min: *range.start(),
            max: *range.end(),
        }
    }
}

impl ListenerEntry {
    fn new(entry: &Entry, snapshot: &Snapshot, is_named: bool) -> Self {
        let listener = &entry.found.listener;
        let facts = snapshot.namespaces.get(entry.found.namespace);
        let first = entry.processes.first();
        let waiting = entry.waiting.clone().unwrap_or_default();
        let addresses = |it: &mut dyn Iterator<Item = std::net::SocketAddr>| {
            it.map(|address| address.to_string()).collect()
        };
        Self {
            local: listener.local.to_string(),
            family: listener.family().name(),
            length: listener.length,
            limit: listener.limit,
            full: listener.is_full(),
            drops: listener.drops,
            overflows: entry.overflows(snapshot).as_ref().map(RangeEntry::new),
            pid: first.map(|it| it.pid),
            command: first.map(|it| it.command.clone()),
            processes: entry
                .processes
                .iter()
                .map(|it| ProcessEntry {
                    pid: it.pid,
                    command: it.command.clone(),
                    state: state_name(it.state),
                })
                .collect(),
            uid: listener.uid,
            inode: listener.inode,
            namespace: facts.map_or(0, |it| it.id),
            half_open: waiting.half_open.len(),
            knocking: addresses(&mut waiting.knocking.iter().map(|it| it.address)),
            ghosts: addresses(&mut waiting.ghosts.iter().map(|it| it.address)),
            waiting: waiting
                .peers
                .iter()
                .map(|peer| peer_name(peer, snapshot))
                .collect(),
            blocked: entry.blocked,
            explanation: explain(entry, snapshot, is_named),
            watched: None,
        }
    }
}

impl NamespaceEntry {
    fn new(facts: &NamespaceFacts) -> Self {
        let Counters {
            listen_overflows,
            listen_drops,
            request_queue_drops,
            cookies_sent,
            broken_handshakes,
            ..
        } = facts.counters;
        Self {
            id: facts.id,
            name: facts.name.clone(),
            listen_overflows,
            listen_drops,
            request_queue_drops,
            cookies_sent,
            broken_handshakes,
            somaxconn: facts.somaxconn,
            whole: facts.sight == Sight::Whole,
        }
    }
}

/// Who waits: an address where there is one, else a process, else a socket.
pub(super) fn peer_name(peer: &Peer, snapshot: &Snapshot) -> String {
    let process = peer.client_inode.and_then(|it| snapshot.clients.get(&it));
    match (peer.address, process, peer.client_inode) {
        (Some(address), _, _) => address.to_string(),
        (None, Some(process), _) => format!("{} ({})", process.command, process.pid),
        (None, None, Some(inode)) => format!("socket {inode}"),
        (None, None, None) => "closed already".to_owned(),
    }
}

fn state_name(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Alive => "alive",
        ProcessState::Waiting => "waiting_for_disk",
        ProcessState::Stopped => "stopped",
        ProcessState::Dead => "dead",
    }
}
