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

use dbvitals_probe::{Address, Protocol, Statement, TargetId};
use dbvitals_verdict::{Depth, Outcome};

use super::{Asked, read_targets};
use crate::cli::AdviseArgs;
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

/// Asks the server and prints what follows.
pub(crate) fn run(args: &AdviseArgs, json: bool) -> anyhow::Result<Exit> {
    let (url, limits) = match ask(args)? {
        Ok(known) => known,
        Err(exit) => return Ok(exit),
    };
    let counsel = Counsel::of(url, limits, args);
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

/// Asks the server for its limits; where it does not answer, says so as `check` does.
fn ask(args: &AdviseArgs) -> anyhow::Result<Result<(TargetUrl, Limits), Exit>> {
    let asked = Asked {
        depth: Some(Depth::Query),
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
    let is_console = url.protocol == Protocol::Postgres && url.database.as_deref() == Some(CONSOLE);
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
    let mut asker = Asker::new([target])?;
    let id = TargetId(0);
    let observation = asker.ask(&[(id, depth)], args.timeout)?.remove(0);
    let answer = asker.take_answer(id);
    asker.say_goodbyes()?;
    if let (Outcome::Pass, Some(answer)) = (observation.outcome, answer) {
        let port = match url.address {
            Address::Tcp { port, .. } => Some(port),
            Address::Unix(_) => None,
        };
        let limits = Limits::read(&answer, observation.server.as_deref(), port, is_console);
        return Ok(Ok((url, limits)));
    }
    let finding = Finding {
        target: &url,
        depth,
        observation: &observation,
    };
    print_ladder(&mut anstream::stderr().lock(), &finding)?;
    Ok(Err(finding.exit()))
}

impl Counsel {
    fn of(target: TargetUrl, limits: Limits, args: &AdviseArgs) -> Self {
        let share = Share::of(&limits, args.instances);
        let shape = Shape::of(&limits, &share);
        let speaks = |client: &Client| match args.clients.is_empty() {
            true => client.speaks(target.protocol),
            false => args.clients.contains(&client.name),
        };
        let advice = clients::all().into_iter().filter(speaks);
        let advice = advice
            .map(|client| client.advise(&limits, &share, &shape))
            .collect();
        let mut contradictions = contradiction::of_server(&limits, &share);
        let present = Bounds::from(&args.present);
        contradictions.extend(contradiction::of_bounds(&present, &limits, &share));
        if let Some(set) = args.present.max_open {
            contradictions.extend(contradiction::of_reconnects(set, &limits, &share));
        }
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
