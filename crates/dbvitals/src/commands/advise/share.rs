//! Who may have how many of a server's connections.

use super::limits::Limits;

/// Kept back for administrators, backups, migrations and checks, in percent…
const KEPT_BACK_PERCENT: u32 = 10;
/// …and at least.
const KEPT_BACK_MIN: u32 = 3;

/// How a server's connections are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) instances: u32,
    /// What users like this one can have in all; `None` where there is no limit.
    pub(super) admitted: Option<u32>,
    /// What of that is not for pools.
    pub(super) kept_back: u32,
    /// What each pool may open.
    pub(super) each: Option<u32>,
}

impl Share {
    pub(super) fn of(limits: &Limits, instances: u32) -> Self {
        let unreserved = limits
            .max_connections
            .map(|max| max.saturating_sub(limits.reserved));
        // An account's own limit leaves the rest to the others already.
        let own = limits
            .user
            .filter(|own| unreserved.is_none_or(|it| *own < it));
        let admitted = own.or(unreserved);
        let kept_back = match (own, admitted) {
            (None, Some(admitted)) => (admitted * KEPT_BACK_PERCENT)
                .div_ceil(100)
                .max(KEPT_BACK_MIN),
            (Some(_), _) | (None, None) => 0,
        };
        Self {
            instances,
            admitted,
            kept_back,
            each: admitted.map(|it| it.saturating_sub(kept_back) / instances),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_connections: u32, reserved: u32, user: Option<u32>) -> Limits {
        Limits {
            max_connections: Some(max_connections),
            reserved,
            user,
            ..Limits::default()
        }
    }

    #[test]
    fn instances_share_what_is_left_for_pools() {
        let share = Share::of(&limits(151, 0, None), 4);
        assert_eq!((share.admitted, share.kept_back), (Some(151), 16));
        assert_eq!(share.each, Some(33));
        assert_eq!(Share::of(&limits(100, 5, None), 5).each, Some(17));
        assert_eq!(Share::of(&limits(5, 3, None), 1).each, Some(0));
        assert_eq!(Share::of(&Limits::default(), 4).each, None);
    }

    #[test]
    fn an_accounts_own_limit_counts_where_it_is_lower() {
        assert_eq!(Share::of(&limits(151, 0, Some(20)), 2).each, Some(10));
        assert_eq!(
            Share::of(&limits(151, 0, Some(500)), 2),
            Share::of(&limits(151, 0, None), 2)
        );
    }
}
