//! Who wants to be woken when: a heap of moments in which everyone stands once.
//!
//! Moving a backend to another moment is the commonest operation of the whole agent, so the heap
//! knows where each one stands and allocates nothing once all have been seen. The monitor keeps its
//! backends on one, whoever probes the deadlines of questions that are under way.

use crate::Moment;

/// A binary min-heap of slots (small numbers) by moment, with the position of each slot.
#[derive(Debug, Default)]
pub struct Agenda {
    heap: Vec<(Moment, u32)>,
    position: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl Agenda {
    /// The earliest moment and its slot.
    pub fn first(&self) -> Option<(Moment, u32)> {
        self.heap.first().copied()
    }

    /// Puts a slot at a moment, wherever it stood before; `None` takes it off.
    pub fn set(&mut self, slot: u32, at: Option<Moment>) {
        let index = slot as usize;
        if self.position.len() <= index {
            self.position.resize(index + 1, ABSENT);
        }
        match (self.position[index], at) {
            (ABSENT, None) => {}
            (ABSENT, Some(at)) => {
                self.position[index] = self.heap.len() as u32;
                self.heap.push((at, slot));
                self.sift_up(self.heap.len() - 1);
            }
            (place, Some(at)) => {
                let place = place as usize;
                let earlier = at < self.heap[place].0;
                self.heap[place].0 = at;
                if earlier {
                    self.sift_up(place);
                } else {
                    self.sift_down(place);
                }
            }
            (place, None) => self.remove(place as usize),
        }
    }

    fn remove(&mut self, place: usize) {
        let (_, slot) = self.heap.swap_remove(place);
        self.position[slot as usize] = ABSENT;
        if let Some(&(_, moved)) = self.heap.get(place) {
            self.position[moved as usize] = place as u32;
            self.sift_up(place);
            self.sift_down(self.position[moved as usize] as usize);
        }
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
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
                if child < self.heap.len() && self.heap[child].0 < self.heap[least].0 {
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
        self.heap.swap(a, b);
        self.position[self.heap[a].1 as usize] = a as u32;
        self.position[self.heap[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_agrees_with_a_sorted_map_through_random_changes() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut agenda = Agenda::default();
        let mut model = BTreeMap::new();
        for _ in 0..20_000 {
            let slot = rng.u32(0..50);
            let at = rng.bool().then(|| Moment::from_nanos(rng.u64(0..100)));
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
    }
}
