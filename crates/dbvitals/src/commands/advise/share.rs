//! Who may have how many of a server's connections.

use super::limits::Limits;

/// Kept back for administrators, backups, migrations and checks, in percent…
const KEPT_BACK_PERCENT: u64 = 10;
/// …and at least.
const KEPT_BACK_MIN: u32 = 3;

/// How a server's connections are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) instances: u32,
    /// What users like this one can have in all; `None` where there is no limit.
    pub(super) admitted: Option<u32>,
    /// Whose limit that is.
    pub(super) bound: Bound,
    /// What of that is not for pools.
    pub(super) kept_back: u32,
    /// What each pool may open.
    pub(super) each: Option<u32>,
}

/// Whose limit is the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Server,
    Database,
    User,
}

impl Share {
    pub(super) fn of(limits: &Limits, instances: u32) -> Self {
        let unreserved = limits.max_connections;
        let unreserved = unreserved.map(|max| max.saturating_sub(limits.reserved));
        let bounds = [
            (Bound::Server, unreserved),
            (Bound::Database, limits.database),
            (Bound::User, limits.user),
        ];
        let known = || {
            bounds
                .into_iter()
                .filter_map(|(it, most)| Some((it, most?)))
        };
        let lowest = known().min_by_key(|(_, most)| *most);
        let for_pools = known().map(|(bound, most)| match bound {
            Bound::Server | Bound::Database => most.saturating_sub(kept_back(most)),
            // An account's own limit leaves the rest to the others already.
            Bound::User => most,
        });
        let for_pools = for_pools.min();
        let admitted = lowest.map(|(_, most)| most);
        let both = admitted.zip(for_pools);
        Self {
            instances,
            admitted,
            bound: lowest.map_or(Bound::Server, |(bound, _)| bound),
            kept_back: both.map_or(0, |(all, pools)| all.saturating_sub(pools)),
            each: for_pools.map(|it| it / instances.max(1)),
        }
    }

    /// Whether there are more instances than connections.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.admitted.is_some_and(|it| it < self.instances)
    }

    /// What is left of all that is admitted if each instance has one connection.
    pub(super) fn left_by_one_each(&self) -> Option<u32> {
        self.admitted?.checked_sub(self.instances)
    }
}

/// What of a limit that all share is not for pools.
fn kept_back(most: u32) -> u32 {
    let percent = (u64::from(most) * KEPT_BACK_PERCENT).div_ceil(100);
    u32::try_from(percent)
        .unwrap_or(u32::MAX)
        .max(KEPT_BACK_MIN)
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
        let share = Share::of(&limits(151, 0, Some(20)), 2);
        assert_eq!((share.each, share.kept_back), (Some(10), 0));
        assert_eq!(share.bound, Bound::User);
        assert_eq!(
            Share::of(&limits(151, 0, Some(500)), 2),
            Share::of(&limits(151, 0, None), 2)
        );
        let nearly_all = Share::of(&limits(151, 0, Some(140)), 1);
        assert_eq!(nearly_all.each, Some(135), "something stays for others");
    }

    #[test]
    fn of_a_databases_limit_something_is_kept_back() {
        let of_database = Limits {
            database: Some(40),
            ..limits(100, 3, None)
        };
        let share = Share::of(&of_database, 4);
        assert_eq!((share.admitted, share.kept_back), (Some(40), 4));
        assert_eq!((share.each, share.bound), (Some(9), Bound::Database));
    }

    #[test]
    fn no_number_is_too_large_to_be_shared() {
        let share = Share::of(&limits(u32::MAX, u32::MAX, None), 1);
        assert_eq!((share.admitted, share.each), (Some(0), Some(0)));
        let share = Share::of(&limits(u32::MAX, 0, Some(u32::MAX)), u32::MAX);
        assert_eq!(share.each, Some(0));
        assert_eq!(share.kept_back, 429_496_730);
    }
}
