//! What has to be known of a connection wherever it is: idle, leased, or in the keeper's hands.
//!
//! Each member carries its card, and the [`Roll`] knows all cards, so that the keeper can mark
//! those that ended, replace those that grow old and tell leaks without a look into the books. All
//! of it is atomic: a checkout writes two words and takes no lock.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use dbvitals_verdict::Moment;

use crate::observer::Leak;

/// In place of the moment of a checkout.
const NOT_LEASED: u64 = u64::MAX;

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) id: u64,
    /// From when on a successor is wanted.
    successor_due: Option<Moment>,
    successor_ordered: AtomicBool,
    hung_up: AtomicBool,
    leased_since: AtomicU64,
    leak_told: AtomicBool,
    place: Mutex<&'static Location<'static>>,
}

/// A lease that is out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holding {
    pub(crate) id: u64,
    pub(crate) since: Moment,
    pub(crate) place: &'static Location<'static>,
}

impl Holding {
    /// What there is to tell of it at `now`.
    pub(crate) fn told_at(&self, now: Moment) -> Leak {
        Leak {
            connection: self.id,
            place: self.place,
            held: now.since(self.since),
        }
    }
}

impl Card {
    fn new(id: u64, successor_due: Option<Moment>) -> Self {
        Self {
            id,
            successor_due,
            successor_ordered: AtomicBool::new(false),
            hung_up: AtomicBool::new(false),
            leased_since: AtomicU64::new(NOT_LEASED),
            leak_told: AtomicBool::new(false),
            place: Mutex::new(Location::caller()),
        }
    }

    /// It was checked out.
    pub(crate) fn note_lease(&self, since: Moment) {
        self.leak_told.store(false, Ordering::Relaxed);
        self.leased_since.store(since.as_nanos(), Ordering::Relaxed);
    }

    /// Where it is checked out from now on; for who comes from another place than the last one.
    pub(crate) fn note_place(&self, place: &'static Location<'static>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// It came back.
    pub(crate) fn note_return(&self) {
        self.leased_since.store(NOT_LEASED, Ordering::Relaxed);
    }

    /// The lease that it is out on.
    pub(crate) fn holding(&self) -> Option<Holding> {
        let since = self.leased_since.load(Ordering::Relaxed);
        (since != NOT_LEASED).then(|| Holding {
            id: self.id,
            since: Moment::from_nanos(since),
            place: *self.place.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Whether this lease is to be told as a leak; says so once.
    pub(crate) fn takes_leak(&self) -> bool {
        !self.leak_told.swap(true, Ordering::Relaxed)
    }

    /// Its peer has closed it. Whoever marks it looks through the idle ones afterwards, under the
    /// books' lock: one that is put back later is seen to be marked.
    pub(crate) fn mark_hung_up(&self) {
        self.hung_up.store(true, Ordering::Release);
    }

    pub(crate) fn has_hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Acquire)
    }

    /// Whether it is old by now, and no successor was ordered.
    pub(crate) fn wants_successor(&self, now: Moment) -> bool {
        self.successor_due.is_some_and(|due| due <= now)
            && !self.successor_ordered.load(Ordering::Relaxed)
    }

    /// Whether a successor is to be ordered by now; says so once.
    pub(crate) fn takes_successor(&self, now: Moment) -> bool {
        self.wants_successor(now) && !self.successor_ordered.swap(true, Ordering::Relaxed)
    }
}

/// The cards of all connections.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    cards: Mutex<Vec<Weak<Card>>>,
}

impl Roll {
    /// Adds the card of a new connection.
    pub(crate) fn enter(&self, id: u64, successor_due: Option<Moment>) -> Arc<Card> {
        let card = Arc::new(Card::new(id, successor_due));
        let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.push(Arc::downgrade(&card));
        card
    }

    /// The cards of all connections that are there by now.
    pub(crate) fn cards(&self) -> Vec<Arc<Card>> {
        let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = Vec::with_capacity(cards.len());
        cards.retain(|card| match card.upgrade() {
            Some(card) => {
                known.push(card);
                true
            }
            None => false,
        });
        known
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lease_is_on_the_card_until_it_comes_back_and_a_leak_is_told_once() {
        let roll = Roll::default();
        let card = roll.enter(7, None);
        assert!(card.holding().is_none());
        let since = Moment::from_nanos(5);
        card.note_lease(since);
        card.note_place(Location::caller());
        let holding = card.holding().unwrap();
        assert_eq!((holding.id, holding.since), (7, since));
        assert_eq!(holding.place.file(), file!());
        assert_eq!((card.takes_leak(), card.takes_leak()), (true, false));
        card.note_return();
        assert!(card.holding().is_none());
        card.note_lease(since);
        assert!(card.takes_leak(), "another lease, another leak");
    }

    #[test]
    fn a_successor_is_ordered_once_and_not_too_early() {
        let due = Moment::ORIGIN + Duration::from_secs(9);
        let roll = Roll::default();
        let card = roll.enter(0, Some(due));
        let late = due + Duration::from_secs(1);
        let orders = [Moment::ORIGIN, late, late].map(|now| card.takes_successor(now));
        assert_eq!(orders, [false, true, false]);
        assert!(!roll.enter(1, None).takes_successor(late));
    }

    #[test]
    fn the_roll_forgets_those_that_are_no_more() {
        let roll = Roll::default();
        let (one, other) = (roll.enter(1, None), roll.enter(2, None));
        drop(one);
        let ids: Vec<u64> = roll.cards().iter().map(|card| card.id).collect();
        assert_eq!((ids, other.id), (vec![2], 2));
        assert_eq!(roll.cards.lock().unwrap().len(), 1);
    }
}
