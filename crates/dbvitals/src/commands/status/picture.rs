//! What an agent told at one moment: itself, its backends, its services, what changed last.
//!
//! Read as the API's contract has it: fields that are not known here are passed on to programs as
//! they came, fields that an older agent does not have are absent.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::agent_client::{AgentClient, Session, segment};
use crate::misuse::Misuse;
use crate::suggestion::hint;

/// Transitions shown of all, and of each that was named.
const TRANSITIONS_OF_ALL: usize = 5;
const TRANSITIONS_OF_ONE: usize = 20;

/// What was told.
#[derive(Debug, Default)]
pub(in crate::commands) struct Picture {
    pub(in crate::commands) agent: Agent,
    /// Where the agent was found.
    pub(in crate::commands) place: String,
    pub(in crate::commands) services: Vec<Told<Service>>,
    pub(in crate::commands) backends: Vec<Told<Backend>>,
    /// Newest last.
    pub(in crate::commands) transitions: Vec<Told<Change>>,
    /// Who was asked for by name; nobody where all were.
    pub(in crate::commands) names: Vec<String>,
}

/// Something with the very words in which it was told.
#[derive(Debug)]
pub(in crate::commands) struct Told<T> {
    pub(in crate::commands) told: T,
    pub(in crate::commands) words: Box<RawValue>,
}

/// The agent, as far as it says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Agent {
    pub(in crate::commands) name: Option<String>,
    pub(in crate::commands) version: Option<String>,
    pub(in crate::commands) config: Option<String>,
    /// Its clock.
    pub(in crate::commands) at: Option<String>,
    pub(in crate::commands) started: Option<String>,
    pub(in crate::commands) vitals: Option<Vitals>,
}

/// How the agent itself fares.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Vitals {
    pub(in crate::commands) loop_lag_ms: f64,
    pub(in crate::commands) probes: u64,
    pub(in crate::commands) descriptors: Option<u64>,
    pub(in crate::commands) descriptors_max: Option<u64>,
    /// How often it was too late to judge anybody.
    pub(in crate::commands) stalls: Option<u64>,
}

/// One backend.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Backend {
    pub(in crate::commands) name: String,
    pub(in crate::commands) address: Option<String>,
    pub(in crate::commands) verdict: String,
    pub(in crate::commands) class: Option<String>,
    pub(in crate::commands) cause: Option<String>,
    pub(in crate::commands) since: String,
    pub(in crate::commands) evidence_age_ms: Option<u64>,
    pub(in crate::commands) role: Option<String>,
    pub(in crate::commands) admin: String,
    pub(in crate::commands) detail: Option<String>,
    pub(in crate::commands) remedy: Option<String>,
    pub(in crate::commands) warning: Option<String>,
    pub(in crate::commands) order: Option<Order>,
    pub(in crate::commands) sessions_lost: u64,
    pub(in crate::commands) held: Option<Seen>,
    pub(in crate::commands) fresh: Option<Seen>,
    pub(in crate::commands) queue: Option<Queue>,
}

/// An accept queue, where the agent can see it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Queue {
    pub(in crate::commands) length: u32,
    pub(in crate::commands) limit: Option<u32>,
    pub(in crate::commands) full: bool,
    pub(in crate::commands) overflows: Option<u64>,
    pub(in crate::commands) standstill_ms: Option<u64>,
}

/// What an operator said with an order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Order {
    pub(in crate::commands) reason: Option<String>,
    pub(in crate::commands) until: Option<String>,
}

/// What one path saw last.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Seen {
    pub(in crate::commands) outcome: String,
    pub(in crate::commands) cause: Option<String>,
    pub(in crate::commands) class: Option<String>,
    pub(in crate::commands) depth_reached: Option<String>,
    pub(in crate::commands) ended: String,
    pub(in crate::commands) took_ms: f64,
    pub(in crate::commands) phases: Vec<Phase>,
    pub(in crate::commands) server: Option<Server>,
    pub(in crate::commands) detail: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Phase {
    pub(in crate::commands) phase: String,
    pub(in crate::commands) ms: f64,
    pub(in crate::commands) failed: bool,
}

/// What a server said of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Server {
    pub(in crate::commands) product: Option<String>,
    pub(in crate::commands) version: Option<String>,
    pub(in crate::commands) role: Option<String>,
    pub(in crate::commands) read_only: Option<bool>,
    pub(in crate::commands) lag: Option<Lag>,
    pub(in crate::commands) connections: Option<Connections>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Lag {
    pub(in crate::commands) seconds: Option<f64>,
    pub(in crate::commands) bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Connections {
    pub(in crate::commands) used: u32,
    pub(in crate::commands) max: u32,
}

/// One service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Service {
    pub(in crate::commands) name: String,
    pub(in crate::commands) verdict: String,
    pub(in crate::commands) class: Option<String>,
    pub(in crate::commands) cause: Option<String>,
    pub(in crate::commands) since: String,
    pub(in crate::commands) detail: Option<String>,
    pub(in crate::commands) warning: Option<String>,
    pub(in crate::commands) want: Option<String>,
    pub(in crate::commands) enough: Option<u64>,
    pub(in crate::commands) fit: Option<u64>,
    pub(in crate::commands) primaries: Vec<String>,
    pub(in crate::commands) alarm: Option<String>,
    pub(in crate::commands) backends: Vec<Member>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Member {
    pub(in crate::commands) name: String,
}

/// One transition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Change {
    pub(in crate::commands) at: String,
    pub(in crate::commands) backend: Option<String>,
    pub(in crate::commands) service: Option<String>,
    pub(in crate::commands) change: String,
    pub(in crate::commands) from: Option<String>,
    pub(in crate::commands) to: String,
    pub(in crate::commands) cause: Option<String>,
    pub(in crate::commands) class: Option<String>,
    pub(in crate::commands) detail: Option<String>,
}

/// The bodies of the API.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    schema: String,
    backends: Vec<Box<RawValue>>,
    services: Vec<Box<RawValue>>,
    transitions: Vec<Box<RawValue>>,
}

/// What can be named.
#[derive(Debug)]
pub(in crate::commands) struct Names {
    pub(in crate::commands) backends: Vec<String>,
    /// With the backends of each.
    pub(in crate::commands) services: Vec<(String, Vec<String>)>,
}

impl Names {
    /// Asks the agent for them.
    pub(in crate::commands) async fn ask(session: &mut Session<'_>) -> Result<Self, Misuse> {
        let backends: Vec<Told<Backend>> = session.backends().await?;
        let services: Vec<Told<Service>> = session.services().await?;
        let members = |it: Service| it.backends.into_iter().map(|it| it.name).collect();
        Ok(Self {
            backends: backends.into_iter().map(|it| it.told.name).collect(),
            services: services
                .into_iter()
                .map(|it| (it.told.name.clone(), members(it.told)))
                .collect(),
        })
    }
}

impl Picture {
    /// Asks the agent for all, or for those who are named with what belongs to them.
    pub(in crate::commands) async fn take(
        client: &AgentClient,
        names: &[String],
    ) -> Result<Self, Misuse> {
        Self::take_with(client, names, TRANSITIONS_OF_ALL).await
    }

    /// The same, with so many transitions where nobody is named.
    pub(in crate::commands) async fn take_with(
        client: &AgentClient,
        names: &[String],
        transitions_of_all: usize,
    ) -> Result<Self, Misuse> {
        let mut session = client.open().await?;
        let about = session.get("/api/v1/agent").await?;
        let agent = match about.status {
            200 => serde_json::from_str(&about.body).unwrap_or_default(),
            _ => Agent::default(),
        };
        let mut backends = session.backends().await?;
        let mut services = session.services().await?;
        if !names.is_empty() {
            check_names(names, &backends, &services)?;
            services.retain(|it| names.contains(&it.told.name));
            backends.retain(|it| belongs(&it.told.name, names, &services));
        }
        let mut transitions: Vec<Told<Change>> = Vec::new();
        for path in paths_of_transitions(names, &backends, transitions_of_all) {
            let body = session.ask_all(&path).await?.unwrap_or_default();
            transitions.extend(read(body.transitions, &session)?);
        }
        // RFC 3339 in UTC sorts as text.
        transitions.sort_by(|one, other| one.told.at.cmp(&other.told.at));
        let max = match names.len() {
            0 => transitions_of_all,
            named => TRANSITIONS_OF_ONE * named,
        };
        let too_many = transitions.len().saturating_sub(max);
        transitions.drain(..too_many);
        Ok(Self {
            agent,
            place: session.place().to_string(),
            services,
            backends,
            transitions,
            names: names.to_vec(),
        })
    }
}

impl Picture {
    /// Whether somebody was asked for, or all were.
    pub(in crate::commands) fn is_asked_for(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|it| it == name)
    }
}

impl Session<'_> {
    async fn backends(&mut self) -> Result<Vec<Told<Backend>>, Misuse> {
        let body = self.ask_all("/api/v1/backends").await?;
        let body = body.ok_or_else(|| self.broken("what answers there is no dbvitals agent"))?;
        read(body.backends, self)
    }

    /// None where the agent does not know what a service is.
    async fn services(&mut self) -> Result<Vec<Told<Service>>, Misuse> {
        let body = self.ask_all("/api/v1/services").await?;
        read(body.unwrap_or_default().services, self)
    }

    /// A body of the API; `None` where this agent has no such path.
    async fn ask_all(&mut self, path: &str) -> Result<Option<Body>, Misuse> {
        let answer = self.get(path).await?;
        if answer.status != 200 {
            return Ok(None);
        }
        let body: Result<Body, _> = serde_json::from_str(&answer.body);
        match body {
            Ok(body) if body.schema.starts_with("dbvitals.") => Ok(Some(body)),
            Ok(_) | Err(_) => Err(self.broken("what answers there is no dbvitals agent")),
        }
    }
}

fn read<T: DeserializeOwned>(
    all: Vec<Box<RawValue>>,
    session: &Session<'_>,
) -> Result<Vec<Told<T>>, Misuse> {
    let read = |words: Box<RawValue>| {
        let told = serde_json::from_str(words.get());
        let told = told.map_err(|error| session.broken(&format!("it cannot be read: {error}")))?;
        Ok(Told { told, words })
    };
    all.into_iter().map(read).collect()
}

/// Where transitions are asked for: of all, or of the backends that are shown.
fn paths_of_transitions(names: &[String], shown: &[Told<Backend>], of_all: usize) -> Vec<String> {
    if names.is_empty() {
        return vec![format!("/api/v1/transitions?max={of_all}")];
    }
    let path = |backend: &Told<Backend>| {
        let name = segment(&backend.told.name);
        format!("/api/v1/transitions?of={name}&max={TRANSITIONS_OF_ONE}")
    };
    shown.iter().map(path).collect()
}

/// Whether a backend is named, or is of a service that is.
fn belongs(name: &str, names: &[String], services: &[Told<Service>]) -> bool {
    let mut members = services.iter().flat_map(|it| &it.told.backends);
    names.iter().any(|it| it == name) || members.any(|member| member.name == name)
}

fn check_names(
    names: &[String],
    backends: &[Told<Backend>],
    services: &[Told<Service>],
) -> Result<(), Misuse> {
    let backends = backends.iter().map(|it| it.told.name.as_str());
    let services = services.iter().map(|it| it.told.name.as_str());
    let known: Vec<_> = backends.chain(services).collect();
    for name in names {
        if !known.contains(&name.as_str()) {
            return Err(Misuse(format!(
                "the agent knows no {name:?}; {}",
                hint(name, &known)
            )));
        }
    }
    Ok(())
}
