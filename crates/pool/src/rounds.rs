//! What the keeper does from time to time: goes through the connections, and parts with those that
//! are too old, idle for too long, or dead.

use std::time::Duration;

use dbvitals_verdict::Moment;

use crate::books::Stay;
use crate::counters::add_one;
use crate::driver::Driver;
use crate::ending::Ending;
use crate::member::Member;
use crate::shared::{Finding, Shared};

/// The longest time between two rounds through the idle connections.
pub(crate) const ROUND_MAX: Duration = Duration::from_millis(500);
/// The shortest, whatever the limits say.
const ROUND_MIN: Duration = Duration::from_millis(5);

impl<D: Driver> Shared<D> {
    /// Goes through the idle connections; returns the time until the next round.
    pub(crate) fn tidy_up(&self, now: Moment) -> Duration {
        let min_idle = self.bounds().min_idle;
        let mut spare = self.ledger.census().idle.saturating_sub(min_idle);
        let mut next = now + ROUND_MAX;
        let mut successors = 0;
        let taken = self.ledger.inspect(now, |member| {
            if let Some(expires_at) = member.expires_at {
                if expires_at <= now {
                    spare = spare.saturating_sub(1);
                    member.leaving = Some(Ending::Lifetime);
                    return Stay::Close;
                }
                next = next.min(expires_at);
            }
            let stay = self.judge_idleness(member, now, &mut spare, &mut next);
            if stay == Stay::Idle && member.card.wants_successor(now) {
                match spare {
                    // One of the floor, which would be missed.
                    0 => successors += u32::from(member.card.takes_successor(now)),
                    _ => spare -= 1,
                }
            }
            stay
        });
        debug_assert!(taken.is_empty(), "a round takes nothing");
        (0..successors).for_each(|_| self.ledger.replace(now));
        self.go_through_leases(now);
        next.since(now).max(ROUND_MIN)
    }

    /// Whether one has idled for too long: closed if there are enough, else kept alive by a ping.
    fn judge_idleness(
        &self,
        member: &mut Member<D>,
        now: Moment,
        spare: &mut usize,
        next: &mut Moment,
    ) -> Stay {
        let own_limit = self.settings.max_idle_time.map(|it| member.idle_since + it);
        let allowance = self.idle_allowance(member);
        let servers = allowance.map(|it| member.proven_at + it);
        let due = |limit: Option<Moment>| limit.is_some_and(|limit| limit <= now);
        // Who used it lately may not have told that it was answered: then it would be missed.
        let unused = allowance.map(|it| member.idle_since + it / 2);
        if *spare > 0 && (due(own_limit) || (due(servers) && due(unused))) {
            *spare -= 1;
            member.leaving = Some(Ending::IdleTime);
            return Stay::Close;
        }
        if due(servers) {
            return Stay::Trial;
        }
        for limit in own_limit.into_iter().chain(servers).filter(|it| *it > now) {
            *next = (*next).min(limit);
        }
        Stay::Idle
    }

    /// Drops the idle connections of a kind that a look finds dead, and tries those it cannot
    /// judge; the rest stays. Drivers are asked outside of the lock.
    pub(crate) fn drop_dead(&self, now: Moment, concerns: impl Fn(&Member<D>) -> bool) {
        let taken = self.ledger.inspect(now, |member| match concerns(member) {
            true => Stay::Take,
            false => Stay::Idle,
        });
        // The one that was idle longest goes last to the bottom.
        for mut member in taken.into_iter().rev() {
            match self.climb(&mut member, now) {
                Finding::Alive => self.ledger.lay_back(member),
                Finding::Doubtful => self.ledger.try_taken(member),
                Finding::Dead(ending) => self.end_trial(member, ending, now),
            }
        }
        self.news.notify_waiters();
    }

    /// Orders successors of those that grow old in use, and tells leaks.
    fn go_through_leases(&self, now: Moment) {
        for card in self.roll.cards() {
            let Some(holding) = card.holding() else {
                continue;
            };
            if card.takes_successor(now) {
                self.ledger.replace(now);
            }
            let leak = holding.told_at(now);
            let is_leak = self.settings.leak_after.is_some_and(|it| leak.held >= it);
            if is_leak && card.takes_leak() {
                add_one(&self.counters.leaks);
                self.tell(|observer| observer.leaked(&leak));
            }
        }
    }
}
