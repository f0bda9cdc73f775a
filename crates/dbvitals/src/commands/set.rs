//! `set`: an operator's order about one backend, given to the running agent.
//!
//! The agent decides what makes sense and keeps the order; what is done here is to find it, to help
//! with a mistyped name, and to say in one sentence what holds now.

use std::io::Write as _;
use std::time::Duration;

use dbvitals_probe::Clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::status::{Names, shown};
use crate::agent_client::{self, AgentClient, Answer, Purpose, Session, segment};
use crate::cli::{AdminState, SetArgs};
use crate::duration::rfc3339;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::password;
use crate::suggestion::hint;

/// How long a reason may be, in bytes; the agent's own bound.
const REASON_MAX: usize = 500;

/// What is asked of the agent.
#[derive(Debug, Serialize)]
pub(super) struct Wish<'a> {
    state: &'static str,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    patience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// What holds now.
#[derive(Debug, Deserialize)]
struct Given {
    name: String,
    admin: String,
    #[serde(default)]
    until: Option<Timestamp>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    warning: Option<String>,
}

/// Why the agent refused.
#[derive(Debug, Deserialize)]
struct Refused {
    detail: String,
}

/// Gives the order.
pub(crate) fn run(args: &SetArgs, json: bool) -> anyhow::Result<Exit> {
    let wish = Wish::new(args.state, args.patience, args.reason.as_deref())?;
    let token = args.token_file.as_deref().map(password::from_file);
    let token = token
        .transpose()
        .map_err(|error| Misuse(error.to_string()))?;
    let clock = Clock::start();
    let client = AgentClient::new(&args.agent, Purpose::Orders, token, clock)?;
    let answer = agent_client::run(async {
        let mut session = client.open().await?;
        check_name(&mut session, &args.name).await?;
        give(&mut session, &args.name, &wish).await
    })?;
    let given: Given = serde_json::from_str(&answer.body)?;
    if let Some(warning) = &given.warning {
        tell(&shown(warning));
    }
    let mut out = anstream::stdout().lock();
    match json {
        true => writeln!(out, "{}", answer.body.trim_end())?,
        false => writeln!(out, "{}", sentence(&given))?,
    }
    out.flush()?;
    Ok(Exit::Fine)
}

impl<'a> Wish<'a> {
    /// An order, if it makes sense.
    pub(super) fn new(
        state: AdminState,
        patience: Option<Duration>,
        reason: Option<&'a str>,
    ) -> Result<Self, Misuse> {
        if state == AdminState::Ready && patience.is_some() {
            return Err(Misuse("ready is for good; leave --for out".to_owned()));
        }
        if reason.is_some_and(|it| it.len() > REASON_MAX) {
            return Err(Misuse(format!("a reason may have {REASON_MAX} bytes")));
        }
        Ok(Self {
            state: match state {
                AdminState::Ready => "ready",
                AdminState::Drain => "drain",
                AdminState::Maint => "maint",
            },
            patience: patience.map(|it| format!("{}ms", it.as_millis().max(1))),
            reason,
        })
    }
}

/// Gives an order to the agent; its answer, if it was taken.
pub(super) async fn give(
    session: &mut Session<'_>,
    name: &str,
    wish: &Wish<'_>,
) -> anyhow::Result<Answer> {
    let path = format!("/api/v1/backends/{}/state", segment(name));
    let answer = session.post(&path, serde_json::to_string(wish)?).await?;
    Ok(taken(answer, session)?)
}

/// What holds now, in sentences, from the agent's answer to an order.
pub(super) fn told(answer: &Answer) -> anyhow::Result<String> {
    let given: Given = serde_json::from_str(&answer.body)?;
    let warning = given.warning.as_deref();
    let warning = warning.map_or_else(String::new, |it| format!(" {}", shown(it)));
    Ok(format!("{}{warning}", sentence(&given)))
}

/// Refuses a name that no backend has, with a hint.
async fn check_name(session: &mut Session<'_>, name: &str) -> Result<(), Misuse> {
    let names = Names::ask(session).await?;
    if names.backends.iter().any(|it| it == name) {
        return Ok(());
    }
    if let Some((_, members)) = names.services.iter().find(|(it, _)| it == name) {
        return Err(Misuse(format!(
            "{name:?} is a service; orders are given to its backends, one by one: {}",
            shown(&members.join(", "))
        )));
    }
    let known: Vec<_> = names.backends.iter().map(String::as_str).collect();
    Err(Misuse(format!(
        "the agent watches no backend {name:?}; {}",
        shown(&hint(name, &known))
    )))
}

/// The answer, if the order was taken.
fn taken(answer: Answer, session: &Session<'_>) -> Result<Answer, Misuse> {
    let detail = |answer: &Answer| {
        let refused: Result<Refused, _> = serde_json::from_str(&answer.body);
        refused.map_or_else(
            |_| format!("it answered {}", answer.status),
            |refused| shown(&refused.detail),
        )
    };
    match answer.status {
        200 => Ok(answer),
        401 | 403 => Err(Misuse(format!(
            "the agent at {} takes this order from those with its token alone: name the file with --token-file, or give the order at its control socket ({})",
            session.place(),
            detail(&answer)
        ))),
        _ => Err(Misuse(format!(
            "the order was refused: {}",
            detail(&answer)
        ))),
    }
}

/// `orders-2 drains until 2026-07-03T14:30:00Z (disk swap): nothing new is sent there.`
fn sentence(given: &Given) -> String {
    let name = shown(&given.name);
    let reason = given.reason.as_deref();
    let reason = reason.map_or_else(String::new, |it| format!(" ({})", shown(it)));
    let until = match given.until {
        Some(until) => format!("until {}", rfc3339(until.into())),
        None => "until it is set ready".to_owned(),
    };
    match given.admin.as_str() {
        "drain" => {
            format!("{name} drains {until}{reason}: what runs goes on, nothing new is sent there.")
        }
        "maint" => format!("{name} is in maintenance {until}{reason}: nothing is sent there."),
        _ => format!("{name} is ready{reason}: it is used as soon as it is fit."),
    }
}
