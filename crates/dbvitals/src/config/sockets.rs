//! Unix sockets in the file: nobody listens where another of the file's own sockets is.
//!
//! A gate replaces a file that a dead process left behind. The control socket's, and that of a
//! database which happens to be down just now, are none of those.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dbvitals_probe::Address;
use toml::de::DeTable;

use super::reader::{Reader, start};
use crate::agent::agent_check::AgentCheckPlan;
use crate::agent::plan::{BackendPlan, GateAddress, GatePlan};

/// Refuses gates and agent checks at the path of the control socket or of a backend.
pub(super) fn check_sockets(
    reader: &mut Reader,
    root: &DeTable<'_>,
    control: Option<PathBuf>,
    backends: &BTreeMap<String, BackendPlan>,
    (gates, checks): (&[GatePlan], &[AgentCheckPlan]),
) {
    let gates = gates.iter().map(|it| ("gate", &it.name, &it.listen));
    let checks = checks
        .iter()
        .map(|it| ("agent_check", &it.name, &it.listen));
    for (kind, name, listen) in gates.chain(checks) {
        let GateAddress::Unix(path) = listen else {
            continue;
        };
        let of = |it: &&BackendPlan| match &it.target.address {
            Address::Unix(socket) => **socket == **path,
            Address::Tcp { .. } => false,
        };
        let owner = match backends.values().find(of) {
            Some(backend) => format!("backend {:?}", backend.name),
            None if control.as_deref() == Some(&**path) => "control of [agent]".to_owned(),
            None => continue,
        };
        let section = root
            .get(kind)
            .and_then(|it| it.get_ref().get(name.as_str()));
        let key = section.and_then(|it| it.get_ref().get("listen"));
        let offset = key.map_or(0, |it| start(it.span()));
        let message = format!("{} is used already, by {owner}", listen.place());
        reader.refuse(offset, message);
    }
}
