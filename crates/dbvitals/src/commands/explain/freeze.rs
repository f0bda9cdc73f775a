//! A freeze, rehearsed: the monitor at this plan, and a server that stops just after an answer.

use std::cell::Cell;
use std::time::Duration;

use dbvitals_verdict::{
    Cause, Change, Depth, Moment, Observation, Outcome, Path, Phases, Plan, Verdict,
};

use crate::rehearsal::{Answer, Asked, Rehearsal, World};

/// How long the rehearsed server takes for an answer, at most.
const ANSWER_MAX: Duration = Duration::from_millis(1);

/// Any will do, as long as the picture is the same every time.
const SEED: u64 = 1;

/// A freeze from its beginning to the recovery.
#[derive(Debug)]
pub(super) struct Freeze {
    pub(super) from: Moment,
    pub(super) thaw: Moment,
    /// When the first question after the freeze was sent.
    pub(super) asked: Moment,
    /// When a fresh probe was started beside it, if one was.
    pub(super) suspected: Option<Moment>,
    pub(super) down: Moment,
    pub(super) cause: Option<Cause>,
    /// When the first answer came after the thaw.
    pub(super) answered: Moment,
    pub(super) up: Moment,
    pub(super) probes: Vec<Observation>,
}

impl Freeze {
    /// Plays a freeze; `None` where the plan does not notice one.
    pub(super) fn rehearse(plan: &Plan) -> Option<Self> {
        if !plan.notices_freeze() {
            return None;
        }
        let server = Server {
            frozen: Cell::default(),
            answer: ANSWER_MAX.min(plan.timeout / 10),
        };
        let settled = settled_at(plan);
        let from = last_answer(plan, &server, settled)?;
        server.frozen.set((from, FOREVER));
        let mut frozen = Rehearsal::new(plan, &server, SEED, Moment::ORIGIN);
        frozen.play(from + plan.freeze_bound() + plan.timeout * (plan.fall + 1));
        let (down, cause) = reached(&frozen, from, Verdict::Down)?;

        let thaw = down + down.since(from) / 4;
        server.frozen.set((from, thaw));
        let mut whole = Rehearsal::new(plan, &server, SEED, Moment::ORIGIN).keeping_observations();
        whole.play(thaw + plan.recovery_bound() * 2 + plan.relief_bound());
        let (up, _) = reached(&whole, thaw, Verdict::Up)?;
        let probes = whole.observations.unwrap_or_default();
        let unanswered =
            |probe: &&Observation| probe.started > from && probe.outcome != Outcome::Pass;
        let asked = probes
            .iter()
            .filter(unanswered)
            .map(|it| it.started)
            .min()?;
        let beside = |probe: &&Observation| unanswered(probe) && probe.path == Path::Fresh;
        let suspected = probes.iter().filter(beside).map(|it| it.started).min();
        let passes = |probe: &&Observation| probe.ended >= thaw && probe.outcome == Outcome::Pass;
        let answered = probes.iter().filter(passes).map(|it| it.ended).min()?;
        Some(Self {
            from,
            thaw,
            asked,
            suspected: suspected.filter(|at| *at > asked),
            down,
            cause,
            answered,
            up,
            probes,
        })
    }
}

/// A freeze that ends later.
const FOREVER: Moment = Moment::from_nanos(u64::MAX);

/// When a backend is up and at its usual pace for sure.
fn settled_at(plan: &Plan) -> Moment {
    Moment::ORIGIN + (plan.interval + ANSWER_MAX) * (plan.rise + 2)
}

/// Just after the first answer from which on it takes longest to notice a freeze.
fn last_answer(plan: &Plan, server: &Server, settled: Moment) -> Option<Moment> {
    let mut fine = Rehearsal::new(plan, server, SEED, Moment::ORIGIN).keeping_observations();
    fine.play(settled + (plan.fresh_interval + plan.interval) * 2);
    let probes = fine.observations.unwrap_or_default();
    let path = match probes.iter().any(|probe| probe.path == Path::Held) {
        true => Path::Held,
        false => Path::Fresh,
    };
    let deepest = plan.deepest();
    let last = probes
        .iter()
        .find(|it| it.path == path && it.depth == Some(deepest) && it.started >= settled)?;
    Some(last.ended + Duration::from_nanos(1))
}

fn reached(
    played: &Rehearsal<'_, Server>,
    from: Moment,
    verdict: Verdict,
) -> Option<(Moment, Option<Cause>)> {
    let mut later = played.transitions.iter().filter(|it| it.at >= from);
    let found =
        later.find(|it| matches!(it.change, Change::Verdict { to, .. } if to == verdict))?;
    Some((found.at, found.evidence.cause))
}

/// A server that freezes once.
#[derive(Debug)]
struct Server {
    frozen: Cell<(Moment, Moment)>,
    answer: Duration,
}

impl World for Server {
    fn answer(&self, asked: &Asked) -> Answer {
        let (from, thaw) = self.frozen.get();
        let soon = asked.started + self.answer;
        let answered = match soon >= from && asked.started < thaw && asked.depth > Depth::Connect {
            true => thaw.max(asked.started) + self.answer,
            false => soon,
        };
        let in_time = answered < asked.deadline;
        let silence = match asked.path {
            Path::Held => Cause::Unresponsive,
            Path::Fresh | Path::Queue => Cause::NoGreeting,
        };
        Answer {
            ended: answered.min(asked.deadline),
            outcome: match in_time {
                true => Outcome::Pass,
                false => Outcome::Fail(silence),
            },
            depth: in_time.then_some(asked.depth),
            phases: Phases::default(),
            goes_on: in_time,
            role: None,
        }
    }

    fn session_end(&self, _since: Moment) -> Option<(Moment, Cause)> {
        None
    }

    fn woken(&self, at: Moment) -> Moment {
        at
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_verdict::Course;

    use super::*;

    fn check(plan: &Plan) {
        let freeze = Freeze::rehearse(plan).unwrap();
        let noticed = freeze.down.since(freeze.from);
        let slack = ANSWER_MAX * (plan.fall + plan.rise + 2);
        assert!(noticed <= plan.freeze_bound() + slack, "{noticed:?}");
        // It is the worst case but for the jitter, which shortens paces by a twentieth at most.
        assert!(noticed >= plan.freeze_bound().mul_f64(0.9), "{noticed:?}");
        let recovered = freeze.up.since(freeze.thaw);
        assert!(recovered <= plan.recovery_bound() + slack, "{recovered:?}");
    }

    #[test]
    fn the_rehearsed_freeze_is_the_worst_one_and_keeps_the_promise() {
        let session = Course::Session { depth: Depth::Ping };
        for fall in 1..=4 {
            check(&Plan {
                fall,
                ..Plan::new(session)
            });
        }
        let (depth, deeper) = (Depth::Connect, Some(Depth::Greeting));
        check(&Plan::new(Course::Sessionless { depth, deeper }));
        let (depth, deeper) = (Depth::Greeting, None);
        check(&Plan::new(Course::Sessionless { depth, deeper }));
    }
}
