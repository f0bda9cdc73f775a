//! Turns observations of database servers into verdicts.
//!
//! ```text
//!   plans ────────┐
//!   orders ───────┤                  ┌──────▶ StartProbe, CancelProbe
//!   observations ─┼────▶  Monitor  ──┤
//!   the time ─────┘                  └──────▶ Announce(transition, with its evidence)
//! ```
//!
//! A pure state machine: it opens no socket, reads no clock, waits for nothing and cannot fail.
//! The same [`Monitor`] runs in production, in simulations of a hundred thousand worlds, and in
//! every tool that asks "what would it have concluded".
//!
//! What it knows:
//!
//! - A backend is asked on two [`Path`]s, a held session and fresh ones, and what they say
//!   together is more than either says alone: full, a stale path, or dead.
//! - Each [`Cause`] of a failure has a [`Class`]; only `dead` and `unfit` can take a backend down.
//!   What is the checker's own fault never does.
//! - `rise` passes or `fall` failures in a row change a verdict, nothing less.
//! - Nothing is up before evidence, and evidence has an age.
//! - Logins are rationed, for each backend and for all of a monitor: nobody is stormed.
//! - What a [service](ServiceNeeds) is worth follows from the [`Sign`]s of its backends.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use dbvitals_verdict::{Action, BackendId, Course, Depth, Moment, Monitor, Plan, Verdict};
//!
//! let orders = BackendId(0);
//! let plan = Plan::new(Course::Session { depth: Depth::Ping });
//! let mut monitor = Monitor::new(1);
//! monitor.handle_plan(&BTreeMap::from([(orders, Arc::new(plan))]), Moment::ORIGIN);
//! monitor.handle_timeout(Moment::ORIGIN);
//!
//! assert!(matches!(monitor.poll_action(), Some(Action::StartProbe { .. })));
//! assert_eq!(monitor.standing(orders).map(|standing| standing.verdict), Some(Verdict::Unknown));
//! ```

mod action;
mod agenda;
mod backend;
mod cause;
mod depth;
mod mesh;
mod moment;
mod monitor;
mod observation;
mod path;
mod plan;
mod ration;
mod rise_fall;
mod service;
mod shared;
mod sign;
mod stall;
mod transition;
mod want;

pub use action::Action;
pub use agenda::Agenda;
pub use cause::{Cause, Class, Classes};
pub use depth::{Depth, Phase, Phases};
pub use moment::Moment;
pub use monitor::Monitor;
pub use observation::{Connections, Lag, Observation, Outcome, Path, ProbeId, Role, ServerFacts};
pub use plan::{Course, Plan, PlanError};
pub use ration::logins_wait;
pub use service::{Alarm, Conclusion, Member, ServiceNeeds};
pub use sign::Sign;
pub use transition::{Admin, BackendId, Change, Evidence, Standing, Transition, Verdict};
pub use want::Want;
