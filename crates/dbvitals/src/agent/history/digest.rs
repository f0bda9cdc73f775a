//! How long the probes of one backend took within a minute: a few numbers in place of each of them.
//!
//! A shard notes every answer here, in memory that is its alone: no lock, no atomic, and after the
//! first answers of a minute no allocation. Times fall into buckets an eighth of an octave wide, so
//! a percentile is told to within a sixteenth, and digests can be put together into longer ones.

use std::time::Duration;

use dbvitals_verdict::{Cause, Depth, Observation, Outcome, Path, Phase};

/// Buckets per octave, as a power of two.
const FINENESS: u32 = 3;
/// The first buckets are a microsecond wide.
const EXACT: u32 = 1 << FINENESS;

/// What the times of one digest are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(super) path: PathName,
    pub(super) depth: Depth,
    /// `None` is the whole probe.
    pub(super) phase: Option<Phase>,
}

/// A path, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathName {
    Held,
    Fresh,
}

/// How long some probes took, or a phase of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    pub(super) count: u64,
    /// Microseconds, as all that follow.
    pub(super) max: u32,
    /// How many fell into which bucket; sorted, and none is empty.
    buckets: Vec<(u8, u32)>,
}

/// The digests of one backend, as they grow.
#[derive(Debug, Default)]
pub(crate) struct Digests(Vec<(Series, Digest)>);

impl PathName {
    pub(super) const ALL: [Self; 2] = [Self::Held, Self::Fresh];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Held => Path::Held.name(),
            Self::Fresh => Path::Fresh.name(),
        }
    }

    /// The name of a path on which questions are answered.
    fn of(path: Path) -> Option<Self> {
        match path {
            Path::Held => Some(Self::Held),
            Path::Fresh => Some(Self::Fresh),
            Path::Queue => None,
        }
    }
}

impl Series {
    /// A number for each, which files of before have too: never given to another, whatever comes
    /// between the depths or phases that there are.
    pub(super) fn number(self) -> u16 {
        let path = match self.path {
            PathName::Held => 0,
            PathName::Fresh => 1,
        };
        let depth = match self.depth {
            Depth::Listening => 0,
            Depth::Connect => 1,
            Depth::Greeting => 2,
            Depth::Login => 3,
            Depth::Ping => 4,
            Depth::Query => 5,
            Depth::Role => 6,
            Depth::Lag => 7,
            Depth::Write => 8,
        };
        let phase = match self.phase {
            None => 0,
            Some(Phase::Resolve) => 1,
            Some(Phase::Connect) => 2,
            Some(Phase::Tls) => 3,
            Some(Phase::Greeting) => 4,
            Some(Phase::Login) => 5,
            Some(Phase::Ping) => 6,
            Some(Phase::Query) => 7,
            Some(Phase::Role) => 8,
            Some(Phase::Lag) => 9,
            Some(Phase::Write) => 10,
            Some(Phase::Listening) => 11,
        };
        path << 12 | depth << 6 | phase
    }

    /// All there are.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let phases = [None].into_iter().chain(Phase::ALL.map(Some));
        let of_path = move |path| {
            let phases = phases.clone();
            let of_depth = move |depth| {
                let series = move |phase| Self { path, depth, phase };
                phases.clone().map(series)
            };
            Depth::ALL.into_iter().flat_map(of_depth)
        };
        PathName::ALL.into_iter().flat_map(of_path)
    }

    /// The phase's name; `total` is the whole probe.
    pub(super) fn phase_name(self) -> &'static str {
        self.phase.map_or("total", Phase::name)
    }
}

impl Digests {
    /// Notes what was answered: a pass, or an answer over its budget; a probe that ended short took
    /// as long as its timeout says. A probe of one phase is told as a whole alone.
    pub(crate) fn note(&mut self, seen: &Observation) {
        let answered = match seen.outcome {
            Outcome::Pass => true,
            Outcome::Fail(cause) => cause == Cause::OverBudget,
        };
        let Some(depth) = seen.depth.filter(|_| answered) else {
            return;
        };
        let Some(path) = PathName::of(seen.path) else {
            return;
        };
        let series = |phase| Series { path, depth, phase };
        self.of(series(None)).note(seen.took());
        let mut phases = seen.phases.iter();
        if let (Some(first), Some(second)) = (phases.next(), phases.next()) {
            for (phase, took, _) in [first, second].into_iter().chain(phases) {
                self.of(series(Some(phase))).note(took);
            }
        }
    }

    fn of(&mut self, series: Series) -> &mut Digest {
        let place = match self.0.iter().position(|(it, _)| *it == series) {
            Some(place) => place,
            None => {
                self.0.push((series, Digest::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[place].1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Series, &Digest)> {
        self.0.iter().map(|(series, digest)| (*series, digest))
    }
}

impl Digest {
    fn note(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.count += 1;
        self.max = self.max.max(micros);
        self.add(bucket(micros), 1);
    }

    fn add(&mut self, bucket: u8, count: u32) {
        match self.buckets.binary_search_by_key(&bucket, |it| it.0) {
            Ok(place) => {
                let counted = &mut self.buckets[place].1;
                *counted = counted.saturating_add(count);
            }
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
    }

    /// Takes in another one of the same series.
    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.max = self.max.max(other.max);
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    /// What this share of the probes took at most, in microseconds.
    pub(super) fn percentile(&self, percent: u64) -> u32 {
        let counted: u64 = self
            .buckets
            .iter()
            .map(|(_, count)| u64::from(*count))
            .sum();
        let rank = (counted * percent).div_ceil(100).max(1);
        let mut below = 0;
        for (bucket, count) in &self.buckets {
            below += u64::from(*count);
            if below >= rank {
                return middle(*bucket).min(self.max);
            }
        }
        self.max
    }

    /// The buckets as they are kept: each one's number, a byte, then its count, seven bits a byte.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.buckets.len() * 2);
        for (bucket, count) in &self.buckets {
            bytes.push(*bucket);
            let mut rest = *count;
            while rest >= 0x80 {
                bytes.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made; bytes that it cannot have made count nothing.
    pub(super) fn of_bytes(max: u32, bytes: &[u8]) -> Self {
        let mut digest = Self {
            max,
            ..Self::default()
        };
        let mut bytes = bytes.iter();
        while let Some(bucket) = bytes.next() {
            let mut count = 0_u32;
            for shift in (0..32).step_by(7) {
                let Some(byte) = bytes.next() else {
                    return digest;
                };
                count |= u32::from(byte & 0x7f).wrapping_shl(shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            digest.count += u64::from(count);
            digest.add(*bucket, count);
        }
        digest
    }
}

/// The bucket of a time in microseconds.
fn bucket(micros: u32) -> u8 {
    if micros < EXACT {
        return micros as u8;
    }
    let octave = micros.ilog2() - FINENESS;
    let within = (micros >> octave) & (EXACT - 1);
    (EXACT + octave * EXACT + within) as u8
}

/// The time in the middle of a bucket.
fn middle(bucket: u8) -> u32 {
    let bucket = u32::from(bucket);
    if bucket < EXACT {
        return bucket;
    }
    let octave = (bucket - EXACT) / EXACT;
    let within = (bucket - EXACT) % EXACT;
    let least = u64::from(EXACT + within) << octave;
    let width = 1_u64 << octave;
    u32::try_from(least + width / 2).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use dbvitals_verdict::{Moment, Phases};

    use super::*;

    fn seen(path: Path, outcome: Outcome, phases: &[(Phase, u64)]) -> Observation {
        let mut list = Phases::default();
        let mut took = Duration::ZERO;
        for (phase, micros) in phases {
            list.push(*phase, Duration::from_micros(*micros));
            took += Duration::from_micros(*micros);
        }
        Observation {
            path,
            probe: Some(Default::default()),
            started: Moment::ORIGIN,
            ended: Moment::ORIGIN + took,
            depth: Some(Depth::Ping),
            outcome,
            phases: list,
            session: true,
            server: None,
            detail: None,
        }
    }

    #[test]
    fn every_time_is_told_to_within_a_sixteenth() {
        for micros in (0..20_000)
            .chain((0..32).map(|bit| 1 << bit))
            .chain([u32::MAX])
        {
            let told = middle(bucket(micros));
            assert!(told.abs_diff(micros) <= micros / 16, "{micros}: {told}");
        }
        let buckets: Vec<_> = (0..100_000).map(bucket).collect();
        assert!(buckets.is_sorted());
    }

    #[test]
    fn percentiles_are_those_of_the_times_noted() {
        let mut digest = Digest::default();
        for micros in 1..=1000 {
            digest.note(Duration::from_micros(micros));
        }
        let told = [50, 95, 99].map(|percent| digest.percentile(percent));
        for (told, expected) in told.into_iter().zip([500_u32, 950, 990]) {
            assert!(
                told.abs_diff(expected) <= expected / 16,
                "{told} for {expected}"
            );
        }
        assert_eq!((digest.count, digest.max), (1000, 1000));
        assert_eq!(Digest::default().percentile(50), 0);
        let mut one = Digest::default();
        one.note(Duration::from_micros(1001));
        assert!(one.percentile(99) <= 1001, "never above the longest");
    }

    #[test]
    fn what_is_written_is_read_and_put_together() {
        let mut digest = Digest::default();
        for (times, micros) in [(1, 3), (200, 50), (70_000, 61), (2, 999_999)] {
            for _ in 0..times {
                digest.note(Duration::from_micros(micros));
            }
        }
        let read = Digest::of_bytes(digest.max, &digest.to_bytes());
        assert_eq!(read, digest);
        let mut twice = read.clone();
        twice.merge(&digest);
        assert_eq!(twice.count, 2 * digest.count);
        assert_eq!(twice.percentile(95), digest.percentile(95));
    }

    #[test]
    fn bytes_of_anybody_else_do_no_harm() {
        let mut random = fastrand::Rng::with_seed(7);
        for length in 0..200 {
            let bytes: Vec<_> = (0..length).map(|_| random.u8(..)).collect();
            let digest = Digest::of_bytes(9, &bytes);
            assert!(digest.percentile(99) <= 9);
        }
    }

    #[test]
    fn a_ping_is_told_as_a_whole_and_a_login_by_its_phases_too() {
        let mut digests = Digests::default();
        digests.note(&seen(Path::Held, Outcome::Pass, &[(Phase::Ping, 40)]));
        let login = [(Phase::Connect, 10), (Phase::Login, 200), (Phase::Ping, 40)];
        digests.note(&seen(Path::Fresh, Outcome::Pass, &login));
        digests.note(&seen(Path::Fresh, Outcome::Fail(Cause::OverBudget), &login));
        digests.note(&seen(
            Path::Fresh,
            Outcome::Fail(Cause::Unresponsive),
            &login,
        ));
        let told: Vec<_> = digests
            .iter()
            .map(|(series, digest)| {
                let (path, phase) = (series.path.name(), series.phase_name());
                format!("{path} {phase} {} {}", digest.count, digest.max)
            })
            .collect();
        let expected = [
            "held total 1 40",
            "fresh total 2 250",
            "fresh connect 2 10",
            "fresh login 2 200",
            "fresh ping 2 40",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn every_series_has_a_number_of_its_own() {
        let mut numbers: Vec<_> = Series::all().map(Series::number).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!((numbers.len(), count), (216, 216));
    }

    #[test]
    fn a_number_means_for_ever_what_it_meant_in_the_first_file() {
        // As the first version wrote them; lines are added, never changed.
        let depths = [
            (0, "listening"),
            (1, "connect"),
            (2, "greeting"),
            (3, "login"),
            (4, "ping"),
            (5, "query"),
            (6, "role"),
            (7, "lag"),
            (8, "write"),
        ];
        let phases = [
            (0, "total"),
            (1, "resolve"),
            (2, "connect"),
            (3, "tls"),
            (4, "greeting"),
            (5, "login"),
            (6, "ping"),
            (7, "query"),
            (8, "role"),
            (9, "lag"),
            (10, "write"),
            (11, "listening"),
        ];
        for series in Series::all() {
            let number = series.number();
            let path = ["held", "fresh"][usize::from(number >> 12)];
            let named = |list: &[(u16, &'static str)], number| {
                list.iter().find(|it| it.0 == number).map(|it| it.1)
            };
            let depth = named(&depths, number >> 6 & 0x3f);
            let phase = named(&phases, number & 0x3f);
            assert_eq!(
                (path, depth, phase),
                (
                    series.path.name(),
                    Some(series.depth.name()),
                    Some(series.phase_name())
                ),
                "{number}"
            );
        }
    }
}
