//! Placeholder until the protocol lands.

use crate::{Event, Login};

/// The client's side.
#[derive(Debug)]
pub struct Client {
    login: Login,
}

/// The server's side.
#[derive(Debug)]
pub struct Server {}

impl Client {
    /// Starts.
    pub fn new(login: Login) -> Self {
        Self { login }
    }
    /// Input.
    pub fn handle_input(&mut self, input: &mut &[u8], _out: &mut Vec<u8>) -> Option<Event> {
        *input = &[];
        let _ = &self.login;
        None
    }
    /// TLS.
    pub fn handle_tls_established(&mut self, _out: &mut Vec<u8>) {}
    /// Ping.
    pub fn ping(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }
    /// Query.
    pub fn query(&mut self, _sql: &str, _out: &mut Vec<u8>) -> bool {
        false
    }
    /// Goodbye.
    pub fn goodbye(&mut self, _out: &mut Vec<u8>) -> bool {
        true
    }
    /// Idle.
    pub fn is_idle(&self) -> bool {
        false
    }
}
