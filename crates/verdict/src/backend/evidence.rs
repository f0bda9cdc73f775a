//! What a backend's verdict rests on, as it is told to others.
//!
//! Part of the state machine of `backend.rs`: standings on request, and an announcement with its
//! evidence for each change.

use super::Backend;
use crate::monitor::Action;
use crate::path::{Leaning, PathState};
use crate::{Cause, Change, Evidence, Moment, Standing, Transition, Verdict};

impl Backend {
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            verdict: self.verdict,
            since: self.since,
            admin: self.admin,
            role: self.role,
            sessions_lost: self.sessions_lost,
            evidence: self.evidence(),
        }
    }

    pub(super) fn announce(&self, change: Change, now: Moment, actions: &mut Vec<Action>) {
        actions.push(Action::Announce(Box::new(Transition {
            backend: self.id,
            at: now,
            change,
            evidence: self.evidence(),
        })));
    }

    fn evidence(&self) -> Evidence {
        let cause = self.cause();
        Evidence {
            held: self.held.last.clone(),
            fresh: self.fresh.last.clone(),
            cause,
            class: cause.map(|cause| self.plan.classes.of(cause)),
            proof_at: self.proof_at,
            pass_at: self.pass_at,
        }
    }

    /// The cause behind the verdict: where both paths are broken, the fresh one's.
    fn cause(&self) -> Option<Cause> {
        let wanted = match self.verdict {
            Verdict::Up => return None,
            Verdict::Degraded => Some(Leaning::Degrade),
            Verdict::Down => Some(Leaning::Fail),
            Verdict::Unknown => None,
        };
        let of = |path: &PathState| path.last.as_ref().and_then(|last| last.outcome.cause());
        [&self.fresh, &self.held]
            .into_iter()
            .find(|path| wanted.is_none() || path.leaning == wanted)
            .and_then(of)
            .or_else(|| of(&self.fresh))
            .or_else(|| of(&self.held))
    }
}
