//! The agent under stress: a fleet that fails at once and comes back, an agent that is starved or
//! stopped, and a soak of faults at random.
//!
//! In the suite a fleet has as many backends as a debug build on two busy cores bears with every
//! bound kept, and as the limit of descriptors allows: two for each in the agent, one here. In full:
//!
//! ```text
//! DBVITALS_STRESS_BACKENDS=15000 cargo test --release -p dbvitals --test real_stress storm
//! DBVITALS_SOAK_FOR=1800 cargo test --release -p dbvitals --test real_stress soak -- --nocapture
//! ```
//!
//! `crates/verdict/tests/storm.rs` plays the same storms in simulated time, with all fifteen thousand.

#![expect(
    clippy::print_stdout,
    reason = "figures are told to whoever runs it in full"
)]

#[path = "support/agent.rs"]
#[expect(dead_code, reason = "the tests of serve use more of it")]
mod agent;
#[path = "support/http.rs"]
#[expect(dead_code, reason = "the tests of serve use more of it")]
mod http;
#[path = "support/program.rs"]
#[expect(dead_code, reason = "how status ends is shown elsewhere")]
mod program;
#[path = "real_stress/site.rs"]
mod site;
#[path = "real_stress/soak.rs"]
mod soak;
#[path = "real_stress/starved.rs"]
mod starved;
#[path = "real_stress/storm.rs"]
mod storm;

/// A number from the environment, for runs that are larger than the suite's.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
