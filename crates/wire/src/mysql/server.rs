//! The server's side of one connection; see [`Server`](crate::Server) for the contract.
//!
//! Enough of a server to be logged into, pinged, queried and left, for tests and demonstrations.
//! Every client gets the capabilities it asks for out of `OFFERED`. Of [`Authentication`]'s
//! kinds, `Cleartext` is mysql_clear_password here; PostgreSQL's own (`Md5`, `Scram`) let nobody
//! in. The full exchange of caching_sha2_password takes the password in clear, over TLS or a unix
//! socket; a client that asks for an RSA key is denied.

use super::capabilities::Capabilities;
use super::handshake::{Handshake, NONCE_LENGTH};
use super::packet::{self, Inbox, Packet};
use super::plugin::{self, Plugin};
use super::reply::{self, caching_sha2};
use super::response::{Opening, Response};
use super::{command, result_set};
use crate::{Answer, Authentication, Request, ServerOptions};

/// What every server offers; TLS comes with the options.
const OFFERED: Capabilities = Capabilities(
    Capabilities::LONG_PASSWORD.0
        | Capabilities::CONNECT_WITH_DB.0
        | Capabilities::PROTOCOL_41.0
        | Capabilities::SECURE_CONNECTION.0
        | Capabilities::MULTI_STATEMENTS.0
        | Capabilities::MULTI_RESULTS.0
        | Capabilities::PLUGIN_AUTH.0
        | Capabilities::CONNECT_ATTRS.0
        | Capabilities::PLUGIN_AUTH_LENENC.0,
);

const BAD_HANDSHAKE: u16 = 1043;
const ACCESS_DENIED: u16 = 1045;
const UNKNOWN_ERROR: u16 = 1105;
const PACKET_TOO_LARGE: u16 = 1153;

/// A session of a scripted MySQL or MariaDB server.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    phase: Phase,
    inbox: Inbox,
    nonce: [u8; NONCE_LENGTH],
    user: String,
    /// The number of the next packet to send; 0 when nothing was asked.
    sequence: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client has to answer the greeting.
    Greeted,
    /// TLS was promised; the owner does the handshake.
    Tls,
    /// The client has to answer an authentication switch.
    Switched,
    /// The client has to send its password.
    FullExchange,
    Commands,
    /// Nothing more is said or heard.
    Over,
}

impl Server {
    /// Starts a session: appends the greeting.
    pub fn new(options: ServerOptions, out: &mut Vec<u8>) -> Self {
        let server = Self {
            nonce: greeting_nonce(&options.entropy),
            options,
            phase: Phase::Greeted,
            inbox: Inbox::default(),
            user: String::new(),
            sequence: 1,
        };
        Handshake {
            version: server.options.version.as_bytes(),
            session_id: server.options.session_id,
            nonce: server.nonce,
            capabilities: server.offered(),
            plugin: server.greeting_plugin().name().as_bytes(),
        }
        .append(out);
        server
    }

    /// Appends a refusal in place of a greeting, as a server does that is full (1040) or does not
    /// want this host (1129, 1130); the connection is closed after it.
    pub fn refuse(number: u16, message: &str, out: &mut Vec<u8>) {
        reply::append_error(0, number, None, message, out);
    }

    /// Takes bytes from the client and returns the next request, if they complete one; see
    /// [`Server::handle_input`](crate::Server::handle_input).
    ///
    /// After [`Request::StartTls`] the input that is left belongs to the TLS handshake, for which
    /// MySQL's clients do not wait: it is not touched.
    pub fn handle_input(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Request> {
        loop {
            match self.phase {
                Phase::Tls => return None,
                Phase::Over => {
                    *input = &[];
                    return None;
                }
                Phase::Greeted | Phase::Switched | Phase::FullExchange | Phase::Commands => {}
            }
            match self.inbox.next(input) {
                Ok(Some(packet)) => {
                    if let Some(request) = self.handle_packet(&packet, out) {
                        return Some(request);
                    }
                }
                Ok(None) => return None,
                Err(packet::TooLong) => {
                    self.send_error(PACKET_TOO_LARGE, "Got a packet bigger than 1 MiB", out);
                    self.phase = Phase::Over;
                    return Some(Request::Other);
                }
            }
        }
    }

    /// Goes on after the TLS handshake.
    pub fn handle_tls_established(&mut self) {
        if self.phase == Phase::Tls {
            self.phase = Phase::Greeted;
        }
    }

    /// Answers a ping with OK; also what a statement without rows gets.
    pub fn reply_pong(&mut self, out: &mut Vec<u8>) {
        reply::append_ok(self.sequence, out);
        self.sequence = 0;
    }

    /// Answers a query.
    pub fn reply_answer(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        result_set::append(answer, self.sequence, out);
        self.sequence = 0;
    }

    /// Refuses with an error number in `code`; anything else there becomes 1105.
    ///
    /// Before the login this ends the session. While nothing is asked it is a server's last word,
    /// such as 1927 or 4031.
    pub fn reply_error(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.send_error(code.parse().unwrap_or(UNKNOWN_ERROR), message, out);
        if self.phase != Phase::Commands {
            self.phase = Phase::Over;
        }
    }

    fn handle_packet(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Option<Request> {
        self.sequence = packet.sequence().wrapping_add(1);
        let payload = packet.payload();
        match self.phase {
            Phase::Greeted => self.handle_opening(payload, out),
            Phase::Switched => self.handle_answer(payload, out),
            Phase::FullExchange => {
                let right = self
                    .account()
                    .is_some_and(|(_, password)| payload == plugin::clear_password(password));
                Some(self.conclude(right, out))
            }
            Phase::Commands => Some(self.handle_command(payload)),
            Phase::Tls | Phase::Over => None,
        }
    }

    fn handle_opening(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Option<Request> {
        match Opening::parse(payload, self.offered()) {
            Some(Opening::TlsRequest) => {
                self.phase = Phase::Tls;
                Some(Request::StartTls)
            }
            Some(Opening::Response(Response {
                user,
                answer,
                plugin,
                ..
            })) => {
                self.user = String::from_utf8_lossy(user).into_owned();
                self.handle_response(plugin, answer, out)
            }
            None => {
                self.send_error(BAD_HANDSHAKE, "Bad handshake", out);
                self.phase = Phase::Over;
                Some(Request::Other)
            }
        }
    }

    /// Takes the answer to the greeting, or asks for that of the plugin that counts.
    fn handle_response(
        &mut self,
        plugin: &[u8],
        answer: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Request> {
        let Some((wanted, _)) = self.account() else {
            let right = self.options.authentication == Authentication::Trust;
            return Some(self.conclude(right, out));
        };
        if plugin == wanted.name().as_bytes() {
            return self.handle_answer(answer, out);
        }
        let nonce = match wanted {
            Plugin::Ed25519 => self.options.entropy.to_vec(),
            Plugin::NativePassword
            | Plugin::CachingSha2
            | Plugin::Sha256
            | Plugin::ClearPassword => [&self.nonce[..], &[0]].concat(),
        };
        let sequence = self.next_sequence();
        reply::append_switch(sequence, wanted.name(), &nonce, out);
        self.phase = Phase::Switched;
        None
    }

    /// Takes the answer of the plugin that counts.
    fn handle_answer(&mut self, answer: &[u8], out: &mut Vec<u8>) -> Option<Request> {
        let (plugin, password) = self.account()?;
        let right = match plugin {
            Plugin::Ed25519 => plugin::ed25519_verifies(password, &self.options.entropy, answer),
            Plugin::NativePassword
            | Plugin::CachingSha2
            | Plugin::Sha256
            | Plugin::ClearPassword => {
                plugin.answer(password, &self.nonce).as_deref() == Some(answer)
            }
        };
        // Without a password there is nothing to exchange.
        if !answer.is_empty() && !password.is_empty() {
            if matches!(
                self.options.authentication,
                Authentication::CachingSha2Full(_)
            ) {
                self.send_more_data(caching_sha2::FULL, out);
                self.phase = Phase::FullExchange;
                return None;
            }
            if right && plugin == Plugin::CachingSha2 {
                self.send_more_data(caching_sha2::FAST, out);
            }
        }
        Some(self.conclude(right, out))
    }

    fn handle_command(&mut self, payload: &[u8]) -> Request {
        match payload.split_first() {
            Some((&command::PING, _)) => Request::Ping,
            Some((&command::QUERY, sql)) => {
                Request::Query(String::from_utf8_lossy(sql).into_owned())
            }
            Some((&command::QUIT, _)) => {
                self.phase = Phase::Over;
                Request::Quit
            }
            _ => Request::Other,
        }
    }

    /// The plugin and password that let a client in; `None` where that is no question of either.
    fn account(&self) -> Option<(Plugin, &str)> {
        match &self.options.authentication {
            Authentication::MySqlNative(password) => Some((Plugin::NativePassword, password)),
            Authentication::CachingSha2Fast(password)
            | Authentication::CachingSha2Full(password) => Some((Plugin::CachingSha2, password)),
            Authentication::Ed25519(password) => Some((Plugin::Ed25519, password)),
            Authentication::Cleartext(password) => Some((Plugin::ClearPassword, password)),
            Authentication::Trust | Authentication::Md5(_) | Authentication::Scram(_) => None,
        }
    }

    /// The plugin that the greeting names: as real servers do, one of the two with its nonce.
    fn greeting_plugin(&self) -> Plugin {
        match self.account() {
            Some((Plugin::CachingSha2, _)) => Plugin::CachingSha2,
            _ => Plugin::NativePassword,
        }
    }

    fn offered(&self) -> Capabilities {
        match self.options.tls {
            true => OFFERED | Capabilities::SSL,
            false => OFFERED,
        }
    }

    /// Lets the client in or not, and tells it so.
    fn conclude(&mut self, right: bool, out: &mut Vec<u8>) -> Request {
        let user = self.user.clone();
        if right {
            let sequence = self.next_sequence();
            reply::append_ok(sequence, out);
            self.phase = Phase::Commands;
            self.sequence = 0;
            Request::LoggedIn { user }
        } else {
            self.send_error(
                ACCESS_DENIED,
                &format!("Access denied for user '{user}'"),
                out,
            );
            self.phase = Phase::Over;
            Request::Denied { user }
        }
    }

    fn send_error(&mut self, number: u16, message: &str, out: &mut Vec<u8>) {
        reply::append_error(self.sequence, number, Some(sqlstate(number)), message, out);
        self.sequence = 0;
    }

    fn send_more_data(&mut self, word: u8, out: &mut Vec<u8>) {
        let sequence = self.next_sequence();
        reply::append_more_data(sequence, &[word], out);
    }

    fn next_sequence(&mut self) -> u8 {
        let this = self.sequence;
        self.sequence = this.wrapping_add(1);
        this
    }
}

/// A nonce of printable characters; real servers avoid NUL and '$' too.
fn greeting_nonce(entropy: &[u8; 32]) -> [u8; NONCE_LENGTH] {
    let mut nonce = [0; NONCE_LENGTH];
    for (character, byte) in nonce.iter_mut().zip(entropy) {
        *character = b'%' + byte % (b'~' - b'%' + 1);
    }
    nonce
}

/// The SQLSTATE of the errors that scripts use.
fn sqlstate(number: u16) -> &'static str {
    match number {
        1040 => "08004",
        1043 | 1053 | 1153 => "08S01",
        1044 | 1049 | 1064 | 1203 | 1226 => "42000",
        1045 => "28000",
        1146 => "42S02",
        1317 | 1927 => "70100",
        _ => "HY000",
    }
}

#[cfg(test)]
mod tests;
