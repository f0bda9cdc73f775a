//! What a backend's verdict rests on, as it is told to others.
//!
//! Part of the state machine of `backend.rs`: standings on request, and an announcement with its
//! evidence for each change.

use std::collections::VecDeque;

use super::Backend;
use crate::action::Action;
use crate::path::Leaning;
use crate::{Cause, Change, Class, Evidence, Moment, Path, Standing, Transition, Verdict};

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

    pub(super) fn announce(&self, change: Change, now: Moment, actions: &mut VecDeque<Action>) {
        actions.push_back(Action::Announce(Box::new(Transition {
            backend: self.id,
            at: now,
            change,
            evidence: self.evidence(),
        })));
    }

    fn evidence(&self) -> Evidence {
        let cause = match self.verdict {
            Verdict::Unknown => self.fresh.last_cause().or(self.held.last_cause()),
            Verdict::Up | Verdict::Degraded | Verdict::Down => self.cause,
        };
        Evidence {
            held: self.held.last.clone(),
            fresh: self.fresh.last.clone(),
            queue: self.path(Path::Queue).last.clone().map(Box::new),
            cause,
            class: cause.map(|cause| self.class_of(cause)),
            proof_at: self.proof_at,
            pass_at: self.pass_at,
        }
    }

    /// The class of the cause behind the verdict: a full queue that took a backend down stood in
    /// front of a server that answers nobody.
    fn class_of(&self, cause: Cause) -> Class {
        let class = self.plan.classes.of(cause);
        if cause == Cause::QueueFull && class == Class::Full && self.verdict == Verdict::Down {
            return Class::Dead;
        }
        class
    }

    /// The cause that the paths show for the verdict just now: where both are broken, the fresh
    /// one's, and a look at the queue comes last; nothing while they speak for a change that has not
    /// come about yet.
    pub(super) fn shown_cause(&self) -> Option<Cause> {
        let wanted = match self.verdict {
            Verdict::Degraded => Leaning::Degrade,
            Verdict::Down => Leaning::Fail,
            Verdict::Up | Verdict::Unknown => return None,
        };
        [&self.fresh, &self.held, self.path(Path::Queue)]
            .into_iter()
            .find(|path| path.leaning == Some(wanted))
            .and_then(|path| path.cause)
    }
}
