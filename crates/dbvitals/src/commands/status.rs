//! `status`: what the running agent thinks of its servers, and why.
//!
//! Everything is asked of the agent anew, and nothing is concluded here but the exit code.

mod details;
mod document;
mod overview;
mod page;
mod picture;
mod watching;

use std::io::{self, Write};

use dbvitals_probe::Clock;

pub(super) use self::details::{ago, describe, describe_queue, meaning};
use self::document::Document;
pub(super) use self::overview::{age_of, ms, order_words, since};
use self::page::Page;
pub(super) use self::page::clean as shown;
#[cfg(test)]
pub(super) use self::picture::Told;
pub(super) use self::picture::{Agent, Backend, Change, Names, Picture, Seen, Service};
use crate::agent_client::{self, AgentClient, Purpose};
use crate::cli::StatusArgs;
use crate::exit::Exit;

/// Shows what the agent thinks, once or until it is told to end.
pub(crate) fn run(args: &StatusArgs, json: bool) -> anyhow::Result<Exit> {
    let clock = Clock::start();
    let client = AgentClient::new(&args.agent, Purpose::Reading, None, clock)?;
    agent_client::run(async {
        let picture = Picture::take(&client, &args.names).await?;
        if args.watch {
            return watching::watch(&client, picture, clock, args, json).await;
        }
        let mut out = anstream::stdout().lock();
        match json {
            true => write_json(&mut out, &Document::of(&picture))?,
            false => page(&picture, clock).write(&mut out, None)?,
        }
        out.flush()?;
        Ok(exit(&picture))
    })
}

fn write_json(out: &mut impl Write, document: &Document<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, document)?;
    writeln!(out)
}

/// All that is told to people: everybody in a table, or those who were named in full.
fn page(picture: &Picture, clock: Clock) -> Page {
    let now = clock.wall(clock.now());
    let mut page = overview::page(picture, now);
    let backends = picture.backends.iter().map(|it| &it.told);
    let in_full = |it: &&Backend| !picture.names.is_empty() && picture.is_asked_for(&it.name);
    for backend in backends.filter(in_full) {
        details::add(&mut page, backend, now);
    }
    overview::add_transitions(&mut page, picture);
    page
}

/// What all of it amounts to: the worst of those who were asked for decides.
pub(super) fn exit(picture: &Picture) -> Exit {
    let backends = picture.backends.iter().map(|it| &it.told);
    let backends = backends.filter(|it| picture.is_asked_for(&it.name));
    let backends = backends.map(exit_of_backend);
    let services = picture.services.iter().map(|it| exit_of_service(&it.told));
    backends.chain(services).fold(Exit::Fine, Exit::worst)
}

fn exit_of_backend(backend: &Backend) -> Exit {
    let of_verdict = exit_of(&backend.verdict, backend.class.as_deref());
    match backend.admin.as_str() {
        // Whatever is the case of a server in maintenance, an operator knows of it.
        "maint" => Exit::Warning,
        "drain" => of_verdict.worst(Exit::Warning),
        _ => of_verdict,
    }
}

fn exit_of_service(service: &Service) -> Exit {
    if service.alarm.as_deref() == Some("two_primaries") {
        return Exit::Critical;
    }
    let is_fit_in_part = service
        .fit
        .is_some_and(|fit| fit < service.backends.len() as u64);
    let of_verdict = exit_of(&service.verdict, service.class.as_deref());
    match service.alarm.is_some() || is_fit_in_part {
        true => of_verdict.worst(Exit::Warning),
        false => of_verdict,
    }
}

fn exit_of(verdict: &str, class: Option<&str>) -> Exit {
    match (verdict, class) {
        ("up", _) => Exit::Fine,
        ("down", _) => Exit::Critical,
        ("degraded", Some("ours")) => Exit::Unknown,
        ("degraded", _) => Exit::Warning,
        _ => Exit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(verdict: &str, class: Option<&str>, admin: &str) -> Backend {
        Backend {
            verdict: verdict.to_owned(),
            class: class.map(str::to_owned),
            admin: admin.to_owned(),
            ..Backend::default()
        }
    }

    #[test]
    fn what_is_wrong_with_a_server_decides_the_exit_code() {
        let check = |verdict: &str, class: Option<&str>, admin: &str, expected: Exit| {
            let told = exit_of_backend(&backend(verdict, class, admin));
            assert_eq!(told, expected, "{verdict} {class:?} {admin}");
        };
        check("up", None, "ready", Exit::Fine);
        check("up", None, "drain", Exit::Warning);
        check("degraded", Some("full"), "ready", Exit::Warning);
        check("degraded", Some("ours"), "ready", Exit::Unknown);
        check("down", Some("dead"), "ready", Exit::Critical);
        check("down", Some("dead"), "drain", Exit::Critical);
        check("down", Some("dead"), "maint", Exit::Warning);
        check("unknown", None, "ready", Exit::Unknown);
    }

    #[test]
    fn two_primaries_are_bad_however_many_servers_are_up() {
        let mut service = Service {
            verdict: "up".to_owned(),
            ..Service::default()
        };
        assert_eq!(exit_of_service(&service), Exit::Fine);
        service.alarm = Some("two_primaries".to_owned());
        assert_eq!(exit_of_service(&service), Exit::Critical);
    }
}
