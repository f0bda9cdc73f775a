//! Who may keep a connection: a bounded number, of whom those with a question go first.
//!
//! Where all places are taken, the connection that has been without a request under way for the
//! longest gives its place to the one that comes. So connections that only sit there, or send their
//! request a byte at a time, keep nobody from asking, however many they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The places at one door.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Those without a request under way, the longest first.
    idle: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

impl State {
    fn rest(&mut self, leave: &Arc<Notify>) -> u64 {
        self.next += 1;
        self.idle.insert(self.next, Arc::clone(leave));
        self.next
    }

    /// Has the one go that has been idle for the longest.
    fn make_room(&mut self) -> bool {
        match self.idle.pop_first() {
            Some((_, leave)) => {
                leave.notify_one();
                true
            }
            None => false,
        }
    }
}

impl Places {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            state: Mutex::default(),
        }
    }

    /// Takes a place; there is none where everybody has a request under way.
    pub(super) fn take(self: &Arc<Self>) -> Option<Arc<Place>> {
        let mut state = self.state();
        if state.taken >= self.max && !state.make_room() {
            return None;
        }
        state.taken += 1;
        let leave = Arc::default();
        let idle_as = state.rest(&leave);
        drop(state);
        Some(Arc::new(Place {
            places: Arc::clone(self),
            leave,
            idle_as: Mutex::new(Some(idle_as)),
        }))
    }

    /// Whether somebody who was told to go has not gone yet.
    pub(super) fn are_exceeded(&self) -> bool {
        self.state().taken > self.max
    }

    /// Has the one go that has been idle for the longest, if there is one.
    pub(super) fn make_room(&self) -> bool {
        self.state().make_room()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, given back with this value.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    leave: Arc<Notify>,
    /// Where it stands among the idle; `None` with a request under way.
    idle_as: Mutex<Option<u64>>,
}

impl Place {
    /// Returns when somebody else needs the place.
    pub(super) async fn must_leave(&self) {
        self.leave.notified().await;
    }

    /// From now on, and as long as the value lives, a request is under way.
    pub(super) fn work(self: &Arc<Self>) -> Work {
        if let Some(idle_as) = self.idle_as().take() {
            self.places.state().idle.remove(&idle_as);
        }
        Work(Arc::clone(self))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle_as().is_some()
    }

    fn idle_as(&self) -> MutexGuard<'_, Option<u64>> {
        self.idle_as.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let idle_as = self.idle_as().take();
        let mut state = self.places.state();
        state.taken -= 1;
        if let Some(idle_as) = idle_as {
            state.idle.remove(&idle_as);
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Work(Arc<Place>);

impl Drop for Work {
    fn drop(&mut self) {
        let place = &self.0;
        let idle_as = place.places.state().rest(&place.leave);
        *place.idle_as() = Some(idle_as);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told_to_leave(place: &Place) -> bool {
        let mut waiting = std::pin::pin!(place.must_leave());
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        waiting.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn who_has_been_idle_for_the_longest_makes_room() {
        let places = Arc::new(Places::new(3));
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        let work = first.work();
        assert!(!first.is_idle());
        let fourth = places.take().unwrap();
        assert!(is_told_to_leave(&second));
        drop(second);
        drop(work);
        drop(places.take().unwrap());
        assert!(is_told_to_leave(&third));
        assert!(!is_told_to_leave(&first) && !is_told_to_leave(&fourth));
    }

    #[test]
    fn where_all_work_nobody_comes_in_until_one_is_done() {
        let places = Arc::new(Places::new(2));
        let [first, second] = [(); 2].map(|()| places.take().unwrap());
        let works = [first.work(), second.work()];
        assert!(places.take().is_none());
        drop(works);
        assert!(places.take().is_some());
        assert!(is_told_to_leave(&first));
    }

    #[test]
    fn places_are_given_back() {
        let places = Arc::new(Places::new(1));
        for _ in 0..3 {
            let place = places.take().unwrap();
            drop(place.work());
        }
        let state = places.state();
        assert_eq!((state.taken, state.idle.len()), (0, 0));
    }
}
