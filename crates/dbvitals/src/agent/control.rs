//! What may be asked of an agent while it runs: other backends, an operator's order, a fresh probe.
//!
//! Knows which shard watches which backend, and where. Called by `serve` on a reload and by HTTP;
//! everything here is a message to a shard, so nobody waits for a probe.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dbvitals_probe::Target;
use dbvitals_verdict::{Admin, Course};

use crate::agent::board::{BackendBoard, Board};
use crate::agent::event_loop::{Assignment, Busy, Command, ShardHandle};
use crate::agent::look::Look;
use crate::agent::plan::{BackendPlan, Origin};

/// Gives the shards their work.
#[derive(Debug)]
pub(crate) struct Control {
    board: Arc<Board>,
    shards: Vec<ShardHandle>,
    /// By name.
    places: Mutex<Places>,
}

/// Whom to watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watchlist<'a> {
    pub(crate) backends: &'a [BackendPlan],
    /// How many logins a second they may cost together, where the operator set a limit.
    pub(crate) logins_per_second_max: Option<u32>,
}

/// Where a backend is watched, and as what.
#[derive(Debug, Clone)]
struct Place {
    shard: u16,
    index: u32,
    course: Course,
    origin: Origin,
    target: Arc<Target>,
    board: Arc<BackendBoard>,
}

/// The places of all backends, in the order of their names: so a place is small, and there may be
/// very many.
#[derive(Debug, Default)]
struct Places(Box<[Place]>);

impl Places {
    fn new(mut places: Vec<Place>) -> Self {
        places.sort_unstable_by(|one, other| one.board.name.cmp(&other.board.name));
        Self(places.into())
    }

    fn find(&self, name: &str) -> Option<&Place> {
        let found = self
            .0
            .binary_search_by(|place| (*place.board.name).cmp(name));
        self.0.get(found.ok()?)
    }
}

/// The indices of one shard that are in use.
#[derive(Debug, Clone, Default)]
struct Taken {
    indices: BTreeSet<u32>,
    /// None below it is free.
    free_from: u32,
}

impl Taken {
    /// The first that is free.
    fn take(&mut self) -> u32 {
        while !self.indices.insert(self.free_from) {
            self.free_from += 1;
        }
        self.free_from
    }
}

/// What a new set of backends changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reloaded {
    /// Backends that keep their session and their verdict.
    pub(crate) kept: usize,
    /// Backends that start anew, because their target is another, or is asked in another way.
    pub(crate) changed: usize,
    pub(crate) added: usize,
    pub(crate) removed: usize,
}

impl Control {
    pub(crate) fn new(board: Arc<Board>, shards: Vec<ShardHandle>) -> Self {
        Self {
            board,
            shards,
            places: Mutex::default(),
        }
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Watches these backends from now on, each under the order that an operator gave. What did
    /// not change keeps its session, its verdict and its place on the board.
    pub(crate) fn watch(
        &self,
        Watchlist {
            backends: plans,
            logins_per_second_max,
        }: Watchlist<'_>,
        order: &dyn Fn(&str) -> Admin,
    ) -> Result<Reloaded, Busy> {
        let mut places = self.places();
        let mut next = Vec::with_capacity(plans.len());
        let mut reloaded = Reloaded::default();
        let mut assignments: Vec<Vec<Assignment>> = Vec::new();
        assignments.resize_with(self.shards.len(), Vec::new);
        let mut taken = vec![Taken::default(); self.shards.len()];
        for plan in plans {
            if let Some(place) = places.find(&plan.name) {
                taken[usize::from(place.shard)].indices.insert(place.index);
            }
        }
        for plan in plans {
            let known = places.find(&plan.name).cloned();
            let anew = known.as_ref().is_none_or(|place| {
                place.origin != plan.origin || place.course != plan.plan.course
            });
            match (&known, anew) {
                (None, _) => reloaded.added += 1,
                (Some(_), true) => reloaded.changed += 1,
                (Some(_), false) => reloaded.kept += 1,
            }
            let admin = order(&plan.name);
            let place = match known {
                // What is the same is kept, rather than the same a second time.
                Some(place) if !anew => place,
                Some(place) => Place {
                    origin: plan.origin,
                    course: plan.plan.course,
                    target: Arc::clone(&plan.target),
                    ..place
                },
                None => self.find_place(plan, admin, &mut taken),
            };
            assignments[usize::from(place.shard)].push(Assignment {
                place: place.index,
                plan: BackendPlan {
                    name: Arc::clone(&place.board.name),
                    target: Arc::clone(&place.target),
                    ..plan.clone()
                },
                board: Arc::clone(&place.board),
                admin,
                anew,
            });
            next.push(place);
        }
        let before = self.board.backends();
        let shown = next.iter().map(|place| Arc::clone(&place.board)).collect();
        let next = Places::new(next);
        let gone = |place: &&Place| next.find(&place.board.name).is_none();
        reloaded.removed = places.0.iter().filter(gone).count();
        // Before the shards begin: what a service's histogram does not know yet, it does not count.
        self.board.show(shown);
        for (shard, assignments) in self.shards.iter().zip(assignments) {
            let own = assignments.iter().map(|it| &it.plan);
            let share = |max| share_of(max, own, plans.iter());
            let logins = logins_per_second_max.and_then(share);
            if let Err(busy) = shard.tell(Command::Watch(assignments, logins)) {
                self.board.show(before.to_vec());
                return Err(busy);
            }
        }
        *places = next;
        Ok(reloaded)
    }

    /// A place in the shard that has the fewest.
    fn find_place(&self, plan: &BackendPlan, admin: Admin, taken: &mut [Taken]) -> Place {
        let fewest = (0..taken.len()).min_by_key(|shard| taken[*shard].indices.len());
        let shard = fewest.unwrap_or_default();
        Place {
            // There is one for each core at the most.
            shard: shard as u16,
            index: taken[shard].take(),
            origin: plan.origin,
            course: plan.plan.course,
            target: Arc::clone(&plan.target),
            board: self.board.entry(plan, admin),
        }
    }

    /// Passes an operator's order on; `false` where there is no such backend.
    pub(crate) fn order(&self, name: &str, admin: Admin) -> Result<bool, Busy> {
        self.tell(name, |index| Command::Order(index, admin))
    }

    /// Asks for a fresh probe now; `false` where there is no such backend.
    pub(crate) fn refresh(&self, name: &str) -> Result<bool, Busy> {
        self.tell(name, Command::Refresh)
    }

    /// Passes on what a look at a backend's accept queue tells; `false` where there is no such
    /// backend.
    pub(crate) fn look(&self, look: Look) -> Result<bool, Busy> {
        let name = Arc::clone(&look.backend.name);
        self.tell(&name, |index| Command::Look(index, Box::new(look)))
    }

    fn tell(&self, name: &str, command: impl FnOnce(u32) -> Command) -> Result<bool, Busy> {
        let place = self.places().find(name).map(|it| (it.shard, it.index));
        let Some((shard, index)) = place else {
            return Ok(false);
        };
        let shard = &self.shards[usize::from(shard)];
        shard.tell(command(index)).map(|()| true)
    }

    /// Has every shard say goodbye to its servers and end.
    pub(crate) fn stop(&self) {
        for shard in &self.shards {
            shard.stop();
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The share of a limit that a shard has, by what its backends need of what all need; none where
/// nobody is logged in to.
fn share_of<'a>(
    max: u32,
    own: impl Iterator<Item = &'a BackendPlan>,
    all: impl Iterator<Item = &'a BackendPlan>,
) -> Option<f64> {
    let least = |backend: &BackendPlan| backend.plan.logins_per_second_least();
    let own: f64 = own.map(least).sum();
    let all: f64 = all.map(least).sum();
    (own > 0.0).then(|| f64::from(max) * own / all)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use dbvitals_probe::{Address, Protocol, Target};
    use dbvitals_verdict::{Course, Depth, Plan};

    use super::*;

    fn backend(course: Course) -> BackendPlan {
        BackendPlan {
            name: "db".into(),
            origin: Origin::default(),
            target: Arc::new(Target::new(
                Protocol::Opaque,
                Address::Unix("/run/db".into()),
            )),
            plan: Arc::new(Plan::new(course)),
        }
    }

    #[test]
    fn a_shard_has_the_share_of_those_that_it_logs_in_to() {
        let watched = backend(Course::Session { depth: Depth::Ping });
        let port = backend(Course::Sessionless {
            depth: Depth::Connect,
            deeper: None,
        });
        let all = [&watched, &watched, &port, &port, &port, &watched, &watched];
        let share =
            |range: Range<usize>| share_of(3000, all[range].iter().copied(), all.into_iter());
        assert_eq!(share(0..3), Some(1500.0));
        assert_eq!(share(0..7), Some(3000.0));
        assert_eq!(share(2..5), None);
        assert_eq!(share(0..0), None);
    }
}
