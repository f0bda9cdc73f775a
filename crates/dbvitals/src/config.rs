//! The configuration file: TOML in, a checked plan out, all errors of a file at once.
//!
//! `reader.rs` reads typed values out of spanned TOML and collects what is wrong; `file.rs` knows
//! the sections and keys and builds the [`AgentPlan`], `pieces.rs` keeps what that takes small. Nothing starts before all of it is right.
//! `settings.rs` tells where each value in force came from.

mod agent_checks;
mod agent_places;
mod doors;
mod file;
mod gates;
mod hooks;
mod pieces;
mod reader;
#[cfg(test)]
mod schema;
mod services;
pub(crate) mod settings;
mod sockets;
mod subjects;

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Serialize;

pub(crate) use agent_places::AgentPlaces;
pub(crate) use file::{HTTP_DEFAULT, host_name, http_address};

use crate::agent::agent_plan::AgentPlan;
use crate::misuse::Misuse;

/// The defaults, as a commented file; a test keeps it equal to the code.
pub(crate) const DEFAULT_TOML: &str = include_str!("../config/default.toml");
/// The JSON Schema of a file; a test keeps it in step with the keys that are read.
pub(crate) const SCHEMA_JSON: &str = include_str!("../config/schema.json");

/// Reads a configuration file.
pub(crate) fn read(path: &Path) -> Result<AgentPlan, Misuse> {
    let source = Source::of_file(path)?;
    source
        .plan()
        .map_err(|complaints| source.refusal(&complaints))
}

/// The text of a configuration, and what to call it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Reads a file, or standard input where it is called `-`.
    pub(crate) fn read(path: &Path) -> Result<Self, Misuse> {
        if path.as_os_str() != "-" {
            return Self::of_file(path);
        }
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        let name = "standard input".to_owned();
        read.map_err(|error| unreadable(&name, &error))?;
        Ok(Self { name, text })
    }

    fn of_file(path: &Path) -> Result<Self, Misuse> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| unreadable(&name, &error))?;
        Ok(Self { name, text })
    }

    /// The plan that it makes, or everything that is wrong with it, in its order.
    pub(crate) fn plan(&self) -> Result<AgentPlan, Vec<Complaint>> {
        file::plan(&self.text).map_err(|errors| located(&self.text, errors))
    }

    /// The complaints as one misuse, each with its place.
    pub(crate) fn refusal(&self, complaints: &[Complaint]) -> Misuse {
        let lines: Vec<_> = complaints
            .iter()
            .map(|complaint| format!("{}:{complaint}", self.name))
            .collect();
        Misuse(lines.join("\ndbvitals: "))
    }
}

fn unreadable(name: &str, error: &io::Error) -> Misuse {
    Misuse(format!(
        "cannot read the configuration {name}: {}; name another file with -c",
        dbvitals_probe::plain(error)
    ))
}

/// Something wrong at an offset of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

/// The same, at a place that people find.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Complaint {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Errors with their places, in the order of the file.
fn located(text: &str, mut errors: Vec<ConfigError>) -> Vec<Complaint> {
    errors.sort_by_key(|error| error.offset);
    let complaint = |error: ConfigError| {
        let (line, column) = place(text, error.offset);
        Complaint {
            line,
            column,
            message: error.message,
        }
    };
    errors.into_iter().map(complaint).collect()
}

/// Line and column of an offset, from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

/// Errors as lines, for tests.
#[cfg(test)]
fn message(text: &str, errors: Vec<ConfigError>) -> String {
    let complaints = located(text, errors);
    let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
