//! The accept queues of this machine's listeners: how long, how long they may become, what they
//! dropped, who listens, who waits.
//!
//! ```text
//!   Question ──▶ netlink sock_diag ──▶ Row        exact, about 1 µs a lookup, for every user
//!   /proc/PID/net/{tcp,unix,netstat}              other namespaces without privileges
//!   /proc/PID/{fd,stat,task/*/wchan}              whose sockets, and who is blocked in a connect
//!                        └──▶ Namespace ──▶ Listeners, Waiting, Counters
//!                             Owners, Blocked
//! ```
//!
//! A TCP or unix stream listener has a queue of connections that wait for accept(). Its limit is
//! what listen() was given, or `net.core.somaxconn` at that moment if that was less; it holds one
//! more than that. Beyond, TCP drops in silence, so that clients try again after whole seconds, and
//! a unix connect blocks, or gets EAGAIN.
//!
//! - [`Namespace`] is what to ask: [`sample`](Namespace::sample) for all listeners at once,
//!   [`tcp_listener`](Namespace::tcp_listener) for one, [`waiting`](Namespace::waiting) for those
//!   who wait, [`counters`](Namespace::counters) for what was dropped.
//! - [`Listeners`] finds the ones that a connect to an address or path reaches.
//! - [`Owners`] and [`Blocked`] walk through processes; they are dearer, and need privileges to see
//!   other users'. What is hidden is counted.
//! - [`Question`] and [`read_answer`] are the codec alone, for programs with sockets of their own.
//!
//! Who watches servers takes one [`sample`](Namespace::sample) for all of them and finds each by
//! [`Listeners::reached_at`] or [`Listeners::at_name`]. Where a queue has grown, the peers who wait
//! tell a slow server from one that accepts nobody: [`Waiting::stands_still_since`].
//!
//! It decides nothing and reads no clock. It is Linux only, and holds no `unsafe`.
//!
//! ```
//! use dbvitals_acceptqueue::Namespace;
//!
//! let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let mut namespace = Namespace::current()?;
//! let listener = namespace.tcp_listener(server.local_addr()?)?;
//! let listener = listener.expect("it listens");
//! assert_eq!((listener.length, listener.is_full()), (0, Some(false)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod blocked;
mod counters;
mod listener;
mod name;
mod namespace;
mod netlink;
mod process;
mod question;
mod socket;
mod tables;
mod waiting;

pub use answer::{FileId, Progress, Row, TcpRow, TcpState, UnixRow, read_answer};
pub use blocked::{Blocked, BlockedClient};
pub use counters::{Counters, OverflowCount, overflows_of};
pub use listener::{Family, Listener, Listeners, Local};
pub use name::UnixName;
pub use namespace::{Namespace, OpenError, Sight, namespaces};
pub use netlink::Malformed;
pub use process::{Owners, Process, ProcessState};
pub use question::{IpVersion, Question};
pub use socket::AskError;
pub use waiting::{Ghost, HalfOpen, Knocking, Peer, Waiting};
