//! Health: whether a checkout now would yield a working connection in time.
//!
//! Answered from what the pool has seen lately. Where that is too old, the connection that is idle
//! longest is pinged, or one opened, by the keeper, and all who ask meanwhile share the answer. No
//! checkout waits for that, unless it would have got that very connection. A full pool is not taken
//! for a dead server as long as something comes back from it; one that is full of connections that
//! nobody has given back for so long is not called alive either.

use std::time::Duration;

use dbvitals_verdict::{Class, Moment, Verdict};
use tokio::time::timeout;

use crate::books::Census;
use crate::clock;
use crate::driver::Driver;
use crate::pool::Pool;

/// How often to look whether something came back, while all are in use.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a pool is in a position to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// A checkout now would yield a working connection in time.
    Fit,
    /// Checkouts wait for longer than asked about: all connections are in use, or being opened. What
    /// is in use has answered lately.
    Saturated,
    /// The server answers on what is open, and lets nobody new in.
    Refusing,
    /// No connection can be opened, and none is at hand.
    Unreachable,
    /// Nothing was heard of the server in time: a ping was not answered, or all connections are in
    /// use and none came back.
    Silent,
    /// There is no evidence that is young enough, and none was asked for.
    Unknown,
    /// The pool was closed.
    Closed,
}

impl Condition {
    /// The verdict for who routes traffic: degraded is still fit.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Fit => Verdict::Up,
            Self::Saturated | Self::Refusing => Verdict::Degraded,
            Self::Unreachable | Self::Silent | Self::Closed => Verdict::Down,
            Self::Unknown => Verdict::Unknown,
        }
    }

    /// What it means for traffic; `None` where nothing is wrong or nothing is known.
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::Saturated | Self::Refusing => Some(Class::Full),
            Self::Unreachable | Self::Silent => Some(Class::Dead),
            Self::Fit | Self::Unknown | Self::Closed => None,
        }
    }

    /// A sentence for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Fit => "A checkout now would yield a working connection.",
            Self::Saturated => "Checkouts wait for a connection.",
            Self::Refusing => "The server answers on open connections, and lets nobody new in.",
            Self::Unreachable => "No connection can be opened.",
            Self::Silent => "Nothing was heard of the server in time.",
            Self::Unknown => "Nothing was heard of the server lately.",
            Self::Closed => "The pool is closed.",
        }
    }
}

/// A pool's health, and on what it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// What the pool is in a position to do.
    pub condition: Condition,
    /// How old the newest proof of a living server is; `None` before the first.
    pub evidence_age: Option<Duration>,
    /// Connections in use.
    pub leased: usize,
    /// How many there may be.
    pub max_open: usize,
    /// Checkouts in the line.
    pub waiting: usize,
    /// For how long the first of them waits.
    pub longest_wait: Option<Duration>,
    /// How the last attempt to connect failed, where none has succeeded since.
    pub failure: Option<String>,
}

impl Health {
    /// The verdict for who routes traffic.
    pub fn verdict(&self) -> Verdict {
        self.condition.verdict()
    }

    /// Whether traffic may come.
    pub fn is_fit(&self) -> bool {
        matches!(self.verdict(), Verdict::Up | Verdict::Degraded)
    }
}

impl<D: Driver> Pool<D> {
    /// What the pool knows by now, without asking anybody. Evidence counts for
    /// `evidence_max_age`, and a wait of more than that is a sign of saturation.
    pub fn health(&self) -> Health {
        let max_age = self.shared().settings.evidence_max_age;
        let condition = self.condition(max_age, max_age);
        self.tell(condition.unwrap_or_else(|| self.without_evidence(Condition::Unknown)))
    }

    /// Says whether a checkout now would yield a working connection within `limit`, from evidence
    /// that is young enough, or by getting some. Ends by that limit, which should be above
    /// `ping_timeout`: a single connection that fell silent takes that long to be told from a
    /// silent server. Where all connections are in use and commands take longer than the limit and
    /// `evidence_max_age`, nothing is heard in time: give it more.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point; what was asked for is answered for those who ask next.
    pub async fn check_health(&self, limit: Duration) -> Health {
        let max_age = self.shared().settings.evidence_max_age;
        let asked = clock::exact();
        let answer = async {
            loop {
                let news = self.shared().news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                // What was heard since the question counts, however long the answer takes.
                let max_age = max_age.max(clock::exact().since(asked));
                if let Some(condition) = self.condition(limit, max_age) {
                    return condition;
                }
                self.shared().ledger.seek_evidence(clock::exact());
                // A connection that is given back is no news to the keeper, and none may be asked
                // for while all are in use.
                let _ = timeout(LOOK_AGAIN, news).await;
            }
        };
        let condition = timeout(limit, answer).await;
        self.tell(condition.unwrap_or_else(|_| self.without_evidence(Condition::Silent)))
    }

    /// The condition, as far as what is known is enough for one.
    fn condition(&self, limit: Duration, max_age: Duration) -> Option<Condition> {
        let ledger = &self.shared().ledger;
        if ledger.is_closed() {
            return Some(Condition::Closed);
        }
        judge(&self.shared().census(), clock::exact(), limit, max_age)
    }

    /// What is left to say when nothing was found out: `otherwise`, where no attempt has failed.
    fn without_evidence(&self, otherwise: Condition) -> Condition {
        match self.shared().census().is_away() {
            true => Condition::Unreachable,
            false => otherwise,
        }
    }

    fn tell(&self, condition: Condition) -> Health {
        let census = self.shared().census();
        let now = clock::exact();
        Health {
            condition,
            evidence_age: census.proven.map(|at| now.since(at)),
            leased: census.leased,
            max_open: self.shared().bounds().max_open,
            waiting: census.waiting,
            longest_wait: census.waiting_since.map(|since| now.since(since)),
            failure: self.shared().failure().map(|error| error.to_string()),
        }
    }
}

/// Concludes from the books; `None` where they do not tell enough.
fn judge(census: &Census, now: Moment, limit: Duration, max_age: Duration) -> Option<Condition> {
    let is_young = |at: Option<Moment>| at.is_some_and(|at| now.since(at) <= max_age);
    let answers = is_young(census.proven);
    // What failed long ago may go well by now, and where nobody comes nobody tries.
    if census.is_away() && is_young(census.failed_at) {
        // Commands on what is open may go well all the while: then it is new ones that are refused.
        return Some(match answers && census.leased > 0 {
            true => Condition::Refusing,
            false => Condition::Unreachable,
        });
    }
    let waits_long = |since| now.since(since) > limit;
    match answers {
        true if census.waiting_since.is_some_and(waits_long) => Some(Condition::Saturated),
        true => Some(Condition::Fit),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    /// A census of a pool of 4, at ten seconds.
    fn census(idle: usize, leased: usize, proven_ms: u64) -> Census {
        Census {
            idle,
            leased,
            proven: Some(at(proven_ms)),
            ..Census::default()
        }
    }

    #[track_caller]
    fn check(census: &Census, expected: Option<Condition>) {
        assert_eq!(judge(census, at(10_000), SECOND, SECOND), expected);
    }

    #[test]
    fn young_evidence_is_enough_and_old_is_none() {
        check(&census(1, 0, 9_500), Some(Condition::Fit));
        check(&census(0, 4, 9_500), Some(Condition::Fit));
        check(&census(1, 0, 8_000), None);
        check(&Census::default(), None);
    }

    #[test]
    fn a_full_pool_is_told_from_a_dead_server() {
        let full = Census {
            waiting: 1,
            waiting_since: Some(at(8_000)),
            ..census(0, 4, 9_500)
        };
        check(&full, Some(Condition::Saturated));
        let unheard = Census {
            proven: Some(at(8_000)),
            ..full
        };
        check(&unheard, None);
        let outage = Census {
            outage_since: Some(at(9_000)),
            failed_at: Some(at(9_900)),
            ..census(0, 0, 8_000)
        };
        check(&outage, Some(Condition::Unreachable));
        let long_ago = Census {
            failed_at: Some(at(5_000)),
            ..outage
        };
        check(&long_ago, None);
        let refusing = Census {
            outage_since: Some(at(9_000)),
            failed_at: Some(at(9_900)),
            ..census(0, 2, 9_900)
        };
        check(&refusing, Some(Condition::Refusing));
    }

    #[test]
    fn a_short_wait_is_no_saturation() {
        let busy = Census {
            waiting: 3,
            waiting_since: Some(at(9_900)),
            ..census(0, 4, 9_990)
        };
        check(&busy, Some(Condition::Fit));
    }
}
