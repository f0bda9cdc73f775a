//! How a pool behaves: every setting with its unit, its default and the reason for it.

use std::time::Duration;

use thiserror::Error;

use crate::books::Bounds;

/// How a pool behaves.
///
/// ```
/// use std::time::Duration;
/// use dbvitals_pool::Settings;
///
/// let settings = Settings {
///     max_open: 20,
///     acquire_timeout: Duration::from_secs(2),
///     ..Settings::default()
/// };
/// # let _ = settings;
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most connections there are at any moment, those being opened, tried and closed
    /// included. 10: enough for most services, and ten instances fit MariaDB's default limit.
    pub max_open: usize,
    /// The most idle ones to keep. All by default: [`max_idle_time`](Self::max_idle_time) shrinks a
    /// pool after a peak, at its own pace.
    pub max_idle: usize,
    /// How many idle ones to have at hand, opened in the background. 0.
    pub min_idle: usize,
    /// When a connection is replaced, busy or idle. The new one is opened before, when a twentieth
    /// of the lifetime is left, as far as `max_open` leaves room; an idle one that nobody would miss
    /// is just closed. 30 minutes, so that a pool finds servers added behind a balancer.
    pub max_lifetime: Option<Duration>,
    /// How much earlier than [`max_lifetime`](Self::max_lifetime) a connection may end, as a share
    /// of it, drawn once for each. 0.1, so that not all are replaced together.
    pub lifetime_jitter: f64,
    /// When an idle connection above [`min_idle`](Self::min_idle) is closed. 10 minutes. A shorter
    /// limit of the server's, read or learned, counts by itself.
    pub max_idle_time: Option<Duration>,
    /// How long a checkout waits. 30 s.
    pub acquire_timeout: Duration,
    /// During an outage that lasts for longer than this, checkouts that would have to wait fail at
    /// once, if no connection is out that might come back. Off: they wait, and the first connection
    /// after the outage is theirs.
    pub fail_fast_after: Option<Duration>,
    /// How long an attempt to open a connection may take. 5 s.
    pub connect_timeout: Duration,
    /// The longest pause between attempts during an outage; see [`Pool`](crate::Pool). 1 s.
    pub connect_pause_max: Duration,
    /// How long a ping, or the tidying-up at return, may take. 1 s.
    pub ping_timeout: Duration,
    /// How long a goodbye may take, or cancelling a command at the server. 1 s.
    pub close_timeout: Duration,
    /// A connection on which the server answered this long ago is handed out unseen. Zero: a look
    /// at the socket costs a tenth of a microsecond, and what was killed meanwhile is found.
    pub trust_for: Duration,
    /// A connection on which the server has not answered for this long is pinged before it is
    /// handed out. 30 s: a look finds all who went with a word, only a ping those who vanished.
    /// One second at most where there is no socket to look at, unless
    /// [`trust_for`](Self::trust_for) is longer; see
    /// [`Stats::without_socket`](crate::Stats::without_socket).
    pub ping_after: Duration,
    /// Which idle connection to hand out.
    pub idle_order: IdleOrder,
    /// TCP keepalive and TCP_USER_TIMEOUT, so that a peer that vanished is noticed on idle
    /// connections too, without a byte of the protocol. After 10 s, every 3 s, 3 times.
    pub keepalive: Option<Keepalive>,
    /// A lease held for longer is told as a leak, with the place of its checkout. Off.
    pub leak_after: Option<Duration>,
    /// Pings at every checkout, and counts where a look would have said something else. Off.
    pub shadow: bool,
    /// Evidence as young as this answers for the pool's health by itself. 1 s.
    pub evidence_max_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_open: 10,
            max_idle: usize::MAX,
            min_idle: 0,
            max_lifetime: Some(Duration::from_secs(30 * 60)),
            lifetime_jitter: 0.1,
            max_idle_time: Some(Duration::from_secs(10 * 60)),
            acquire_timeout: Duration::from_secs(30),
            fail_fast_after: None,
            connect_timeout: Duration::from_secs(5),
            connect_pause_max: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(1),
            close_timeout: Duration::from_secs(1),
            trust_for: Duration::ZERO,
            ping_after: Duration::from_secs(30),
            idle_order: IdleOrder::NewestFirst,
            keepalive: Some(Keepalive::default()),
            leak_after: None,
            shadow: false,
            evidence_max_age: Duration::from_secs(1),
        }
    }
}

/// Which of several idle connections a checkout gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdleOrder {
    /// The one returned last: a pool shrinks to what it needs.
    #[default]
    NewestFirst,
    /// The one idle longest: all stay warm, and servers behind a balancer share the load.
    OldestFirst,
}

/// How the kernel finds out that a peer has vanished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe, in whole seconds.
    pub idle: Duration,
    /// Between probes, in whole seconds.
    pub interval: Duration,
    /// Unanswered probes that end a connection.
    pub probes: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            interval: Duration::from_secs(3),
            probes: 3,
        }
    }
}

impl Keepalive {
    /// How long a vanished peer stays unnoticed.
    pub(crate) fn patience(&self) -> Duration {
        self.idle
            .saturating_add(self.interval.saturating_mul(self.probes))
    }
}

/// Settings that contradict themselves.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// `max_open` is zero.
    #[error("max_open is 0: nothing could ever be checked out")]
    NothingOpen,
    /// `min_idle` is above `max_open` or `max_idle`.
    #[error("min_idle is {min_idle}, above max_open or max_idle, which is {most}")]
    IdleAboveOpen {
        /// What was asked for.
        min_idle: usize,
        /// What there can be.
        most: usize,
    },
    /// A limit is zero that nothing can meet.
    #[error("{0} is 0: nothing could ever end in time")]
    NoTime(&'static str),
    /// A span is zero that connections are to last for.
    #[error("{0} is 0: every connection would end at once; None switches it off")]
    NoSpan(&'static str),
    /// The jitter is no share.
    #[error("lifetime_jitter is {0}: it is a share of max_lifetime, from 0 to 1")]
    NoShare(f64),
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.max_open == 0 {
            return Err(SettingsError::NothingOpen);
        }
        let most = self.max_open.min(self.max_idle);
        if self.min_idle > most {
            return Err(SettingsError::IdleAboveOpen {
                min_idle: self.min_idle,
                most,
            });
        }
        let limits = [
            ("connect_timeout", self.connect_timeout),
            ("ping_timeout", self.ping_timeout),
            ("close_timeout", self.close_timeout),
        ];
        let spans = [
            ("max_lifetime", self.max_lifetime),
            ("max_idle_time", self.max_idle_time),
        ];
        if let Some((name, _)) = spans.iter().find(|(_, span)| *span == Some(Duration::ZERO)) {
            return Err(SettingsError::NoSpan(name));
        }
        if let Some((name, _)) = limits.iter().find(|(_, limit)| limit.is_zero()) {
            return Err(SettingsError::NoTime(name));
        }
        if !(0.0..=1.0).contains(&self.lifetime_jitter) {
            return Err(SettingsError::NoShare(self.lifetime_jitter));
        }
        Ok(())
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            max_open: self.max_open,
            max_idle: self.max_idle,
            min_idle: self.min_idle,
            newest_first: self.idle_order == IdleOrder::NewestFirst,
            pause_max: self.connect_pause_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused_and_the_defaults_are_none() {
        let defaults = Settings::default;
        assert_eq!(defaults().check(), Ok(()));
        let nothing = Settings {
            max_open: 0,
            ..defaults()
        };
        assert_eq!(nothing.check(), Err(SettingsError::NothingOpen));
        let many = Settings {
            min_idle: 11,
            ..defaults()
        };
        let told = many.check().unwrap_err().to_string();
        assert_eq!(
            told,
            "min_idle is 11, above max_open or max_idle, which is 10"
        );
        let hasty = Settings {
            ping_timeout: Duration::ZERO,
            ..defaults()
        };
        assert_eq!(hasty.check(), Err(SettingsError::NoTime("ping_timeout")));
        let brief = Settings {
            max_lifetime: Some(Duration::ZERO),
            ..defaults()
        };
        assert_eq!(brief.check(), Err(SettingsError::NoSpan("max_lifetime")));
        let odd = Settings {
            lifetime_jitter: f64::NAN,
            ..defaults()
        };
        assert!(odd.check().is_err());
    }
}
