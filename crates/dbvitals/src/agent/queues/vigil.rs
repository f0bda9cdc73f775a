//! The accept queue of one backend, look by look.
//!
//! Finds its listeners in a sample, counts overflows, notices when nobody leaves the queue, and puts
//! into an observation what is wrong. Asks nobody but the kernel, and decides nothing.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_acceptqueue::{
    AskError, Counters, Listener, Listeners, Namespace, UnixName, overflows_of,
};
use dbvitals_probe::{Address, Target};
use dbvitals_verdict::{Cause, Depth, Moment, Observation, Outcome, Path, Phases};

use crate::agent::board::{AcceptQueue, BackendBoard};
use crate::duration::show;
use crate::locality::own_addresses;
use crate::standstill::Standstill;

/// How long an address is taken for this machine's own, or not, without asking again: virtual
/// addresses move.
const PLACE_SURE_FOR: Duration = Duration::from_secs(5);
/// Looks that were so many times as far apart as meant, and at least so far, tell nothing about the
/// time in between: the machine may have slept.
const GAP_FACTOR: u32 = 5;
const GAP_MIN: Duration = Duration::from_secs(2);

/// What is remembered of one backend's queue.
#[derive(Debug)]
pub(super) struct Vigil {
    backend: Arc<BackendBoard>,
    target: Arc<Target>,
    /// Where it listens, if on this machine, and since when that is known.
    place: Option<Place>,
    placed_at: Option<Moment>,
    /// Its listeners at the newest look: one, or a group that shares the address.
    listeners: Vec<Listener>,
    overflows: Option<u64>,
    standstill: Option<Standstill>,
    looked_at: Moment,
    /// Nobody has left the queue while more came.
    stands_still: bool,
    /// What was told last is wrong with it.
    told: Option<Cause>,
}

#[derive(Debug)]
enum Place {
    Tcp(Vec<SocketAddr>),
    Unix(UnixName),
}

impl Vigil {
    pub(super) fn of(backend: &Arc<BackendBoard>) -> Self {
        Self {
            backend: Arc::clone(backend),
            target: backend.target(),
            place: None,
            placed_at: None,
            listeners: Vec::new(),
            overflows: None,
            standstill: None,
            looked_at: Moment::ORIGIN,
            stands_still: false,
            told: None,
        }
    }

    /// Whether this is about the same backend, at the same address.
    pub(super) fn is_of(&self, backend: &Arc<BackendBoard>) -> bool {
        Arc::ptr_eq(&self.backend, backend) && self.target.address == backend.target().address
    }

    /// Whether it is on this machine; asked anew now and then.
    pub(super) fn is_here(&mut self, now: Moment) -> bool {
        let is_sure = |at: Moment| now.since(at) < PLACE_SURE_FOR;
        if !self.placed_at.is_some_and(is_sure) {
            self.placed_at = Some(now);
            self.place = Place::of(&self.target.address);
        }
        self.place.is_some()
    }

    /// Whether there is anything to look at: a place, or one that it has left.
    pub(super) fn is_of_interest(&self) -> bool {
        self.place.is_some() || !self.listeners.is_empty()
    }

    /// Takes a sample, and what the namespace counted since the one before.
    pub(super) fn see(&mut self, sample: &Listeners, counted: &Counters) {
        let found = self.place.as_ref().map(|place| place.find(sample));
        let found: Vec<_> = found.unwrap_or_default().into_iter().cloned().collect();
        let drops = found.iter().map(|it| {
            let before = self.listeners.iter().find(|that| that.is_same_socket(it));
            drops_between(before, it)
        });
        let drops: Option<u32> = drops.sum();
        let met_full = drops.map(|drops| overflows_of(drops, counted));
        let met_full = met_full.filter(|_| !found.is_empty());
        self.overflows = met_full.map(|it| self.overflows.unwrap_or(0) + at_most(&it));
        self.listeners = found;
        if self.length() == 0 {
            (self.standstill, self.stands_still) = (None, false);
        }
    }

    /// Whether clients wait.
    pub(super) fn is_crowded(&self) -> bool {
        self.length() > 0
    }

    /// Asks who waits, and whether anybody of those of before was accepted.
    pub(super) fn ask_who_waits(
        &mut self,
        namespace: &mut Namespace,
        sample: &Listeners,
        now: Moment,
        rested: Duration,
    ) -> Result<(), AskError> {
        // Members of a group show each other's clients.
        let Some(listener) = self.listeners.first() else {
            return Ok(());
        };
        let waiting = namespace.waiting(listener, sample)?;
        let length = self.length();
        let is_far = now.since(self.looked_at) > (rested * GAP_FACTOR).max(GAP_MIN);
        self.looked_at = now;
        match self.standstill.as_mut().filter(|_| !is_far) {
            Some(still) => {
                let before = still.since();
                still.look(length, &waiting, now);
                // A full queue cannot grow: that all are still there is all it can show.
                let is_same = still.since() == before;
                self.stands_still = still.steps() > 0 || (is_same && self.is_full());
            }
            None => {
                self.standstill = Some(Standstill::begin(length, &waiting, now));
                self.stands_still = false;
            }
        }
        Ok(())
    }

    /// Shows the queue on the board; answers what its shard has to hear: what is wrong, each time,
    /// and once that it is over.
    pub(super) fn tell(&mut self, now: Moment) -> Option<Observation> {
        let still = self.standstill.as_ref().filter(|_| self.stands_still);
        let still_since = still.map(Standstill::since);
        let queue = (!self.listeners.is_empty()).then(|| AcceptQueue {
            length: self.length(),
            limit: self.limit(),
            is_full: self.is_full(),
            overflows: self.overflows,
            still_since,
        });
        self.backend.show_queue(queue);
        let wrong = queue.and_then(|queue| wrong_with(&queue, now));
        let cause = wrong.as_ref().map(|(cause, _)| *cause);
        let before = std::mem::replace(&mut self.told, cause);
        before.or(cause)?;
        Some(Observation {
            path: Path::Queue,
            probe: None,
            started: now,
            ended: now,
            depth: Some(Depth::Listening),
            outcome: cause.map_or(Outcome::Pass, Outcome::Fail),
            phases: Phases::default(),
            session: false,
            server: None,
            detail: wrong.map(|(_, detail)| detail.into()),
        })
    }

    fn length(&self) -> u32 {
        self.listeners.iter().map(|it| it.length).sum()
    }

    fn limit(&self) -> Option<u32> {
        self.listeners.iter().map(|it| it.limit).sum()
    }

    /// Of a group, whether one is full: the kernel does not look for room at another.
    fn is_full(&self) -> bool {
        self.listeners.iter().any(|it| it.is_full() == Some(true))
    }
}

impl Place {
    fn of(address: &Address) -> Option<Self> {
        if let Address::Unix(path) = address {
            return Some(Self::Unix(UnixName::Path(path.clone())));
        }
        let addresses = own_addresses(address);
        (!addresses.is_empty()).then_some(Self::Tcp(addresses))
    }

    /// Of several addresses, the first at which anybody listens is the one that is connected to.
    fn find<'a>(&self, sample: &'a Listeners) -> Vec<&'a Listener> {
        match self {
            Self::Unix(name) => sample.at_name(name),
            Self::Tcp(addresses) => {
                let mut reached = addresses.iter().map(|it| sample.reached_at(*it));
                reached.find(|it| !it.is_empty()).unwrap_or_default()
            }
        }
    }
}

/// What is wrong with a queue, and in a sentence.
fn wrong_with(queue: &AcceptQueue, now: Moment) -> Option<(Cause, String)> {
    let AcceptQueue { length, limit, .. } = *queue;
    let fit = limit.map_or_else(String::new, |limit| {
        format!(" ({} fit)", limit.saturating_add(1))
    });
    let wait = match length {
        1 => "1 client waits".to_owned(),
        length => format!("{length} clients wait"),
    };
    if let Some(since) = queue.still_since {
        let lasts = show(now.since(since));
        let detail = format!("{wait} to be accepted{fit}, and nobody was for {lasts}");
        return Some((Cause::NotAccepting, detail));
    }
    let is_full = queue.is_full;
    is_full.then(|| (Cause::QueueFull, format!("{wait} to be accepted{fit}")))
}

/// What one socket dropped since the look before; nothing where it was not there then. The kernel's
/// counter may wrap around.
fn drops_between(before: Option<&Listener>, now: &Listener) -> Option<u32> {
    now.port()?;
    let dropped = now.drops?;
    Some(dropped.wrapping_sub(before.and_then(|it| it.drops).unwrap_or(dropped)))
}

fn at_most(overflows: &RangeInclusive<u32>) -> u64 {
    u64::from(*overflows.end())
}
