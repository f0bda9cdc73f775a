//! The JSON of `check`: schema `dbvitals.check.v1`, a part of the contract. Fields are only ever
//! added.

use dbvitals_verdict::{Observation, Phase, Phases, ServerFacts};
use serde::Serialize;

use super::{Finding, remedy};

/// One round of `check`.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    schema: &'static str,
    results: Vec<ResultEntry>,
}

#[derive(Debug, Serialize)]
struct ResultEntry {
    target: String,
    name: String,
    verdict: &'static str,
    cause: Option<&'static str>,
    class: Option<&'static str>,
    depth_asked: &'static str,
    depth_reached: Option<&'static str>,
    took_ms: f64,
    phases: Vec<PhaseEntry>,
    server: Option<ServerEntry>,
    detail: String,
    remedy: Option<String>,
}

/// How long one phase took.
#[derive(Debug, Serialize)]
pub(crate) struct PhaseEntry {
    phase: &'static str,
    ms: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    failed: bool,
}

/// What was learned about the server; null is what the depth does not tell.
#[derive(Debug, Serialize)]
pub(crate) struct ServerEntry {
    product: Option<&'static str>,
    version: Option<String>,
    role: Option<&'static str>,
    read_only: Option<bool>,
    lag: Option<LagEntry>,
    connections: Option<ConnectionsEntry>,
}

#[derive(Debug, Serialize)]
struct LagEntry {
    seconds: Option<f64>,
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ConnectionsEntry {
    used: u32,
    max: u32,
}

/// The document of one round.
pub(crate) fn document(findings: &[Finding<'_>]) -> Document {
    Document {
        schema: "dbvitals.check.v1",
        results: findings.iter().map(entry).collect(),
    }
}

fn entry(finding: &Finding<'_>) -> ResultEntry {
    let Observation {
        depth,
        phases,
        server,
        ..
    } = finding.observation;
    let cause = finding.cause();
    ResultEntry {
        target: finding.target.shown.clone(),
        name: finding.target.name.clone(),
        verdict: finding.verdict().name(),
        cause: cause.map(|cause| cause.name()),
        class: cause.map(|cause| cause.default_class().name()),
        depth_asked: finding.depth.name(),
        depth_reached: depth.map(|depth| depth.name()),
        took_ms: rounded_ms(finding.observation.took()),
        phases: PhaseEntry::all(phases),
        server: server.as_deref().map(ServerEntry::new),
        detail: finding.detail(),
        remedy: cause.map(|cause| remedy(cause, finding.target, finding.observation)),
    }
}

impl PhaseEntry {
    pub(crate) fn all(phases: &Phases) -> Vec<Self> {
        let entry = |(phase, took, failed)| Self {
            phase: Phase::name(phase),
            ms: rounded_ms(took),
            failed,
        };
        phases.iter().map(entry).collect()
    }
}

impl ServerEntry {
    pub(crate) fn new(facts: &ServerFacts) -> Self {
        Self {
            product: facts.product,
            version: facts.version.clone(),
            role: facts.role.map(|role| role.name()),
            read_only: facts.read_only,
            lag: facts.lag.map(|lag| LagEntry {
                seconds: lag.time.map(|time| rounded_ms(time) / 1000.0),
                bytes: lag.bytes,
            }),
            connections: facts.connections.map(|it| ConnectionsEntry {
                used: it.used,
                max: it.max,
            }),
        }
    }
}

/// Milliseconds with three digits after the point: microseconds, which is what is measured.
pub(crate) fn rounded_ms(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
