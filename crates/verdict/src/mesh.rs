//! The grid of moments on which paces end, so that one wake-up serves many backends.
//!
//! All backends of a monitor share it. Who is asked at one of its moments is asked in one go, which
//! is what makes a ping cheap: one turn of the loop, one wake-up of the thread, many pings. It is
//! only made as coarse as that takes, because the last of those that are asked in one go is late by
//! the time that the others take.

use std::time::Duration;

use crate::{Moment, Plan};

/// The share of a pace by which it may be shortened so that it ends on the grid: a 32nd.
const SHARE: u32 = 32;
/// That share in thousandths, rounded up.
pub(crate) const SHARE_PERMILLE: u64 = 32;
/// The coarsest grid: 2^24 ns, about 17 ms.
const BITS_MAX: u32 = 24;
/// How many probes a moment may have before the grid is made finer: they take some 2 ms.
const TOGETHER_MAX: f64 = 256.0;

/// How far apart the moments of the grid are, at most: a power of two, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mesh {
    bits: u32,
}

impl Mesh {
    /// Of a monitor without backends.
    pub(crate) fn new() -> Self {
        Self { bits: BITS_MAX }
    }

    /// Makes the grid as fine as it takes, so that no moment has too many probes when all is well.
    pub(crate) fn fit<'a>(&mut self, plans: impl Iterator<Item = &'a Plan>) {
        let per_nano = |plan: &Plan| 1.0 / plan.interval.as_nanos() as f64;
        let per_nano: f64 = plans.map(per_nano).fold(0.0, |sum, it| sum + it);
        let width = (TOGETHER_MAX / per_nano).max(1.0);
        self.bits = (width.log2() as u32).min(BITS_MAX);
    }

    /// The end of a pace, or a little before it, on the grid. A shorter pace has a finer one, of
    /// which the grid of a longer is part, as each is a power of two wide.
    pub(crate) fn gather(self, from: Moment, pace: Duration) -> Moment {
        let within = u64::try_from((pace / SHARE).as_nanos()).unwrap_or(u64::MAX);
        let Some(bits) = within.checked_ilog2() else {
            return from + pace;
        };
        let bits = bits.min(self.bits);
        Moment::from_nanos((from + pace).as_nanos() >> bits << bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Course, Depth};

    fn mesh_of(backends: usize) -> Mesh {
        let plan = Plan::new(Course::Session { depth: Depth::Ping });
        let mut mesh = Mesh::new();
        mesh.fit(std::iter::repeat_n(&plan, backends));
        mesh
    }

    #[test]
    fn a_pace_is_shortened_by_its_share_at_most() {
        let mut rng = fastrand::Rng::with_seed(1);
        for backends in [0, 1, 100_000] {
            let mesh = mesh_of(backends);
            for _ in 0..1000 {
                let from = Moment::from_nanos(rng.u64(..1 << 50));
                let bits = rng.u32(1..40);
                let pace = Duration::from_nanos(rng.u64(..1 << bits));
                let (at, latest) = (mesh.gather(from, pace), from + pace);
                assert!(at <= latest && latest.since(at) <= pace / SHARE, "{pace:?}");
            }
        }
    }

    #[test]
    fn many_backends_have_a_finer_grid_so_that_no_moment_has_too_many() {
        for (backends, bits) in [(0, 24), (15_000, 24), (16_000, 23), (50_000, 22)] {
            assert_eq!(mesh_of(backends).bits, bits, "{backends}");
        }
    }
}
