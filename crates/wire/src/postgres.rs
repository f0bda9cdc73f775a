//! Placeholder until the protocol lands.

use crate::{Event, Login, Request, ServerOptions};

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
    pub fn new(login: Login, out: &mut Vec<u8>) -> Self {
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

impl Server {
    /// Starts.
    pub fn new(_options: ServerOptions) -> Self {
        Self {}
    }
    /// Input.
    pub fn handle_input(&mut self, input: &mut &[u8], _out: &mut Vec<u8>) -> Option<Request> {
        *input = &[];
        None
    }
    /// TLS.
    pub fn handle_tls_established(&mut self) {}
    /// Pong.
    pub fn reply_pong(&mut self, _out: &mut Vec<u8>) {}
    /// Value.
    pub fn reply_value(&mut self, _column: &str, _value: Option<&str>, _out: &mut Vec<u8>) {}
    /// Error.
    pub fn reply_error(&mut self, _code: &str, _message: &str, _fatal: bool, _out: &mut Vec<u8>) {}
}
