//! The client's login, from the greeting to the server's OK: a machine that lives no longer.
//!
//! ```text
//!   greeting ─▶ [SSLRequest, TLS] ─▶ HandshakeResponse41 ─▶ OK or ERR
//!                                      │        ▲
//!                       auth switch ◀──┴──▶ more data: caching_sha2_password's exchange
//! ```
//!
//! `client.rs` owns it, feeds it packets, and drops it, with the credentials, when it is over. A
//! password goes out in clear only over a [`Channel::Private`].

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::capabilities::Capabilities;
use super::handshake::{Handshake, NONCE_LENGTH};
use super::packet::{self, Packet};
use super::plugin::{self, Plugin};
use super::reply::{self, LoginReply, Reply, caching_sha2, sha256};
use super::response::{self, Response};
use super::rsa;
use crate::{Channel, Credentials, Event, Greeting, Login, Refusal, text};

/// A login takes two or three replies; a server that goes on for ever is none.
const REPLIES_MAX: u8 = 16;

/// The error number of MySQL's client library for a plugin that it cannot use.
const AUTH_PLUGIN_CANNOT_LOAD: u16 = 2059;

/// As much of a plugin's name as is told; the servers' own are half as long.
const PLUGIN_NAME_LENGTH_MAX: usize = 64;

/// A login under way.
#[derive(Debug)]
pub(super) struct LoginExchange {
    login: Login,
    greeting: Greeting,
    /// What the server offers.
    offered: Capabilities,
    /// Whether TLS was asked for.
    tls: bool,
    plugin: Plugin,
    nonce: Vec<u8>,
    /// The number of the next packet, whoever sends it.
    sequence: u8,
    replies_left: u8,
    awaits_public_key: bool,
}

/// Where a login stands after a packet.
#[derive(Debug)]
pub(super) enum Step {
    /// The server has the word.
    Wait,
    /// The server lets us in.
    LoggedIn,
    /// The session is over.
    End(Event),
}

impl LoginExchange {
    pub(super) fn new(login: Login, handshake: &Handshake<'_>) -> Self {
        // Any other plugin is switched to by the server, if it has to be.
        let plugin = match Plugin::from_name(handshake.plugin) {
            Some(Plugin::CachingSha2) => Plugin::CachingSha2,
            Some(
                Plugin::NativePassword | Plugin::Sha256 | Plugin::Ed25519 | Plugin::ClearPassword,
            )
            | None => Plugin::NativePassword,
        };
        Self {
            login,
            greeting: handshake.facts(),
            offered: handshake.capabilities,
            tls: false,
            plugin,
            nonce: handshake.nonce.to_vec(),
            sequence: 1,
            replies_left: REPLIES_MAX,
            awaits_public_key: false,
        }
    }

    pub(super) fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    pub(super) fn into_greeting(self) -> Greeting {
        self.greeting
    }

    /// Appends an SSLRequest.
    pub(super) fn request_tls(&mut self, out: &mut Vec<u8>) {
        self.tls = true;
        let sequence = self.next_sequence();
        response::append_tls_request(self.capabilities(), sequence, out);
    }

    /// Goes on within TLS.
    pub(super) fn handle_tls_established(&mut self, out: &mut Vec<u8>) {
        self.login.channel = Channel::Private;
        self.respond(out);
    }

    /// Forgets who logs in: what is said from here on tells the server nothing.
    pub(super) fn become_stranger(&mut self) {
        self.login.credentials = Credentials::new("");
    }

    /// Appends the response to the greeting.
    pub(super) fn respond(&mut self, out: &mut Vec<u8>) {
        let sequence = self.next_sequence();
        // The nonce of a greeting has the length that both of its plugins want.
        let answer = self
            .plugin
            .answer(self.password(), &self.nonce)
            .unwrap_or_default();
        let credentials = &self.login.credentials;
        Response {
            capabilities: self.capabilities(),
            user: credentials.user.as_bytes(),
            answer: &answer,
            database: credentials
                .database
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
            plugin: self.plugin.name().as_bytes(),
            program: self.login.program.as_bytes(),
        }
        .append(sequence, out);
    }

    /// Takes one packet of the server's.
    pub(super) fn handle_packet(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Step {
        let in_sequence = packet.sequence() == self.sequence;
        self.sequence = packet.sequence().wrapping_add(1);
        self.replies_left = self.replies_left.saturating_sub(1);
        match LoginReply::parse(packet.payload()) {
            // Whatever its number: a server in trouble may not have counted ours.
            Some(LoginReply::End(Reply::Error(refusal))) => Step::End(reply::last_words(refusal)),
            _ if !in_sequence => malformed("the packets of a login in sequence"),
            _ if self.replies_left == 0 => malformed("a login that comes to an end"),
            Some(LoginReply::End(Reply::Ok { .. })) => Step::LoggedIn,
            Some(LoginReply::MoreData(data)) => self.handle_more_data(data, out),
            Some(LoginReply::Switch { plugin, nonce }) => self.handle_switch(plugin, nonce, out),
            None => malformed("OK, an error or an authentication request during the login"),
        }
    }

    fn handle_switch(&mut self, name: &[u8], nonce: &[u8], out: &mut Vec<u8>) -> Step {
        let Some(plugin) = Plugin::from_name(name) else {
            let name = text::clean(name, PLUGIN_NAME_LENGTH_MAX);
            return unusable(format!(
                "the server asks for authentication plugin {name:?}; supported are {}",
                Plugin::names(),
            ));
        };
        if plugin == Plugin::ClearPassword && self.login.channel == Channel::Open {
            return unusable(format!(
                "the server asks for the password in clear ({}), which needs TLS or a unix socket",
                plugin.name(),
            ));
        }
        let nonce = match plugin {
            // A NUL follows these, as it does in the greeting.
            Plugin::NativePassword | Plugin::CachingSha2 | Plugin::Sha256 => {
                nonce.get(..NONCE_LENGTH)
            }
            Plugin::Ed25519 | Plugin::ClearPassword => Some(nonce),
        };
        let Some((nonce, answer)) =
            nonce.and_then(|nonce| Some((nonce.to_vec(), plugin.answer(self.password(), nonce)?)))
        else {
            return malformed("a nonce of the plugin's length");
        };
        // Its servers take the password in clear within TLS alone, not over a unix socket.
        let needs_key = plugin == Plugin::Sha256 && !self.tls && !self.password().is_empty();
        (self.plugin, self.nonce, self.awaits_public_key) = (plugin, nonce, needs_key);
        match needs_key {
            true => self.send(&[sha256::PUBLIC_KEY_REQUEST], out),
            false => self.send(&answer, out),
        }
    }

    fn handle_more_data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Step {
        if std::mem::take(&mut self.awaits_public_key) {
            return match self.encrypted_password(data) {
                Some(encrypted) => self.send(&encrypted, out),
                None => malformed("an RSA public key that holds the password"),
            };
        }
        if self.plugin != Plugin::CachingSha2 {
            return malformed("no more data from this plugin");
        }
        match (data, self.login.channel) {
            ([caching_sha2::FAST], _) => Step::Wait,
            ([caching_sha2::FULL], Channel::Private) => {
                self.send(&plugin::clear_password(self.password()), out)
            }
            ([caching_sha2::FULL], Channel::Open) => {
                self.awaits_public_key = true;
                self.send(&[caching_sha2::PUBLIC_KEY_REQUEST], out)
            }
            _ => malformed("a word of caching_sha2_password"),
        }
    }

    /// The password, a NUL behind it, covered with the nonce and encrypted for the server.
    fn encrypted_password(&self, public_key: &[u8]) -> Option<Vec<u8>> {
        let mut message = plugin::clear_password(self.password());
        for (byte, mask) in message.iter_mut().zip(self.nonce.iter().cycle()) {
            *byte ^= mask;
        }
        // A server may ask twice, so the seed depends on what is asked.
        let digest = Sha256::new()
            .chain_update(self.login.entropy)
            .chain_update(&self.nonce)
            .chain_update(public_key)
            .finalize();
        rsa::encrypt(public_key, &message, *digest.first_chunk()?)
    }

    fn send(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Step {
        let sequence = self.next_sequence();
        packet::append(out, sequence, |out| out.extend_from_slice(payload));
        Step::Wait
    }

    fn next_sequence(&mut self) -> u8 {
        let this = self.sequence;
        self.sequence = this.wrapping_add(1);
        this
    }

    /// What we want of what the server offers.
    fn capabilities(&self) -> Capabilities {
        let mut wanted = Capabilities::LONG_PASSWORD
            | Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::MULTI_STATEMENTS
            | Capabilities::MULTI_RESULTS
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC
            | Capabilities::CONNECT_ATTRS;
        if self.login.credentials.database.is_some() {
            wanted = wanted | Capabilities::CONNECT_WITH_DB;
        }
        if self.tls {
            wanted = wanted | Capabilities::SSL;
        }
        wanted & self.offered
    }

    fn password(&self) -> &str {
        self.login
            .credentials
            .password
            .as_ref()
            .map_or("", |password| password.expose_secret())
    }
}

fn malformed(expected: &'static str) -> Step {
    Step::End(Event::Malformed(expected))
}

/// A refusal of our own, in the words of MySQL's client library.
fn unusable(message: String) -> Step {
    Step::End(Event::Refused(Refusal {
        number: AUTH_PLUGIN_CANNOT_LOAD,
        sqlstate: "HY000".to_owned(),
        message,
        routine: String::new(),
        fatal: true,
    }))
}
