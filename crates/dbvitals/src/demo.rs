//! `dbvitals demo`: the agent at work on servers that live through a script.
//!
//! ```text
//!   FakeServer (own threads)  ◀── probes ──  Agent  ── transitions ──▶  Show ──▶ Voice (stdout)
//!        ▲                                     └── Publishers ── gates ──▶ │
//!        └────────────────── moods, scene by scene ───────────────────────┘
//! ```
//!
//! Nothing of the agent is acted: event loops, gates and HTTP are those of `serve`. A scene of the
//! script says what happens and what has to follow; [`Show`] makes it happen, looks at what
//! followed, from outside too, and keeps the outcomes; [`Voice`] tells of them.

mod json;
mod outcome;
mod port;
mod script;
mod server;
mod show;
mod stage;
mod story;
mod voice;

pub(crate) use show::Show;
pub(crate) use stage::Stage;
pub(crate) use voice::Voice;
