//! `replay`: what another configuration would have concluded from what was recorded.
//!
//! The record is taken for the truth about each server over time ([`past`]); the monitor is played
//! through it at the other pace, and its conclusions stand beside those of the recorded run. Exits
//! with 0 where both concluded the same, though perhaps sooner or later, and with 1 where not.

mod comparison;
mod document;
mod page;
mod past;

use std::io::Write;

use dbvitals_verdict::Plan;

use self::comparison::Comparison;
use crate::cli::ReplayArgs;
use crate::config;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::record::{Plans, Record};

/// Replays a record under the other configuration.
pub(crate) fn run(args: &ReplayArgs, json: bool) -> anyhow::Result<Exit> {
    let record = Record::read(&args.record)?;
    for notice in &record.notices {
        tell(&format!("{}: {notice}", args.record.display()));
    }
    let others = other_plans(args, &record)?;
    let mut comparisons = Vec::new();
    for (backend, plans) in record.backends.iter().zip(&others) {
        let Some(plans) = plans else {
            tell(&format!(
                "{:?} was recorded, and is not in the other configuration",
                backend.name
            ));
            continue;
        };
        let (was, other) = (backend.plans.first.deepest(), plans.first.deepest());
        if other > was {
            tell(&format!(
                "{:?} was recorded at depth {was}; what depth {other} would have seen is not known",
                backend.name,
            ));
        }
        comparisons.push(Comparison::of(backend, plans));
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

/// The other plans of each backend: the file's, or the recorded ones, at the pace typed; `None` where
/// the file has no such backend.
fn other_plans(args: &ReplayArgs, record: &Record) -> Result<Vec<Option<Plans>>, Misuse> {
    let file = args.config.as_ref().map(|path| config::read(path));
    let file = file.transpose()?.map(|agent| agent.backends);
    let mut others = Vec::new();
    for backend in &record.backends {
        let plans = match &file {
            None => Some(backend.plans.clone()),
            Some(file) => {
                let other = file.iter().find(|other| *other.name == *backend.name);
                other.map(|other| Plan::clone(&other.plan).into())
            }
        };
        let apply = |plan: &Plan| args.pace.apply(&backend.name, plan);
        others.push(plans.map(|plans: Plans| plans.try_map(apply)).transpose()?);
    }
    Ok(others)
}
