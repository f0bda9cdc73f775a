//! How far a probe goes, and the phases it passes through on the way.
//!
//! A depth is what is asked; a phase is a stretch of time inside one probe. They differ: a login
//! may contain a name resolution and a TLS handshake, which nobody asks for by themselves.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How far a probe goes; each depth includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// A LISTEN socket exists on this machine; no connection is made.
    Listening,
    /// A TCP or unix connection can be made.
    Connect,
    /// The server said its first words.
    Greeting,
    /// Authentication came to its end.
    Login,
    /// COM_PING or the empty query was answered on the session.
    Ping,
    /// A statement was answered, with the expected value where one is given.
    Query,
    /// The server's role was asked: primary, replica, read-only, in recovery.
    Role,
    /// Replication was asked for its delay and state.
    Lag,
    /// A bounded write was committed.
    Write,
}

impl Depth {
    /// All depths, shallow to deep.
    pub const ALL: [Self; 9] = [
        Self::Listening,
        Self::Connect,
        Self::Greeting,
        Self::Login,
        Self::Ping,
        Self::Query,
        Self::Role,
        Self::Lag,
        Self::Write,
    ];

    /// The name in configuration, JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Ping => "ping",
            Self::Query => "query",
            Self::Role => "role",
            Self::Lag => "lag",
            Self::Write => "write",
        }
    }

    /// Whether a probe of this depth has to log in.
    pub fn needs_user(self) -> bool {
        self >= Self::Login
    }

    /// Whether a probe of this depth is more than a connect, of which the server's program hears
    /// nothing.
    pub(crate) fn logs_in(self) -> bool {
        self > Self::Connect
    }

    /// Whether a held session can be asked at this depth.
    pub fn fits_held_session(self) -> bool {
        self >= Self::Ping
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Depth {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|depth| depth.name() == text)
            .ok_or(())
    }
}

/// A stretch of time inside one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Name resolution.
    Resolve,
    /// The TCP or unix connect.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the connection to the server's first words.
    Greeting,
    /// Authentication.
    Login,
    /// COM_PING or the empty query.
    Ping,
    /// The statement.
    Query,
    /// The question for the role.
    Role,
    /// The question for the role and the state of replication.
    Lag,
    /// The write.
    Write,
    /// The look for a listener, in place of all others.
    Listening,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 11] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Greeting,
        Self::Login,
        Self::Ping,
        Self::Query,
        Self::Role,
        Self::Lag,
        Self::Write,
        Self::Listening,
    ];

    /// The name in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Ping => "ping",
            Self::Query => "query",
            Self::Role => "role",
            Self::Lag => "lag",
            Self::Write => "write",
            Self::Listening => "listening",
        }
    }

    /// Whether it is a question on a session that is logged in.
    pub fn is_question(self) -> bool {
        (Self::Ping..=Self::Write).contains(&self)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long each phase of one probe took, in the order in which they happened.
///
/// Small, because several stay with every backend: what most have, one question on a held session,
/// is in place, and what a fresh probe has beyond its first is shared by all copies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Phases {
    first: Option<Stretch>,
    rest: Option<Arc<[Stretch]>>,
}

/// How long one phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    phase: Phase,
    /// The probe ended short in it.
    failed: bool,
    micros: u32,
}

impl Phases {
    /// Adds a phase that came to its end. A phase that is there already gets longer (a second
    /// address was tried).
    pub fn push(&mut self, phase: Phase, took: Duration) {
        self.add(phase, took, false);
    }

    /// Adds the phase in which the probe ended short, at the end, even if it was there before.
    pub fn push_failed(&mut self, phase: Phase, took: Duration) {
        self.add(phase, took, true);
    }

    fn add(&mut self, phase: Phase, took: Duration, failed: bool) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let added = Stretch {
            phase,
            failed,
            micros,
        };
        if self.first.is_none() {
            self.first = Some(added);
            return;
        }
        let mut list: Vec<_> = self.stretches().collect();
        match list.iter().position(|it| it.phase == phase) {
            None => list.push(added),
            Some(at) => {
                list[at].micros = list[at].micros.saturating_add(micros);
                list[at].failed = failed;
                if failed {
                    list[at..].rotate_left(1);
                }
            }
        }
        self.first = list.first().copied();
        self.rest = list.get(1..).filter(|it| !it.is_empty()).map(Arc::from);
    }

    fn stretches(&self) -> impl Iterator<Item = Stretch> + '_ {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        self.first.into_iter().chain(rest.copied())
    }

    /// The phases in order: which, how long, and whether it is where the probe ended short.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration, bool)> + '_ {
        self.stretches().map(|it| {
            let took = Duration::from_micros(u64::from(it.micros));
            (it.phase, took, it.failed)
        })
    }

    /// How long one phase took, if it happened.
    pub fn took(&self, phase: Phase) -> Option<Duration> {
        self.iter()
            .find(|(seen, _, _)| *seen == phase)
            .map(|(_, took, _)| took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_ordered_and_named() {
        assert!(Depth::ALL.is_sorted());
        for depth in Depth::ALL {
            assert_eq!(depth.name().parse(), Ok(depth));
        }
        assert_eq!("deep".parse::<Depth>(), Err(()));
    }

    #[test]
    fn phases_keep_their_order_a_repeated_one_grows_and_the_failed_one_is_last() {
        let mut phases = Phases::default();
        phases.push(Phase::Connect, Duration::from_micros(10));
        phases.push(Phase::Greeting, Duration::from_micros(20));
        phases.push_failed(Phase::Connect, Duration::from_micros(5));
        let seen: Vec<_> = phases.iter().collect();
        assert_eq!(
            seen,
            [
                (Phase::Greeting, Duration::from_micros(20), false),
                (Phase::Connect, Duration::from_micros(15), true),
            ]
        );
    }
}
