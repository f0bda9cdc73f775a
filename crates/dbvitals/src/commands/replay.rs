//! `replay`: what another configuration would have concluded from what was recorded.
//!
//! The record is taken for the truth about each server over time ([`past`]); the monitor is played
//! through it at the other pace, and its conclusions stand beside those of the recorded run. Exits
//! with 0 where both concluded the same, though perhaps sooner or later, and with 1 where not.

mod comparison;
mod document;
mod page;
mod past;

use std::collections::BTreeMap;
use std::io::Write;

use dbvitals_verdict::Plan;

use self::comparison::Comparison;
use crate::cli::ReplayArgs;
use crate::config;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::record::Record;

/// Replays a record under the other configuration.
pub(crate) fn run(args: &ReplayArgs, json: bool) -> anyhow::Result<Exit> {
    let record = Record::read(&args.record)?;
    for notice in &record.notices {
        tell(&format!("{}: {notice}", args.record.display()));
    }
    let plans = other_plans(args, &record)?;
    let mut comparisons = Vec::new();
    for backend in &record.backends {
        let Some(plan) = plans.get(&backend.name) else {
            tell(&format!(
                "{:?} was recorded, and is not in the other configuration",
                backend.name
            ));
            continue;
        };
        if plan.deepest() > backend.plan.deepest() {
            tell(&format!(
                "{:?} was recorded at depth {}; what depth {} would have seen is not known",
                backend.name,
                backend.plan.deepest(),
                plan.deepest()
            ));
        }
        comparisons.push(Comparison::of(backend, plan));
    }
    if comparisons.is_empty() {
        return Err(Misuse("no backend is both in the record and in the other configuration; their names have to be the same".to_owned()).into());
    }
    let mut out = anstream::stdout().lock();
    if json {
        let document = document::document(&record, &comparisons);
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
    } else {
        page::write_page(&mut out, &record, &comparisons)?;
    }
    out.flush()?;
    match comparisons.iter().all(Comparison::is_same) {
        true => Ok(Exit::Fine),
        false => Ok(Exit::Warning),
    }
}

/// The other plan of each backend: the file's, or the recorded one, at the pace typed.
fn other_plans(args: &ReplayArgs, record: &Record) -> Result<BTreeMap<String, Plan>, Misuse> {
    let plans: Vec<(String, Plan)> = match &args.config {
        Some(path) => {
            let agent = config::read(path)?;
            let plans = agent.backends.iter();
            plans
                .map(|backend| (backend.name.to_string(), Plan::clone(&backend.plan)))
                .collect()
        }
        None => {
            let plans = record.backends.iter();
            plans
                .map(|backend| (backend.name.clone(), backend.plan.clone()))
                .collect()
        }
    };
    let mut other = BTreeMap::new();
    for (name, plan) in plans {
        let plan = args.pace.apply(&name, &plan)?;
        other.insert(name, plan);
    }
    Ok(other)
}
