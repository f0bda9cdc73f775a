//! What a network namespace counts of overflows, over all its sockets since it is there.

use std::ops::RangeInclusive;

use crate::netlink::Malformed;

/// Counters of a network namespace; they only ever grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Connections that met a full accept queue: dropped SYNs and dropped last acknowledgements.
    pub listen_overflows: u64,
    /// The same, and SYNs dropped for other reasons, a full SYN queue among them.
    pub listen_drops: u64,
    /// SYNs dropped because too many were half open, with SYN cookies off.
    pub request_queue_drops: u64,
    /// SYNs answered with a cookie because too many were half open. A client whose cookie comes
    /// back to a full accept queue believes that it is connected, and the server knows nothing.
    pub request_queue_cookies: u64,
    /// SYN cookies sent, for whatever reason.
    pub cookies_sent: u64,
    /// Clients that reset a connection before it was one, as port scanners and health checks do that
    /// only want to see a SYN answered. Their listener counts a drop for each.
    pub broken_handshakes: u64,
}

impl Counters {
    /// Reads `/proc/net/netstat`: pairs of lines, names and then values.
    ///
    /// # Errors
    ///
    /// Fails where the counters of overflows are not in it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("TcpExt: "));
        let (names, values) = lines
            .next()
            .zip(lines.next())
            .ok_or(Malformed("no TcpExt counters"))?;
        let value = |wanted: &str| {
            let mut pairs = names.split(' ').zip(values.split(' '));
            let (_, value) = pairs.find(|(name, _)| *name == wanted)?;
            value.trim().parse().ok()
        };
        let missing = Malformed("no counters of overflows");
        Ok(Self {
            listen_overflows: value("ListenOverflows").ok_or(missing)?,
            listen_drops: value("ListenDrops").ok_or(missing)?,
            request_queue_drops: value("TCPReqQFullDrop").unwrap_or_default(),
            request_queue_cookies: value("TCPReqQFullDoCookies").unwrap_or_default(),
            cookies_sent: value("SyncookiesSent").unwrap_or_default(),
            broken_handshakes: value("EmbryonicRsts").unwrap_or_default(),
        })
    }

    /// How much was added since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            listen_overflows: less(self.listen_overflows, earlier.listen_overflows),
            listen_drops: less(self.listen_drops, earlier.listen_drops),
            request_queue_drops: less(self.request_queue_drops, earlier.request_queue_drops),
            request_queue_cookies: less(self.request_queue_cookies, earlier.request_queue_cookies),
            cookies_sent: less(self.cookies_sent, earlier.cookies_sent),
            broken_handshakes: less(self.broken_handshakes, earlier.broken_handshakes),
        }
    }
}

/// How many overflows so many drops of one TCP listener stand for, where these are the counters of
/// its network namespace over the same time or longer.
///
/// An overflow is one drop where it was a SYN, and two where it was the last acknowledgement; a
/// handshake that its client broke off is a drop and no overflow, and there are never more than the
/// namespace counted.
#[must_use]
pub fn overflows_of(drops: u64, counters: &Counters) -> RangeInclusive<u64> {
    let most = drops.min(counters.listen_overflows);
    let not_broken = drops.saturating_sub(counters.broken_handshakes);
    not_broken.div_ceil(2).min(most)..=most
}

/// Counts the overflows of one TCP listener, or of a group that shares an address, from sample to
/// sample.
///
/// The counters of a namespace are read after a sample, so that what happens in between is counted
/// before it is seen as a drop. What they counted and nobody dropped yet is therefore held against
/// the drops of the next sample, and of that one alone. Nothing is taken twice: there are never
/// more overflows than the namespace counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OverflowCount {
    least: u64,
    most: u64,
    /// What the namespace counted up to the sample before, and no drop has been held against.
    left: Counters,
}

impl OverflowCount {
    /// Takes how much was dropped between two samples, and what the namespace counted between the
    /// readings that followed them; answers how many overflows that were.
    pub fn add(&mut self, drops: u64, counted: &Counters) -> RangeInclusive<u64> {
        let both = |left: u64, counted: u64| left.saturating_add(counted);
        let known = Counters {
            listen_overflows: both(self.left.listen_overflows, counted.listen_overflows),
            broken_handshakes: both(self.left.broken_handshakes, counted.broken_handshakes),
            ..Counters::default()
        };
        let lately = overflows_of(drops, &known);
        let not_taken = known.listen_overflows - lately.end();
        self.left = Counters {
            listen_overflows: not_taken.min(counted.listen_overflows),
            ..*counted
        };
        self.least = self.least.saturating_add(*lately.start());
        self.most = self.most.saturating_add(*lately.end());
        lately
    }

    /// How many there were since it began.
    #[must_use]
    pub fn total(&self) -> RangeInclusive<u64> {
        self.least..=self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_stand_for_as_many_overflows_or_half_of_them_and_scanners_for_none() {
        let of = |drops, listen_overflows, broken_handshakes| {
            let counters = Counters {
                listen_overflows,
                broken_handshakes,
                ..Counters::default()
            };
            overflows_of(drops, &counters)
        };
        assert_eq!(of(0, 9, 0), 0..=0);
        assert_eq!(of(3, 3, 0), 2..=3);
        assert_eq!(of(18, 9, 0), 9..=9);
        assert_eq!(of(32, 0, 32), 0..=0);
        assert_eq!(of(32, 9, 32), 0..=9);
        assert_eq!(of(32, 9, 20), 6..=9);
    }

    #[test]
    fn an_overflow_that_is_counted_before_it_is_seen_as_a_drop_is_taken_once() {
        let overflows = |listen_overflows| Counters {
            listen_overflows,
            ..Counters::default()
        };
        let mut count = OverflowCount::default();
        // Between the sample and the reading of the counters.
        assert_eq!(count.add(0, &overflows(1)), 0..=0);
        assert_eq!(count.add(1, &overflows(0)), 1..=1);
        assert_eq!(count.add(1, &overflows(0)), 0..=0, "it was taken already");
        // A dropped acknowledgement, half of it before, half after.
        assert_eq!(count.add(1, &overflows(1)), 1..=1);
        assert_eq!(count.add(1, &overflows(0)), 0..=0);
        assert_eq!(count.total(), 2..=2);
    }

    #[test]
    fn what_others_overflowed_long_ago_is_not_held_against_a_scanned_listener() {
        let mut count = OverflowCount::default();
        let counted = |listen_overflows, broken_handshakes| Counters {
            listen_overflows,
            broken_handshakes,
            ..Counters::default()
        };
        count.add(0, &counted(100, 0));
        count.add(0, &counted(0, 0));
        assert_eq!(count.add(32, &counted(0, 32)), 0..=0);
        // And many times round, never more than the namespace counted.
        for _ in 0..10 {
            count.add(9, &counted(3, 0));
        }
        assert_eq!(*count.total().end(), 30);
    }

    #[test]
    fn counters_are_found_by_name_wherever_a_kernel_puts_them() {
        let text = "TcpExt: SyncookiesSent ListenDrops X ListenOverflows\nTcpExt: 4 3 9 2\n\
                    IpExt: InNoRoutes\nIpExt: 0\n";
        let counters = Counters::parse(text).unwrap();
        assert_eq!((counters.listen_overflows, counters.listen_drops), (2, 3));
        assert_eq!(
            (counters.cookies_sent, counters.request_queue_drops),
            (4, 0)
        );
    }

    #[test]
    fn tables_without_them_are_told_from_zeros() {
        assert!(Counters::parse("").is_err());
        assert!(Counters::parse("TcpExt: A\n").is_err());
        assert!(Counters::parse("TcpExt: ListenDrops\nTcpExt: x\n").is_err());
    }
}
