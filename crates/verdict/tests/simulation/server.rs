//! The hidden truth: a database server in some condition, and how it answers in it.
//!
//! Nothing here knows how a verdict is found. A server is asked once per probe, and again when
//! its condition changes in the middle of one; `world.rs` carries the answers.

use std::time::Duration;

use dbvitals_verdict::{Cause, Depth, Moment, Outcome, Path};

/// What is the matter with a server, or with the way to it, or with the agent's means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Fine,
    /// Packets get lost.
    Lossy,
    /// Answers take up to twice the timeout.
    Slow,
    /// Answers within the timeout, but over the latency budget.
    OverBudget,
    /// The kernel makes connections, the server answers nobody.
    Frozen,
    /// Frozen, and its accept queue is full as well.
    FrozenFull,
    /// Nothing arrives.
    BlackHole,
    /// Sessions were reset, connects are refused.
    Crashed,
    /// Takes no sessions yet.
    StartingUp,
    /// All connections are taken.
    Full,
    /// The accept queue is full, sessions go on.
    Jammed,
    /// Connects are refused, sessions go on.
    FreshRefused,
    /// Connects are not answered, sessions go on.
    FreshSilent,
    /// Connects are not answered, sessions answer late.
    FreshSilentHeldLate,
    /// Answers every question badly.
    Lagging,
    /// Lets everybody in and cuts them off at once.
    Bouncing,
    /// The check's password was changed.
    Rotated,
    /// The name cannot be resolved.
    NameLost,
    /// The agent is out of file descriptors.
    OutOfDescriptors,
}

impl Condition {
    /// All conditions; the plain faults twice, since bounds are stated for those.
    pub(crate) const ALL: [Self; 23] = [
        Self::Fine,
        Self::Lossy,
        Self::Slow,
        Self::OverBudget,
        Self::Frozen,
        Self::Frozen,
        Self::FrozenFull,
        Self::BlackHole,
        Self::BlackHole,
        Self::Crashed,
        Self::Crashed,
        Self::Crashed,
        Self::StartingUp,
        Self::Full,
        Self::Jammed,
        Self::FreshRefused,
        Self::FreshSilent,
        Self::FreshSilentHeldLate,
        Self::Lagging,
        Self::Bouncing,
        Self::Rotated,
        Self::NameLost,
        Self::OutOfDescriptors,
    ];

    /// The conditions in which a server serves whoever is in, and no fault of its own keeps
    /// others out.
    pub(crate) const HARMLESS: [Self; 7] = [
        Self::Fine,
        Self::OverBudget,
        Self::Full,
        Self::Bouncing,
        Self::Rotated,
        Self::NameLost,
        Self::OutOfDescriptors,
    ];

    /// Whether a session that is open serves, while none can be opened, and that is no full
    /// accept queue: beside a session that is answered, unanswered connects are one.
    pub(crate) fn shuts_out(self, holds_session: bool) -> bool {
        let silent = matches!(self, Self::FreshSilent | Self::FreshSilentHeldLate);
        self == Self::FreshRefused || (silent && !holds_session)
    }

    /// Whether the server answers nobody, whatever it is asked.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Frozen | Self::FrozenFull | Self::BlackHole)
    }
}

/// What a server will say, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// When it arrives; `None` if never.
    pub(crate) at: Option<Moment>,
    /// What it says.
    pub(crate) outcome: Outcome,
    /// What the prober says when its deadline comes first.
    pub(crate) silence: Cause,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) condition: Condition,
    /// How long an answer takes at least, and at most twice that.
    latency: Duration,
}

impl Server {
    /// A server on a network of which answers come in a small part of the timeout.
    pub(crate) fn new(condition: Condition, timeout: Duration, rng: &mut fastrand::Rng) -> Self {
        let latency = (timeout / 40).min(Duration::from_millis(40));
        Self {
            condition,
            latency: latency.mul_f64(0.02 + rng.f64() * 0.98),
        }
    }

    /// Keeps answers in a small part of another timeout.
    pub(crate) fn keep_within(&mut self, timeout: Duration) {
        self.latency = self.latency.min(timeout / 40);
    }

    /// The longest that an answer takes while the server is fine.
    pub(crate) fn latency_max(&self) -> Duration {
        self.latency * 2
    }

    /// How soon a kernel tells of an end: half a round trip.
    pub(crate) fn reset_delay(&self) -> Duration {
        self.latency / 2
    }

    /// How the server answers a probe that begins now, or begins to be served now.
    pub(crate) fn answer(
        &self,
        path: Path,
        depth: Depth,
        now: Moment,
        timeout: Duration,
        rng: &mut fastrand::Rng,
    ) -> Answer {
        let soon = now + self.latency.mul_f64(1.0 + rng.f64());
        let connects_only = depth <= Depth::Connect;
        let logs_in = depth >= Depth::Login;
        let held = path == Path::Held;
        let pass = (Some(soon), Outcome::Pass);
        let fail = |cause| (Some(soon), Outcome::Fail(cause));
        let silent = (None, Outcome::Pass);
        let (at, outcome) = match self.condition {
            Condition::Fine | Condition::Bouncing => pass,
            Condition::Lossy if rng.u32(0..3) == 0 => silent,
            Condition::Lossy => pass,
            Condition::Slow => (Some(now + timeout.mul_f64(rng.f64() * 2.0)), Outcome::Pass),
            Condition::OverBudget => fail(Cause::OverBudget),
            Condition::Frozen if connects_only => pass,
            Condition::Frozen | Condition::FrozenFull | Condition::BlackHole => silent,
            Condition::Crashed => fail(if held { Cause::Reset } else { Cause::Refused }),
            Condition::StartingUp if connects_only || held => pass,
            Condition::StartingUp => fail(Cause::StartingUp),
            Condition::FreshRefused if !held => fail(Cause::Refused),
            Condition::FreshSilent | Condition::FreshSilentHeldLate if !held => silent,
            Condition::FreshSilentHeldLate => {
                let late = timeout.mul_f64(0.5 + rng.f64() * 0.45);
                (Some(now + late), Outcome::Pass)
            }
            Condition::Jammed if !held => silent,
            Condition::FreshRefused | Condition::FreshSilent | Condition::Jammed => pass,
            Condition::Full if !held && !connects_only => fail(Cause::TooManyConnections),
            Condition::Lagging if logs_in => fail(Cause::Lagging),
            Condition::Rotated if !held && logs_in => fail(Cause::AccessDenied),
            Condition::Full | Condition::Lagging | Condition::Rotated => pass,
            Condition::NameLost if !held => match rng.bool() {
                true => fail(Cause::DnsFailed),
                false => silent,
            },
            Condition::OutOfDescriptors if !held => {
                (Some(now), Outcome::Fail(Cause::OutOfDescriptors))
            }
            Condition::NameLost | Condition::OutOfDescriptors => pass,
        };
        Answer {
            at,
            outcome,
            silence: self.silence(held, connects_only),
        }
    }

    /// What a look at its accept queue shows, while clients come.
    pub(crate) fn queue(&self, rng: &mut fastrand::Rng) -> Option<Cause> {
        let full = [Cause::QueueFull, Cause::NotAccepting];
        let is = |condition| self.condition == condition;
        if is(Condition::Frozen) {
            return Some(Cause::NotAccepting);
        }
        let is_full = is(Condition::FrozenFull) || is(Condition::Jammed);
        is_full.then(|| full[rng.usize(0..full.len())])
    }

    /// What the prober says of a server that did not answer in time.
    fn silence(&self, held: bool, connects_only: bool) -> Cause {
        let is = |condition| self.condition == condition;
        if held {
            Cause::Unresponsive
        } else if is(Condition::NameLost) {
            Cause::DnsFailed
        } else if is(Condition::Jammed) || is(Condition::FrozenFull) {
            Cause::QueueFull
        } else if is(Condition::Frozen) && !connects_only {
            Cause::NoGreeting
        } else {
            Cause::ConnectTimeout
        }
    }
}
