//! Who is listed, in which order: services, then backends, as search, filter and sort have it.

use std::cmp::Reverse;

use super::ink::badness;
use super::known::Known;
use crate::commands::status::{Backend, Service};

/// One line of the list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'a> {
    Service(&'a Service),
    Backend(&'a Backend),
}

/// What a row is known by; a service and a backend may have the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) is_service: bool,
    pub(super) name: String,
}

/// Which verdicts are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Filter {
    #[default]
    All,
    NotUp,
    Only(&'static str),
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Trouble,
    Name,
    Newest,
    Slowest,
}

impl Row<'_> {
    pub(super) fn key(&self) -> Key {
        Key {
            is_service: matches!(self, Self::Service(_)),
            name: self.name().to_owned(),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Service(it) => &it.name,
            Self::Backend(it) => &it.name,
        }
    }

    pub(super) fn verdict(&self) -> &str {
        match self {
            Self::Service(it) => &it.verdict,
            Self::Backend(it) => &it.verdict,
        }
    }

    pub(super) fn since(&self) -> &str {
        match self {
            Self::Service(it) => &it.since,
            Self::Backend(it) => &it.since,
        }
    }

    /// How urgent it is: an alarm and an order count for more than a verdict alone.
    fn urgency(&self) -> u8 {
        let more = match self {
            Self::Service(it) => it.alarm.is_some(),
            Self::Backend(it) => it.warning.is_some() || it.admin != "ready",
        };
        badness(self.verdict()) * 2 + u8::from(more)
    }

    /// Whether a search means this row.
    fn has(&self, words: &str) -> bool {
        let mut texts = vec![self.name(), self.verdict()];
        match self {
            Self::Service(it) => texts.extend([&it.cause, &it.alarm].map(text)),
            Self::Backend(it) => {
                texts.push(&it.admin);
                texts.extend([&it.address, &it.cause, &it.role].map(text));
            }
        }
        let has = |text: &&str| text.to_lowercase().contains(words);
        texts.iter().any(has)
    }
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

impl Filter {
    pub(super) fn next(self) -> Self {
        match self {
            Self::All => Self::NotUp,
            Self::NotUp => Self::Only("down"),
            Self::Only("down") => Self::Only("degraded"),
            Self::Only("degraded") => Self::Only("unknown"),
            Self::Only("unknown") => Self::Only("up"),
            Self::Only(_) => Self::All,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::NotUp => "not up",
            Self::Only(verdict) => verdict,
        }
    }

    fn allows(self, verdict: &str) -> bool {
        match self {
            Self::All => true,
            Self::NotUp => verdict != "up",
            Self::Only(only) => verdict == only,
        }
    }
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Name,
            Self::Name => Self::Newest,
            Self::Newest => Self::Slowest,
            Self::Slowest => Self::Trouble,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Name => "name",
            Self::Newest => "newest",
            Self::Slowest => "slowest",
        }
    }
}

/// The rows, services first.
pub(super) fn rows<'a>(known: &'a Known, filter: Filter, sort: Sort, search: &str) -> Vec<Row<'a>> {
    let services = known.picture.services.iter().map(|it| &it.told);
    let backends = known.picture.backends.iter().map(|it| &it.told);
    let all = services.map(Row::Service).chain(backends.map(Row::Backend));
    let words = search.to_lowercase();
    let mut rows: Vec<_> = all
        .filter(|row| filter.allows(row.verdict()) && row.has(&words))
        .collect();
    // Stable: who is alike stays in the order of names.
    rows.sort_by(|one, other| one.name().cmp(other.name()));
    match sort {
        Sort::Name => {}
        Sort::Trouble => rows.sort_by_key(|row| Reverse(row.urgency())),
        // RFC 3339 in UTC sorts as text.
        Sort::Newest => rows.sort_by(|one, other| other.since().cmp(one.since())),
        Sort::Slowest => rows.sort_by(|one, other| took(other).total_cmp(&took(one))),
    }
    rows.sort_by_key(|row| matches!(row, Row::Backend(_)));
    rows
}

/// How long the newest probe took.
fn took(row: &Row<'_>) -> f64 {
    match row {
        Row::Service(_) => 0.0,
        Row::Backend(it) => {
            let seen = it.held.as_ref().or(it.fresh.as_ref());
            seen.map_or(0.0, |seen| seen.took_ms)
        }
    }
}
