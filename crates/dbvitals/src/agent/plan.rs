//! What an agent is to watch, and where it is to tell of it, checked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use dbvitals_probe::{Address, Protocol, Target};
use dbvitals_verdict::{Course, Depth, Plan, ServiceNeeds, Want};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::duration;
use crate::shared_parts::SharedParts;
use crate::target_url::TargetUrl;

/// What has a histogram of latencies in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Histograms {
    /// Each service.
    #[default]
    Service,
    /// Each backend as well.
    Backend,
}

/// One backend to watch.
#[derive(Debug, Clone)]
pub(crate) struct BackendPlan {
    pub(crate) name: Arc<str>,
    pub(crate) target: Arc<Target>,
    pub(crate) plan: Arc<Plan>,
    /// What the target was made of; where it is the same, a session to it need not be given up.
    pub(crate) origin: Origin,
}

/// All that a target is made of, as a digest: there may be very many, and all one asks of two is
/// whether they are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Origin([u8; 16]);

impl Origin {
    /// What this target was made of.
    pub(crate) fn of(url: &TargetUrl, target: &Target, shared: &mut SharedParts) -> Self {
        let statement = target.statement.as_deref();
        // The URL without its password, with what the configuration adds.
        let text = format!(
            "{} {} {:?} {:?} {:?}",
            url.shown, target.address, target.want, target.max_lag, statement
        );
        let credentials = target.credentials.as_deref();
        let password = credentials.and_then(|it| it.password.as_ref());
        let password = password.map(|it| it.expose_secret().as_bytes());
        let authority = url.authority().and_then(|path| shared.authority(path));
        let mut digest = Sha256::new();
        for part in [Some(text.as_bytes()), password, authority.as_deref()] {
            // With its length, so that nothing can be taken for a part of its neighbour.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            digest.update(length.to_le_bytes());
            digest.update(part.unwrap_or_default());
        }
        let mut origin = Self::default();
        let length = origin.0.len();
        origin.0.copy_from_slice(&digest.finalize()[..length]);
        origin
    }
}

/// The backends that hold one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServicePlan {
    pub(crate) name: Arc<str>,
    /// The backends' names.
    pub(crate) backends: Vec<Arc<str>>,
    pub(crate) needs: ServiceNeeds,
}

/// A listener that exists only while what stands behind it is fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatePlan {
    pub(crate) name: String,
    pub(crate) listen: GateAddress,
    /// The name of a backend or a service.
    pub(crate) of: Arc<str>,
    /// What it must be.
    pub(crate) want: Want,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) on_degraded: OnDegraded,
    pub(crate) on_restart: OnRestart,
    pub(crate) on_alarm: OnAlarm,
}

/// The longest path that a unix socket may have.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where a gate listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum GateAddress {
    /// On this port of all addresses, of both families where the machine has both.
    All(u16),
    /// On one address.
    One(SocketAddr),
    /// At a unix socket, whose file is there while it listens.
    Unix(Arc<Path>),
}

impl GateAddress {
    /// Reads `PORT`, `ADDRESS:PORT`, `unix:PATH` or an absolute path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is no address for a gate; write a port from 1 to 65535, ADDRESS:PORT, or unix:/PATH"
            )
        };
        let path = text.strip_prefix("unix:");
        if let Some(path) = path.or_else(|| text.starts_with('/').then_some(text)) {
            return Self::parse_path(path).ok_or_else(|| {
                format!(
                    "{path:?} is no path for a socket; write an absolute one of up to {SOCKET_PATH_BYTES_MAX} bytes, like unix:/run/dbvitals/orders.sock"
                )
            });
        }
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

    fn parse_path(path: &str) -> Option<Self> {
        let fits = path.len() <= SOCKET_PATH_BYTES_MAX && !path.contains('\0');
        let is_file = path.starts_with('/') && !path.ends_with('/');
        (fits && is_file).then(|| Self::Unix(Path::new(path).into()))
    }

    /// Whether listeners at both addresses cannot exist at a time.
    pub(crate) fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::One(one), Self::One(other)) => {
                let same_host = one.ip() == other.ip()
                    || one.ip().is_unspecified()
                    || other.ip().is_unspecified();
                same_host && one.port() == other.port()
            }
            (one, other) => one.port().is_some() && one.port() == other.port(),
        }
    }

    fn port(&self) -> Option<u16> {
        match self {
            Self::All(port) => Some(*port),
            Self::One(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// What a clash is about: a port, or a socket.
    pub(crate) fn place(&self) -> String {
        match self.port() {
            Some(port) => format!("port {port}"),
            None => self.to_string(),
        }
    }
}

impl std::fmt::Display for GateAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All(port) => write!(f, "*:{port}"),
            Self::One(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a gate, or an agent check, does while nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnUnknown {
    /// It is closed; the agent check says down.
    Closed,
    /// It stays as it was; closed from the start. The agent check says nothing.
    Hold,
}

/// What a gate, or an agent check, does while what stands behind it is degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDegraded {
    /// It is open; the agent check says up.
    Open,
    /// It is closed; the agent check says down.
    Closed,
}

/// What becomes of a gate while no agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRestart {
    /// It is closed.
    Closed,
    /// It stays as it was: systemd keeps its socket.
    Hold,
}

/// What a gate, or an agent check, does while there is an alarm on the service behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnAlarm {
    /// What the verdict says.
    Open,
    /// It is closed; the agent check says down.
    Closed,
}

/// How a target is asked in the long run, unless somebody sets another pace: with a held session
/// where the depth allows one. A stranger to MySQL asks cheaply, because each greeting leaves a
/// line in the server's log: by quiet connects with a rare greeting or, where the socket knows no
/// quiet connect, by rare greetings alone.
pub(crate) fn default_plan(url: &TargetUrl, depth: Option<Depth>) -> Plan {
    let asked = depth.or(url.depth);
    let depth = asked.unwrap_or_else(|| url.default_depth());
    if depth.fits_held_session() {
        return Plan::new(Course::Session { depth });
    }
    if asked.is_some() || !is_stranger_to_mysql(url) {
        return Plan::new(Course::Sessionless {
            depth,
            deeper: None,
        });
    }
    if !matches!(url.address, Address::Unix(_)) {
        return Plan::new(Course::Sessionless {
            depth: Depth::Connect,
            deeper: Some(Depth::Greeting),
        });
    }
    let mut plan = Plan::new(Course::Sessionless {
        depth,
        deeper: None,
    });
    plan.interval = plan.fresh_interval;
    plan.stale_after = plan.interval * 2;
    plan
}

/// What a person should know about how a target is asked.
pub(crate) fn notice(url: &TargetUrl, plan: &Plan) -> Option<String> {
    let (pace, greeting) = match plan.course {
        Course::Sessionless {
            depth: Depth::Greeting,
            ..
        } => (String::new(), plan.interval),
        Course::Sessionless {
            deeper: Some(Depth::Greeting),
            ..
        } => (
            format!(
                "its port is tried every {} and ",
                duration::show(plan.interval)
            ),
            plan.fresh_interval,
        ),
        Course::Sessionless { .. } | Course::Session { .. } => return None,
    };
    is_stranger_to_mysql(url).then(|| {
        format!(
            "{} names no user: {pace}its greeting is read every {}, which leaves a line in the server's log; for more, make a user without privileges: CREATE USER vitals IDENTIFIED BY '…'",
            url.name,
            duration::show(greeting)
        )
    })
}

fn is_stranger_to_mysql(url: &TargetUrl) -> bool {
    url.protocol == Protocol::MySql && url.user.is_none()
}
