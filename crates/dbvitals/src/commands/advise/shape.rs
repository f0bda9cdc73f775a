//! How any pool of this server should be set, before it is said in a client's own words.
//!
//! A connection that is younger than the server's idle limit has never idled for longer, so a
//! lifetime below that limit ends all stale connections, and an idle time of half of it spares
//! most of the reconnects that it would cost.

use std::time::Duration;

use super::limits::Limits;
use super::page::span;
use super::share::Share;

/// More than this many at a time only queue up inside of most servers.
const OPEN_MAX: u32 = 20;
/// Where the server has no limit of its own: so that servers added behind a name are found.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Where the server has no limit of its own: so that a pool shrinks after a peak.
const IDLE_TIME: Duration = Duration::from_secs(10 * 60);
/// How long a checkout waits before it fails: an outage is to be told, not queued up.
pub(super) const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a ping may take.
pub(super) const PING: Duration = Duration::from_secs(1);
/// From here on whole seconds are exact enough, and easier to read.
const WHOLE_SECONDS_FROM: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// What a pool should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) max_open: u32,
    pub(super) max_lifetime: Duration,
    pub(super) max_idle_time: Duration,
    /// The server's own limit, with its name.
    pub(super) idle_limit: Option<(Duration, &'static str)>,
    /// Why `max_open` is what it is.
    pub(super) max_open_reason: String,
}

impl Shape {
    pub(super) fn of(limits: &Limits, share: &Share) -> Self {
        let most = share.each.unwrap_or(OPEN_MAX);
        let max_open = most.clamp(1, OPEN_MAX);
        let within = |usual: Duration, percent: u32| match limits.idle {
            Some(limit) => rounded(usual.min(limit * percent / 100)),
            None => usual,
        };
        Self {
            max_open,
            max_lifetime: within(LIFETIME, 80),
            max_idle_time: within(IDLE_TIME, 50),
            idle_limit: limits.idle.map(|limit| (limit, limits.idle_setting)),
            max_open_reason: max_open_reason(max_open, share),
        }
    }

    /// The same for a client whose sessions the server's idle limit does not hold for.
    pub(super) fn without_idle_limit(&self) -> Self {
        Self {
            max_lifetime: LIFETIME,
            max_idle_time: IDLE_TIME,
            idle_limit: None,
            ..self.clone()
        }
    }

    /// How often a pool must look for idle connections that usually does so every `period`: what
    /// was found in time is closed in time.
    pub(super) fn look_every(&self, period: Duration) -> Duration {
        match self.idle_limit {
            Some((limit, _)) => rounded(period.min(limit / 4)),
            None => period,
        }
    }

    /// Whether what is closed at this age is closed before the server closes it for idling.
    pub(super) fn stays_below(&self, time: Duration) -> bool {
        self.idle_limit.is_none_or(|(limit, _)| time < limit)
    }

    /// Why a lifetime is what it is in a client, which may not go as low as this shape.
    pub(super) fn lifetime_reason(&self, set: Duration) -> String {
        match self.idle_limit {
            Some((limit, name)) if set >= limit => as_low_as_it_goes(name, limit),
            Some((limit, name)) if self.max_lifetime < LIFETIME => format!(
                "below {name} ({}): what is younger has never idled for longer",
                span(limit)
            ),
            _ => {
                "servers added behind a name are found; below the limits of most routers".to_owned()
            }
        }
    }

    /// The same for an idle time.
    pub(super) fn idle_reason(&self, set: Duration) -> String {
        match self.idle_limit {
            Some((limit, name)) if set >= limit => as_low_as_it_goes(name, limit),
            Some((_, name)) if self.max_idle_time < IDLE_TIME && set == self.max_idle_time => {
                format!("half of {name}: closed here before it is closed there")
            }
            Some((limit, name)) if self.max_idle_time < IDLE_TIME => format!(
                "below {name} ({}): closed here before it is closed there",
                span(limit)
            ),
            _ => "a pool shrinks after a peak".to_owned(),
        }
    }
}

fn max_open_reason(max_open: u32, share: &Share) -> String {
    let Share { instances, .. } = *share;
    match share.each {
        None => "more only queue up inside of most servers".to_owned(),
        Some(0) if share.is_overdrawn() => {
            "no pool can have less, and still not all get one".to_owned()
        }
        Some(0) => "no pool can have less; little is left for anybody else".to_owned(),
        Some(each) if each > max_open && instances == 1 => {
            format!("up to {each} if checkouts wait and the server has idle processors")
        }
        Some(each) if each > max_open => {
            format!("its share of {instances} allows {each}, if the server has idle processors")
        }
        Some(_) if instances == 1 => "all that the server admits to pools".to_owned(),
        Some(_) => format!("its share, of {instances} instances"),
    }
}

fn as_low_as_it_goes(name: &str, limit: Duration) -> String {
    format!("as low as it goes; not below {name} ({})", span(limit))
}

/// A time in whole seconds, and at least one, for clients that know no shorter ones.
pub(super) fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs()).max(SECOND)
}

/// Whole seconds, or whole milliseconds where seconds are too coarse; never nothing.
fn rounded(time: Duration) -> Duration {
    match time {
        _ if time >= WHOLE_SECONDS_FROM => Duration::from_secs(time.as_secs()),
        _ => Duration::from_millis(time.as_millis() as u64).max(MILLISECOND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(idle: Option<Duration>, max_connections: u32, instances: u32) -> Shape {
        let limits = Limits {
            idle,
            max_connections: Some(max_connections),
            ..Limits::default()
        };
        Shape::of(&limits, &Share::of(&limits, instances))
    }

    #[test]
    fn whatever_the_limit_a_pool_stays_below_it() {
        let milliseconds = (2..10_000).map(Duration::from_millis);
        for limit in milliseconds.chain((2..40_000).map(Duration::from_secs)) {
            let shape = shape(Some(limit), 151, 1);
            assert!(shape.max_lifetime < limit, "{shape:?}");
            assert!(shape.max_idle_time <= shape.max_lifetime, "{shape:?}");
            let closed_after = shape.max_idle_time + shape.look_every(SECOND * 60);
            assert!(closed_after <= limit, "{shape:?}");
        }
    }

    #[test]
    fn a_generous_limit_changes_nothing() {
        let shape = shape(Some(SECOND * 28_800), 151, 1);
        assert_eq!(
            (shape.max_lifetime, shape.max_idle_time),
            (LIFETIME, IDLE_TIME)
        );
        assert_eq!(shape.look_every(SECOND * 30), SECOND * 30);
    }

    #[test]
    fn a_pool_is_no_larger_than_its_share_and_never_empty() {
        assert_eq!(shape(None, 151, 1).max_open, OPEN_MAX);
        assert_eq!(shape(None, 151, 12).max_open, 11);
        assert_eq!(shape(None, 5, 12).max_open, 1);
    }

    #[test]
    fn a_share_that_is_none_is_not_called_one() {
        let overdrawn = shape(None, 5, 12);
        assert!(overdrawn.max_open_reason.contains("not all get one"));
        let scarce = shape(None, 3, 1);
        assert!(scarce.max_open_reason.contains("little is left"));
    }
}
