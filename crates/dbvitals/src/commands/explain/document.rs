//! The JSON of `explain`: schema `dbvitals.explain.v1`. Fields are only ever added.

use std::collections::BTreeMap;
use std::time::Duration;

use dbvitals_verdict::{Cause, Course, Depth, Moment, Plan};
use serde::Serialize;

use super::Subject;
use super::cost::a_day;
use super::freeze::Freeze;
use super::promise::{Promise, faults, recoveries, relation};
use crate::report::rounded_ms;

/// All backends explained.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: &'static str,
    backends: Vec<BackendEntry>,
}

#[derive(Debug, Serialize)]
struct BackendEntry {
    name: String,
    depth: &'static str,
    deeper: Option<&'static str>,
    held_session: bool,
    plan: PlanEntry,
    /// The longest time to notice each kind of fault; null where it is not noticed.
    noticed_ms: BTreeMap<&'static str, Option<f64>>,
    recovered_ms: BTreeMap<&'static str, Option<f64>>,
    /// What comes on top where all backends want a login; null without a limit on logins.
    logins_wait_ms: Option<f64>,
    per_day: CostEntry,
    relation: [String; 2],
    /// A freeze at the worst moment, counted from it; null where it is not noticed.
    freeze: Option<FreezeEntry>,
}

#[derive(Debug, Serialize)]
struct PlanEntry {
    interval_ms: f64,
    confirm_interval_ms: f64,
    fast_interval_ms: f64,
    down_interval_ms: f64,
    fresh_interval_ms: f64,
    timeout_ms: f64,
    stale_after_ms: f64,
    slow_over_ms: Option<f64>,
    rise: u32,
    fall: u32,
}

#[derive(Debug, Serialize)]
struct CostEntry {
    pings: u64,
    connections: u64,
    sessions: u64,
    packets: u64,
    bytes: u64,
    server_cpu_ms: f64,
    log_lines: u64,
}

#[derive(Debug, Serialize)]
struct FreezeEntry {
    asked_ms: f64,
    suspected_ms: Option<f64>,
    down_ms: f64,
    cause: Option<&'static str>,
    thaw_ms: f64,
    answered_ms: f64,
    up_ms: f64,
}

pub(super) fn document(subjects: &[Subject]) -> Document {
    Document {
        schema: "dbvitals.explain.v1",
        backends: subjects.iter().map(entry).collect(),
    }
}

fn entry(subject: &Subject) -> BackendEntry {
    let plan = &subject.plan;
    let (depth, deeper, held_session) = match plan.course {
        Course::Session { depth } => (depth, None, true),
        Course::Sessionless { depth, deeper } => (depth, deeper, false),
    };
    let cost = a_day(subject);
    BackendEntry {
        name: subject.name.clone(),
        depth: depth.name(),
        deeper: deeper.map(Depth::name),
        held_session,
        plan: plan_entry(plan),
        noticed_ms: by_key(&faults(plan, subject.is_here)),
        recovered_ms: by_key(&recoveries(plan)),
        logins_wait_ms: subject.waits.map(rounded_ms),
        per_day: CostEntry {
            pings: cost.pings,
            connections: cost.connections,
            sessions: cost.sessions,
            packets: cost.packets,
            bytes: cost.bytes,
            server_cpu_ms: rounded_ms(cost.cpu),
            log_lines: cost.log_lines,
        },
        relation: relation(plan),
        freeze: Freeze::rehearse(plan).map(|freeze| freeze_entry(&freeze)),
    }
}

fn plan_entry(plan: &Plan) -> PlanEntry {
    PlanEntry {
        interval_ms: rounded_ms(plan.interval),
        confirm_interval_ms: rounded_ms(plan.confirm_interval),
        fast_interval_ms: rounded_ms(plan.fast_interval),
        down_interval_ms: rounded_ms(plan.down_interval),
        fresh_interval_ms: rounded_ms(plan.fresh_interval),
        timeout_ms: rounded_ms(plan.timeout),
        stale_after_ms: rounded_ms(plan.stale_after),
        slow_over_ms: plan.slow_over.map(rounded_ms),
        rise: plan.rise,
        fall: plan.fall,
    }
}

fn by_key(promises: &[Promise]) -> BTreeMap<&'static str, Option<f64>> {
    let entries = promises.iter();
    let entries = entries.map(|it| (it.key, it.within.map(|within: Duration| rounded_ms(within))));
    entries.collect()
}

fn freeze_entry(freeze: &Freeze) -> FreezeEntry {
    let after = |moment: Moment| rounded_ms(moment.since(freeze.from));
    FreezeEntry {
        asked_ms: after(freeze.asked),
        suspected_ms: freeze.suspected.map(after),
        down_ms: after(freeze.down),
        cause: freeze.cause.map(Cause::name),
        thaw_ms: after(freeze.thaw),
        answered_ms: after(freeze.answered),
        up_ms: after(freeze.up),
    }
}
