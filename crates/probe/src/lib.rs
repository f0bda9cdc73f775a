//! Probes database servers: to a chosen depth, within one deadline, without leaving a trace.
//!
//! ```text
//!   Order { target, path, depth, deadline }
//!        │
//!        ▼
//!     Prober ── resolve ── connect ── TLS ── greeting ── login ── ping, query, role, lag, write
//!        │
//!        ▼
//!   Observation { depth reached, outcome, phase timings, server facts }
//! ```
//!
//! The only code of the project that dials databases, and the only one that reads a clock. It
//! decides nothing: an [`Order`] says what to do, an observation says what was seen; retries,
//! schedules and conclusions are `dbvitals-verdict`'s. It is quiet: a handshake that it starts is
//! finished, a session ends with a goodbye, a connect probe ends before the server notices it, and
//! at depth `listening` the kernel alone is asked.
//!
//! One [`Prober`] is one epoll loop for any number of targets, in the thread that calls it.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use dbvitals_probe::{Address, Clock, Order, Prober, Protocol, Target, TargetId};
//! use dbvitals_verdict::{Depth, Path, ProbeId};
//!
//! # fn main() -> std::io::Result<()> {
//! let clock = Clock::start();
//! let mut prober = Prober::new(clock)?;
//! let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 5432 };
//! let id = TargetId(0);
//! prober.add_target(id, Arc::new(Target::new(Protocol::Postgres, address)));
//! let deadline = clock.now() + Duration::from_secs(2);
//! prober.start(Order {
//!     target: id,
//!     probe: ProbeId(1),
//!     path: Path::Fresh,
//!     depth: Depth::Greeting,
//!     deadline,
//!     hold: false,
//! });
//! let observation = loop {
//!     if let Some((_, observation)) = prober.poll_observation() {
//!         break observation;
//!     }
//!     prober.wait(None)?;
//! };
//! println!("{:?} after {:?}", observation.outcome, observation.took());
//! # Ok(())
//! # }
//! ```

mod account;
mod clock;
mod conversation;
mod failure;
mod learned;
mod listening;
mod order;
mod probe;
mod prober;
mod question;
mod resolver;
mod stream;
mod survey;
mod target;
mod tls;

pub use clock::Clock;
pub use failure::plain;
pub use order::{Order, TargetId};
pub use prober::Prober;
pub use target::{Address, Protocol, Statement, Target};
pub use tls::{TlsConfig, TlsConfigError, TlsPolicy};
