//! How long answered probes took: counted per backend, told per service.
//!
//! A backend's shard counts into one of a few buckets, which is all that a ping costs; sums over
//! the backends of a service are made when somebody asks. A reload may move backends between
//! services, add some and remove others. What a service counts must not jump then, since Prometheus
//! takes any fall for a restart from zero: each group keeps what it takes for its sum to go on
//! from where it was.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::agent::board::BackendBoard;

/// The upper bounds of the buckets, with their words in Prometheus' text.
pub(crate) const BOUNDS: [(Duration, &str); 14] = [
    (Duration::from_micros(100), "0.0001"),
    (Duration::from_micros(250), "0.00025"),
    (Duration::from_micros(500), "0.0005"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_micros(2500), "0.0025"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_secs(1), "1"),
    (Duration::from_millis(2500), "2.5"),
    (Duration::from_secs(10), "10"),
];

/// One more than the bounds: the last bucket is for what took longer than all of them.
const BUCKETS: usize = BOUNDS.len() + 1;

/// What one backend's probes took; its shard alone writes.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    buckets: [AtomicU64; BUCKETS],
    /// Microseconds, all together.
    micros: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LatencyCounts {
    buckets: [u64; BUCKETS],
    micros: u64,
}

impl Latency {
    /// Counts a probe; the path of every ping.
    pub(crate) fn count(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.micros, micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            add(bucket, 1);
        }
    }

    /// Has the processor fetch where most probes are counted.
    pub(super) fn fetch(&self) {
        for counter in [&self.micros, &self.buckets[0]] {
            black_box(counter.load(Ordering::Relaxed));
        }
    }

    pub(crate) fn counts(&self) -> LatencyCounts {
        let load = |it: &AtomicU64| it.load(Ordering::Relaxed);
        LatencyCounts {
            buckets: std::array::from_fn(|bucket| load(&self.buckets[bucket])),
            micros: load(&self.micros),
        }
    }
}

/// Adds to a count that nobody else writes, which needs no locked instruction.
fn add(count: &AtomicU64, more: u64) {
    let was = count.load(Ordering::Relaxed);
    count.store(was.wrapping_add(more), Ordering::Relaxed);
}

impl LatencyCounts {
    /// How many probes there were.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, it| sum.wrapping_add(*it))
    }

    /// The time that they took, all together.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// How many took no longer than each of the [`BOUNDS`].
    pub(crate) fn cumulated(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let mut sum = 0_u64;
        let bounds = BOUNDS.iter().zip(self.buckets);
        bounds.map(move |((_, word), count)| {
            sum = sum.wrapping_add(count);
            (*word, sum)
        })
    }

    fn each(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            buckets: std::array::from_fn(|it| of(self.buckets[it], other.buckets[it])),
            micros: of(self.micros, other.micros),
        }
    }
}

/// Backends whose probes are told of together, by the service's name.
pub(crate) type Membership = BTreeMap<Arc<str>, Vec<Arc<BackendBoard>>>;

/// What the services' backends took, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct LatencyGroups(Mutex<BTreeMap<Arc<str>, Group>>);

#[derive(Debug)]
struct Group {
    members: Vec<Arc<BackendBoard>>,
    /// What has to be added, modulo 2^64, to what the members count.
    offset: LatencyCounts,
}

impl LatencyGroups {
    /// Counts by these groups from now on. A group that was there goes on from its counts, a new
    /// one begins at zero, whoever comes or goes.
    pub(crate) fn regroup(&self, membership: Membership) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A backend is read once: what it counts between two readings would be in neither sum.
        let mut read = BTreeMap::new();
        let mut counts_of = |backend: &Arc<BackendBoard>| {
            let counts = read.entry(Arc::as_ptr(backend));
            *counts.or_insert_with(|| backend.latency())
        };
        let regrouped = membership.into_iter().map(|(name, members)| {
            let was = match groups.get(&name) {
                Some(group) => group.counts_by(&mut counts_of),
                None => LatencyCounts::default(),
            };
            let offset = was.each(sum(&members, &mut counts_of), u64::wrapping_sub);
            (name, Group { members, offset })
        });
        *groups = regrouped.collect();
    }

    /// The counts of each group.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, LatencyCounts)> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |(name, group): (&Arc<str>, &Group)| (Arc::clone(name), group.counts());
        groups.iter().map(counts).collect()
    }
}

impl Group {
    fn counts(&self) -> LatencyCounts {
        self.counts_by(&mut |backend| backend.latency())
    }

    fn counts_by(
        &self,
        counts_of: &mut impl FnMut(&Arc<BackendBoard>) -> LatencyCounts,
    ) -> LatencyCounts {
        self.offset
            .each(sum(&self.members, counts_of), u64::wrapping_add)
    }
}

fn sum(
    members: &[Arc<BackendBoard>],
    counts_of: &mut impl FnMut(&Arc<BackendBoard>) -> LatencyCounts,
) -> LatencyCounts {
    let counts = members.iter().map(counts_of);
    counts.fold(LatencyCounts::default(), |sum, it| {
        sum.each(it, u64::wrapping_add)
    })
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::{Address, Clock, Protocol, Target};
    use dbvitals_verdict::{Cause, Course, Depth, Outcome, Plan};

    use super::*;
    use crate::agent::board::Board;
    use crate::agent::plan::{BackendPlan, Origin};

    fn backend(name: &str) -> Arc<BackendBoard> {
        let address = Address::Unix("/nobody".into());
        let plan = BackendPlan {
            name: name.into(),
            target: Arc::new(Target::new(Protocol::Opaque, address)),
            plan: Arc::new(Plan::new(Course::Session { depth: Depth::Ping })),
            origin: Origin::default(),
        };
        Board::new(Clock::start()).entry(&plan, dbvitals_verdict::Admin::Ready)
    }

    fn group(name: &str, members: &[&Arc<BackendBoard>]) -> (Arc<str>, Vec<Arc<BackendBoard>>) {
        let members = members.iter().map(|it| Arc::clone(it)).collect();
        (name.into(), members)
    }

    #[test]
    fn an_answer_over_the_budget_is_a_failure_that_took_its_time() {
        let backend = backend("a");
        assert!(!backend.was_probed());
        backend.count(Outcome::Pass, Duration::from_millis(1));
        let over = Outcome::Fail(Cause::OverBudget);
        backend.count(over, Duration::from_millis(700));
        backend.count(Outcome::Fail(Cause::Refused), Duration::from_millis(9));
        assert_eq!(backend.passes(), 1);
        let latency = backend.latency();
        assert_eq!((latency.count(), latency.time().as_millis()), (2, 701));
        let failures: u64 = backend.failures().map(|(_, count)| count).sum();
        assert_eq!(failures, 2);
    }

    #[test]
    fn a_probe_falls_into_the_first_bucket_that_is_not_too_short() {
        let latency = Latency::default();
        for micros in [1, 100, 101, 1000, 9_999_999, 10_000_001] {
            latency.count(Duration::from_micros(micros));
        }
        let counts = latency.counts();
        let told: Vec<_> = counts.cumulated().collect();
        let expected = [
            ("0.0001", 2),
            ("0.00025", 3),
            ("0.0005", 3),
            ("0.001", 4),
            ("0.0025", 4),
            ("0.005", 4),
            ("0.01", 4),
            ("0.025", 4),
            ("0.05", 4),
            ("0.1", 4),
            ("0.25", 4),
            ("1", 4),
            ("2.5", 4),
            ("10", 5),
        ];
        assert_eq!(told, expected);
        assert_eq!(counts.count(), 6);
        assert_eq!(counts.time(), Duration::from_micros(20_001_202));
    }

    #[test]
    fn the_words_of_the_bounds_are_their_seconds() {
        for (bound, word) in BOUNDS {
            assert_eq!(word.parse(), Ok(bound.as_secs_f64()), "{word}");
        }
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_probe_that_passes_while_groups_are_made_anew_is_counted() {
        const PASSES: u64 = 200_000;
        let one = backend("1");
        let groups = LatencyGroups::default();
        groups.regroup(Membership::from([group("a", &[&one])]));
        std::thread::scope(|scope| {
            let shard = scope.spawn(|| {
                (0..PASSES).for_each(|_| one.count_latency(Duration::from_millis(1)));
            });
            while !shard.is_finished() {
                groups.regroup(Membership::from([group("a", &[&one])]));
            }
        });
        assert_eq!(groups.counts()[0].1.count(), PASSES);
    }

    #[test]
    fn whoever_comes_or_goes_a_service_counts_on_from_where_it_was() {
        let (one, two, three) = (backend("1"), backend("2"), backend("3"));
        let took = |backend: &BackendBoard, times| {
            for _ in 0..times {
                backend.count_latency(Duration::from_millis(1));
            }
        };
        let groups = LatencyGroups::default();
        let counted = || {
            let counts = groups.counts().into_iter();
            let counted = counts.map(|(name, counts)| format!("{name}={}", counts.count()));
            counted.collect::<Vec<_>>().join(" ")
        };
        groups.regroup(Membership::from([
            group("a", &[&one, &two]),
            group("b", &[&three]),
        ]));
        took(&one, 5);
        took(&two, 7);
        took(&three, 100);
        assert_eq!(counted(), "a=12 b=100");
        // One leaves, with what it counted; another comes, and brings nothing.
        groups.regroup(Membership::from([
            group("a", &[&two, &three]),
            group("c", &[&three]),
        ]));
        assert_eq!(counted(), "a=12 c=0");
        took(&three, 1);
        took(&one, 1000);
        assert_eq!(counted(), "a=13 c=1");
        let counts = groups.counts();
        assert_eq!(counts[0].1.time(), Duration::from_millis(13));
    }
}
