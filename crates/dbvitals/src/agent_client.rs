//! Asks a running agent: finds it, and speaks HTTP with it over its control socket or TCP.
//!
//! An [`AgentClient`] knows where to look; each [`Session`] looks anew, so a client outlives its
//! agent's restart. Blocking, for commands: everything that a session asks has to be answered
//! within one deadline. Used by `status`, `set` and `top`; a [`Hearing`] is told what
//! happens for as long as it listens.

mod exchange;
mod finding;
mod hearing;
mod place;

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use dbvitals_probe::Clock;
use secrecy::SecretString;

use self::exchange::Connection;
use self::finding::Candidate;
use self::place::Place;
use crate::cli::AgentArgs;
use crate::misuse::Misuse;

pub(crate) use exchange::Answer;
pub(crate) use hearing::{Event, Hearing};

/// How long everything that one session asks may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The variable that names the agent where no argument does.
const VARIABLE: &str = "DBVITALS_AGENT";

/// What an agent is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be told something; HTTP will do.
    Reading,
    /// To give it orders, which takes its control socket, or a token.
    Orders,
}

/// Knows where to look for an agent.
#[derive(Debug)]
pub(crate) struct AgentClient {
    candidates: Vec<Candidate>,
    token: Option<SecretString>,
    clock: Clock,
}

/// A connection to an agent, until its deadline.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    connection: Connection,
    token: Option<&'a SecretString>,
    place: &'a Place,
}

/// Runs what a command does with an agent to its end.
///
/// # Errors
///
/// Those of the work, or that the system gives no runtime.
pub(crate) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let done = runtime.block_on(work);
    // A name that is being resolved still is not waited for.
    runtime.shutdown_background();
    done
}

impl AgentClient {
    /// A client for the agent that the arguments mean, or the environment; else for whichever
    /// is where agents are.
    ///
    /// # Errors
    ///
    /// Where what was said makes no sense; whether anybody is there is not looked at yet.
    pub(crate) fn new(
        args: &AgentArgs,
        purpose: Purpose,
        token: Option<SecretString>,
        clock: Clock,
    ) -> Result<Self, Misuse> {
        let (candidates, token) = finding::candidates(args, purpose, token)?;
        Ok(Self {
            candidates,
            token,
            clock,
        })
    }

    /// Connects to the first agent that is there. Cancel safe.
    ///
    /// # Errors
    ///
    /// Says where it looked, what was there, and how to name an agent.
    pub(crate) async fn open(&self) -> Result<Session<'_>, Misuse> {
        let deadline = self.clock.now() + ANSWERS_WITHIN;
        let mut tried = Vec::new();
        for candidate in &self.candidates {
            match candidate.reach(self.clock, deadline).await {
                Ok(connection) => {
                    return Ok(Session {
                        connection,
                        // What a file's mode protects needs no token.
                        token: self.token.as_ref().filter(|_| candidate.place.is_http()),
                        place: &candidate.place,
                    });
                }
                Err(why) => tried.push(format!("{} ({why})", candidate.place)),
            }
        }
        Err(finding::nobody(&tried))
    }
}

impl Session<'_> {
    /// Asks for a path.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Misuse> {
        let answer = self.connection.ask("GET", path, None, None).await;
        answer.map_err(|why| self.broken(&why))
    }

    /// Sends JSON to a path, with the token where it takes one.
    pub(crate) async fn post(&mut self, path: &str, body: String) -> Result<Answer, Misuse> {
        let answer = self.connection.ask("POST", path, Some(body), self.token);
        let answer = answer.await;
        answer.map_err(|why| self.broken(&why))
    }

    /// Listens to a path of server-sent events; nothing else can be asked then.
    pub(crate) async fn listen(self, path: &str) -> Result<Hearing, Misuse> {
        let place = self.place;
        let stream = self.connection.listen(path).await;
        let stream = stream.map_err(|why| broken(place, &why))?;
        Ok(Hearing::of(stream))
    }

    /// Where the agent was found.
    pub(crate) fn place(&self) -> &Place {
        self.place
    }

    /// That the agent said what cannot be used.
    pub(crate) fn broken(&self, why: &str) -> Misuse {
        broken(self.place, why)
    }
}

fn broken(place: &Place, why: &str) -> Misuse {
    Misuse(format!("no answer from the agent at {place}: {why}"))
}

/// A name as a part of a path.
pub(crate) fn segment(name: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
}
