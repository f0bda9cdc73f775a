//! Who wants to be woken when: everyone stands at one moment at most, and the earliest is known.
//!
//! Moving a backend to another moment is the commonest operation of the whole agent, and many share
//! theirs: paces end on a grid, and what is asked in one go has one deadline. So those of a moment
//! are a crowd, which is a list through the table of slots, and only crowds stand in the heap:
//! to join or leave one touches next to nothing, however many backends there are, and allocates
//! nothing once all have been seen. The monitor keeps its backends on one, whoever probes the
//! deadlines of questions that are under way.

use std::hint::black_box;

use crate::Moment;

/// Slots (small numbers) by moment.
#[derive(Debug)]
pub struct Agenda {
    places: Vec<Place>,
    crowds: Vec<Crowd>,
    /// Crowds of nobody, to be used again.
    spare: Vec<u32>,
    heap: Heap,
    /// By the trace of a moment, the crowd that was begun last: whoever comes later joins it.
    newest: [u32; 1 << TRACE_BITS],
}

/// Where a slot stands: in which crowd, and between whom.
#[derive(Debug, Clone, Copy)]
struct Place {
    crowd: u32,
    before: u32,
    after: u32,
}

/// Who stands at one moment. There may be several of the same moment.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    at: Moment,
    first: u32,
}

const ABSENT: u32 = u32::MAX;
const NOWHERE: Place = Place {
    crowd: ABSENT,
    before: ABSENT,
    after: ABSENT,
};
/// There are fewer moments than traces at which many stand.
const TRACE_BITS: u32 = 7;

impl Default for Agenda {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            crowds: Vec::new(),
            spare: Vec::new(),
            heap: Heap::default(),
            newest: [ABSENT; 1 << TRACE_BITS],
        }
    }
}

impl Agenda {
    /// The earliest moment and a slot that stands there.
    pub fn first(&self) -> Option<(Moment, u32)> {
        let (at, crowd) = self.heap.first()?;
        Some((at, self.crowds[crowd as usize].first))
    }

    /// All slots that stand where the earliest does, as far as they found each other.
    pub fn earliest(&self) -> impl Iterator<Item = u32> + '_ {
        let first = self.first().map(|(_, slot)| slot);
        std::iter::successors(first, |slot| {
            let after = self.places[*slot as usize].after;
            (after != ABSENT).then_some(after)
        })
    }

    /// Has the processor fetch where a slot stands.
    pub(crate) fn fetch(&self, slot: u32) {
        black_box(self.places.get(slot as usize).map(|place| place.crowd));
    }

    /// Puts a slot at a moment, wherever it stood before; `None` takes it off.
    pub fn set(&mut self, slot: u32, at: Option<Moment>) {
        let index = slot as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, NOWHERE);
        }
        let crowd = self.places[index].crowd;
        if crowd != ABSENT {
            if at == Some(self.crowds[crowd as usize].at) {
                return;
            }
            self.leave(index);
        }
        if let Some(at) = at {
            self.join(slot, at);
        }
    }

    fn leave(&mut self, index: usize) {
        let place = std::mem::replace(&mut self.places[index], NOWHERE);
        if place.after != ABSENT {
            self.places[place.after as usize].before = place.before;
        }
        if place.before != ABSENT {
            self.places[place.before as usize].after = place.after;
            return;
        }
        self.crowds[place.crowd as usize].first = place.after;
        if place.after == ABSENT {
            self.heap.remove(place.crowd);
            self.spare.push(place.crowd);
        }
    }

    fn join(&mut self, slot: u32, at: Moment) {
        let id = self.crowd(at);
        let after = std::mem::replace(&mut self.crowds[id as usize].first, slot);
        if after != ABSENT {
            self.places[after as usize].before = slot;
        }
        self.places[slot as usize] = Place {
            crowd: id,
            before: ABSENT,
            after,
        };
    }

    /// The crowd that stands at a moment, or a new one that has nobody yet.
    fn crowd(&mut self, at: Moment) -> u32 {
        let newest = &mut self.newest[trace(at)];
        if let Some(crowd) = self.crowds.get(*newest as usize)
            && crowd.at == at
            && crowd.first != ABSENT
        {
            return *newest;
        }
        let begun = Crowd { at, first: ABSENT };
        let id = match self.spare.pop() {
            Some(id) => {
                self.crowds[id as usize] = begun;
                id
            }
            None => {
                self.crowds.push(begun);
                self.crowds.len() as u32 - 1
            }
        };
        *newest = id;
        self.heap.add(id, at);
        id
    }
}

/// A few bits of which each depends on all of a moment.
fn trace(at: Moment) -> usize {
    // The fractional part of the golden ratio, as Fibonacci hashing has it.
    let mixed = at.as_nanos().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - TRACE_BITS)) as usize
}

/// A binary min-heap of crowds by moment, with the position of each crowd.
#[derive(Debug, Default)]
struct Heap {
    entries: Vec<(Moment, u32)>,
    position: Vec<u32>,
}

impl Heap {
    fn first(&self) -> Option<(Moment, u32)> {
        self.entries.first().copied()
    }

    fn add(&mut self, crowd: u32, at: Moment) {
        let index = crowd as usize;
        if self.position.len() <= index {
            self.position.resize(index + 1, ABSENT);
        }
        let place = self.entries.len();
        self.position[index] = place as u32;
        self.entries.push((at, crowd));
        self.sift_up(place);
    }

    fn remove(&mut self, crowd: u32) {
        let place = self.position[crowd as usize] as usize;
        self.entries.swap_remove(place);
        self.position[crowd as usize] = ABSENT;
        if let Some(&(_, moved)) = self.entries.get(place) {
            self.position[moved as usize] = place as u32;
            self.sift_up(place);
            self.sift_down(self.position[moved as usize] as usize);
        }
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.entries[parent].0 <= self.entries[place].0 {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.entries.len() && self.entries[child].0 < self.entries[least].0 {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(least, place);
            place = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.entries.swap(a, b);
        self.position[self.entries[a].1 as usize] = a as u32;
        self.position[self.entries[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Plays random changes on moments in a range, and compares with a model after each.
    fn check(range: u64) {
        let mut rng = fastrand::Rng::with_seed(range);
        let mut agenda = Agenda::default();
        let mut model = BTreeMap::new();
        for _ in 0..20_000 {
            let slot = rng.u32(0..50);
            let at = rng.bool().then(|| Moment::from_nanos(rng.u64(0..range)));
            agenda.set(slot, at);
            match at {
                Some(at) => model.insert(slot, at),
                None => model.remove(&slot),
            };
            let first = model.values().min().copied();
            assert_eq!(agenda.first().map(|(at, _)| at), first);
            if let Some((at, slot)) = agenda.first() {
                assert_eq!(model.get(&slot), Some(&at));
            }
        }
        let mut left = Vec::new();
        while let Some((at, slot)) = agenda.first() {
            assert_eq!(model.remove(&slot), Some(at));
            left.push(at);
            agenda.set(slot, None);
        }
        assert!(left.is_sorted() && model.is_empty());
    }

    #[test]
    fn it_agrees_with_a_sorted_map_through_random_changes() {
        check(100);
    }

    #[test]
    fn it_agrees_where_many_stand_at_a_few_moments_and_where_each_has_its_own() {
        check(4);
        check(u64::MAX);
    }

    #[test]
    fn it_needs_no_more_crowds_than_there_are_slots() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut agenda = Agenda::default();
        for _ in 0..20_000 {
            agenda.set(rng.u32(0..50), Some(Moment::from_nanos(rng.u64(..))));
        }
        assert!(agenda.crowds.len() <= 50, "{}", agenda.crowds.len());
    }
}
