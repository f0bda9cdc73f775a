//! Why a probe ended short, and what that means for traffic: two closed lists.
//!
//! A cause is a stable identifier: it stands in JSON, metrics, configuration and documentation. A
//! cause tells what was seen; its class tells what follows from it. Operators may change a
//! cause's class, nobody can add a cause at run time.

use std::fmt;
use std::str::FromStr;

/// What a cause means for traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nobody usable is there; counts to fall.
    Dead,
    /// Alive, but not for this traffic; down after fall.
    Unfit,
    /// Alive, admits nobody new; degraded.
    Full,
    /// Alive, over the latency budget; degraded.
    Slow,
    /// The checker's own fault; never down by itself.
    Ours,
    /// A held session died while a fresh one works; stays up, and is counted.
    Passing,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 6] = [
        Self::Dead,
        Self::Unfit,
        Self::Full,
        Self::Slow,
        Self::Ours,
        Self::Passing,
    ];

    /// The name in configuration, JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Unfit => "unfit",
            Self::Full => "full",
            Self::Slow => "slow",
            Self::Ours => "ours",
            Self::Passing => "passing",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Class {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or(())
    }
}

/// Declares the causes once: variant, stable name, default class, and one sentence.
macro_rules! causes {
    ($($variant:ident, $name:literal, $class:ident, $sentence:literal;)*) => {
        /// Why a probe ended short of its depth.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause {
            $(#[doc = $sentence] $variant,)*
        }

        impl Cause {
            /// All causes.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The stable identifier in JSON, metrics, configuration and documentation.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The class unless configuration says otherwise.
            pub const fn default_class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// What it means, in one sentence for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

causes! {
    Refused, "refused", Dead, "Nothing listens at this address: the connect was refused.";
    Unreachable, "unreachable", Dead, "The network knows no way to this address.";
    ConnectTimeout, "connect_timeout", Dead, "The connect was not answered before the deadline.";
    Reset, "reset", Dead, "The peer reset the connection.";
    Closed, "closed", Dead, "The peer closed the connection.";
    NoGreeting, "no_greeting", Dead, "The connection was made, but the server said nothing.";
    Unresponsive, "unresponsive", Dead, "The server stopped answering in the middle of a conversation.";
    WrongProtocol, "wrong_protocol", Dead, "What answers at this address is not this kind of database.";
    Malformed, "malformed", Dead, "The server's answer breaks its own protocol.";
    StartingUp, "starting_up", Unfit, "The server is starting up and takes no sessions yet.";
    ShuttingDown, "shutting_down", Unfit, "The server is shutting down.";
    InRecovery, "in_recovery", Unfit, "The server is in recovery.";
    ReadOnly, "read_only", Unfit, "The server takes no writes.";
    NotPrimary, "not_primary", Unfit, "A primary is wanted, and this server is none.";
    NotReplica, "not_replica", Unfit, "A replica is wanted, and this server is none.";
    Lagging, "lagging", Unfit, "Replication is further behind than allowed, or stopped.";
    NotSynced, "not_synced", Unfit, "The node is not in sync with its cluster.";
    RejectingQueries, "rejecting_queries", Unfit, "The server lets sessions in but answers no queries.";
    AssertionFailed, "assertion_failed", Unfit, "The statement's answer is not the expected value.";
    WriteFailed, "write_failed", Unfit, "A write could not be committed.";
    DiskFull, "disk_full", Unfit, "The server has no room left to write.";
    TlsUntrusted, "tls_untrusted", Unfit, "No trusted TLS could be had from the server.";
    TlsExpired, "tls_expired", Unfit, "The server's certificate is expired, or not valid yet.";
    TlsWrongName, "tls_wrong_name", Unfit, "The server's certificate names another host.";
    TooManyConnections, "too_many_connections", Full, "The server is alive, but all its connections are taken.";
    QueueFull, "queue_full", Full, "The server's accept queue is full.";
    NotAccepting, "not_accepting", Full, "Clients wait to be accepted, and the server accepts none of them.";
    OverBudget, "over_budget", Slow, "The server answers, but slower than its latency budget.";
    AccessDenied, "access_denied", Ours, "The server is alive, and refused the login of this check.";
    HostBlocked, "host_blocked", Ours, "The server is alive, and has blocked this host.";
    CheckUserLimit, "check_user_limit", Ours, "The server is alive, and the check's own user is at its limit.";
    BadQuery, "bad_query", Ours, "The server is alive, and cannot run the check's statement.";
    DnsFailed, "dns_failed", Ours, "The name could not be resolved; this says nothing about the server.";
    OutOfDescriptors, "out_of_descriptors", Ours, "This process has no file descriptor left; this says nothing about the server.";
    AgentStalled, "agent_stalled", Ours, "The agent itself was late; a timeout in that window says nothing about the server.";
    SessionLost, "session_lost", Passing, "A held session died while a fresh one works.";
}

impl Cause {
    /// Whether a probe that ended with this cause proves that a server answers.
    ///
    /// Matters for causes of class [`Ours`](Class::Ours): a refused login proves a living server,
    /// a failed name resolution proves nothing. Nor does a refused connect, where configuration
    /// has put that into this class.
    pub fn proves_a_server(self) -> bool {
        self.default_class() != Class::Dead
            && !matches!(
                self,
                Self::QueueFull
                    | Self::NotAccepting
                    | Self::DnsFailed
                    | Self::OutOfDescriptors
                    | Self::AgentStalled
            )
    }

    /// Whether the cause is the end of a deadline, and so only as good as the clock behind it.
    pub fn is_timeout(self) -> bool {
        matches!(
            self,
            Self::ConnectTimeout
                | Self::NoGreeting
                | Self::Unresponsive
                | Self::QueueFull
                | Self::DnsFailed
                // By the server's own time limit or by the probe's.
                | Self::WriteFailed
        )
    }

    /// Whether a probe in flight may have ended so because the agent did not go on with it: its
    /// time ran out, or the server would not wait any longer.
    pub(crate) fn may_be_the_agents_silence(self) -> bool {
        self.is_timeout() || matches!(self, Self::Reset | Self::Closed)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cause {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|cause| cause.name() == text)
            .ok_or(())
    }
}

/// The class of every cause: the defaults, and what an operator changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes([Class; Cause::ALL.len()]);

impl Classes {
    /// The class of a cause.
    pub fn of(&self, cause: Cause) -> Class {
        self.0[cause as usize]
    }

    /// Changes the class of a cause.
    pub fn set(&mut self, cause: Cause, class: Class) {
        self.0[cause as usize] = class;
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self(Cause::ALL.map(Cause::default_class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_by_their_names() {
        for cause in Cause::ALL {
            assert_eq!(cause.name().parse(), Ok(cause));
        }
        assert_eq!("tired".parse::<Cause>(), Err(()));
    }

    #[test]
    fn a_class_can_be_changed_for_one_cause_alone() {
        let mut classes = Classes::default();
        classes.set(Cause::AccessDenied, Class::Dead);
        assert_eq!(classes.of(Cause::AccessDenied), Class::Dead);
        assert_eq!(classes.of(Cause::HostBlocked), Class::Ours);
    }
}
