//! When to ask next, and how: the moments, paces and starts of a backend's probes.
//!
//! Part of the state machine of `backend.rs`. One probe in flight per path; a regular fresh probe
//! waits while a ping is unanswered, and a ping unanswered for longer than usual brings one fresh
//! probe beside it. Every pace counts from the start of a probe, and jitter only shortens it, so
//! that what [`Plan`](crate::Plan) states as bounds holds. A fresh probe that is due starts when
//! the rations of `ration.rs` have one for it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Backend;
use crate::action::Action;
use crate::mesh::{self, Mesh};
use crate::path::{Flight, Leaning};
use crate::plan::JITTER;
use crate::ration::{self, Logins};
use crate::rise_fall::{Opinion, RiseFall};
use crate::stall::LATENESS_MAX;
use crate::{Cause, Class, Course, Depth, Moment, Path, ProbeId, Verdict};

/// The least time after which an unanswered ping is suspect.
const SUSPECT_AFTER_MIN: Duration = Duration::from_millis(20);
/// How many times its usual latency a ping may take before it is suspect.
const SUSPECT_FACTOR: u32 = 4;
/// The share of its time that a probe under another's deadline must have left: a fourth.
const BESIDE_SHARE: u32 = 4;
/// The share of a pace by which it may be shortened at random, in thousandths; what it takes to end
/// on the grid comes on top, and both together stay within [`JITTER`].
const JITTER_PERMILLE: u64 = (JITTER * 1000.0) as u64 - mesh::SHARE_PERMILLE;

/// Where a backend stands among all that want a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    /// In the queue, until it is called.
    Waits,
    /// It was called, and a login taken for it.
    Given,
}

impl Backend {
    /// The next moment at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let guard = |flight: &Flight| flight.deadline + LATENESS_MAX;
        let (held, fresh) = (self.held.flight.as_ref(), self.fresh.flight.as_ref());
        let first = [
            held.map(guard),
            fresh.map(guard),
            held.and_then(|flight| flight.look_at),
            fresh.and_then(|flight| flight.look_at),
            self.held_due(),
            self.refresh_turn(),
            self.stale_at(),
        ]
        .into_iter()
        .flatten()
        .min();
        // Whose turn it is comes last, since most are due only long after all that.
        let is_first = |due: &Moment| first.is_none_or(|first| *due < first);
        let fresh = self.fresh_due().filter(is_first);
        let turn = fresh.and_then(|due| self.fresh_turn(due));
        turn.filter(is_first).or(first)
    }

    pub(super) fn held_due(&self) -> Option<Moment> {
        (self.session && self.held.flight.is_none())
            .then_some(self.held.next)
            .flatten()
    }

    /// When the fresh path is to be asked: regularly, or because a ping has become suspect.
    pub(super) fn fresh_due(&self) -> Option<Moment> {
        match &self.held.flight {
            _ if self.fresh.flight.is_some() => None,
            Some(ping) if !ping.witnessed => Some(ping.started + self.suspect_after()),
            Some(_) | None => self.fresh.next,
        }
    }

    /// When the fresh path will be asked that is due then: not before its own ration allows it, nor,
    /// while it waits for a turn, before it is called.
    fn fresh_turn(&self, due: Moment) -> Option<Moment> {
        // Nearly always nobody waits, and nothing of the ration is used up.
        let waits = self.turn == Turn::Waits;
        if (!waits && self.logins.is_whole(due)) || !self.fresh_depth(due).logs_in() {
            return Some(due);
        }
        let next = self
            .logins
            .next(self.login_pace(self.plan.logins_at_once()));
        (!waits).then(|| due.max(next))
    }

    /// When the fresh path will be asked for somebody who wants to know: when all of its own ration
    /// is there, whatever the depth, so that enough is left to change a verdict.
    fn refresh_turn(&self) -> Option<Moment> {
        let until = self.asked_until?;
        let is_busy = self.fresh.flight.is_some() || self.turn == Turn::Waits;
        let waits = self.held.flight.is_some_and(|ping| !ping.witnessed);
        let next = self.logins.next(self.login_pace(1));
        (!is_busy && !waits && next <= until).then_some(next)
    }

    fn login_pace(&self, at_once: u32) -> ration::Pace {
        ration::Pace {
            at_once,
            spacing: self.plan.login_spacing(),
        }
    }

    /// Asks on the fresh path if that is due, or waits for a turn to do so.
    pub(super) fn start_fresh_in_turn(
        &mut self,
        all: &mut Logins,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        // Who asked that long ago waits no more.
        self.asked_until = self.asked_until.filter(|until| *until >= now);
        let due = self.fresh_due();
        // A loop that is late asks what was due, not what is due by now.
        if let Some(due) = due.filter(|due| *due <= now && has_come(self.fresh_turn(*due), now)) {
            self.start_due(self.fresh_depth(due), all, now, actions);
        } else if has_come(self.refresh_turn(), now) {
            // That is its chance; without one to spare it comes again for the next of its own ration.
            self.logins.take(self.login_pace(1), now);
            let depth = self.fresh_depth(now);
            if !depth.logs_in() || (all.has_spare(now) && all.take(now)) {
                self.start_fresh(depth, now, actions);
            }
        }
    }

    fn start_due(
        &mut self,
        depth: Depth,
        all: &mut Logins,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        if !depth.logs_in() {
            self.start_fresh(depth, now, actions);
        } else if self.turn == Turn::Given || all.take(now) {
            self.turn = Turn::None;
            self.logins
                .take(self.login_pace(self.plan.logins_at_once()), now);
            self.start_fresh(depth, now, actions);
        } else {
            all.wait(self.id);
            self.turn = Turn::Waits;
            let depth = self.fresh_depth(now);
            if !depth.logs_in() {
                self.start_fresh(depth, now, actions);
            }
        }
    }

    /// Its turn has come, which it takes if it wants a login still: now, or, where a shallow question
    /// is under way or comes first, as soon as that has been.
    pub(crate) fn handle_turn(
        &mut self,
        all: &mut Logins,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        if self.turn != Turn::Waits {
            return;
        }
        self.turn = Turn::None;
        let asks_deeper = match self.plan.course {
            Course::Sessionless { deeper, .. } => deeper.is_some() && self.asks_deeper(now),
            Course::Session { .. } => false,
        };
        let turn = self.fresh_due().and_then(|due| self.fresh_turn(due));
        // A ping under way is waited for, but not at the end of the queue again.
        let waits_for_ping = self.held.flight.is_some()
            && self.fresh.flight.is_none()
            && has_come(self.fresh.next, now);
        if asks_deeper || waits_for_ping || has_come(turn, now) {
            all.take_called(now);
            self.turn = Turn::Given;
            self.start_fresh_in_turn(all, now, actions);
        }
    }

    pub(super) fn suspect_after(&self) -> Duration {
        (self.latency * SUSPECT_FACTOR)
            .max(SUSPECT_AFTER_MIN)
            .min(self.plan.timeout / 2)
    }

    /// When the newest proof becomes too old, unless all that rests on it is forgotten already.
    pub(super) fn stale_at(&self) -> Option<Moment> {
        let proof_at = self.proof_at?;
        let remembers = self.alive != RiseFall::UNDECIDED
            || self.held.leaning.is_some()
            || self.fresh.leaning.is_some();
        remembers.then(|| proof_at + self.plan.stale_after)
    }

    /// The agent is awake.
    pub(super) fn look(&mut self, now: Moment) {
        let budget = self.plan.slow_over;
        for path in [&mut self.held, &mut self.fresh] {
            if let Some(flight) = &mut path.flight
                && flight.look_at.is_some_and(|at| at <= now)
            {
                flight.look_after(now, budget);
            }
        }
    }

    pub(super) fn start_held(&mut self, now: Moment, actions: &mut VecDeque<Action>) {
        let Course::Session { depth } = self.plan.course else {
            return;
        };
        let deadline = now + self.plan.timeout;
        self.start(Path::Held, depth, deadline, false, now, actions);
    }

    /// How deep the fresh path is asked at this moment. While the deeper question waits for its turn
    /// the shallow one goes on, unless it would prove nothing.
    fn fresh_depth(&self, at: Moment) -> Depth {
        let goes_on = self.turn == Turn::Waits && !self.fresh.is_failing();
        match self.plan.course {
            Course::Session { depth } => depth,
            Course::Sessionless { depth, deeper } => match deeper {
                Some(deeper) if self.asks_deeper(at) && !goes_on => deeper,
                Some(_) | None => depth,
            },
        }
    }

    fn start_fresh(&mut self, depth: Depth, now: Moment, actions: &mut VecDeque<Action>) {
        self.asked_until = None;
        let least = self.plan.timeout / BESIDE_SHARE;
        let beside = self
            .held
            .flight
            .filter(|ping| !ping.witnessed && ping.deadline.since(now) >= least)
            // After a probe that was cut short in vain comes one that has its full time.
            .filter(|_| !self.fresh.cut_short);
        let deadline = beside.map_or(now + self.plan.timeout, |ping| ping.deadline);
        if let Some(ping) = &mut self.held.flight {
            ping.witnessed = true;
        }
        let beside = beside.is_some();
        self.start(Path::Fresh, depth, deadline, beside, now, actions);
    }

    /// Whether the deeper question of a sessionless course is due. While it is the one that
    /// fails, an answer to the shallow one proves nothing against that.
    fn asks_deeper(&self, now: Moment) -> bool {
        self.fresh.is_failing() || now >= self.deeper_at
    }

    /// Asks again as soon as a changing opinion allows: what the queue says is about to be confirmed
    /// or over. The fresh path costs the server a session, so only a suspect one is asked there.
    pub(super) fn ask_soon(&mut self, now: Moment, is_suspect: bool) {
        let pace = self.plan.changing_interval();
        let asks_fresh = is_suspect || !self.session;
        for (path, is_asked) in [(Path::Held, self.session), (Path::Fresh, asks_fresh)] {
            let state = self.path_mut(path);
            if !is_asked || state.flight.is_some() {
                continue;
            }
            let earliest = state.last.as_ref().map_or(now, |last| last.started + pace);
            let soonest = earliest.max(now);
            state.next = state.next.map(|next| next.min(soonest));
        }
    }

    fn start(
        &mut self,
        path: Path,
        depth: Depth,
        deadline: Moment,
        beside: bool,
        now: Moment,
        actions: &mut VecDeque<Action>,
    ) {
        self.probes = self.probes.wrapping_add(1);
        let probe = ProbeId(self.probes);
        let mut flight = Flight {
            probe,
            started: now,
            deadline,
            depth,
            beside,
            void_if_late: false,
            witnessed: false,
            look_at: None,
        };
        flight.look_after(now, self.plan.slow_over);
        let state = self.path_mut(path);
        state.next = None;
        state.flight = Some(flight);
        actions.push_back(Action::StartProbe {
            backend: self.id,
            probe,
            path,
            depth,
            deadline,
        });
    }

    /// Settles when a path that has spoken is asked again, and what that means for the other.
    pub(super) fn schedule(
        &mut self,
        path: Path,
        leaning: Leaning,
        flight: Option<Flight>,
        mesh: Mesh,
        now: Moment,
    ) {
        let started = flight.map_or(now, |flight| flight.started);
        match path {
            Path::Held if self.session => {
                let pace = self.jittered_pace(Path::Held, leaning);
                self.held.next = Some(mesh.gather(started, pace).max(now));
            }
            // The loss of the session has settled it already; and a queue is looked at by others.
            Path::Held | Path::Queue => {}
            Path::Fresh => {
                let pace = self.jittered_fresh_pace(leaning, flight, now);
                self.fresh.next = Some(mesh.gather(started, pace).max(now));
                if self.session && self.held.flight.is_none() {
                    let soonest = mesh.gather(now, self.jittered_pace(Path::Held, leaning));
                    let next = self.held.next.map_or(soonest, |next| next.min(soonest));
                    self.held.next = Some(next);
                }
            }
        }
    }

    /// The pace of the fresh path; where a course has a shallow and a deeper question, that of
    /// whichever comes first.
    fn jittered_fresh_pace(
        &mut self,
        leaning: Leaning,
        flight: Option<Flight>,
        now: Moment,
    ) -> Duration {
        let pace = self.jittered_pace(Path::Fresh, leaning);
        let Course::Sessionless {
            deeper: Some(_), ..
        } = self.plan.course
        else {
            return pace;
        };
        match leaning {
            Leaning::Pass if !self.is_shallow(flight) => {
                self.deeper_at = now + jittered(&mut self.rng, self.plan.fresh_interval);
                pace
            }
            Leaning::Degrade => {
                let started = flight.map_or(now, |flight| flight.started);
                self.deeper_at = started + pace;
                pace.min(self.jittered_pace(Path::Fresh, Leaning::Pass))
            }
            Leaning::Pass | Leaning::Fail | Leaning::Nothing => pace,
        }
    }

    fn jittered_pace(&mut self, path: Path, leaning: Leaning) -> Duration {
        let pace = self.pace(path, leaning);
        jittered(&mut self.rng, pace)
    }

    /// The time from the start of a probe that spoke so to the start of the next on its path.
    pub(super) fn pace(&self, path: Path, leaning: Leaning) -> Duration {
        let plan = &*self.plan;
        let down = self.verdict == Verdict::Down;
        let settled = self.alive.is_settled(plan.rise, plan.fall)
            && (down || self.clean.is_settled(plan.rise, plan.fall));
        let changing = plan.changing_interval();
        match (path, leaning) {
            // Nobody is asked on this path.
            (Path::Queue, _) => plan.interval,
            (Path::Held, _) if !settled => changing,
            (Path::Held, _) if down => plan.down_interval,
            (Path::Held, _) => plan.interval,
            (Path::Fresh, Leaning::Pass) if self.session => plan.fresh_interval,
            (Path::Fresh, Leaning::Pass) if settled => plan.interval,
            (Path::Fresh, Leaning::Pass) => changing,
            (Path::Fresh, Leaning::Fail) => match self.alive.opinion(plan.rise) {
                Opinion::Down => plan.down_interval,
                Opinion::Up if self.holds_sessions() && !self.session => plan.confirm_interval,
                Opinion::Up | Opinion::Undecided => changing,
            },
            (Path::Fresh, Leaning::Degrade) if !settled => changing,
            (Path::Fresh, Leaning::Degrade) => {
                match self.fresh.cause.map(|cause| plan.classes.of(cause)) {
                    Some(Class::Ours) => plan.refused_interval(),
                    Some(_) | None => plan.down_interval,
                }
            }
            // Cut short, or the agent's own fault: ask again, and properly this time.
            (Path::Fresh, Leaning::Nothing) => match self.fresh.last_cause() {
                Some(Cause::DnsFailed | Cause::OutOfDescriptors) => plan.down_interval,
                Some(_) | None => changing,
            },
        }
    }
}

fn has_come(at: Option<Moment>, now: Moment) -> bool {
    at.is_some_and(|at| at <= now)
}

/// Shortens a pace by a random share, so that what started together drifts apart; never longer,
/// so that every bound holds.
fn jittered(rng: &mut fastrand::Rng, pace: Duration) -> Duration {
    let permille = 1000 - rng.u64(0..=JITTER_PERMILLE);
    let nanos = u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos / 1000 * permille)
}
