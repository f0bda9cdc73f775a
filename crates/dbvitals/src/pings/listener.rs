//! All connections of a capture, found by their addresses, and what is counted of them.
//!
//! A frame goes in, and how much of it may be shown to others comes out; [`Listener::finish`] ends
//! in the [`Account`]. Memory is bounded: so many connections are followed at once, the one that
//! has been silent for long makes room for another; so many groups are told apart.

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use super::connection::{Connection, Surroundings};
use super::groups::{Group, GroupBy, Groups};
use super::packet::{Endpoint, Frame, TcpSegment};
use super::servers::Servers;

/// So many connections are followed at once.
const CONNECTIONS_MAX: usize = 16_384;
/// So many that are closed are kept for what may come late.
const CLOSED_MAX: usize = 1024;

/// What is listened for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// The servers' port; without one, servers are recognised by what they say.
    pub(crate) port: Option<u16>,
    pub(crate) group_by: GroupBy,
    /// A connection whose server was heard so shortly before needs no ping, in nanoseconds.
    pub(crate) idle_threshold: u64,
}

/// What was heard in all.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) settings: Settings,
    pub(crate) packets: u64,
    /// When the first and the last packet came, in nanoseconds since 1970.
    pub(crate) span: Option<(u64, u64)>,
    /// By server, then by who asked.
    pub(crate) groups: Vec<Group>,
}

/// Listens to a capture.
#[derive(Debug)]
pub(crate) struct Listener {
    settings: Settings,
    packets: u64,
    span: Option<(u64, u64)>,
    ids: HashMap<Pair, usize, foldhash::fast::RandomState>,
    connections: Slab<(Pair, Connection)>,
    closed: VecDeque<Pair>,
    /// Where the search for a silent connection goes on.
    hand: usize,
    around: Surroundings,
}

/// The two ends of a connection, in a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pair(Endpoint, Endpoint);

impl Pair {
    fn of(segment: &TcpSegment<'_>) -> Self {
        let (one, other) = (segment.source, segment.destination);
        match one <= other {
            true => Self(one, other),
            false => Self(other, one),
        }
    }
}

impl Listener {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            packets: 0,
            span: None,
            ids: HashMap::default(),
            connections: Slab::new(),
            closed: VecDeque::new(),
            hand: 0,
            around: Surroundings {
                groups: Groups::new(settings.group_by),
                servers: Servers::new(settings.port),
                idle_threshold: settings.idle_threshold,
                held: 0,
            },
        }
    }

    /// Hears a frame; returns how many of its first bytes hold nothing but headers and pings.
    pub(crate) fn hear(&mut self, frame: Frame<'_>) -> Option<usize> {
        self.packets += 1;
        let (first, last) = self.span.unwrap_or((frame.at, frame.at));
        self.span = Some((first.min(frame.at), last.max(frame.at)));
        let segment = TcpSegment::parse(frame)?;
        let servers = &self.around.servers;
        if !servers.admits(segment.source) && !servers.admits(segment.destination) {
            return None;
        }
        let shown = self.hear_segment(&segment, frame.at);
        Some(segment.headers + shown)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// Ends all connections and tells what was counted.
    pub(crate) fn finish(mut self) -> Account {
        let ids: Vec<usize> = self.connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.remove(id);
        }
        let mut groups = self.around.groups.into_groups();
        groups.sort_by_key(|group| (group.server, group.asker));
        Account {
            settings: self.settings,
            packets: self.packets,
            span: self.span,
            groups,
        }
    }

    fn hear_segment(&mut self, segment: &TcpSegment<'_>, at: u64) -> usize {
        let pair = Pair::of(segment);
        let mut known = self.ids.get(&pair).copied();
        if segment.flags.syn() {
            let begun = known.and_then(|id| self.connections.get_mut(id));
            if begun.is_some_and(|(_, connection)| connection.begin(segment)) {
                return 0;
            }
            if let Some(id) = known.take() {
                self.remove(id);
            }
        }
        let id = match known {
            Some(id) => id,
            // Acknowledgements and ends of what is over begin nothing.
            None if !segment.flags.syn() && segment.length() == 0 => return 0,
            None => self.insert(pair, segment),
        };
        let Some((_, connection)) = self.connections.get_mut(id) else {
            return 0;
        };
        if segment.flags.syn() {
            return 0;
        }
        connection.is_recent = true;
        let was_closed = connection.is_closed();
        let shown = connection.take(segment, at, &mut self.around);
        if connection.is_closed() && !was_closed {
            self.note_closed(pair);
        }
        shown
    }

    fn insert(&mut self, pair: Pair, segment: &TcpSegment<'_>) -> usize {
        if self.connections.len() >= CONNECTIONS_MAX {
            self.remove_silent();
        }
        let connection = match segment.flags.syn() {
            true => Connection::begun_by(segment, &mut self.around),
            false => Connection::heard_of(segment.source, segment.destination),
        };
        let id = self.connections.insert((pair, connection));
        self.ids.insert(pair, id);
        id
    }

    /// A closed connection stays for a while, since the network may repeat its last words.
    fn note_closed(&mut self, pair: Pair) {
        self.closed.push_back(pair);
        if self.closed.len() <= CLOSED_MAX {
            return;
        }
        let oldest = self.closed.pop_front();
        let id = oldest.and_then(|oldest| self.ids.get(&oldest).copied());
        // Its addresses may be those of a newer connection by now.
        let is_closed = |id: &usize| {
            let entry = self.connections.get(*id);
            entry.is_some_and(|(_, connection)| connection.is_closed())
        };
        if let Some(id) = id.filter(is_closed) {
            self.remove(id);
        }
    }

    /// Ends the next connection that nothing was heard of since the last round.
    fn remove_silent(&mut self) {
        // Two rounds at most: the first one forgets who was recent.
        for _ in 0..2 * self.connections.capacity() {
            self.hand = (self.hand + 1) % self.connections.capacity().max(1);
            let Some((_, connection)) = self.connections.get_mut(self.hand) else {
                continue;
            };
            if !std::mem::take(&mut connection.is_recent) {
                return self.remove(self.hand);
            }
        }
    }

    fn remove(&mut self, id: usize) {
        let Some((pair, mut connection)) = self.connections.try_remove(id) else {
            return;
        };
        self.ids.remove(&pair);
        connection.finish(&mut self.around);
    }
}

#[cfg(test)]
mod tests;
