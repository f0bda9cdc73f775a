//! The JSON of `status`: schema `dbvitals.status.v1`, a part of the contract. Fields are only ever
//! added; what the agent's API tells of backends, services and transitions stands in it as it came.

use serde::Serialize;
use serde_json::value::RawValue;

use super::picture::{Picture, Told};

/// One moment.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    agent: Option<AgentEntry<'a>>,
    backends: Vec<&'a RawValue>,
    services: Vec<&'a RawValue>,
    transitions: Vec<&'a RawValue>,
    /// Why there is no agent, while one is watched that is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct AgentEntry<'a> {
    name: Option<&'a str>,
    version: Option<&'a str>,
    config: Option<&'a str>,
    /// How often it was too late to judge anybody.
    stalls: Option<u64>,
    /// Where it was found.
    at: &'a str,
}

const SCHEMA: &str = "dbvitals.status.v1";

impl<'a> Document<'a> {
    /// What the agent told.
    pub(super) fn of(picture: &'a Picture) -> Self {
        Self {
            schema: SCHEMA,
            agent: Some(AgentEntry {
                name: picture.agent.name.as_deref(),
                version: picture.agent.version.as_deref(),
                config: picture.agent.config.as_deref(),
                stalls: picture.agent.vitals.as_ref().and_then(|it| it.stalls),
                at: &picture.place,
            }),
            backends: words(&picture.backends),
            services: words(&picture.services),
            transitions: words(&picture.transitions),
            error: None,
        }
    }

    /// That there is no agent.
    pub(super) fn of_silence(why: &'a str) -> Self {
        Self {
            schema: SCHEMA,
            agent: None,
            backends: Vec::new(),
            services: Vec::new(),
            transitions: Vec::new(),
            error: Some(why),
        }
    }
}

fn words<T>(all: &[Told<T>]) -> Vec<&RawValue> {
    all.iter().map(|it| &*it.words).collect()
}
