//! MySQL's and MariaDB's protocol, both sides: [`Client`] asks, [`Server`] answers.
//!
//! ```text
//!   Client                                                            Server
//!     │   ◀── handshake.rs: HandshakeV10, the server's first words ──    │
//!     │   ── response.rs: SSLRequest, HandshakeResponse41 ──▶            │
//!     │   ◀── reply.rs: auth switch, more data, OK, ERR ──▶              │
//!     │       (what is said in between: plugin.rs, rsa.rs)               │
//!     │   ── COM_PING, COM_QUERY, COM_QUIT ──▶                           │
//!     │   ◀── reply.rs: OK, ERR; result_set.rs: columns, rows ──         │
//! ```
//!
//! All of it travels in packets (`packet.rs`) of integers and strings (`bytes.rs`). The client's
//! login is a machine of its own, `login.rs`, which is dropped once it is over: an idle client is a
//! few words of memory. What answers instead of a database is told apart by `first_words.rs`.
//!
//! Sources: "Client/Server Protocol" in MySQL's source documentation (dev.mysql.com/doc/dev/
//! mysql-server, pages `page_protocol_*`), and MariaDB's knowledge base: "Clients & Utilities:
//! Server-Client protocol, 1-Connecting", "Authentication plugin - ed25519". Where the two differ
//! the code says so.

mod bytes;
mod capabilities;
mod client;
mod first_words;
mod handshake;
mod login;
mod packet;
mod plugin;
mod reply;
mod response;
mod result_set;
mod rsa;
mod server;

pub use client::Client;
pub use server::Server;

/// The collation announced by both sides: utf8mb4_general_ci, known to every server since 5.5.
const UTF8MB4: u8 = 45;

/// The command bytes that are spoken or understood.
mod command {
    pub(super) const QUIT: u8 = 0x01;
    pub(super) const QUERY: u8 = 0x03;
    pub(super) const PING: u8 = 0x0e;
}
