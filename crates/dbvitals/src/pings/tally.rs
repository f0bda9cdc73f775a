//! What is counted of a server, a client or a connection.

use dbvitals_wire::passive::{Command, Opaque, PingForm};

use super::latencies::Latencies;

/// The upper ends of the classes of idle gaps, in nanoseconds; the last class has none.
pub(crate) const IDLE_ENDS: [u64; 11] = [
    MS / 10,
    MS,
    10 * MS,
    100 * MS,
    500 * MS,
    1000 * MS,
    5000 * MS,
    30_000 * MS,
    60_000 * MS,
    300_000 * MS,
    1_800_000 * MS,
];
/// How many classes there are.
pub(crate) const IDLE_CLASSES: usize = IDLE_ENDS.len() + 1;
const MS: u64 = 1_000_000;

/// What pings told, that queries would have met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The server had closed the connection before the ping came.
    Closed,
    /// The connection was reset, or closed, in place of an answer.
    Reset,
    /// The answer was an error that ends the session.
    Error,
}

impl Death {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Reset, Self::Error];
}

/// Counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// All that clients asked for, pings included; goodbyes are not asked.
    pub(crate) commands: u64,
    /// By form, in the order of [`PingForm::ALL`].
    pub(crate) pings: [u64; PingForm::ALL.len()],
    /// From the ping to its answer.
    pub(crate) latency: Latencies,
    /// Pings after which another command came at once.
    pub(crate) followed: u64,
    /// Of those, the ones on connections that had been proven alive a moment before.
    pub(crate) useless: u64,
    /// How long their answers took, in nanoseconds.
    pub(crate) useless_time: u64,
    /// Work that came right after a ping.
    pub(crate) work_after_ping: u64,
    /// How long connections had been idle before a ping.
    pub(crate) idle: [u64; IDLE_CLASSES],
    /// The same of those pings that met a dead connection.
    pub(crate) idle_dead: [u64; IDLE_CLASSES],
    /// Pings that were the first thing heard of their connections.
    pub(crate) idle_unknown: u64,
    /// Pings by form that came after their server had closed, so that it never counted them.
    pub(crate) unheard: [u64; PingForm::ALL.len()],
    /// By death, in the order of [`Death::ALL`].
    pub(crate) dead: [u64; Death::ALL.len()],
    /// From one ping to the next, where there was no work in between.
    pub(crate) intervals: Latencies,
    pub(crate) connections: Connections,
}

/// Counts of connections.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Connections {
    pub(crate) seen: u64,
    /// Whose beginnings were captured.
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// Attempts to connect that were reset at once; they are none of the others.
    pub(crate) refused: u64,
    /// Opened and closed with one command between.
    pub(crate) used_once: u64,
    /// Opened and closed with none.
    pub(crate) unused: u64,
    pub(crate) tls: u64,
    pub(crate) gss: u64,
    /// There before the capture, and nothing that was said could be read.
    pub(crate) unread: u64,
}

impl Connections {
    /// Those that cannot be counted.
    pub(crate) fn opaque(&self) -> u64 {
        self.tls + self.gss + self.unread
    }

    pub(crate) fn note_opaque(&mut self, opaque: Opaque) {
        match opaque {
            Opaque::Tls => self.tls += 1,
            Opaque::Gss => self.gss += 1,
        }
    }

    /// What was taken for a connection as it began was refused.
    pub(crate) fn note_refusal(&mut self) {
        self.seen -= 1;
        self.opened -= 1;
        self.refused += 1;
    }

    /// Both together.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }

    fn merge(&mut self, other: &Self) {
        self.seen += other.seen;
        self.opened += other.opened;
        self.closed += other.closed;
        self.refused += other.refused;
        self.used_once += other.used_once;
        self.unused += other.unused;
        self.tls += other.tls;
        self.gss += other.gss;
        self.unread += other.unread;
    }
}

impl Tally {
    pub(crate) fn note_command(&mut self, command: Command) {
        self.commands += 1;
        if let Command::Ping(form) = command {
            count_one(&PingForm::ALL, form, &mut self.pings);
        }
    }

    pub(crate) fn note_death(&mut self, death: Death, idle: Option<u64>) {
        count_one(&Death::ALL, death, &mut self.dead);
        if let Some(count) = idle.and_then(|idle| self.idle_dead.get_mut(idle_class(idle))) {
            *count += 1;
        }
    }

    /// A ping came after its server had closed.
    pub(crate) fn note_unheard(&mut self, form: PingForm) {
        count_one(&PingForm::ALL, form, &mut self.unheard);
    }

    pub(crate) fn note_idle(&mut self, idle: Option<u64>) {
        match idle.and_then(|idle| self.idle.get_mut(idle_class(idle))) {
            Some(count) => *count += 1,
            None => self.idle_unknown += 1,
        }
    }

    /// Pings of all forms.
    pub(crate) fn pings(&self) -> u64 {
        self.pings.iter().sum()
    }

    /// Pings of these forms that a server can have counted.
    pub(crate) fn reached_server(&self, forms: &[PingForm]) -> u64 {
        let counts = self.pings.iter().zip(&self.unheard);
        PingForm::ALL
            .iter()
            .zip(counts)
            .filter(|(form, _)| forms.contains(form))
            .map(|(_, (pings, unheard))| pings - unheard)
            .sum()
    }

    /// Pings that met a dead connection.
    pub(crate) fn dead(&self) -> u64 {
        self.dead.iter().sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.commands += other.commands;
        self.latency.merge(&other.latency);
        self.followed += other.followed;
        self.useless += other.useless;
        self.useless_time += other.useless_time;
        self.work_after_ping += other.work_after_ping;
        self.idle_unknown += other.idle_unknown;
        self.intervals.merge(&other.intervals);
        self.connections.merge(&other.connections);
        add_each(&mut self.pings, &other.pings);
        add_each(&mut self.unheard, &other.unheard);
        add_each(&mut self.idle, &other.idle);
        add_each(&mut self.idle_dead, &other.idle_dead);
        add_each(&mut self.dead, &other.dead);
    }
}

/// Adds one to the count of this kind; counts are in the order of `all`.
fn count_one<T: PartialEq>(all: &[T], kind: T, counts: &mut [u64]) {
    if let Some((_, count)) = all.iter().zip(counts).find(|(it, _)| **it == kind) {
        *count += 1;
    }
}

fn add_each(counts: &mut [u64], others: &[u64]) {
    for (count, other) in counts.iter_mut().zip(others) {
        *count += other;
    }
}

fn idle_class(idle: u64) -> usize {
    IDLE_ENDS.partition_point(|end| *end <= idle)
}
