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
pub fn overflows_of(drops: u32, counters: &Counters) -> RangeInclusive<u32> {
    let narrowed = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let broken = narrowed(counters.broken_handshakes);
    let most = drops.min(narrowed(counters.listen_overflows));
    let least = drops.saturating_sub(broken).div_ceil(2).min(most);
    least..=most
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
