//! The sections `[gate.NAME]`.

use std::net::SocketAddr;

use super::reader::{Reader, Section, start};
use super::subjects::{Subjects, read_on_alarm};
use crate::agent::plan::{GateAddress, GatePlan, OnDegraded, OnRestart, OnUnknown};

pub(super) const KEYS: [&str; 7] = [
    "listen",
    "of",
    "want",
    "on_unknown",
    "on_degraded",
    "on_restart",
    "on_alarm",
];

/// Reads the gates, whose backends and services have been read already.
pub(super) fn read_gates(
    reader: &mut Reader,
    subjects: Subjects<'_>,
    http: Option<SocketAddr>,
) -> Vec<GatePlan> {
    let mut gates: Vec<GatePlan> = Vec::new();
    for (name, table) in reader.named_tables(subjects.root, "gate") {
        let title = format!("gate.{}", name.value);
        let section = Section {
            title: &title,
            table,
            offset: name.offset,
        };
        reader.known_keys(section, &KEYS);
        let Some(gate) = read_gate(reader, section, name.value, subjects) else {
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
    subjects: Subjects<'_>,
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
            "the name of a backend or service",
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
    let subject = of.as_ref().and_then(|of| subjects.find(reader, of));
    let want = subjects.read_want(reader, section, subject);
    let words = [("closed", OnUnknown::Closed), ("hold", OnUnknown::Hold)];
    let on_unknown = reader.choice(section, "on_unknown", &words);
    let words = [("open", OnDegraded::Open), ("closed", OnDegraded::Closed)];
    let on_degraded = reader.choice(section, "on_degraded", &words);
    let on_alarm = read_on_alarm(reader, section, subject);
    let listen = listen?;
    let address = GateAddress::parse(&listen.value)
        .map_err(|why| reader.refuse(listen.offset, format!("listen: {why}")))
        .ok()?;
    let words = [("closed", OnRestart::Closed), ("hold", OnRestart::Hold)];
    let on_restart = reader.choice(section, "on_restart", &words);
    if let (GateAddress::Unix(_), Some(OnRestart::Hold)) = (&address, on_restart) {
        let key = section.table.get("on_restart");
        let offset = key.map_or(section.offset, |it| start(it.span()));
        reader.refuse(
            offset,
            "on_restart: a unix socket that was closed never opens again, so it cannot be kept; use closed, or a port",
        );
    }
    Some(GatePlan {
        name,
        listen: address,
        of: subject?.name(),
        want,
        on_unknown: on_unknown.unwrap_or(OnUnknown::Closed),
        on_degraded: on_degraded.unwrap_or(OnDegraded::Open),
        on_restart: on_restart.unwrap_or(OnRestart::Closed),
        on_alarm,
    })
}
