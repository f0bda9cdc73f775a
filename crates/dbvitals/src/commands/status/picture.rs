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
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) agent: Agent,
    /// Where the agent was found.
    pub(super) place: String,
    pub(super) services: Vec<Told<Service>>,
    pub(super) backends: Vec<Told<Backend>>,
    /// Newest last.
    pub(super) transitions: Vec<Told<Change>>,
    /// Who was asked for by name; nobody where all were.
    pub(super) names: Vec<String>,
}

/// Something with the very words in which it was told.
#[derive(Debug)]
pub(super) struct Told<T> {
    pub(super) told: T,
    pub(super) words: Box<RawValue>,
}

/// The agent, as far as it says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Agent {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) config: Option<String>,
}

/// One backend.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) address: Option<String>,
    pub(super) verdict: String,
    pub(super) class: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) since: String,
    pub(super) evidence_age_ms: Option<u64>,
    pub(super) role: Option<String>,
    pub(super) admin: String,
    pub(super) detail: Option<String>,
    pub(super) remedy: Option<String>,
    pub(super) warning: Option<String>,
    pub(super) order: Option<Order>,
    pub(super) sessions_lost: u64,
    pub(super) held: Option<Seen>,
    pub(super) fresh: Option<Seen>,
}

/// What an operator said with an order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Order {
    pub(super) reason: Option<String>,
    pub(super) until: Option<String>,
}

/// What one path saw last.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    pub(super) outcome: String,
    pub(super) cause: Option<String>,
    pub(super) class: Option<String>,
    pub(super) depth_reached: Option<String>,
    pub(super) ended: String,
    pub(super) took_ms: f64,
    pub(super) phases: Vec<Phase>,
    pub(super) server: Option<Server>,
    pub(super) detail: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Phase {
    pub(super) phase: String,
    pub(super) ms: f64,
    pub(super) failed: bool,
}

/// What a server said of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    pub(super) product: Option<String>,
    pub(super) version: Option<String>,
    pub(super) role: Option<String>,
    pub(super) read_only: Option<bool>,
    pub(super) lag: Option<Lag>,
    pub(super) connections: Option<Connections>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lag {
    pub(super) seconds: Option<f64>,
    pub(super) bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connections {
    pub(super) used: u32,
    pub(super) max: u32,
}

/// One service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) class: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) since: String,
    pub(super) detail: Option<String>,
    pub(super) warning: Option<String>,
    pub(super) want: Option<String>,
    pub(super) enough: Option<u64>,
    pub(super) fit: Option<u64>,
    pub(super) primaries: Vec<String>,
    pub(super) alarm: Option<String>,
    pub(super) backends: Vec<Member>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub(super) name: String,
}

/// One transition.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Change {
    pub(super) at: String,
    pub(super) backend: Option<String>,
    pub(super) service: Option<String>,
    pub(super) change: String,
    pub(super) from: Option<String>,
    pub(super) to: String,
    pub(super) cause: Option<String>,
    pub(super) class: Option<String>,
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
    pub(super) async fn take(client: &AgentClient, names: &[String]) -> Result<Self, Misuse> {
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
        for path in paths_of_transitions(names, &backends) {
            let body = session.ask_all(&path).await?.unwrap_or_default();
            transitions.extend(read(body.transitions, &session)?);
        }
        // RFC 3339 in UTC sorts as text.
        transitions.sort_by(|one, other| one.told.at.cmp(&other.told.at));
        let too_many = transitions
            .len()
            .saturating_sub(TRANSITIONS_OF_ONE * names.len().max(1));
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
    pub(super) fn is_asked_for(&self, name: &str) -> bool {
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
fn paths_of_transitions(names: &[String], shown: &[Told<Backend>]) -> Vec<String> {
    if names.is_empty() {
        return vec![format!("/api/v1/transitions?max={TRANSITIONS_OF_ALL}")];
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
