//! Times counted by their magnitude: 32 classes for each doubling, so percentiles are right to 3 %.
//!
//! Memory grows with the range of what was counted, not with how much: a connection whose answers
//! take 10 to 200 µs needs half a KiB.

/// Classes per doubling, as a power of two.
const FINENESS: u32 = 5;

/// Counted times, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    /// The class of the first counter.
    first: usize,
    counters: Vec<u32>,
    count: u64,
    sum: u64,
}

impl Latencies {
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.add_times(class_of(nanoseconds), 1);
        self.count += 1;
        self.sum = self.sum.saturating_add(nanoseconds);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (class, times) in (other.first..).zip(&other.counters) {
            if *times > 0 {
                self.add_times(class, *times);
            }
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// The time that so many of a hundred do not exceed.
    pub(crate) fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (class, times) in (self.first..).zip(&self.counters) {
            seen += u64::from(*times);
            if seen >= wanted {
                return Some(middle_of(class));
            }
        }
        None
    }

    fn add_times(&mut self, class: usize, times: u32) {
        if self.counters.is_empty() {
            self.first = class;
        }
        if let Some(before) = self.first.checked_sub(class).filter(|before| *before > 0) {
            self.counters.splice(0..0, std::iter::repeat_n(0, before));
            self.first = class;
        }
        let at = class - self.first;
        if at >= self.counters.len() {
            self.counters.resize(at + 1, 0);
        }
        if let Some(counter) = self.counters.get_mut(at) {
            *counter = counter.saturating_add(times);
        }
    }
}

/// Below 32 ns each has a class of its own; above, each doubling has 32.
fn class_of(nanoseconds: u64) -> usize {
    let bits = u64::BITS - nanoseconds.leading_zeros();
    let shift = bits.saturating_sub(FINENESS + 1);
    let class = (u64::from(shift) << FINENESS) + (nanoseconds >> shift);
    usize::try_from(class).unwrap_or(usize::MAX)
}

/// The middle of the times of a class.
fn middle_of(class: usize) -> u64 {
    let class = class as u64;
    let shift = (class >> FINENESS).saturating_sub(1);
    let mantissa = class - (shift << FINENESS);
    (mantissa << shift) + (1_u64 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_percent() {
        let mut latencies = Latencies::default();
        for time in (1..=100_000).rev() {
            latencies.add(time * 37);
        }
        for percent in [1, 50, 95, 99, 100] {
            let expected = (percent * 1000 * 37) as f64;
            let told = latencies.percentile(percent).unwrap() as f64;
            assert!((told / expected - 1.0).abs() < 0.03, "{percent}: {told}");
        }
        assert_eq!(latencies.sum(), 37 * 100_000 * 100_001 / 2);
    }

    #[test]
    fn classes_are_in_order_and_hold_their_middles() {
        let mut last = 0;
        for time in (0..200).chain((8..63).map(|bit| (1 << bit) + 1)) {
            let class = class_of(time);
            assert!(class >= last, "{time}");
            assert_eq!(class_of(middle_of(class)), class, "{time}");
            last = class;
        }
        assert!(class_of(u64::MAX) < 64 << FINENESS);
    }

    #[test]
    fn merged_counts_are_those_of_both() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.add(1_000_000);
        other.add(10);
        other.add(1_000);
        one.merge(&other);
        assert_eq!((one.count(), one.sum()), (3, 1_001_010));
        assert_eq!(one.percentile(1), Some(10));
        assert_eq!(Latencies::default().percentile(50), None);
    }
}
