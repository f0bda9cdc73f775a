//! What a whole agent is to do, checked: made from the command line or the configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use crate::agent::agent_check::AgentCheckPlan;
use crate::agent::control::Watchlist;
use crate::agent::hooks::HookPlan;
use crate::agent::http::Tls;
use crate::agent::plan::{BackendPlan, GatePlan, Histograms, ServicePlan};
use crate::whereabouts;

/// Everything that `serve` needs.
#[derive(Debug)]
pub(crate) struct AgentPlan {
    /// The agent's name: the host name unless said.
    pub(crate) name: String,
    /// Where HTTP is answered, if it is.
    pub(crate) http: Option<SocketAddr>,
    /// The certificate to answer HTTPS with, in place of HTTP.
    pub(crate) http_tls: Option<Tls>,
    /// Where operators' orders are kept, if they are to outlive the agent.
    pub(crate) state_dir: Option<PathBuf>,
    /// Whether a history is kept there as well.
    pub(crate) keeps_history: bool,
    /// The socket for operators of this machine.
    pub(crate) control: Option<PathBuf>,
    /// Who has its content may give orders over HTTP.
    pub(crate) token: Option<SecretString>,
    /// Of what metrics tell latencies as histograms.
    pub(crate) histograms: Histograms,
    /// How many logins a second all backends may cost together, where there is a limit.
    pub(crate) logins_per_second_max: Option<u32>,
    pub(crate) backends: Vec<BackendPlan>,
    pub(crate) services: Vec<ServicePlan>,
    pub(crate) gates: Vec<GatePlan>,
    pub(crate) agent_checks: Vec<AgentCheckPlan>,
    pub(crate) hooks: Vec<Arc<HookPlan>>,
    /// What a person should know about this plan, a sentence each.
    pub(crate) notices: Vec<String>,
}

impl AgentPlan {
    /// Whom the event loops are to watch.
    pub(crate) fn watchlist(&self) -> Watchlist<'_> {
        Watchlist {
            backends: &self.backends,
            logins_per_second_max: self.logins_per_second_max,
        }
    }
}

/// Where the control socket is: where it was asked for, else in the state directory.
pub(crate) fn control_socket(control: Option<&Path>, state_dir: Option<&Path>) -> Option<PathBuf> {
    match (control, state_dir) {
        (Some(path), _) => Some(path.to_owned()),
        (None, Some(directory)) => Some(whereabouts::of_state_dir(directory)),
        (None, None) => None,
    }
}
