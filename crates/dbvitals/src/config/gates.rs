//! The sections `[gate.NAME]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use toml::de::DeTable;

use super::reader::{Reader, Section};
use crate::agent::plan::{BackendPlan, GateAddress, GatePlan, OnDegraded, OnUnknown};
use crate::suggestion::hint;

pub(super) const KEYS: [&str; 5] = ["listen", "of", "want", "on_unknown", "on_degraded"];

/// Reads the gates, whose backends have been read already.
pub(super) fn read_gates(
    reader: &mut Reader,
    root: &DeTable<'_>,
    backends: &BTreeMap<String, BackendPlan>,
    http: Option<SocketAddr>,
) -> Vec<GatePlan> {
    let mut gates: Vec<GatePlan> = Vec::new();
    for (name, table) in reader.named_tables(root, "gate") {
        let title = format!("gate.{}", name.value);
        let section = Section {
            title: &title,
            table,
            offset: name.offset,
        };
        reader.known_keys(section, &KEYS);
        let Some(gate) = read_gate(reader, section, name.value, root, backends) else {
            continue;
        };
        let place = gate.listen.place();
        let taken = gates
            .iter()
            .find(|other| gate.listen.clashes_with(&other.listen));
        if let Some(other) = taken {
            let message = format!("{place} is used already, by gate {:?}", other.name);
            reader.refuse(section.offset, message);
        } else if http.is_some_and(|http| gate.listen.clashes_with(&GateAddress::One(http))) {
            let message = format!("{place} is used already, by http of [agent]");
            reader.refuse(section.offset, message);
        }
        gates.push(gate);
    }
    gates
}

fn read_gate(
    reader: &mut Reader,
    section: Section<'_>,
    name: String,
    root: &DeTable<'_>,
    backends: &BTreeMap<String, BackendPlan>,
) -> Option<GatePlan> {
    let listen = reader.string(section, "listen");
    let of = reader.string(section, "of");
    for (key, example, given) in [
        (
            "listen",
            "0.0.0.0:13306",
            section.table.contains_key("listen"),
        ),
        (
            "of",
            "the name of a backend",
            section.table.contains_key("of"),
        ),
    ] {
        if !given {
            reader.refuse(
                section.offset,
                format!(
                    "[{}] has no {key}; add {key} = \"{example}\"",
                    section.title
                ),
            );
        }
    }
    if let Some(want) = reader.string(section, "want")
        && want.value != "any"
    {
        reader.refuse(
            want.offset,
            format!(
                "want = {:?} needs the depth role, which is planned and not there yet",
                want.value
            ),
        );
    }
    let words = [("closed", OnUnknown::Closed), ("hold", OnUnknown::Hold)];
    let on_unknown = reader.choice(section, "on_unknown", &words);
    let words = [("open", OnDegraded::Open), ("closed", OnDegraded::Closed)];
    let on_degraded = reader.choice(section, "on_degraded", &words);
    let (listen, of) = (listen?, of?);
    let address = GateAddress::parse(&listen.value)
        .map_err(|why| reader.refuse(listen.offset, format!("listen: {why}")))
        .ok()?;
    let known: Vec<_> = reader
        .named_tables(root, "backend")
        .into_iter()
        .map(|(name, _)| name.value)
        .collect();
    if !known.contains(&of.value) {
        let names: Vec<_> = known.iter().map(String::as_str).collect();
        let hint = hint(&of.value, &names);
        reader.refuse(
            of.offset,
            format!("there is no backend {:?}; {hint}", of.value),
        );
    }
    let of = backends.get(&of.value)?;
    Some(GatePlan {
        name,
        listen: address,
        of: Arc::clone(&of.name),
        on_unknown: on_unknown.unwrap_or(OnUnknown::Closed),
        on_degraded: on_degraded.unwrap_or(OnDegraded::Open),
    })
}
