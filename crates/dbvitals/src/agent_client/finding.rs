//! Where to look for an agent, in which order, and what to say where none is.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use secrecy::SecretString;
use serde::Deserialize;

use super::exchange::Connection;
use super::place::Place;
use super::{Purpose, VARIABLE};
use crate::cli::AgentArgs;
use crate::config::{AgentPlaces, HTTP_DEFAULT};
use crate::misuse::Misuse;
use crate::{password, whereabouts};

/// A place to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) place: Place,
    /// Any agent may be there; the one that is meant runs from this file.
    of_file: Option<PathBuf>,
}

/// What an agent says of itself.
#[derive(Debug, Deserialize)]
struct Introduction {
    config: Option<PathBuf>,
}

/// Where to look, best first, and the token to show there.
pub(super) fn candidates(
    args: &AgentArgs,
    purpose: Purpose,
    token: Option<SecretString>,
) -> Result<(Vec<Candidate>, Option<SecretString>), Misuse> {
    let named = args.agent.clone().or_else(|| {
        let variable = env::var(VARIABLE).ok().filter(|text| !text.is_empty());
        variable.filter(|_| args.config.is_none())
    });
    if let Some(text) = named {
        let place = Place::parse(&text).map_err(Misuse)?;
        return Ok((vec![place.into()], token));
    }
    if let Some(file) = &args.config {
        let places = AgentPlaces::of_file(file)?;
        let token = match (token, &places.token_file, purpose) {
            (Some(token), ..) => Some(token),
            // Who may open the socket needs none, so it may well be unreadable.
            (None, Some(path), Purpose::Orders) => password::from_file(path).ok(),
            (None, _, _) => None,
        };
        let http = purpose == Purpose::Reading || token.is_some();
        return Ok((of_file(file, places, http), token));
    }
    let sockets = whereabouts::known_sockets().into_iter();
    let mut candidates: Vec<_> = sockets.map(|path| Place::Socket(path).into()).collect();
    if purpose == Purpose::Reading || token.is_some() {
        let http = HTTP_DEFAULT.parse().ok().map(Place::of_listener);
        candidates.extend(http.map(Candidate::from));
    }
    Ok((candidates, token))
}

/// Where the agent of a configuration file is met.
fn of_file(file: &Path, places: AgentPlaces, with_http: bool) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    if let Some(control) = places.control {
        candidates.push(Place::Socket(control).into());
    } else {
        let of_state_dir = places.state_dir.as_deref().map(whereabouts::of_state_dir);
        candidates.extend(of_state_dir.map(|path| Place::Socket(path).into()));
        for path in whereabouts::known_sockets() {
            candidates.push(Candidate {
                place: Place::Socket(path),
                of_file: Some(file.to_owned()),
            });
        }
    }
    let http = places.http.filter(|_| with_http).map(Place::of_listener);
    candidates.extend(http.map(Candidate::from));
    candidates
}

impl From<Place> for Candidate {
    fn from(place: Place) -> Self {
        Self {
            place,
            of_file: None,
        }
    }
}

impl Candidate {
    /// Connects, if the agent that is meant is there; else says what is, as a fragment.
    pub(super) async fn reach(&self, clock: Clock, deadline: Moment) -> Result<Connection, String> {
        let connected = Connection::to(&self.place, clock, deadline).await;
        let mut connection = connected.map_err(|error| self.why_not(&error))?;
        let Some(file) = &self.of_file else {
            return Ok(connection);
        };
        let answer = connection.ask("GET", "/api/v1/agent", None, None).await?;
        let introduction: Option<Introduction> = serde_json::from_str(&answer.body).ok();
        match introduction.and_then(|it| it.config) {
            Some(config) if is_same(&config, file) => Ok(connection),
            Some(config) => Err(format!("another agent's, of {}", config.display())),
            None => Err("another agent's".to_owned()),
        }
    }

    fn why_not(&self, error: &io::Error) -> String {
        match (error.kind(), &self.place) {
            (io::ErrorKind::NotFound, Place::Socket(_)) => "not there".to_owned(),
            (io::ErrorKind::ConnectionRefused, Place::Socket(_)) => {
                "left behind by an agent that is gone".to_owned()
            }
            (io::ErrorKind::PermissionDenied, Place::Socket(path)) => match group(path) {
                Some(group) => {
                    format!("permission denied: it takes root, or the group {group}")
                }
                None => "permission denied: it takes root, or its group".to_owned(),
            },
            _ => dbvitals_probe::plain(error),
        }
    }
}

/// What to say where no agent is.
pub(super) fn nobody(tried: &[String]) -> Misuse {
    Misuse(format!(
        "no agent was found; tried {}; start one with `dbvitals serve`, or name one with --agent SOCKET|URL or -c FILE",
        tried.join(", ")
    ))
}

/// Whether two paths are those of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), _) => one == other,
    }
}

/// The name of the group of a file, or its number.
fn group(path: &Path) -> Option<String> {
    let number = fs::metadata(path).ok()?.gid();
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let of_number = |line: &&str| {
        let field = line.split(':').nth(2);
        field.and_then(|field| field.parse().ok()) == Some(number)
    };
    let name = groups.lines().find(of_number);
    let name = name.and_then(|line| line.split(':').next());
    Some(name.map_or_else(|| number.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(candidates: &[Candidate]) -> Vec<String> {
        candidates.iter().map(|it| it.place.to_string()).collect()
    }

    #[test]
    fn the_file_s_own_socket_comes_first_and_others_have_to_prove_whose_they_are() {
        let places = AgentPlaces {
            state_dir: Some("/s".into()),
            http: "0.0.0.0:8306".parse().ok(),
            ..AgentPlaces::default()
        };
        let candidates = of_file(Path::new("/f.toml"), places, true);
        let places = shown(&candidates);
        assert_eq!(places.first().unwrap(), "/s/control.sock");
        assert_eq!(places.last().unwrap(), "http://127.0.0.1:8306");
        let proven = candidates.iter().filter(|it| it.of_file.is_some());
        assert_eq!(proven.count(), whereabouts::known_sockets().len());

        let places = AgentPlaces {
            control: Some("/c".into()),
            http: "0.0.0.0:8306".parse().ok(),
            ..AgentPlaces::default()
        };
        let candidates = of_file(Path::new("/f.toml"), places, false);
        assert_eq!(shown(&candidates), ["/c"]);
    }
}
