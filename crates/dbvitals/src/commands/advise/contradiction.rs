//! Where what is set and what the server allows do not go together.

use std::time::Duration;

use super::limits::Limits;
use super::page::span;
use super::share::{Bound, Share};
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

/// Whether a pool closes its connections before the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    Sure,
    /// By an idle time alone, so close to the limit that a pool may look too late.
    Tight,
    None,
}

impl Bounds {
    /// Whether connections are closed before they may have idled for as long as this.
    pub(super) fn protects(&self, limit: Duration) -> bool {
        self.protection(limit) == Protection::Sure
    }

    fn protection(&self, limit: Duration) -> Protection {
        // An age counts whenever it is looked at; an idle time, if a pool looks in time.
        let is_below = |time: Option<Duration>, limit| time.is_some_and(|time| time < limit);
        let in_time = self.max_idle_time.is_some_and(|it| it <= limit * 3 / 4);
        match is_below(self.max_idle_time, limit) {
            _ if in_time || is_below(self.max_lifetime, limit) => Protection::Sure,
            true => Protection::Tight,
            false => Protection::None,
        }
    }
}

/// What a pool's bounds contradict.
pub(super) fn of_bounds(bounds: &Bounds, limits: &Limits, share: &Share) -> Vec<Contradiction> {
    let mut found = Vec::new();
    if let Some(limit) = limits.idle {
        found.extend(of_times(bounds, limit, limits.idle_setting));
    }
    if let (Some(lifetime), Some(idle_time)) = (bounds.max_lifetime, bounds.max_idle_time)
        && idle_time >= lifetime
    {
        let (idle_time, lifetime) = (span(idle_time), span(lifetime));
        found.push(note(
            "idle_time_without_effect",
            format!("an idle time of {idle_time} has no effect beside a lifetime of {lifetime}"),
        ));
    }
    if let (Some(each), Some(admitted)) = (bounds.max_open, share.admitted) {
        found.extend(of_number(each, admitted, share));
    }
    found
}

/// Times that do not keep a pool's connections below the server's limit.
fn of_times(bounds: &Bounds, limit: Duration, name: &str) -> Vec<Contradiction> {
    let shown = span(limit);
    let above = |kind, what: &str, time| {
        warning(
            kind,
            format!(
                "{what} of {} is not below {name}, {shown}: a connection that idled for {shown} is dead, and a pool that does not look hands it out",
                span(time)
            ),
        )
    };
    match (bounds.protection(limit), bounds.max_idle_time) {
        (Protection::Sure, _) => Vec::new(),
        (Protection::Tight, idle_time) => {
            let idle_time = span(idle_time.unwrap_or(limit));
            vec![note(
                "idle_time_near_idle_limit",
                format!(
                    "an idle time of {idle_time} is below {name}, {shown}, by less than a quarter: a pool that looks every half minute or minute may find a connection dead; set it to {}",
                    span(limit / 2)
                ),
            )]
        }
        (Protection::None, idle_time) => {
            let lifetime = bounds.max_lifetime;
            let lifetime = lifetime.map(|it| above("lifetime_above_idle_limit", "a lifetime", it));
            let idle = idle_time.map(|it| above("idle_time_above_idle_limit", "an idle time", it));
            lifetime.into_iter().chain(idle).collect()
        }
    }
}

/// More connections than the server admits, or nearly as many.
fn of_number(each: u32, admitted: u32, share: &Share) -> Option<Contradiction> {
    let wanted = u64::from(each) * u64::from(share.instances);
    let pools = match share.instances {
        1 => format!("a pool of {each}"),
        instances => {
            format!("{instances} instances with {each} connections each, {wanted} in all,")
        }
    };
    if wanted > u64::from(admitted) {
        Some(warning(
            "above_max_connections",
            format!(
                "{pools} may open more than the {admitted} that the server admits: the others are refused"
            ),
        ))
    } else if wanted > u64::from(admitted.saturating_sub(share.kept_back)) {
        Some(note(
            "nothing_kept_back",
            format!(
                "{pools} may leave less than {} of the {admitted} connections for administrators, backups and checks",
                share.kept_back
            ),
        ))
    } else {
        None
    }
}

/// When all pools connect at once, as after a restart: as they are set now, and as is advised.
pub(super) fn of_reconnects(
    present: Option<u32>,
    advised: u32,
    limits: &Limits,
    share: &Share,
) -> Vec<Contradiction> {
    let advised = Some(advised).filter(|it| present != Some(*it));
    let sizes = [(present, "as they are set"), (advised, "as is advised")];
    let sizes = sizes
        .into_iter()
        .filter_map(|(each, set)| Some((each?, set)));
    let name = limits.backlog_setting;
    let meets = |(each, set)| {
        let wanted = u64::from(each) * u64::from(share.instances);
        let backlog = limits.backlog.filter(|it| wanted > u64::from(*it))?;
        Some(note(
            "reconnects_above_backlog",
            format!(
                "when all pools, {set}, connect at once, as after a restart, {wanted} connects meet an accept queue of {backlog} ({name}; the kernel's somaxconn may be lower): those beyond are delayed by a second or three, or refused"
            ),
        ))
    };
    sizes.filter_map(meets).collect()
}

/// What is odd about the server by itself; with bounds that are below it, its idle limit is only
/// worth knowing.
pub(super) fn of_server(limits: &Limits, share: &Share, present: &Bounds) -> Vec<Contradiction> {
    let short = limits.idle.filter(|it| *it < IDLE_LIMIT_SHORT);
    let found = [
        short.map(|limit| short_idle_limit(limit, limits.idle_setting, present)),
        interactive_differs(limits),
        too_few(limits, share),
        limits.between.as_deref().map(|it| between(it, limits)),
    ];
    found.into_iter().flatten().collect()
}

fn short_idle_limit(limit: Duration, name: &str, present: &Bounds) -> Contradiction {
    let sentence = format!(
        "{name} is {}: pools open connections over and over, and some cannot stay below; raise it to minutes, at least for the application's user",
        span(limit)
    );
    match present.protects(limit) {
        true => note("idle_limit_short", sentence),
        false => warning("idle_limit_short", sentence),
    }
}

fn interactive_differs(limits: &Limits) -> Option<Contradiction> {
    let interactive = limits.interactive?;
    let sentence = format!(
        "interactive_timeout is {}, below {}: clients that call themselves interactive (Connector/J with interactiveClient=true) are ended after that",
        span(interactive),
        limits.idle_setting
    );
    (interactive < limits.idle?).then(|| note("interactive_differs", sentence))
}

/// Fewer connections than instances, or hardly more.
fn too_few(limits: &Limits, share: &Share) -> Option<Contradiction> {
    let admitted = share.admitted.filter(|_| share.each == Some(0))?;
    let (limit, raise) = binding_limit(limits, share);
    let pooler = match limits.is_console() {
        true => "",
        false => ", or put a pooler between",
    };
    let remedy = format!("{limit} admits {admitted}; {raise}{pooler}");
    let instances = share.instances;
    Some(match share.left_by_one_each() {
        None if instances == 1 => warning(
            "too_few_connections",
            format!("not even 1 instance can have a connection: {remedy}"),
        ),
        None => warning(
            "too_few_connections",
            format!("{instances} instances cannot have a connection each: {remedy}"),
        ),
        Some(left) => note(
            "little_kept_back",
            format!(
                "with a connection for each instance, {left} are left for administrators, backups and checks: {remedy}"
            ),
        ),
    })
}

/// What admits so few, and how more of it are had.
fn binding_limit(limits: &Limits, share: &Share) -> (String, &'static str) {
    let name = limits.connections_setting;
    match (share.bound, limits.is_mysql()) {
        (Bound::Server, _) if limits.reserved > 0 => (
            format!("{name}, less the {} that are reserved,", limits.reserved),
            "raise it",
        ),
        (Bound::Server, _) => (name.to_owned(), "raise it"),
        (Bound::User, true) => (
            "max_user_connections of this account".to_owned(),
            "raise it (ALTER USER … WITH MAX_USER_CONNECTIONS …)",
        ),
        (Bound::User, false) => (
            "the limit of this role".to_owned(),
            "raise it (ALTER ROLE … CONNECTION LIMIT …)",
        ),
        (Bound::Database, _) => (
            "the limit of this database".to_owned(),
            "raise it (ALTER DATABASE … CONNECTION LIMIT …)",
        ),
    }
}

fn between(what: &str, limits: &Limits) -> Contradiction {
    let pooler = match limits.is_mysql() {
        true => "",
        false => {
            ". If it is a pooler, the idle limit here is that of its sessions, not of its clients': ask it too (PgBouncer: its database pgbouncer)"
        }
    };
    note(
        "something_between",
        format!(
            "between here and the server there is {what}; its idle limit and its number of connections count too, and are not in these figures{pooler}"
        ),
    )
}

fn warning(kind: &'static str, sentence: String) -> Contradiction {
    Contradiction {
        kind,
        weight: Weight::Warning,
        sentence,
    }
}

fn note(kind: &'static str, sentence: String) -> Contradiction {
    Contradiction {
        kind,
        weight: Weight::Note,
        sentence,
    }
}

#[cfg(test)]
mod tests;
