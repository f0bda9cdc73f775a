//! Which hook runs next: in order for each backend, never two at a time for one, a few in all.
//!
//! Data alone, so that its rules can be tested without a process. One queue for all hooks keeps
//! the order in which things happened; a hook that has too many waiting loses its oldest.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::Waiting;

/// Hooks that run at one time, over all backends.
pub(super) const RUNNING_MAX: usize = 8;
/// Transitions that one hook may be behind before it loses the oldest.
pub(super) const WAITING_MAX: usize = 64;

/// What waits, and for whom something runs.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// The backends, by name, for which a hook runs.
    busy: BTreeSet<Arc<str>>,
}

impl Queue {
    /// Adds a run; gives back the oldest one of the same hook if that has too many now.
    pub(super) fn push(&mut self, waiting: Waiting) -> Option<Waiting> {
        let name = waiting.hook.name.clone();
        self.waiting.push_back(waiting);
        let same = |it: &&Waiting| it.hook.name == name;
        let count = self.waiting.iter().filter(same).count();
        if count <= WAITING_MAX {
            return None;
        }
        let oldest = self.waiting.iter().position(|it| it.hook.name == name);
        oldest.and_then(|index| self.waiting.remove(index))
    }

    /// Takes out the next run that may start; its backend is busy until it is [`done`](Self::done).
    pub(super) fn start_next(&mut self) -> Option<Waiting> {
        if self.busy.len() >= RUNNING_MAX {
            return None;
        }
        let is_free = |it: &Waiting| !self.busy.contains(&it.told.backend.name);
        let index = self.waiting.iter().position(is_free)?;
        let next = self.waiting.remove(index)?;
        self.busy.insert(Arc::clone(&next.told.backend.name));
        Some(next)
    }

    /// Notes that the run for a backend has ended.
    pub(super) fn done(&mut self, backend: &str) {
        self.busy.remove(backend);
    }

    /// Takes out all that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waiting> + '_ {
        self.waiting.drain(..)
    }
}
