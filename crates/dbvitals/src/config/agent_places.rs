//! Where the agent of a configuration file is met: for those who only want to talk to it.
//!
//! Reads these keys and nothing else, so whoever may not read the passwords, or runs an older
//! version than the agent, finds it all the same.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::file::{HTTP_DEFAULT, http_address};
use super::{Complaint, Source, place};
use crate::misuse::Misuse;

/// What `[agent]` says of where it is met.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentPlaces {
    pub(crate) control: Option<PathBuf>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) token_file: Option<PathBuf>,
}

impl AgentPlaces {
    /// Reads them from a configuration file.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Misuse> {
        let source = Source::of_file(path)?;
        Self::of_text(&source.text).map_err(|complaint| source.refusal(&[complaint]))
    }

    fn of_text(text: &str) -> Result<Self, Complaint> {
        let root = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let message = format!("this is no TOML: {}", error.message().trim());
            complaint(text, offset, message)
        })?;
        let agent = root.get_ref().get("agent");
        let agent = agent.and_then(|value| value.get_ref().as_table());
        let string = |key: &str| {
            let value = agent?.get(key)?;
            Some((value.get_ref().as_str()?, value.span().start))
        };
        let path = |key: &str| string(key).map(|(path, _)| PathBuf::from(path));
        let (http, offset) = string("http").unwrap_or((HTTP_DEFAULT, 0));
        let http =
            http_address(http).map_err(|why| complaint(text, offset, format!("http: {why}")))?;
        Ok(Self {
            control: path("control"),
            state_dir: path("state_dir"),
            http,
            token_file: path("token_file"),
        })
    }
}

fn complaint(text: &str, offset: usize, message: String) -> Complaint {
    let (line, column) = place(text, offset);
    Complaint {
        line,
        column,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_found_by_a_file_whose_passwords_cannot_be_read() {
        let text = "[agent]\nstate_dir = \"/s\"\ntoken_file = \"/none\"\nhttp = \"0.0.0.0:1\"\n\
                    [backend.a]\nurl = \"mysql://u@h\"\npassword_file = \"/none\"\n[later]\n";
        let places = AgentPlaces::of_text(text).unwrap();
        let expected = AgentPlaces {
            control: None,
            state_dir: Some("/s".into()),
            http: "0.0.0.0:1".parse().ok(),
            token_file: Some("/none".into()),
        };
        assert_eq!(places, expected);
        let off = AgentPlaces::of_text("[agent]\nhttp = \"off\"\n").unwrap();
        assert_eq!(off, AgentPlaces::default());
        let usual = AgentPlaces::of_text("").unwrap();
        assert_eq!(usual.http, HTTP_DEFAULT.parse().ok());
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let told = |text: &str| AgentPlaces::of_text(text).unwrap_err().to_string();
        assert!(told("[agent]\nhttp = \"soon\"\n").starts_with("2:8: http: "));
        assert!(told("[agent\n").starts_with("1:7: this is no TOML"));
    }
}
