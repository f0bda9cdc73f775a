//! The sections `[service.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use dbvitals_verdict::{ServiceNeeds, Want};
use toml::de::DeTable;

use super::reader::{Placed, Reader, Section};
use super::subjects::{names, never, none_of};
use crate::agent::plan::{BackendPlan, ServicePlan};
use crate::expectation::parse_want;
use crate::suggestion::hint;

pub(super) const KEYS: [&str; 4] = ["backends", "want", "enough", "multi_primary"];
/// Tables below a service that a later version brings.
pub(super) const LATER_KEYS: [&str; 1] = ["failover"];

/// Reads the services, whose backends have been read already.
pub(super) fn read_services(
    reader: &mut Reader,
    root: &DeTable<'_>,
    backends: &BTreeMap<String, BackendPlan>,
) -> Vec<ServicePlan> {
    let mut services = Vec::new();
    // Those that were refused are here, those that were cut out of the file are there.
    let mut known = names(root, "backend");
    known.extend(backends.keys().map(String::as_str));
    for named in reader.named_tables(root, "service") {
        let (name, section) = (&named.name, named.section());
        check_keys(reader, section);
        if known.contains(&name.value.as_str()) {
            let message = format!(
                "{:?} is the name of a backend already, and names tell them apart everywhere; give the service another",
                name.value
            );
            reader.refuse(name.offset, message);
        }
        let members = read_members(reader, section, root, &known);
        let plans = members.iter().filter_map(|it| backends.get(&it.value));
        let plans: Vec<_> = plans.collect();
        let needs = read_needs(reader, section, members.len(), &plans);
        services.push(ServicePlan {
            name: name.value.as_str().into(),
            backends: plans.iter().map(|plan| Arc::clone(&plan.name)).collect(),
            needs,
        });
    }
    services
}

fn check_keys(reader: &mut Reader, section: Section<'_>) {
    for (key, _) in section.table {
        let name: &str = key.get_ref();
        if LATER_KEYS.contains(&name) {
            let title = section.title;
            let message = format!("[{title}.{name}] is planned and not there yet; leave it out");
            reader.refuse(key.span().start, message);
        }
    }
    let known: Vec<_> = KEYS.iter().chain(&LATER_KEYS).copied().collect();
    reader.known_keys(section, &known);
}

/// Reads the names of the backends, each once.
fn read_members(
    reader: &mut Reader,
    section: Section<'_>,
    root: &DeTable<'_>,
    known: &[&str],
) -> Vec<Placed<String>> {
    let given = reader.strings(section, "backends");
    if given.as_ref().is_none_or(Vec::is_empty) {
        let message = "has no backends; add backends = [\"orders-1\", \"orders-2\"]";
        reader.refuse_lack(section, "backends", message);
    }
    let services = names(root, "service");
    let mut members: Vec<Placed<String>> = Vec::new();
    for name in given.unwrap_or_default() {
        let asked = name.value.as_str();
        if !known.contains(&asked) {
            let remedy = match services.contains(&asked) {
                true => "that is a service; name its backends".to_owned(),
                false => hint(asked, known),
            };
            reader.refuse(
                name.offset,
                format!("there is no backend {asked:?}; {remedy}"),
            );
        }
        match members.iter().any(|it| it.value == name.value) {
            true => {
                let message = format!("{asked:?} is named twice; once is enough");
                reader.refuse(name.offset, message);
            }
            false => members.push(name),
        }
    }
    members
}

fn read_needs(
    reader: &mut Reader,
    section: Section<'_>,
    count: usize,
    members: &[&BackendPlan],
) -> ServiceNeeds {
    let mut needs = ServiceNeeds {
        multi_primary: reader.boolean(section, "multi_primary"),
        ..ServiceNeeds::default()
    };
    if let Some(given) = reader.string(section, "want") {
        match parse_want(&given.value) {
            Ok(want) => {
                needs.want = want;
                // One that could not be read might be what is wanted.
                let all = members.len() == count;
                if let Some(why) = none_of(members.iter().copied(), &[want]).filter(|_| all) {
                    reader.refuse(given.offset, format!("want: {why}"));
                }
            }
            Err(why) => reader.refuse(given.offset, format!("want: {why}")),
        }
    }
    if let Some(enough) = reader.count(section, "enough") {
        needs.enough = usize::try_from(enough.value).unwrap_or(usize::MAX);
        if let Some(why) = never_enough(needs, count, members) {
            reader.refuse(enough.offset, format!("enough {why}"));
        }
    }
    needs
}

/// Why a service with these needs could never be up.
fn never_enough(
    ServiceNeeds { want, enough, .. }: ServiceNeeds,
    count: usize,
    members: &[&BackendPlan],
) -> Option<String> {
    let able = members.iter().filter(|it| never(it, want).is_none());
    let able = able.count();
    match enough {
        0 => Some("must be above zero, or the service would never be down".to_owned()),
        // Without backends at all there is another complaint.
        _ if enough > count && count > 0 => Some(format!(
            "must not be above the number of its backends, {count}"
        )),
        _ if want != Want::Any && able > 0 && enough > able && count == members.len() => {
            Some(format!(
                "must not be above {able}: of no more than that can it be known that it is what is wanted ({want})"
            ))
        }
        _ => None,
    }
}
