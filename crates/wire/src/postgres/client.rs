//! The client's side of a session: its phases, and what may be asked in which.
//!
//! Implements the contract of [`Session`](crate::Session), which is the caller. Everything that
//! only the login needs is in one box, dropped with the login: a program may hold a hundred
//! thousand idle sessions, and an idle one is these few words and no heap memory at all.

mod command;
mod login;

use self::{command::Command, login::LoginPhase};
use super::{
    error_response,
    message::{Malformed, Pending, backend, frontend, is_asynchronous, put_message},
    startup::{self, CancelKey},
};
use crate::{Event, Login, MESSAGE_LENGTH_MAX};

/// A client's session with a PostgreSQL server; see [`Session`](crate::Session) for the contract.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    pending: Pending,
    /// What a CancelRequest has to name: the backend's pid and a secret.
    key: Option<CancelKey>,
}

#[derive(Debug)]
enum Phase {
    Login(Box<LoginPhase>),
    Idle,
    Busy(Command),
    Over,
}

impl Client {
    /// Starts a session: appends an SSLRequest or a StartupMessage to `out`.
    pub fn new(login: Login, out: &mut Vec<u8>) -> Self {
        Self {
            phase: Phase::Login(Box::new(LoginPhase::new(login, out))),
            pending: Pending::default(),
            key: None,
        }
    }

    /// Takes bytes from the server and returns the next event, if they complete one.
    pub fn handle_input(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Event> {
        let event = self
            .next_event(input, out)
            .unwrap_or_else(|malformed| Some(malformed.into()));
        if event.as_ref().is_some_and(ends_session) {
            self.end();
        }
        event
    }

    fn next_event(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        match &mut self.phase {
            Phase::Login(login) => {
                let event = login.handle_input(&mut self.pending, input, out)?;
                if matches!(event, Some(Event::LoggedIn(_))) {
                    self.key = login.cancel_key();
                    self.phase = Phase::Idle;
                }
                Ok(event)
            }
            Phase::Idle => self.next_unsolicited(input),
            Phase::Busy(command) => {
                while let Some(message) = self.pending.next_message(input, MESSAGE_LENGTH_MAX)? {
                    let event = command.handle_message(&message, out)?;
                    if event.is_some() {
                        self.phase = Phase::Idle;
                        return Ok(event);
                    }
                }
                Ok(None)
            }
            Phase::Over => {
                *input = &[];
                Ok(None)
            }
        }
    }

    /// An idle server may still report that it shuts down or that a setting changed.
    fn next_unsolicited(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Malformed> {
        while let Some(message) = self.pending.next_message(input, MESSAGE_LENGTH_MAX)? {
            match message.tag {
                backend::ERROR_RESPONSE => {
                    return Ok(Some(Event::Refused(error_response::parse(message.body())?)));
                }
                tag if is_asynchronous(tag) => {}
                _ => return Err(Malformed("silence while no command is under way")),
            }
        }
        Ok(None)
    }

    /// Goes on after the TLS handshake: appends the StartupMessage.
    pub fn handle_tls_established(&mut self, out: &mut Vec<u8>) {
        if let Phase::Login(login) = &mut self.phase {
            login.handle_tls_established(out);
        }
    }

    /// Sends an empty query, the cheapest thing that a server answers.
    pub fn ping(&mut self, out: &mut Vec<u8>) -> bool {
        self.start(Command::ping, out)
    }

    /// Sends a statement as a simple query.
    pub fn query(&mut self, sql: &str, out: &mut Vec<u8>) -> bool {
        self.start(|out| Command::query(sql, out), out)
    }

    fn start(&mut self, put: impl FnOnce(&mut Vec<u8>) -> Command, out: &mut Vec<u8>) -> bool {
        let idle = self.is_idle();
        if idle {
            self.phase = Phase::Busy(put(out));
        }
        idle
    }

    /// Ends the session; see [`Session::decline`](crate::Session::decline). PostgreSQL does not
    /// mind a client that says nothing after the TLS handshake.
    pub fn decline(&mut self) {
        self.end();
    }

    /// Leaves, and may always close at once: with a Terminate once logged in, before that without
    /// a word, which PostgreSQL takes without a line in its log.
    pub fn goodbye(&mut self, out: &mut Vec<u8>) -> bool {
        let listens = match &self.phase {
            Phase::Login(login) => login.is_admitted(),
            Phase::Idle | Phase::Busy(_) => true,
            Phase::Over => false,
        };
        if listens {
            put_message(out, frontend::TERMINATE, |_| {});
        }
        self.end();
        true
    }

    /// The pid of the backend; see [`Session::id`](crate::Session::id).
    pub fn id(&self) -> Option<u32> {
        self.key.map(|key| key.pid)
    }

    /// The packet that cancels the statement under way; see
    /// [`Session::cancel_request`](crate::Session::cancel_request).
    pub fn cancel_request(&self) -> Option<[u8; 16]> {
        self.key.map(startup::cancel_request)
    }

    /// Whether the session has logged in and waits for a command.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.pending = Pending::default();
    }
}

fn ends_session(event: &Event) -> bool {
    match event {
        Event::Malformed(_) | Event::TlsRefused | Event::WrongProtocol(_) => true,
        Event::Refused(refusal) => refusal.fatal,
        Event::Greeted(_)
        | Event::LoggedIn(_)
        | Event::Pong
        | Event::StartTls
        | Event::Answer(_) => false,
    }
}

#[cfg(test)]
mod tests;
