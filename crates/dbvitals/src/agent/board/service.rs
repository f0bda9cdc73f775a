//! Services on the board: what each is worth now, for everybody to read.
//!
//! ```text
//!   BackendBoard ─┐ signs                            ┌─▶ gates, agent checks (by their signs)
//!   BackendBoard ─┼──────▶ task of a service ─▶ ServiceBoard
//!   BackendBoard ─┘          (verdict concludes)     └─▶ HTTP, metrics
//! ```
//!
//! The task runs beside the publishers: whatever changes on a member wakes it, and it wakes whoever
//! follows the service; so a crash reaches a gate of a service one wake-up later than a gate of a
//! backend. Nothing is concluded here; that is `dbvitals_verdict`'s.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use dbvitals_probe::Clock;
use dbvitals_verdict::{
    Alarm, Cause, Conclusion, Member, Moment, ServiceNeeds, Sign, Verdict, Want,
};
use tokio::sync::watch;

use crate::agent::board::BackendBoard;

/// What is known of one service; keeps its place through reloads.
#[derive(Debug)]
pub(crate) struct ServiceBoard {
    pub(crate) name: Arc<str>,
    roster: ArcSwap<Roster>,
    /// By what is wanted of it; `Want::Any` is the service as it is set.
    views: [View; Want::ALL.len()],
}

/// Who belongs to a service, and what it needs.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) needs: ServiceNeeds,
    pub(crate) members: Vec<Arc<BackendBoard>>,
}

/// What a service is worth to those who want the same of it.
#[derive(Debug)]
struct View {
    standing: ArcSwap<ServiceStanding>,
    sign: watch::Sender<Sign>,
}

/// Where a service stands.
#[derive(Debug, Clone)]
pub(crate) struct ServiceStanding {
    pub(crate) conclusion: Conclusion,
    /// Since when the verdict holds.
    pub(crate) since: Moment,
}

impl Roster {
    /// Whether it says the same of the very same members.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let mut pairs = self.members.iter().zip(&other.members);
        self.needs == other.needs
            && self.members.len() == other.members.len()
            && pairs.all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Concludes what the service is worth now to somebody who asks for this, and passes over
    /// members for reasons of their own.
    pub(crate) fn conclude(
        &self,
        asked: Want,
        pass_over: impl Fn(&BackendBoard) -> Option<String>,
    ) -> Conclusion {
        let members: Vec<_> = self
            .members
            .iter()
            .map(|member| Member {
                name: &member.name,
                sign: member.sign(),
                passed_over: pass_over(member),
            })
            .collect();
        self.needs.conclude(asked, &members)
    }

    /// How old the proof is on which a conclusion rests: that of the youngest members that are
    /// enough for it, or of the oldest where nobody fits.
    pub(crate) fn evidence_age(&self, conclusion: &Conclusion, now: Moment) -> Option<Duration> {
        let ages = |fit: bool| {
            let members = self.members.iter().zip(&conclusion.fit);
            let ages = members.filter(move |(_, fits)| **fits == fit);
            ages.filter_map(move |(member, _)| member.evidence_age(now))
        };
        let mut fit: Vec<_> = ages(true).collect();
        fit.sort_unstable();
        let last = self.needs.enough.min(fit.len()).checked_sub(1);
        match last {
            Some(last) => fit.get(last).copied(),
            None => ages(false).max(),
        }
    }

    /// The names of the members at these places.
    pub(crate) fn names(&self, places: &[usize]) -> Vec<String> {
        let members = places.iter().filter_map(|place| self.members.get(*place));
        members.map(|member| member.name.to_string()).collect()
    }
}

impl ServiceBoard {
    /// A service of which nothing is known yet.
    pub(crate) fn new(name: &Arc<str>, roster: Roster, now: Moment) -> Self {
        let view = || View {
            standing: ArcSwap::from_pointee(ServiceStanding {
                conclusion: Conclusion {
                    fit: vec![false; roster.members.len()],
                    ..Conclusion::default()
                },
                since: now,
            }),
            sign: watch::Sender::new(Sign::default()),
        };
        Self {
            name: Arc::clone(name),
            views: std::array::from_fn(|_| view()),
            roster: ArcSwap::from_pointee(roster),
        }
    }

    /// Goes on with other members, or other needs.
    pub(crate) fn set_roster(&self, roster: Roster) {
        self.roster.store(Arc::new(roster));
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// Where it stands for somebody who wants this.
    pub(crate) fn standing(&self, want: Want) -> Arc<ServiceStanding> {
        self.view(want).standing.load_full()
    }

    /// Follows verdict and admin state, as they are for somebody who wants this.
    pub(crate) fn watch(&self, want: Want) -> watch::Receiver<Sign> {
        self.view(want).sign.subscribe()
    }

    fn view(&self, want: Want) -> &View {
        &self.views[want as usize]
    }

    /// Concludes from the members as they are now, and puts it up for all who follow.
    fn put_up(&self, now: Moment) {
        let roster = self.roster();
        for want in Want::ALL {
            let conclusion = roster.conclude(want, |_| None);
            let view = self.view(want);
            let before = view.standing.load_full();
            let changed = before.conclusion.verdict != conclusion.verdict;
            let since = if changed { now } else { before.since };
            let sign = conclusion.sign();
            let standing = Arc::new(ServiceStanding { conclusion, since });
            view.standing.store(Arc::clone(&standing));
            view.sign
                .send_if_modified(|old| std::mem::replace(old, sign) != sign);
            if want == Want::Any {
                self.log(&before.conclusion, &standing.conclusion);
            }
        }
    }

    fn log(&self, before: &Conclusion, now: &Conclusion) {
        let service = &*self.name;
        let detail = now.detail.as_deref();
        let (from, to) = (before.verdict, now.verdict);
        match to {
            _ if from == to => {}
            Verdict::Up => tracing::info!(service, %from, %to, "verdict of a service changed"),
            Verdict::Unknown | Verdict::Degraded | Verdict::Down => {
                let cause = now.cause.map(Cause::name);
                tracing::warn!(service, %from, %to, cause, detail, "verdict of a service changed");
            }
        }
        match (before.alarm, now.alarm) {
            (None, Some(alarm @ Alarm::TwoPrimaries)) => {
                tracing::error!(service, %alarm, detail, "alarm: the data of a service may come apart");
            }
            (Some(alarm @ Alarm::TwoPrimaries), None) => {
                tracing::info!(service, %alarm, "the alarm of a service has ended");
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// Follows the members of the present roster for ever. Cancel safe.
    pub(crate) async fn follow(self: Arc<Self>, clock: Clock) {
        let roster = self.roster();
        let mut signs: Vec<_> = roster.members.iter().map(|it| it.watch()).collect();
        loop {
            // What changes from here on wakes us again.
            signs.iter_mut().for_each(watch::Receiver::mark_unchanged);
            self.put_up(clock.now());
            if !any_changed(&mut signs).await {
                return;
            }
        }
    }
}

/// Waits until one of them has changed; `false` where there is nobody who could change any.
async fn any_changed(signs: &mut [watch::Receiver<Sign>]) -> bool {
    let mut changes: Vec<_> = signs.iter_mut().map(|it| Box::pin(it.changed())).collect();
    poll_fn(|context| {
        for change in &mut changes {
            if let Poll::Ready(changed) = change.as_mut().poll(context) {
                return Poll::Ready(changed.is_ok());
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::{Address, Protocol, Target};
    use dbvitals_verdict::{Admin, Course, Depth, Plan};

    use crate::agent::board::Board;
    use crate::agent::plan::{BackendPlan, Origin};

    use super::*;

    /// Members whose newest proofs were got at these seconds; of some there is none.
    fn roster(enough: usize, proofs: &[Option<u64>]) -> Roster {
        let board = Board::new(Clock::start());
        let member = |proof: &Option<u64>| {
            let address = Address::Unix("/s".into());
            let depth = Depth::Ping;
            let plan = BackendPlan {
                name: "b".into(),
                target: Arc::new(Target::new(Protocol::MySql, address)),
                plan: Arc::new(Plan::new(Course::Session { depth })),
                origin: Origin::default(),
            };
            let entry = board.entry(&plan, Admin::Ready);
            if let Some(second) = proof {
                entry.note_proof(Moment::ORIGIN + Duration::from_secs(*second));
            }
            entry
        };
        Roster {
            needs: ServiceNeeds {
                enough,
                ..ServiceNeeds::default()
            },
            members: proofs.iter().map(member).collect(),
        }
    }

    #[test]
    fn a_conclusion_is_as_old_as_the_proofs_it_rests_on() {
        let check = |enough, proofs: &[Option<u64>], fit: &[bool], expected: Option<u64>| {
            let conclusion = Conclusion {
                fit: fit.to_vec(),
                ..Conclusion::default()
            };
            let now = Moment::ORIGIN + Duration::from_secs(10);
            let age = roster(enough, proofs).evidence_age(&conclusion, now);
            assert_eq!(age, expected.map(Duration::from_secs));
        };
        let proofs = [Some(9), Some(3), Some(7)];
        // Up because of the youngest, or of as many as are enough.
        check(1, &proofs, &[true; 3], Some(1));
        check(2, &proofs, &[true; 3], Some(3));
        check(2, &proofs, &[false, true, false], Some(7));
        // Down because of all of them.
        check(2, &proofs, &[false; 3], Some(7));
        check(1, &[None, Some(8)], &[false; 2], Some(2));
        check(1, &[None], &[false], None);
    }

    #[test]
    fn a_roster_is_the_same_with_the_very_same_members() {
        let one = roster(1, &[None, None]);
        let with = |enough, members: &[&Arc<BackendBoard>]| Roster {
            needs: ServiceNeeds {
                enough,
                ..one.needs
            },
            members: members.iter().map(|it| Arc::clone(it)).collect(),
        };
        let [a, b] = &one.members[..] else {
            panic!("two members")
        };
        assert!(one.is(&with(1, &[a, b])));
        for other in [with(2, &[a, b]), with(1, &[a]), with(1, &[b, a])] {
            assert!(!one.is(&other), "{other:?}");
        }
        assert!(!one.is(&roster(1, &[None, None])));
    }
}
