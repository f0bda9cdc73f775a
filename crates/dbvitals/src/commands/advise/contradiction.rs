//! Where what is set and what the server allows do not go together.

use std::time::Duration;

use super::limits::Limits;
use super::page::span;
use super::share::Share;
use crate::cli::PresentArgs;

/// Below this, pools open connections over and over.
const IDLE_LIMIT_SHORT: Duration = Duration::from_secs(60);

/// Something that does not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contradiction {
    /// The name in JSON.
    pub(super) kind: &'static str,
    pub(super) weight: Weight,
    pub(super) sentence: String,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Errors will come of it.
    Warning,
    /// Worth knowing.
    Note,
}

impl Weight {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// How a pool bounds its connections; `None` where it does not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    pub(super) max_open: Option<u32>,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) max_idle_time: Option<Duration>,
}

impl From<&PresentArgs> for Bounds {
    fn from(present: &PresentArgs) -> Self {
        Self {
            max_open: present.max_open,
            max_lifetime: present.max_lifetime,
            max_idle_time: present.max_idle_time,
        }
    }
}

impl Bounds {
    /// Whether a connection may idle for longer than a limit.
    pub(super) fn outlives(&self, limit: Duration) -> bool {
        let times = [self.max_lifetime, self.max_idle_time];
        times.into_iter().flatten().all(|time| time >= limit)
    }
}

/// What a pool's bounds contradict.
pub(super) fn of_bounds(bounds: &Bounds, limits: &Limits, share: &Share) -> Vec<Contradiction> {
    let mut found = Vec::new();
    if let Some(limit) = limits.idle
        && bounds.outlives(limit)
    {
        let (name, shown) = (limits.idle_setting, span(limit));
        let mut warn = |kind, what: &str, time| {
            found.push(Contradiction {
                kind,
                weight: Weight::Warning,
                sentence: format!(
                    "{what} of {} is not below {name}, {shown}: a connection that idled for {shown} is dead, and a pool that does not look hands it out",
                    span(time)
                ),
            });
        };
        if let Some(lifetime) = bounds.max_lifetime {
            warn("lifetime_above_idle_limit", "a lifetime", lifetime);
        }
        if let Some(idle_time) = bounds.max_idle_time {
            warn("idle_time_above_idle_limit", "an idle time", idle_time);
        }
    }
    if let (Some(lifetime), Some(idle_time)) = (bounds.max_lifetime, bounds.max_idle_time)
        && idle_time >= lifetime
    {
        found.push(Contradiction {
            kind: "idle_time_without_effect",
            weight: Weight::Note,
            sentence: format!(
                "an idle time of {} has no effect beside a lifetime of {}",
                span(idle_time),
                span(lifetime)
            ),
        });
    }
    if let (Some(each), Some(admitted)) = (bounds.max_open, share.admitted) {
        let wanted = u64::from(each) * u64::from(share.instances);
        let pools = match share.instances {
            1 => format!("a pool of {each}"),
            instances => {
                format!("{instances} instances with {each} connections each, {wanted} in all,")
            }
        };
        if wanted > u64::from(admitted) {
            found.push(Contradiction {
                kind: "above_max_connections",
                weight: Weight::Warning,
                sentence: format!("{pools} may open more than the {admitted} that the server admits: the others are refused"),
            });
        } else if wanted > u64::from(admitted - share.kept_back.min(admitted)) {
            found.push(Contradiction {
                kind: "nothing_kept_back",
                weight: Weight::Note,
                sentence: format!("{pools} may leave less than {} of the {admitted} connections for administrators, backups and checks", share.kept_back),
            });
        }
    }
    found
}

/// When all pools connect at once, as after a restart.
pub(super) fn of_reconnects(each: u32, limits: &Limits, share: &Share) -> Option<Contradiction> {
    let wanted = u64::from(each) * u64::from(share.instances);
    let backlog = limits.backlog.filter(|it| wanted > u64::from(*it))?;
    Some(Contradiction {
        kind: "reconnects_above_backlog",
        weight: Weight::Note,
        sentence: format!(
            "when all pools connect at once, as after a restart, {wanted} connects meet an accept queue of {backlog}: those beyond are delayed by a second or three, or refused"
        ),
    })
}

/// What is odd about the server by itself.
pub(super) fn of_server(limits: &Limits, share: &Share) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut tell = |kind, weight, sentence| {
        found.push(Contradiction {
            kind,
            weight,
            sentence,
        });
    };
    let name = limits.idle_setting;
    if let Some(limit) = limits.idle.filter(|it| *it < IDLE_LIMIT_SHORT) {
        let shown = span(limit);
        tell(
            "idle_limit_short",
            Weight::Warning,
            format!(
                "{name} is {shown}: pools open connections over and over, and some cannot stay below; raise it to minutes, at least for the application's user"
            ),
        );
    }
    if let (Some(interactive), Some(limit)) = (limits.interactive, limits.idle)
        && interactive < limit
    {
        tell(
            "interactive_differs",
            Weight::Note,
            format!(
                "interactive_timeout is {}, below {name}: clients that call themselves interactive (Connector/J with interactiveClient=true) are ended after that",
                span(interactive)
            ),
        );
    }
    if share.each == Some(0) {
        let instances = share.instances;
        tell(
            "too_few_connections",
            Weight::Warning,
            format!(
                "{instances} instances cannot have a connection each: raise max_connections, or put a pooler between"
            ),
        );
    }
    if let Some(between) = &limits.between {
        tell(
            "something_between",
            Weight::Note,
            format!(
                "between here and the server there is {between}; its idle limit and its number of connections count too, and are not in these figures"
            ),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits() -> Limits {
        Limits {
            idle: Some(MINUTE * 10),
            idle_setting: "wait_timeout",
            max_connections: Some(100),
            backlog: Some(70),
            ..Limits::default()
        }
    }

    #[track_caller]
    fn check(bounds: Bounds, instances: u32, expected: &[&str]) {
        let share = Share::of(&limits(), instances);
        let found = of_bounds(&bounds, &limits(), &share);
        let kinds: Vec<_> = found.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, expected, "{found:?}");
    }

    #[test]
    fn one_bound_below_the_idle_limit_is_enough() {
        let bounds = |lifetime: Option<u32>, idle: Option<u32>| Bounds {
            max_open: None,
            max_lifetime: lifetime.map(|it| MINUTE * it),
            max_idle_time: idle.map(|it| MINUTE * it),
        };
        check(bounds(Some(9), None), 1, &[]);
        check(bounds(Some(10), None), 1, &["lifetime_above_idle_limit"]);
        check(bounds(Some(30), Some(5)), 1, &[]);
        check(bounds(None, Some(30)), 1, &["idle_time_above_idle_limit"]);
        check(bounds(Some(9), Some(30)), 1, &["idle_time_without_effect"]);
    }

    #[test]
    fn instances_are_multiplied() {
        let bounds = Bounds {
            max_open: Some(30),
            ..Bounds::default()
        };
        check(bounds, 3, &[]);
        check(bounds, 4, &["above_max_connections"]);
        let tight = Bounds {
            max_open: Some(95),
            ..Bounds::default()
        };
        check(tight, 1, &["nothing_kept_back"]);
        let share = Share::of(&limits(), 3);
        assert!(of_reconnects(30, &limits(), &share).is_some());
        assert!(of_reconnects(20, &limits(), &share).is_none());
    }

    #[test]
    fn an_odd_server_is_told_of_by_itself() {
        let odd = Limits {
            idle: Some(MINUTE / 4),
            interactive: Some(MINUTE / 6),
            max_connections: Some(4),
            between: Some("a proxy".to_owned()),
            ..limits()
        };
        let found = of_server(&odd, &Share::of(&odd, 8));
        let kinds: Vec<_> = found.iter().map(|it| it.kind).collect();
        assert_eq!(
            kinds,
            [
                "idle_limit_short",
                "interactive_differs",
                "too_few_connections",
                "something_between"
            ]
        );
        assert_eq!(of_server(&limits(), &Share::of(&limits(), 1)), []);
    }
}
