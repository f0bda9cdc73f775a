//! PostgreSQL's protocol, version 3.0: the client's side, and enough of a server for tests.
//!
//! ```text
//!   client.rs            Client: a session's phases, ping, query, goodbye
//!     client/login.rs      from the first byte sent to the first ReadyForQuery
//!     client/command.rs    one statement and its answer
//!   server.rs            Server: the same conversation from the other end
//!     server/admission.rs  how it authenticates
//!   authentication.rs    the client's answers to AuthenticationXXX: password, md5, SASL
//!   scram.rs             SCRAM-SHA-256, both sides
//!   startup.rs           packets without a type byte: SSLRequest, StartupMessage, CancelRequest
//!   error_response.rs    ErrorResponse to and from `Refusal`
//!   foreign.rs           who answers, if it is not PostgreSQL
//!   message.rs           framing: type bytes, lengths, unfinished messages
//! ```
//!
//! Sources: PostgreSQL's documentation, chapter "Frontend/Backend Protocol"; RFC 5802 (SCRAM) and
//! RFC 7677 (SCRAM-SHA-256). Where the documentation is silent, libpq's behaviour decides.

mod authentication;
mod client;
mod error_response;
mod foreign;
mod message;
mod scram;
mod server;
mod startup;

pub use client::Client;
pub use server::Server;
