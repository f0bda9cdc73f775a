//! The client's side of one connection; see [`Session`](crate::Session) for the contract.
//!
//! ```text
//!   Greeting ─▶ [Tls] ─▶ Login ─▶ Idle ⇄ Pinging, Querying
//!       any of them ─▶ Over: fatal refusals, foreign peers, malformed bytes, goodbye
//! ```
//!
//! An idle client is 48 bytes and owns no memory: the login is boxed and dropped, and so is the
//! reading of a result. A ping's answer is read where it arrived.

use super::capabilities::Capabilities;
use super::command;
use super::first_words::{self, FirstWords};
use super::handshake::Handshake;
use super::login::{LoginExchange, Step};
use super::packet::{self, Inbox, Packet};
use super::reply::{self, Reply};
use super::result_set::ResultSet;
use crate::{Event, Login, MESSAGE_LENGTH_MAX, Refusal, TlsOffer};

/// A session with a MySQL or MariaDB server.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    inbox: Inbox,
    id: Option<u32>,
}

#[derive(Debug)]
enum Phase {
    /// The server has not said who it is.
    Greeting(Box<Login>),
    /// Greeted by a server without the TLS we require: it was answered as by a stranger, so that
    /// the handshake comes to its end, and [`Event::TlsRefused`] is told.
    TlsMissing {
        announced: bool,
    },
    /// Greeted, and TLS asked for; after [`Event::StartTls`] the owner does the handshake.
    Tls {
        login: Box<LoginExchange>,
        announced: bool,
    },
    Login(Box<LoginExchange>),
    Idle,
    Pinging,
    Querying(Box<ResultSet>),
    /// Nothing more is said or heard.
    Over,
}

impl Client {
    /// Starts a session; the server speaks first, so nothing is to be sent.
    pub fn new(login: Login) -> Self {
        Self {
            phase: Phase::Greeting(Box::new(login)),
            inbox: Inbox::default(),
            id: None,
        }
    }

    /// Takes bytes from the server and returns the next event, if they complete one; see
    /// [`Session::handle_input`](crate::Session::handle_input).
    pub fn handle_input(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Event> {
        loop {
            if let Some(event) = self.poll_event(input) {
                return Some(event);
            }
            match self.inbox.next(input) {
                Ok(Some(packet)) => {
                    if let Some(event) = self.handle_packet(&packet, out) {
                        return Some(event);
                    }
                }
                Ok(None) => return None,
                Err(packet::TooLong) => {
                    // The session's end was told; this is but the end of the handshake.
                    let was_told = matches!(self.phase, Phase::TlsMissing { .. });
                    let event = self.end(Event::Malformed("a packet of at most 1 MiB"));
                    if !was_told {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Goes on after the TLS handshake that [`Event::StartTls`] asked for.
    pub fn handle_tls_established(&mut self, out: &mut Vec<u8>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        self.phase = if let Phase::Tls { mut login, .. } = phase {
            login.handle_tls_established(out);
            Phase::Login(login)
        } else {
            phase
        };
    }

    /// Finishes the handshake as a stranger; see [`Session::decline`](crate::Session::decline).
    pub fn decline(&mut self, out: &mut Vec<u8>) {
        if let Phase::Tls { login, .. } = &mut self.phase {
            login.become_stranger();
            self.handle_tls_established(out);
        }
    }

    /// Asks whether the server is there (COM_PING); see [`Session::ping`](crate::Session::ping).
    pub fn ping(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.is_idle() {
            return false;
        }
        packet::append(out, 0, |out| out.push(command::PING));
        self.phase = Phase::Pinging;
        true
    }

    /// Runs a statement (COM_QUERY); see [`Session::query`](crate::Session::query).
    ///
    /// Statements over [`MESSAGE_LENGTH_MAX`] are not sent, and `false` is returned.
    pub fn query(&mut self, sql: &str, out: &mut Vec<u8>) -> bool {
        if !self.is_idle() || sql.len() > MESSAGE_LENGTH_MAX {
            return false;
        }
        packet::append(out, 0, |out| {
            out.push(command::QUERY);
            out.extend_from_slice(sql.as_bytes());
        });
        self.phase = Phase::Querying(Box::new(ResultSet::new()));
        true
    }

    /// Leaves politely; see [`Session::goodbye`](crate::Session::goodbye).
    ///
    /// A server counts a client that leaves between greeting and login as an error of its host
    /// (`max_connect_errors`), so this asks to go on until the login is over either way. While a
    /// command is outstanding no QUIT is sent: the server would read it only after its answer.
    pub fn goodbye(&mut self, out: &mut Vec<u8>) -> bool {
        match self.phase {
            Phase::Greeting(_) => self.inbox.is_empty(),
            Phase::Tls { .. } | Phase::TlsMissing { .. } | Phase::Login(_) => false,
            Phase::Idle => {
                packet::append(out, 0, |out| out.push(command::QUIT));
                self.phase = Phase::Over;
                true
            }
            Phase::Pinging | Phase::Querying(_) | Phase::Over => true,
        }
    }

    /// The connection id; see [`Session::id`](crate::Session::id).
    pub fn id(&self) -> Option<u32> {
        self.id
    }

    /// Whether the session has logged in and waits for a command.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// What is to be told before, or instead of, reading a packet.
    fn poll_event(&mut self, input: &mut &[u8]) -> Option<Event> {
        match &mut self.phase {
            Phase::Greeting(_) => {
                let first = self.inbox.peek(input, first_words::BYTES_MAX);
                match first_words::judge(&first) {
                    FirstWords::Plausible => None,
                    FirstWords::Protocol9 => {
                        Some(self.end(Event::Malformed("protocol 10, not protocol 9")))
                    }
                    FirstWords::Foreign(foreign) => Some(self.end(Event::WrongProtocol(foreign))),
                }
            }
            // Whoever sits in between could slip words in here that TLS would seem to vouch for.
            Phase::Tls { .. } if !input.is_empty() => {
                Some(self.end(Event::Malformed("no plain text where TLS begins")))
            }
            Phase::Tls { announced, .. } => {
                let due = !std::mem::replace(announced, true);
                due.then_some(Event::StartTls)
            }
            Phase::TlsMissing { announced } => {
                let due = !std::mem::replace(announced, true);
                due.then_some(Event::TlsRefused)
            }
            Phase::Over => {
                *input = &[];
                None
            }
            Phase::Login(_) | Phase::Idle | Phase::Pinging | Phase::Querying(_) => None,
        }
    }

    fn handle_packet(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Option<Event> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Greeting(login) => Some(self.handle_greeting(*login, packet, out)),
            Phase::Login(mut login) => match login.handle_packet(packet, out) {
                Step::Wait => {
                    self.phase = Phase::Login(login);
                    None
                }
                Step::LoggedIn => {
                    self.phase = Phase::Idle;
                    Some(Event::LoggedIn(login.into_greeting()))
                }
                Step::End(event) => Some(self.end(event)),
            },
            Phase::Pinging => Some(self.handle_ping_answer(packet)),
            Phase::Querying(mut result_set) => match result_set.handle_packet(packet) {
                Some(event) => Some(self.finish_command(event)),
                None => {
                    self.phase = Phase::Querying(result_set);
                    None
                }
            },
            Phase::Idle => Some(self.end(match Reply::parse(packet.payload()) {
                Some(Reply::Error(refusal)) => reply::last_words(refusal),
                Some(Reply::Ok { .. }) | None => Event::Malformed("silence while no command runs"),
            })),
            // Whatever it thinks of the stranger, the handshake is over.
            Phase::Tls { .. } | Phase::TlsMissing { .. } | Phase::Over => None,
        }
    }

    fn handle_greeting(&mut self, login: Login, packet: &Packet<'_>, out: &mut Vec<u8>) -> Event {
        if let Some(Reply::Error(refusal)) = Reply::parse(packet.payload()) {
            return self.end(reply::last_words(refusal));
        }
        let Some(handshake) = Handshake::parse(packet.payload()) else {
            return self.end(Event::Malformed("a greeting of protocol 10, since 4.1"));
        };
        let offers_tls = handshake.capabilities.contains(Capabilities::SSL);
        let tls = login.tls;
        let mut exchange = Box::new(LoginExchange::new(login, &handshake));
        self.id = exchange.greeting().session_id;
        let event = Event::Greeted(exchange.greeting().clone());
        self.phase = match (tls, offers_tls) {
            (TlsOffer::Prefer | TlsOffer::Require, true) => {
                exchange.request_tls(out);
                Phase::Tls {
                    login: exchange,
                    announced: false,
                }
            }
            (TlsOffer::Require, false) => {
                exchange.become_stranger();
                exchange.respond(out);
                Phase::TlsMissing { announced: false }
            }
            (TlsOffer::Never, _) | (TlsOffer::Prefer, false) => {
                exchange.respond(out);
                Phase::Login(exchange)
            }
        };
        event
    }

    fn handle_ping_answer(&mut self, packet: &Packet<'_>) -> Event {
        let in_sequence = packet.sequence() == 1;
        let event = match Reply::parse(packet.payload()) {
            Some(Reply::Ok { .. }) if in_sequence => Event::Pong,
            Some(Reply::Error(refusal)) if in_sequence => Event::Refused(refusal),
            // It is no answer to the ping, but came before: the server is ending the session.
            Some(Reply::Error(refusal)) => reply::last_words(refusal),
            Some(Reply::Ok { .. }) | None => Event::Malformed("OK or an error in answer to a ping"),
        };
        self.finish_command(event)
    }

    /// Goes back to idle, unless the event that ended the command also ends the session.
    fn finish_command(&mut self, event: Event) -> Event {
        if matches!(
            event,
            Event::Malformed(_) | Event::Refused(Refusal { fatal: true, .. })
        ) {
            return self.end(event);
        }
        self.phase = Phase::Idle;
        event
    }

    fn end(&mut self, event: Event) -> Event {
        *self = Self {
            phase: Phase::Over,
            inbox: Inbox::default(),
            id: self.id,
        };
        event
    }
}

#[cfg(test)]
mod tests;
