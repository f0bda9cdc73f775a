//! `explain`: what a plan means, before anything is probed.
//!
//! How soon each kind of fault is noticed at the latest, how soon a recovery, what that costs a
//! server in a day, and a picture of a freeze. The bounds are the plan's own, the picture is the
//! monitor's: it is played through a server that freezes. A plan that contradicts itself is refused
//! as `serve` refuses it.

mod cost;
mod document;
mod figures;
mod freeze;
mod page;
mod picture;
mod promise;

use std::io::Write;
use std::time::Duration;

use dbvitals_probe::Protocol;
use dbvitals_verdict::{Course, Depth, Plan, logins_wait};

use crate::agent::plan::default_plan;
use crate::cli::ExplainArgs;
use crate::config;
use crate::exit::Exit;
use crate::locality::is_here;
use crate::misuse::Misuse;
use crate::target_url::TargetUrl;

/// One backend to explain.
#[derive(Debug)]
struct Subject {
    name: String,
    protocol: Protocol,
    /// Whether a user is named.
    user: bool,
    /// Whether its accept queue is on this machine.
    is_here: bool,
    plan: Plan,
    /// How long a verdict on it may have to wait for its turns to log in, where there are so many.
    waits: Option<Duration>,
}

/// Explains every backend of the arguments.
pub(crate) fn run(args: &ExplainArgs, json: bool) -> anyhow::Result<Exit> {
    let mut subjects = subjects(args)?;
    for subject in &mut subjects {
        subject.plan = args.pace.apply(&subject.name, &subject.plan)?;
    }
    let mut out = anstream::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &document::document(&subjects))?;
        writeln!(out)?;
    } else {
        for (index, subject) in subjects.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            page::write_page(&mut out, subject)?;
        }
    }
    out.flush()?;
    Ok(Exit::Fine)
}

fn subjects(args: &ExplainArgs) -> Result<Vec<Subject>, Misuse> {
    if let Some(path) = &args.config {
        let plan = config::read(path)?;
        let plans = plan.backends.iter().map(|backend| &*backend.plan);
        let waits = logins_wait(plans, plan.logins_per_second_max.map(f64::from));
        let subjects = plan.backends.iter().map(|backend| Subject {
            name: backend.name.to_string(),
            protocol: backend.target.protocol,
            user: backend.target.credentials.is_some(),
            is_here: is_here(&backend.target.address),
            plan: Plan::clone(&backend.plan),
            waits: (!waits.is_zero() && backend.plan.logins_per_second() > 0.0).then_some(waits),
        });
        return Ok(subjects.collect());
    }
    if args.targets.is_empty() {
        return Ok(vec![hypothetical(args.depth)]);
    }
    let subjects = args.targets.iter().map(|text| of_url(text, args.depth));
    subjects.collect()
}

/// Any server at the default pace.
fn hypothetical(depth: Option<Depth>) -> Subject {
    let depth = depth.unwrap_or(Depth::Ping);
    let course = match depth.fits_held_session() {
        true => Course::Session { depth },
        false => Course::Sessionless {
            depth,
            deeper: None,
        },
    };
    Subject {
        name: "any server".to_owned(),
        protocol: Protocol::MySql,
        user: true,
        is_here: false,
        plan: Plan::new(course),
        waits: None,
    }
}

fn of_url(text: &str, depth: Option<Depth>) -> Result<Subject, Misuse> {
    let url = TargetUrl::parse(text)?;
    url.check_depth(depth.or(url.depth).unwrap_or_else(|| url.default_depth()))?;
    Ok(Subject {
        plan: default_plan(&url, depth),
        is_here: is_here(&url.address),
        name: url.name,
        protocol: url.protocol,
        user: url.user.is_some(),
        waits: None,
    })
}
