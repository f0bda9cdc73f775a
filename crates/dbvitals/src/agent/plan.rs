//! What an agent is to do, checked: made from the command line or the configuration file.

use std::net::SocketAddr;
use std::sync::Arc;

use dbvitals_probe::{Protocol, Target};
use dbvitals_verdict::{Course, Depth, Plan};

use crate::target_url::TargetUrl;

/// Everything that `serve` needs.
#[derive(Debug)]
pub(crate) struct AgentPlan {
    /// The agent's name: the host name unless said.
    pub(crate) name: String,
    /// Where HTTP is answered, if it is.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) backends: Vec<BackendPlan>,
    pub(crate) gates: Vec<GatePlan>,
}

/// One backend to watch.
#[derive(Debug, Clone)]
pub(crate) struct BackendPlan {
    pub(crate) name: Arc<str>,
    pub(crate) target: Arc<Target>,
    pub(crate) plan: Arc<Plan>,
}

/// A listener that exists only while its backend is fit.
#[derive(Debug, Clone)]
pub(crate) struct GatePlan {
    pub(crate) name: String,
    pub(crate) listen: GateAddress,
    /// The backend's name.
    pub(crate) of: Arc<str>,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) on_degraded: OnDegraded,
}

/// Where a gate listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum GateAddress {
    /// On this port of all addresses, of both families where the machine has both.
    All(u16),
    /// On one address.
    One(SocketAddr),
}

impl GateAddress {
    /// Reads `PORT` or `ADDRESS:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is no address for a gate; write a port from 1 to 65535, or ADDRESS:PORT"
            )
        };
        if let Ok(port) = text.parse::<u16>() {
            return match port {
                0 => Err(refused()),
                port => Ok(Self::All(port)),
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Ok(Self::One(address)),
            Ok(_) | Err(_) => Err(refused()),
        }
    }

    pub(crate) fn port(self) -> u16 {
        match self {
            Self::All(port) => port,
            Self::One(address) => address.port(),
        }
    }
}

impl std::fmt::Display for GateAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All(port) => write!(f, "*:{port}"),
            Self::One(address) => write!(f, "{address}"),
        }
    }
}

/// What a gate does while nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnUnknown {
    /// It is closed.
    Closed,
    /// It stays as it was; closed from the start.
    Hold,
}

/// What a gate does while its backend is degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDegraded {
    /// It is open.
    Open,
    /// It is closed.
    Closed,
}

/// How a target is asked in the long run: with a held session where the depth allows one; a
/// stranger to MySQL asks cheaply, because each greeting leaves a line in the server's log.
pub(crate) fn course(url: &TargetUrl, depth: Option<Depth>) -> Course {
    let asked = depth.or(url.depth);
    let depth = asked.unwrap_or_else(|| url.default_depth());
    if depth.fits_held_session() {
        return Course::Session { depth };
    }
    let stranger_to_mysql = url.protocol == Protocol::MySql && url.user.is_none();
    match asked {
        None if stranger_to_mysql && !is_unix(url) => Course::Sessionless {
            depth: Depth::Connect,
            deeper: Some(Depth::Greeting),
        },
        _ => Course::Sessionless {
            depth,
            deeper: None,
        },
    }
}

/// Whether each probe of a backend leaves a line in its server's log.
pub(crate) fn is_noisy(url: &TargetUrl, course: Course) -> bool {
    let greets = match course {
        Course::Session { .. } => false,
        Course::Sessionless { depth, deeper } => {
            depth == Depth::Greeting || deeper == Some(Depth::Greeting)
        }
    };
    greets && url.protocol == Protocol::MySql && url.user.is_none()
}

fn is_unix(url: &TargetUrl) -> bool {
    matches!(url.address, dbvitals_probe::Address::Unix(_))
}
