//! What gates and agent checks have in common: where they listen, of what, and to whom that counts.

use std::net::SocketAddr;

use dbvitals_verdict::Want;

use super::reader::{Reader, Section};
use super::subjects::{Subject, Subjects, read_on_alarm};
use crate::agent::agent_check::AgentCheckPlan;
use crate::agent::plan::{GateAddress, GatePlan, OnAlarm, OnDegraded};

/// The keys that both have.
pub(super) struct Door<'a> {
    /// Where it listens, if that could be read.
    pub(super) listen: Option<GateAddress>,
    pub(super) subject: Option<Subject<'a>>,
    pub(super) want: Want,
    pub(super) on_degraded: OnDegraded,
    pub(super) on_alarm: OnAlarm,
}

/// Reads them; `example` is an address for who gave none.
pub(super) fn read_door<'a>(
    reader: &mut Reader,
    section: Section<'_>,
    subjects: Subjects<'a>,
    example: &str,
) -> Door<'a> {
    let listen = reader.string(section, "listen");
    let of = reader.string(section, "of");
    for (key, example) in [
        ("listen", example),
        ("of", "the name of a backend or service"),
    ] {
        if !section.table.contains_key(key) {
            let title = section.title;
            let message = format!("[{title}] has no {key}; add {key} = \"{example}\"");
            reader.refuse(section.offset, message);
        }
    }
    let subject = of.as_ref().and_then(|of| subjects.find(reader, of));
    let want = subjects.read_want(reader, section, subject);
    let words = [("open", OnDegraded::Open), ("closed", OnDegraded::Closed)];
    let on_degraded = reader.choice(section, "on_degraded", &words);
    let on_alarm = read_on_alarm(reader, section, subject);
    let listen = listen.and_then(|listen| {
        GateAddress::parse(&listen.value)
            .map_err(|why| reader.refuse(listen.offset, format!("listen: {why}")))
            .ok()
    });
    Door {
        listen,
        subject,
        want,
        on_degraded: on_degraded.unwrap_or(OnDegraded::Open),
        on_alarm,
    }
}

/// Who listens already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening<'a> {
    pub(super) gates: &'a [GatePlan],
    pub(super) checks: &'a [AgentCheckPlan],
    pub(super) http: Option<SocketAddr>,
}

impl Listening<'_> {
    /// Refuses an address at which somebody listens already.
    pub(super) fn refuse_taken(
        self,
        reader: &mut Reader,
        section: Section<'_>,
        listen: &GateAddress,
    ) {
        let gates = self.gates.iter();
        let gates = gates.map(|gate| (format!("gate {:?}", gate.name), gate.listen.clone()));
        let checks = self.checks.iter().map(|check| {
            let name = format!("agent check {:?}", check.name);
            (name, check.listen.clone())
        });
        let http = self.http.map(GateAddress::One);
        let http = http.map(|http| ("http of [agent]".to_owned(), http));
        let mut all = gates.chain(checks).chain(http);
        if let Some((other, _)) = all.find(|(_, other)| listen.clashes_with(other)) {
            let place = listen.place();
            reader.refuse(
                section.offset,
                format!("{place} is used already, by {other}"),
            );
        }
    }
}
