//! The accept queue of one backend, look by look.
//!
//! Finds its listeners in a sample, counts overflows, notices when nobody leaves the queue, and puts
//! into an observation what is wrong. Asks nobody but the kernel, and decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_acceptqueue::{
    AskError, Counters, Listener, Listeners, Namespace, OverflowCount, UnixName, Waiting,
};
use dbvitals_probe::{Address, Target};
use dbvitals_verdict::{Cause, Moment, Observation, Outcome};

use crate::agent::board::{AcceptQueue, BackendBoard};
use crate::agent::look::{self, Look};
use crate::duration::show;
use crate::locality::own_addresses;
use crate::standstill::Standstill;

/// What is remembered of one backend's queue.
#[derive(Debug)]
pub(super) struct Vigil {
    backend: Arc<BackendBoard>,
    target: Arc<Target>,
    /// Where it listens, unless it has left this machine.
    place: Option<Place>,
    /// Its listeners at the newest look: one, or a group that shares the address.
    listeners: Vec<Listener>,
    /// Of all that listened there since it is looked at, where drops are counted.
    overflows: Option<OverflowCount>,
    /// Since when it was seen to have room at each look, and dropped nobody.
    roomy_since: Option<Moment>,
    /// Of most there is none.
    standstill: Option<Box<Standstill>>,
    /// When it was asked last who waits.
    asked_at: Option<Moment>,
    /// Nobody has left the queue while more came.
    stands_still: bool,
    /// What its shard was told last is wrong with it.
    told: Option<Cause>,
}

/// Where on this machine a backend listens.
#[derive(Debug)]
pub(super) enum Place {
    Tcp(Vec<SocketAddr>),
    Unix(UnixName),
}

impl Vigil {
    pub(super) fn of(backend: &Arc<BackendBoard>, place: Place) -> Self {
        Self {
            backend: Arc::clone(backend),
            target: backend.target(),
            place: Some(place),
            listeners: Vec::new(),
            overflows: None,
            roomy_since: None,
            standstill: None,
            asked_at: None,
            stands_still: false,
            told: None,
        }
    }

    /// Whether this is about the same backend, at the same address.
    pub(super) fn is_of(&self, backend: &Arc<BackendBoard>) -> bool {
        Arc::ptr_eq(&self.backend, backend) && self.is_in_place()
    }

    /// Whether its backend is still asked at the address that is looked at.
    pub(super) fn is_in_place(&self) -> bool {
        self.target.address == self.backend.target().address
    }

    /// Takes where it listens now, if on this machine.
    pub(super) fn move_to(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// From one question to its backend to the next.
    pub(super) fn interval(&self) -> Duration {
        self.backend.plan().interval
    }

    /// Whether there is anything to look at, or to tell: a place, or one that it has left.
    pub(super) fn is_of_interest(&self) -> bool {
        self.place.is_some() || !self.listeners.is_empty() || self.told.is_some()
    }

    /// Takes a sample, and what the namespace counted since the one before.
    pub(super) fn see(&mut self, sample: &Listeners, counted: &Counters, now: Moment) {
        let found = self.place.as_ref().map(|place| place.find(sample));
        let found: Vec<_> = found.unwrap_or_default().into_iter().cloned().collect();
        let drops = found.iter().map(|it| {
            let before = self.listeners.iter().find(|that| that.is_same_socket(it));
            drops_between(before, it)
        });
        let drops: Option<u64> = drops.sum();
        let is_counted = !found.is_empty() || self.overflows.is_some();
        if let Some(drops) = drops.filter(|_| is_counted) {
            let overflows = self.overflows.get_or_insert_default();
            overflows.add(drops, counted);
        }
        self.listeners = found;
        // Nothing counts what a unix socket refuses; nobody waits in vain for an answer of one.
        let dropped = drops.unwrap_or(0) > 0;
        self.roomy_since = match self.has_room() && !dropped {
            true => self.roomy_since.or(Some(now)),
            false => None,
        };
        let length = self.length();
        if self
            .standstill
            .as_ref()
            .is_some_and(|still| still.is_over_at(length))
        {
            self.forget_standstill();
        }
    }

    /// Begins anew: nobody waits, or what was between two looks is not known.
    pub(super) fn forget_standstill(&mut self) {
        (self.standstill, self.stands_still) = (None, false);
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
    ) -> Result<(), AskError> {
        // Members of a group show each other's clients.
        let Some(listener) = self.listeners.first() else {
            return Ok(());
        };
        let waiting = namespace.waiting(listener, sample)?;
        self.hear_who_waits(&waiting, now);
        Ok(())
    }

    fn hear_who_waits(&mut self, waiting: &Waiting, now: Moment) {
        self.asked_at = Some(now);
        let length = self.length();
        let Some(still) = &mut self.standstill else {
            self.standstill = Some(Box::new(Standstill::begin(length, waiting, now)));
            return;
        };
        let before = still.since();
        still.look(length, waiting, now);
        // A full queue cannot grow: that all are still there is all it can show.
        let is_same = still.since() == before;
        let has_grown = still.steps() > 0;
        self.stands_still = has_grown || (is_same && self.is_full());
    }

    /// Shows the queue on the board; answers what its shard has to hear: what is wrong, each time,
    /// and once that it is over.
    pub(super) fn tell(&self, now: Moment) -> Option<Look> {
        let still = self.standstill.as_ref().filter(|_| self.stands_still);
        let still_since = still.map(|still| still.since());
        let queue = (!self.listeners.is_empty()).then(|| AcceptQueue {
            length: self.length(),
            limit: self.limit(),
            is_full: self.is_full(),
            overflows: self.overflows.map(|it| *it.total().end()),
            still_since,
            roomy: self.roomy_since.map(|since| (since, now)),
        });
        self.backend.show_queue(queue);
        let observation = match queue.and_then(|queue| wrong_with(&queue, now)) {
            Some(wrong) => wrong,
            None => {
                self.told?;
                look::observation((now, now), Outcome::Pass)
            }
        };
        // A standstill is news only where it was asked again who waits.
        let is_still = observation.outcome.cause() == Some(Cause::NotAccepting);
        (!is_still || self.asked_at == Some(now)).then(|| Look {
            backend: Arc::clone(&self.backend),
            target: Arc::clone(&self.target),
            observation,
        })
    }

    /// Notes that its shard was told this.
    pub(super) fn note_told(&mut self, cause: Option<Cause>) {
        self.told = cause;
    }

    fn length(&self) -> u32 {
        let lengths = self.listeners.iter().map(|it| it.length);
        lengths.fold(0, u32::saturating_add)
    }

    fn limit(&self) -> Option<u32> {
        let mut limits = self.listeners.iter().map(|it| it.limit);
        limits.try_fold(0_u32, |sum, limit| Some(sum.saturating_add(limit?)))
    }

    /// Whether all that it has are seen, and have room.
    fn has_room(&self) -> bool {
        let mut listeners = self.listeners.iter();
        !self.listeners.is_empty() && listeners.all(|it| it.is_full() == Some(false))
    }

    /// Of a group, whether one is full: the kernel does not look for room at another.
    fn is_full(&self) -> bool {
        self.listeners.iter().any(|it| it.is_full() == Some(true))
    }
}

/// Shows that nothing is known of the queue any more.
impl Drop for Vigil {
    fn drop(&mut self) {
        self.backend.show_queue(None);
    }
}

impl Place {
    /// Asks the kernel whether an address is this machine's.
    pub(super) fn of(address: &Address) -> Option<Self> {
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

/// What is wrong with a queue, and in a sentence; a standstill lasts since it began.
fn wrong_with(queue: &AcceptQueue, now: Moment) -> Option<Observation> {
    let AcceptQueue { length, limit, .. } = *queue;
    let fit = limit.map_or_else(String::new, |limit| {
        format!(" ({} fit)", limit.saturating_add(1))
    });
    let wait = match length {
        1 => "1 client waits".to_owned(),
        length => format!("{length} clients wait"),
    };
    let (since, cause, detail) = match queue.still_since {
        Some(since) => {
            let lasts = show(now.since(since));
            let detail = format!("{wait} to be accepted{fit}, and nobody was for {lasts}");
            (since, Cause::NotAccepting, detail)
        }
        None if queue.is_full => (now, Cause::QueueFull, format!("{wait} to be accepted{fit}")),
        None => return None,
    };
    Some(Observation {
        detail: Some(detail.into()),
        ..look::observation((since, now), Outcome::Fail(cause))
    })
}

/// What one socket dropped since the look before; nothing where it was not there then. The kernel's
/// counter may wrap around.
fn drops_between(before: Option<&Listener>, now: &Listener) -> Option<u64> {
    now.port()?;
    let dropped = now.drops?;
    let before = before.and_then(|it| it.drops).unwrap_or(dropped);
    Some(dropped.wrapping_sub(before).into())
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::{Clock, Protocol};
    use dbvitals_verdict::{Admin, Course, Depth, Plan};

    use crate::agent::board::Board;
    use crate::agent::plan::{BackendPlan, Origin};
    use crate::standstill::tests::listed;

    use super::*;

    const PORT: u16 = 3306;

    /// A vigil over a server of this machine.
    fn vigil() -> Vigil {
        let address = Address::Tcp {
            host: "127.0.0.1".into(),
            port: PORT,
        };
        let plan = BackendPlan {
            name: "db".into(),
            origin: Origin::default(),
            target: Arc::new(Target::new(Protocol::Opaque, address)),
            plan: Arc::new(Plan::new(Course::Sessionless {
                depth: Depth::Listening,
                deeper: None,
            })),
        };
        let board = Board::new(Clock::start()).entry(&plan, Admin::Ready);
        let place = Place::of(&board.target().address).expect("loopback is here");
        Vigil::of(&board, place)
    }

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    /// Its listener has so many in its queue, where four fit, and dropped so many.
    fn look(vigil: &mut Vigil, (length, drops): (u32, u32), now: Moment) {
        let line = b"0: 0100007F:0CEA 00000000:0000 0A 0:0 00:00000000 00000000 0 0 42 1 0";
        let listeners = Listeners::from_tables(line, b"");
        let listener = listeners.iter().next().expect("one listener").clone();
        let listener = Listener {
            length,
            limit: Some(3),
            drops: Some(drops),
            ..listener
        };
        let counted = Counters {
            listen_overflows: 100,
            ..Counters::default()
        };
        vigil.see(&[listener].into_iter().collect(), &counted, now);
    }

    fn told(vigil: &Vigil, now: Moment) -> Option<Option<Cause>> {
        let look = vigil.tell(now)?;
        Some(look.observation.outcome.cause())
    }

    #[test]
    fn that_it_is_over_is_told_until_the_shard_has_taken_it() {
        let mut vigil = vigil();
        look(&mut vigil, (0, 0), at(0));
        assert_eq!(told(&vigil, at(0)), None);
        look(&mut vigil, (4, 0), at(200));
        assert_eq!(told(&vigil, at(200)), Some(Some(Cause::QueueFull)));
        vigil.note_told(Some(Cause::QueueFull));
        look(&mut vigil, (0, 0), at(400));
        for _ in 0..2 {
            assert_eq!(told(&vigil, at(400)), Some(None));
        }
        vigil.note_told(None);
        assert_eq!(told(&vigil, at(400)), None);
    }

    #[test]
    fn a_standstill_lasts_since_it_began_and_is_told_only_where_it_was_asked_who_waits() {
        let mut vigil = vigil();
        for (ms, waiting) in [(0, 1), (200, 2)] {
            look(&mut vigil, (waiting, 0), at(ms));
            vigil.hear_who_waits(&listed(&[1, 2][..waiting as usize]), at(ms));
        }
        let seen = vigil.tell(at(200)).expect("news").observation;
        assert_eq!(seen.outcome, Outcome::Fail(Cause::NotAccepting));
        assert_eq!(seen.took(), Duration::from_millis(200));
        vigil.note_told(Some(Cause::NotAccepting));
        look(&mut vigil, (2, 0), at(400));
        assert_eq!(told(&vigil, at(400)), None);
        // Somebody has left, and nobody has to be asked who.
        look(&mut vigil, (1, 0), at(600));
        assert_eq!(told(&vigil, at(600)), Some(None));
    }

    #[test]
    fn a_busy_server_whose_clients_are_gone_before_they_are_listed_does_not_stand_still() {
        let mut vigil = vigil();
        for (ms, length) in [(0, 1), (200, 2), (400, 3), (600, 4)] {
            look(&mut vigil, (length, 0), at(ms));
            vigil.hear_who_waits(&Waiting::default(), at(ms));
            assert_ne!(told(&vigil, at(ms)), Some(Some(Cause::NotAccepting)));
        }
    }

    #[test]
    fn room_is_shown_from_when_nobody_was_dropped_any_more() {
        let mut vigil = vigil();
        let mut roomy = |ms: u64, queue: (u32, u32)| {
            look(&mut vigil, queue, at(ms));
            vigil.tell(at(ms));
            vigil.backend.queue().expect("it is shown").roomy
        };
        assert_eq!(roomy(0, (0, 7)), Some((at(0), at(0))));
        assert_eq!(roomy(200, (3, 7)), Some((at(0), at(200))));
        assert_eq!(roomy(400, (1, 8)), None);
        assert_eq!(roomy(600, (1, 8)), Some((at(600), at(600))));
        assert_eq!(roomy(800, (4, 8)), None);
    }
}
