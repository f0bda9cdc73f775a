//! The JSON of `advise`: schema `dbvitals.advise.v1`. Fields are only ever added.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Counsel;
use super::check_user::Grant;
use super::clients::Advice;
use super::contradiction::Contradiction;
use super::limits::Limits;
use super::setting::Setting;
use crate::report::{Finding, remedy};

const SCHEMA: &str = "dbvitals.advise.v1";

/// All that there is to say of one server.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: &'static str,
    target: String,
    name: String,
    /// Null: where there is one, there is a [`Refusal`].
    cause: Option<&'static str>,
    server: ServerEntry,
    limits: LimitsEntry,
    share: ShareEntry,
    warnings: Vec<WarningEntry>,
    clients: Vec<ClientEntry>,
    check_user: Vec<GrantEntry>,
}

#[derive(Debug, Serialize)]
struct ServerEntry {
    product: Option<&'static str>,
    version: Option<String>,
}

/// What there is to say where a server did not tell its limits.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    schema: &'static str,
    target: String,
    name: String,
    cause: Option<&'static str>,
    class: Option<&'static str>,
    detail: String,
    remedy: Option<String>,
}

/// What the server said; null is no limit, or none that it tells of.
#[derive(Debug, Serialize)]
struct LimitsEntry {
    idle_s: Option<f64>,
    idle_told: bool,
    idle_setting: &'static str,
    interactive_s: Option<f64>,
    idle_transaction_s: Option<f64>,
    max_connections: Option<u32>,
    reserved: u32,
    user: Option<u32>,
    database: Option<u32>,
    used: Option<u32>,
    backlog: Option<u32>,
    between: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShareEntry {
    instances: u32,
    admitted: Option<u32>,
    kept_back: u32,
    each: Option<u32>,
}

#[derive(Debug, Serialize)]
struct WarningEntry {
    kind: &'static str,
    weight: &'static str,
    sentence: String,
}

#[derive(Debug, Serialize)]
struct ClientEntry {
    client: String,
    title: &'static str,
    settings: Vec<SettingEntry>,
    /// What its defaults do on this server.
    by_default: Vec<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SettingEntry {
    key: &'static str,
    value: Value,
    unit: Option<&'static str>,
    line: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct GrantEntry {
    sql: String,
    what_for: &'static str,
}

pub(super) fn document(counsel: &Counsel) -> Document {
    let (limits, share) = (&counsel.limits, &counsel.share);
    Document {
        schema: SCHEMA,
        target: counsel.target.shown.clone(),
        name: counsel.target.name.clone(),
        cause: None,
        server: ServerEntry {
            product: limits.product,
            version: limits.version.clone(),
        },
        limits: limits_entry(limits),
        share: ShareEntry {
            instances: share.instances,
            admitted: share.admitted,
            kept_back: share.kept_back,
            each: share.each,
        },
        warnings: counsel.contradictions.iter().map(warning).collect(),
        clients: counsel.advice.iter().map(client).collect(),
        check_user: counsel.check_user.iter().map(grant).collect(),
    }
}

/// The document of a server that did not tell.
pub(super) fn refusal(finding: &Finding<'_>) -> Refusal {
    let cause = finding.cause();
    Refusal {
        schema: SCHEMA,
        target: finding.target.shown.clone(),
        name: finding.target.name.clone(),
        cause: cause.map(|cause| cause.name()),
        class: cause.map(|cause| cause.default_class().name()),
        detail: finding.detail(),
        remedy: cause.map(|cause| remedy(cause, finding.target, finding.observation)),
    }
}

fn limits_entry(limits: &Limits) -> LimitsEntry {
    let seconds = |time: Duration| time.as_secs_f64();
    LimitsEntry {
        idle_s: limits.idle.map(seconds),
        idle_told: limits.idle_told,
        idle_setting: limits.idle_setting,
        interactive_s: limits.interactive.map(seconds),
        idle_transaction_s: limits.idle_transaction.map(seconds),
        max_connections: limits.max_connections,
        reserved: limits.reserved,
        user: limits.user,
        database: limits.database,
        used: limits.used,
        backlog: limits.backlog,
        between: limits.between.clone(),
    }
}

fn grant(it: &Grant) -> GrantEntry {
    GrantEntry {
        sql: it.sql.clone(),
        what_for: it.what_for,
    }
}

fn warning(found: &Contradiction) -> WarningEntry {
    WarningEntry {
        kind: found.kind,
        weight: found.weight.name(),
        sentence: found.sentence.clone(),
    }
}

fn client(advice: &Advice) -> ClientEntry {
    let setting = |it: &Setting| {
        let (value, unit) = it.value.json();
        SettingEntry {
            key: it.key,
            value,
            unit,
            line: it.line(advice.syntax),
            reason: it.reason.clone().into_owned(),
        }
    };
    ClientEntry {
        client: advice.key(),
        title: advice.title,
        settings: advice.settings.iter().map(setting).collect(),
        by_default: advice.by_default.clone(),
        notes: advice.notes.clone(),
    }
}
