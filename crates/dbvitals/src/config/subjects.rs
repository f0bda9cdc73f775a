//! What gates, agent checks and hooks may be of: backends and services, found by their names.
//!
//! Also says why something can never be what is wanted, so that a gate which would never open is
//! refused before anything starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use dbvitals_verdict::{Depth, Want};
use toml::de::DeTable;

use super::reader::{Placed, Reader, Section};
use crate::agent::plan::{BackendPlan, OnAlarm, ServicePlan};
use crate::expectation::parse_want;
use crate::suggestion::hint;

/// All that can be told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subjects<'a> {
    pub(super) root: &'a DeTable<'a>,
    pub(super) backends: &'a BTreeMap<String, BackendPlan>,
    pub(super) services: &'a [ServicePlan],
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Backend(&'a BackendPlan),
    Service(&'a ServicePlan),
}

impl<'a> Subjects<'a> {
    /// What bears this name; a name that nothing bears is refused. What could not be read was
    /// complained of where it stands.
    pub(super) fn find(self, reader: &mut Reader, of: &Placed<String>) -> Option<Subject<'a>> {
        let services = self.services.iter();
        let service = services.clone().find(|service| *service.name == *of.value);
        let backend = self.backends.get(&of.value);
        let found = service
            .map(Subject::Service)
            .or(backend.map(Subject::Backend));
        if found.is_none() {
            self.refuse_unknown(reader, of);
        }
        found
    }

    fn refuse_unknown(self, reader: &mut Reader, of: &Placed<String>) {
        let names = ["backend", "service"].map(|kind| names(self.root, kind));
        let what = match names[1].is_empty() {
            true => "backend",
            false => "backend or service",
        };
        let known: Vec<_> = names.into_iter().flatten().collect();
        if !known.contains(&&*of.value) {
            let hint = hint(&of.value, &known);
            let message = format!("there is no {what} {:?}; {hint}", of.value);
            reader.refuse(of.offset, message);
        }
    }

    /// Reads `want`, and refuses what the subject can never be.
    pub(super) fn read_want(
        self,
        reader: &mut Reader,
        section: Section<'_>,
        subject: Option<Subject<'_>>,
    ) -> Want {
        let Some(given) = reader.string(section, "want") else {
            return Want::Any;
        };
        let want = match parse_want(&given.value) {
            Ok(want) => want,
            Err(why) => {
                reader.refuse(given.offset, format!("want: {why}"));
                return Want::Any;
            }
        };
        let never = match subject {
            Some(Subject::Backend(backend)) => never(backend, want),
            Some(Subject::Service(service)) => {
                let members = service.backends.iter();
                let members = members.filter_map(|name| self.backends.get(&**name));
                none_of(members, &[service.needs.want, want])
            }
            None => None,
        };
        if let Some(why) = never {
            reader.refuse(given.offset, format!("want: {why}"));
        }
        want
    }
}

/// Reads `on_alarm`, which says nothing of a backend.
pub(super) fn read_on_alarm(
    reader: &mut Reader,
    section: Section<'_>,
    subject: Option<Subject<'_>>,
) -> OnAlarm {
    let words = [("open", OnAlarm::Open), ("closed", OnAlarm::Closed)];
    let on_alarm = reader.choice(section, "on_alarm", &words);
    if let (Some(value), Some(Subject::Backend(backend))) = (section.table.get("on_alarm"), subject)
    {
        let message = format!(
            "on_alarm: there are alarms on services alone, and {} is a backend; leave it out",
            backend.name
        );
        reader.refuse(value.span().start, message);
    }
    on_alarm.unwrap_or(OnAlarm::Open)
}

impl Subject<'_> {
    pub(super) fn name(self) -> Arc<str> {
        match self {
            Self::Backend(backend) => Arc::clone(&backend.name),
            Self::Service(service) => Arc::clone(&service.name),
        }
    }
}

/// The names of a kind of section, of those too that cannot be read otherwise.
pub(super) fn names<'a>(root: &'a DeTable<'a>, kind: &str) -> Vec<&'a str> {
    let table = root.get(kind).and_then(|value| value.get_ref().as_table());
    let keys = table.into_iter().flatten();
    keys.map(|(name, _)| &**name.get_ref()).collect()
}

/// Why none of these can ever be all that is wanted: what keeps the first of them from it.
pub(super) fn none_of<'a>(
    members: impl Iterator<Item = &'a BackendPlan>,
    wants: &[Want],
) -> Option<String> {
    let mut first = None;
    for member in members {
        let why = wants.iter().find_map(|want| never(member, *want))?;
        first.get_or_insert(why);
    }
    first.map(|why| format!("no backend of it can ever be that: {why}"))
}

/// Why a backend can never be what is wanted, or never known to be.
pub(super) fn never(backend: &BackendPlan, want: Want) -> Option<String> {
    let (name, own) = (&backend.name, backend.target.want);
    let contradicts = matches!(
        (own, want),
        (Want::Primary, Want::Replica) | (Want::Replica, Want::Primary)
    );
    if contradicts {
        return Some(format!(
            "{name} is fit only as what its own want says, {own}, and a {want} is wanted; leave one of the two out"
        ));
    }
    let depth = backend.plan.deepest();
    (want != Want::Any && depth < Depth::Role).then(|| {
        format!(
            "{name} is watched at the depth {depth}, which knows no role; give it depth = \"role\""
        )
    })
}
