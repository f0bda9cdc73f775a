//! When to ask next, and how: the moments, paces and starts of a backend's probes.
//!
//! Part of the state machine of `backend.rs`. One probe in flight per path; a regular fresh probe
//! waits while a ping is unanswered, and a ping unanswered for longer than usual brings a fresh
//! probe beside it.

use std::time::Duration;

use super::Backend;
use crate::monitor::Action;
use crate::path::{Flight, Leaning};
use crate::rise_fall::Opinion;
use crate::stall::LATENESS_MAX;
use crate::{Cause, Class, Course, Depth, Moment, Path, ProbeId, Verdict};

/// The least time after which an unanswered ping is suspect.
const SUSPECT_AFTER_MIN: Duration = Duration::from_millis(20);
/// How many times its usual latency a ping may take before it is suspect.
const SUSPECT_FACTOR: u32 = 4;
/// The share of a pace by which it may be shortened at random, in thousandths.
const JITTER_PERMILLE: u64 = 50;

impl Backend {
    /// The next moment at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let guard = |flight: &Flight| flight.deadline + LATENESS_MAX;
        let stale = match self.verdict {
            Verdict::Unknown => None,
            Verdict::Up | Verdict::Degraded | Verdict::Down => {
                self.proof_at.map(|at| at + self.plan.stale_after)
            }
        };
        [
            self.held.flight.as_ref().map(guard),
            self.fresh.flight.as_ref().map(guard),
            self.held_due(),
            self.fresh_due(),
            stale,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn held_due(&self) -> Option<Moment> {
        (self.session && self.held.flight.is_none())
            .then_some(self.held.next)
            .flatten()
    }

    /// When the fresh path is to be asked: regularly, or because a ping has become suspect.
    pub(super) fn fresh_due(&self) -> Option<Moment> {
        if self.fresh.flight.is_some() {
            return None;
        }
        match &self.held.flight {
            Some(ping) => Some(ping.started + self.suspect_after()),
            None => self.fresh.next,
        }
    }

    fn suspect_after(&self) -> Duration {
        (self.latency * SUSPECT_FACTOR)
            .max(SUSPECT_AFTER_MIN)
            .min(self.plan.timeout / 2)
    }

    pub(super) fn start_held(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Course::Session { depth } = self.plan.course else {
            return;
        };
        let deadline = now + self.plan.timeout;
        self.start(Path::Held, depth, deadline, false, now, actions);
    }

    pub(super) fn start_fresh(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let depth = match self.plan.course {
            Course::Session { depth } => depth,
            Course::Sessionless { depth, deeper } => match deeper {
                Some(deeper) if self.asks_deeper(now) => deeper,
                Some(_) | None => depth,
            },
        };
        let (deadline, beside) = match &self.held.flight {
            Some(ping) => (ping.deadline, true),
            None => (now + self.plan.timeout, false),
        };
        self.start(Path::Fresh, depth, deadline, beside, now, actions);
    }

    /// Whether the deeper question of a sessionless course is due. While it is the one that goes
    /// wrong, an answer to the shallow one proves nothing against that.
    fn asks_deeper(&self, now: Moment) -> bool {
        self.fresh.is_failing() || self.fresh.is_degraded() || now >= self.deeper_at
    }

    fn start(
        &mut self,
        path: Path,
        depth: Depth,
        deadline: Moment,
        beside: bool,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        self.probes = self.probes.wrapping_add(1);
        let probe = ProbeId(self.probes);
        let state = self.path_mut(path);
        state.next = None;
        state.flight = Some(Flight {
            probe,
            started: now,
            deadline,
            depth,
            beside,
            void_if_late: false,
        });
        actions.push(Action::StartProbe {
            backend: self.id,
            probe,
            path,
            depth,
            deadline,
        });
    }

    pub(super) fn schedule(
        &mut self,
        path: Path,
        leaning: Leaning,
        flight: Option<Flight>,
        now: Moment,
    ) {
        let started = flight.map_or(now, |flight| flight.started);
        match path {
            Path::Held if self.session => {
                let next = started + self.jittered_pace(Path::Held, leaning);
                self.held.next = Some(next.max(now));
            }
            Path::Held => {}
            Path::Fresh => {
                let next = started + self.jittered_pace(Path::Fresh, leaning);
                self.fresh.next = Some(next.max(now));
                if self.session && self.held.next.is_none() && self.held.flight.is_none() {
                    self.held.next = Some(now + self.jittered_pace(Path::Held, leaning));
                }
            }
        }
    }

    fn jittered_pace(&mut self, path: Path, leaning: Leaning) -> Duration {
        let pace = self.pace(path, leaning);
        jittered(&mut self.rng, pace)
    }

    /// The time from the start of a probe that spoke so to the start of the next on its path.
    pub(super) fn pace(&self, path: Path, leaning: Leaning) -> Duration {
        let plan = &*self.plan;
        let (rise, fall) = (plan.rise, plan.fall);
        let settled = self.alive.is_settled(rise, fall)
            && (self.verdict == Verdict::Down || self.clean.is_settled(rise, fall));
        let changing = plan.fast_interval.min(plan.interval);
        let holds = matches!(plan.course, Course::Session { .. });
        match (path, leaning) {
            (Path::Held, _) if settled => plan.interval,
            (Path::Held, _) => changing,
            (Path::Fresh, Leaning::Pass) if self.session => plan.fresh_interval,
            (Path::Fresh, Leaning::Pass) if settled => plan.interval,
            (Path::Fresh, Leaning::Pass) => changing,
            (Path::Fresh, Leaning::Fail) => match self.alive.opinion(rise) {
                Opinion::Down => plan.down_interval,
                Opinion::Up if holds && !self.session => plan.confirm_interval,
                Opinion::Up | Opinion::Undecided => changing,
            },
            (Path::Fresh, Leaning::Degrade) if !settled => changing,
            (Path::Fresh, Leaning::Degrade) => match self.fresh_class() {
                Some(Class::Ours) => plan.refused_interval(),
                Some(_) | None => plan.down_interval,
            },
            // Cut short, or the agent's own fault: ask again, and properly this time.
            (Path::Fresh, Leaning::Nothing) => match self.fresh_cause() {
                Some(Cause::DnsFailed | Cause::OutOfDescriptors) => plan.down_interval,
                Some(_) | None => changing,
            },
        }
    }

    fn fresh_cause(&self) -> Option<Cause> {
        self.fresh
            .last
            .as_ref()
            .and_then(|last| last.outcome.cause())
    }

    fn fresh_class(&self) -> Option<Class> {
        self.fresh_cause().map(|cause| self.plan.classes.of(cause))
    }
}

/// Shortens a pace by a random share, so that what started together drifts apart; never longer,
/// so that every bound holds.
pub(super) fn jittered(rng: &mut fastrand::Rng, pace: Duration) -> Duration {
    let permille = 1000 - rng.u64(0..=JITTER_PERMILLE);
    let nanos = u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos / 1000 * permille)
}
