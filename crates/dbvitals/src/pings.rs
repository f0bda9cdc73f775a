//! Liveness traffic in captured packets: how much, from whom, and how much of it useless.
//!
//! ```text
//!   capture file ─┐
//!   interface   ──┴▶ packet.rs ──▶ listener.rs ──▶ connection.rs ──▶ wire's Follower
//!                    TCP segments   by addresses     in order, whose        │
//!                                                    protocol               ▼
//!                    Account ◀──── groups.rs, tally.rs ◀──────────────── pulse.rs
//! ```
//!
//! Frames come in with the times of the capture; no clock is read. All that is kept is bounded:
//! connections, groups, what comes too early; and no text of a statement is kept at all.

mod capture_file;
mod capture_writer;
mod connection;
mod cursor;
mod groups;
mod habit;
mod latencies;
mod listener;
mod packet;
mod pulse;
mod servers;
mod tally;

pub(crate) use capture_file::{CaptureError, CaptureFile};
pub(crate) use capture_writer::CaptureWriter;
pub(crate) use groups::{Asker, Group, GroupBy};
pub(crate) use habit::Habit;
pub(crate) use listener::{Account, Listener, Settings};
pub(crate) use packet::{Endpoint, Frame, Link};
pub(crate) use tally::{Connections, Death, IDLE_ENDS, Tally};

#[cfg(test)]
#[path = "../../../fuzz/capture.rs"]
mod capture;
#[cfg(test)]
mod corpus;
