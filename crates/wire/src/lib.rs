//! The MySQL, MariaDB and PostgreSQL protocols without any IO: bytes in, bytes and events out.
//!
//! ```text
//!            bytes from the peer                      events: Greeted, StartTls, LoggedIn, Pong, …
//!   socket ───────────────────────▶  Session  ─────────────────────────────────────────▶  caller
//!          ◀───────────────────────           ◀─────────────────────────────────────────
//!            bytes for the peer                       ping, query, goodbye
//! ```
//!
//! A [`Session`] is the client's side of one connection, of either protocol. It never reads a
//! clock, never waits and never fails: refusals, foreign protocols and broken bytes are [`Event`]s.
//! Whoever owns the socket passes what arrived to [`Session::handle_input`] and sends what was
//! appended to `out`. The servers' side ([`mysql::Server`], [`postgres::Server`]) speaks to the
//! same rules and serves tests and demonstrations.
//!
//! Limits: a message longer than [`MESSAGE_LENGTH_MAX`] is an [`Event::Malformed`], and a session
//! holds back at most one unfinished message. An idle session owns no buffer.
//!
//! The loop of a caller, complete but for the socket:
//!
//! ```
//! use dbvitals_wire::{Credentials, Event, Login, Session, TlsOffer};
//!
//! let login = Login::new(Credentials::new("vitals"), TlsOffer::Never, [7; 32]);
//! let mut out = Vec::new();
//! let mut session = Session::postgres(login, &mut out);
//! assert!(!out.is_empty(), "PostgreSQL's client speaks first");
//!
//! let received = b"HTTP/1.1 400 Bad Request\r\n\r\n";
//! let mut input = &received[..];
//! let event = session.handle_input(&mut input, &mut out);
//! assert!(matches!(event, Some(Event::WrongProtocol(_))));
//! ```

mod answer;
mod event;
mod login;
pub mod mysql;
pub mod passive;
pub mod postgres;
mod server;
mod session;
mod text;

pub use answer::{ANSWER_CELLS_MAX, ANSWER_LENGTH_MAX, Answer, Row, Table, WORD_LENGTH_MAX};
pub use event::{Event, Foreign, Greeting, Product, Refusal};
pub use login::{Channel, Credentials, Login, TlsOffer};
pub use server::{Authentication, Request, Server, ServerOptions};
pub use session::Session;

/// The longest message, in bytes, that a session accepts from its peer: 1 MiB.
///
/// What a probe asks for is answered in a few hundred bytes; the limit bounds what a hostile or
/// foreign peer can make a session store.
pub const MESSAGE_LENGTH_MAX: usize = 1 << 20;
