//! `advise`: what a server's limits mean for the pools of its clients.
//!
//! ```text
//!   limits (asked) ─▶ share (of the connections) ─▶ shape (of any pool) ─▶ clients (in their words)
//!                └──▶ contradictions, of what is set now and of each client's defaults
//! ```
//!
//! The server is asked once, with the prober's own means; everything after that is arithmetic on
//! what it said.

mod check_user;
mod clients;
mod contradiction;
mod document;
mod limits;
mod page;
mod setting;
mod shape;
mod share;

use std::io::Write;
use std::sync::Arc;

use dbvitals_probe::{Protocol, Statement, Target, TargetId};
use dbvitals_verdict::{Depth, Observation, Outcome};

use super::{Asked, read_targets};
use crate::cli::{AdviseArgs, PoolClient};
use crate::exit::Exit;
use crate::misuse::Misuse;
use crate::probing::Asker;
use crate::report::{Finding, print_ladder};
use crate::shared_parts::SharedParts;
use crate::target_url::TargetUrl;

use clients::{Advice, Client};
use contradiction::{Bounds, Contradiction, Weight};
use limits::Limits;
use shape::Shape;
use share::Share;

/// The database of PgBouncer that has no tables, and answers for PgBouncer itself.
const CONSOLE: &str = "pgbouncer";

/// All that there is to say of one server.
#[derive(Debug)]
struct Counsel {
    target: TargetUrl,
    limits: Limits,
    share: Share,
    contradictions: Vec<Contradiction>,
    advice: Vec<Advice>,
    check_user: Vec<check_user::Grant>,
}

/// What is asked, and of whom.
struct Inquiry {
    url: TargetUrl,
    target: Target,
    depth: Depth,
    is_console: bool,
}

/// Asks the server and prints what follows.
pub(crate) fn run(args: &AdviseArgs, json: bool) -> anyhow::Result<Exit> {
    let inquiry = Inquiry::of(args)?;
    let (observation, limits) = inquiry.ask(args)?;
    let Some(limits) = limits else {
        let finding = Finding {
            target: &inquiry.url,
            depth: inquiry.depth,
            observation: &observation,
        };
        return tell_refusal(&finding, json);
    };
    let counsel = Counsel::of(inquiry.url, limits, args);
    let mut out = anstream::stdout().lock();
    match json {
        true => {
            serde_json::to_writer(&mut out, &document::document(&counsel))?;
            writeln!(out)?;
        }
        false => page::write_page(&mut out, &counsel)?,
    }
    out.flush()?;
    let warns = |it: &Contradiction| it.weight == Weight::Warning;
    Ok(match counsel.contradictions.iter().any(warns) {
        true => Exit::Warning,
        false => Exit::Fine,
    })
}

/// Where the server did not tell its limits, says why as `check` does.
fn tell_refusal(finding: &Finding<'_>, json: bool) -> anyhow::Result<Exit> {
    match json {
        true => {
            let mut out = anstream::stdout().lock();
            serde_json::to_writer(&mut out, &document::refusal(finding))?;
            writeln!(out)?;
            out.flush()?;
        }
        false => print_ladder(&mut anstream::stderr().lock(), finding)?,
    }
    Ok(match finding.exit() {
        Exit::Critical => Exit::Critical,
        // A server that is full, too, does not let us ask; 1 is a warning of its limits.
        Exit::Fine | Exit::Warning | Exit::Unknown => Exit::Unknown,
    })
}

impl Inquiry {
    fn of(args: &AdviseArgs) -> anyhow::Result<Self> {
        let asked = Asked {
            depth: Some(Depth::Query),
            // Limits are the same whatever is wanted of the server.
            ignores_expectation: true,
            ..Asked::default()
        };
        let targets = read_targets(
            std::slice::from_ref(&args.target),
            asked,
            &args.password,
            &mut SharedParts::default(),
        )?;
        let Some((url, mut target, depth)) = targets.into_iter().next() else {
            return Err(Misuse("there is nothing to ask".to_owned()).into());
        };
        let is_console =
            url.protocol == Protocol::Postgres && url.database.as_deref() == Some(CONSOLE);
        refuse_strangers(&url, is_console, args)?;
        let sql = match (is_console, url.protocol) {
            (true, _) => limits::CONSOLE_SQL,
            (false, Protocol::Postgres) => limits::POSTGRES_SQL,
            (false, Protocol::MySql | Protocol::Opaque) => limits::MYSQL_SQL,
        };
        target.statement = Some(Arc::new(Statement {
            sql: sql.to_owned(),
            equals: None,
        }));
        target.keeps_answer = true;
        Ok(Self {
            url,
            target,
            depth,
            is_console,
        })
    }

    /// Asks for the limits, which come with the observation if it passes.
    fn ask(&self, args: &AdviseArgs) -> anyhow::Result<(Observation, Option<Limits>)> {
        let mut asker = Asker::new([self.target.clone()])?;
        let id = TargetId(0);
        let observation = asker.ask(&[(id, self.depth)], args.timeout)?.remove(0);
        let answer = asker.take_answer(id);
        asker.say_goodbyes()?;
        let answer = answer.filter(|_| observation.outcome == Outcome::Pass);
        let facts = observation.server.as_deref();
        let limits = answer.map(|it| Limits::read(&it, facts, &self.url.address, self.is_console));
        Ok((observation, limits))
    }
}

/// Refuses to advise clients that cannot talk to the server.
fn refuse_strangers(url: &TargetUrl, is_console: bool, args: &AdviseArgs) -> Result<(), Misuse> {
    for client in clients::all() {
        if !args.clients.contains(&client.name) {
            continue;
        }
        if is_console && client.name == PoolClient::Pgbouncer {
            return Err(Misuse(format!(
                "{} asks PgBouncer for the limits of its clients; what to set in it is up to its server: use postgres://USER@HOST:5432/DATABASE with that server's address",
                url.shown
            )));
        }
        if !client.speaks(url.protocol) {
            let key = clients::key(client.name);
            return Err(Misuse(format!(
                "{key} does not speak the protocol of {}, it speaks {}; leave it out of --for",
                url.shown,
                client.languages()
            )));
        }
    }
    Ok(())
}

impl Counsel {
    fn of(target: TargetUrl, limits: Limits, args: &AdviseArgs) -> Self {
        let share = Share::of(&limits, args.instances);
        let shape = Shape::of(&limits, &share);
        let is_meant = |client: &Client| match args.clients.is_empty() {
            // PgBouncer is no client of itself.
            true if limits.is_console() && client.name == PoolClient::Pgbouncer => false,
            true => client.speaks(target.protocol),
            false => args.clients.contains(&client.name),
        };
        let advice = clients::all().into_iter().filter(is_meant);
        let advice = advice
            .map(|client| client.advise(&limits, &share, &shape))
            .collect();
        let present = Bounds::from(&args.present);
        let mut contradictions = contradiction::of_server(&limits, &share, &present);
        contradictions.extend(contradiction::of_bounds(&present, &limits, &share));
        contradictions.extend(contradiction::of_reconnects(
            present.max_open,
            shape.max_open,
            &limits,
            &share,
        ));
        Self {
            check_user: check_user::grants(&target, &limits),
            target,
            limits,
            share,
            contradictions,
            advice,
        }
    }
}
