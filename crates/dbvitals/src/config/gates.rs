//! The sections `[gate.NAME]`.

use std::net::SocketAddr;

use super::doors::{Listening, read_door};
use super::reader::{Reader, Section, start};
use super::subjects::Subjects;
use crate::agent::plan::{GateAddress, GatePlan, OnRestart, OnUnknown};

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
    for named in reader.named_tables(subjects.root, "gate") {
        let (name, section) = (&named.name, named.section());
        reader.known_keys(section, &KEYS);
        let Some(gate) = read_gate(reader, section, name.value.clone(), subjects) else {
            continue;
        };
        let listening = Listening {
            gates: &gates,
            checks: &[],
            http,
        };
        listening.refuse_taken(reader, section, &gate.listen);
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
    let door = read_door(reader, section, subjects, "0.0.0.0:13306");
    let words = [("closed", OnUnknown::Closed), ("hold", OnUnknown::Hold)];
    let on_unknown = reader.choice(section, "on_unknown", &words);
    let address = door.listen?;
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
        of: door.subject?.name(),
        want: door.want,
        on_unknown: on_unknown.unwrap_or(OnUnknown::Closed),
        on_degraded: door.on_degraded,
        on_restart: on_restart.unwrap_or(OnRestart::Closed),
        on_alarm: door.on_alarm,
    })
}
