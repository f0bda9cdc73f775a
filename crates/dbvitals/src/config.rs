//! The configuration file: TOML in, a checked plan out, all errors of a file at once.
//!
//! `reader.rs` reads typed values out of spanned TOML and collects what is wrong; `file.rs` knows
//! the sections and keys and builds the [`AgentPlan`]. Nothing starts before all of it is right.

mod agent_checks;
mod file;
mod gates;
mod hooks;
mod reader;

use std::fs;
use std::path::Path;

pub(crate) use file::{HTTP_DEFAULT, host_name, http_address};

use crate::agent::plan::AgentPlan;
use crate::misuse::Misuse;

/// The defaults, as a commented file; a test keeps it equal to the code.
#[cfg(test)]
pub(crate) const DEFAULT_TOML: &str = include_str!("../config/default.toml");

/// Reads a configuration file.
pub(crate) fn read(path: &Path) -> Result<AgentPlan, Misuse> {
    let text = fs::read_to_string(path).map_err(|error| {
        format!(
            "cannot read the configuration {}: {}; name another file with -c",
            path.display(),
            dbvitals_probe::plain(&error)
        )
    })?;
    file::plan(&text).map_err(|errors| Misuse(located(&path.display().to_string(), &text, errors)))
}

/// Something wrong at an offset of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

/// One line per error, with its place, in the order of the file.
fn located(name: &str, text: &str, mut errors: Vec<ConfigError>) -> String {
    errors.sort_by_key(|error| error.offset);
    let lines: Vec<_> = errors
        .into_iter()
        .map(|error| {
            let before = text.get(..error.offset).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("{name}:{line}:{column}: {}", error.message)
        })
        .collect();
    lines.join("\ndbvitals: ")
}

#[cfg(test)]
mod tests;
