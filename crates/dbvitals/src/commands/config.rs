//! `config`: everything that is wrong with a file, what is in force and from where, the defaults,
//! and the schema. Nothing is started, and no server is asked.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::agent::agent_plan::AgentPlan;
use crate::cli::{ConfigArgs, ConfigFileArgs, ConfigQuestion};
use crate::config::settings::{self, Settings};
use crate::config::{self, Complaint, Source};
use crate::exit::Exit;
use crate::misuse::tell;

/// Which file is meant where none is named: that of the systemd unit.
const USUAL_FILE: &str = "/etc/dbvitals/dbvitals.toml";

/// Answers one question about the configuration.
pub(crate) fn run(args: &ConfigArgs, json: bool) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match &args.question {
        ConfigQuestion::Check(file) => return check(&Source::read(&path_of(file))?, json),
        ConfigQuestion::Show(file) => return show(&Source::read(&path_of(file))?, json),
        ConfigQuestion::Default => out.write_all(config::DEFAULT_TOML.as_bytes())?,
        ConfigQuestion::Schema => out.write_all(config::SCHEMA_JSON.as_bytes())?,
    }
    Ok(Exit::Fine)
}

fn path_of(args: &ConfigFileArgs) -> PathBuf {
    let given = args.file.as_ref().or(args.config.as_ref());
    given.map_or_else(|| Path::new(USUAL_FILE).to_owned(), Clone::clone)
}

/// What `config check --json` prints.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    schema: &'static str,
    file: &'a str,
    ok: bool,
    errors: &'a [Complaint],
    notices: &'a [String],
}

fn check(source: &Source, json: bool) -> anyhow::Result<Exit> {
    let planned = source.plan();
    if json {
        let checked = Checked {
            schema: "dbvitals.config_check.v1",
            file: &source.name,
            ok: planned.is_ok(),
            errors: planned.as_ref().err().map_or(&[], Vec::as_slice),
            notices: planned.as_ref().map_or(&[], |plan| &plan.notices),
        };
        writeln!(io::stdout(), "{}", serde_json::to_string(&checked)?)?;
    }
    match planned {
        Ok(_) if json => {}
        Ok(plan) => {
            for notice in &plan.notices {
                tell(notice);
            }
            writeln!(io::stdout(), "{}: {}", source.name, fine(&plan))?;
        }
        Err(_) if json => return Ok(Exit::Unknown),
        Err(complaints) => return Err(source.refusal(&complaints).into()),
    }
    Ok(Exit::Fine)
}

/// `fine: 2 backends, 1 service, 1 gate`; services only where there are some.
fn fine(plan: &AgentPlan) -> String {
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let services = match plan.services.len() {
        0 => String::new(),
        services => format!("{}, ", count(services, "service")),
    };
    let backends = count(plan.backends.len(), "backend");
    let gates = count(plan.gates.len(), "gate");
    format!("fine: {backends}, {services}{gates}")
}

fn show(source: &Source, json: bool) -> anyhow::Result<Exit> {
    let plan = source
        .plan()
        .map_err(|complaints| source.refusal(&complaints))?;
    let settings = settings::of(source, &plan);
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&settings)?)?,
        false => write!(out, "{}", Table(&settings))?,
    }
    Ok(Exit::Fine)
}

/// The settings for people: a section after the other, each value with where it came from.
struct Table<'a>(&'a Settings);

impl std::fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = || self.0.sections.iter().flat_map(|section| &section.settings);
        let width = |length: fn(&settings::Setting) -> usize| all().map(length).max().unwrap_or(0);
        let keys = width(|setting| setting.key.len());
        // A long statement must not push all origins out of sight.
        let values = width(|setting| setting.value.chars().count()).min(40);
        for (index, section) in self.0.sections.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "[{}]", section.name)?;
            for setting in &section.settings {
                let (key, value, origin) = (&setting.key, &setting.value, &setting.origin);
                writeln!(f, "  {key:keys$}  {value:values$}  {origin}")?;
            }
        }
        Ok(())
    }
}
