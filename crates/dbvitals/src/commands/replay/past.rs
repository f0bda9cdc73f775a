//! A record as the truth about a server over time: what a probe would have met that began then.
//!
//! A probe meets what its path's next observation met, so a replay is as exact as the recorded paces
//! were: what happened twice within one of them may be seen once, or not at all. Three things are
//! known better than that:
//!
//! - Silence lasts as long as somebody listened to it, whoever else begins to wait meanwhile; from
//!   then on a server is as the next observation shows it.
//! - A server is not dead before a ping that passed, nor before a held session ended by itself.
//! - While the recorded run held no session, what its fresh probes met speaks for the held path.

use std::time::Duration;

use dbvitals_verdict::{
    Cause, Class, Depth, Moment, Observation, Outcome, Path, Phase, Phases, Role,
};

use crate::record::Recorded;
use crate::rehearsal::{Answer, Asked, World};

/// How long an answer is taken to need of which nothing is known.
const ANSWER: Duration = Duration::from_millis(1);

/// The passes that tell how long an answer usually takes.
const PASSES: usize = 3;

/// The share of its patience by which a probe may outlast a silence and yet hear nothing: jitter
/// is no reason to be answered. A tenth.
const NEAR_SHARE: u32 = 10;

/// What was recorded of one backend, path by path, in the order of the ends.
#[derive(Debug)]
pub(super) struct Past {
    held: Vec<Fact>,
    fresh: Vec<Fact>,
    /// What looks at the accept queue told.
    looks: Vec<Observation>,
    /// When held sessions ended by themselves.
    ends: Vec<(Moment, Cause)>,
    late: Vec<(Moment, Moment)>,
    deepest: Depth,
}

/// What was seen on a path.
#[derive(Debug, Clone)]
struct Fact {
    started: Moment,
    ended: Moment,
    seen: Seen,
    depth: Option<Depth>,
    phases: Phases,
    session: bool,
    role: Option<Role>,
}

/// What a fact says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Pass,
    /// It answered, badly or with a refusal.
    Answer(Cause),
    /// It did not answer.
    Silence(Cause),
    /// The held session ended by itself.
    End(Cause),
}

impl Seen {
    fn outcome(self) -> Outcome {
        match self {
            Self::Pass => Outcome::Pass,
            Self::Answer(cause) | Self::Silence(cause) | Self::End(cause) => Outcome::Fail(cause),
        }
    }

    /// Whether nobody usable is there.
    fn is_dead(self) -> bool {
        let cause = self.outcome().cause();
        cause.is_some_and(|cause| cause.default_class() == Class::Dead)
    }
}

impl Fact {
    fn of(observation: &Observation) -> Self {
        let seen = match observation.outcome {
            Outcome::Pass => Seen::Pass,
            Outcome::Fail(cause) if observation.probe.is_none() => Seen::End(cause),
            Outcome::Fail(cause) if is_silence(cause) => Seen::Silence(cause),
            Outcome::Fail(cause) if observation.path == Path::Held && !observation.session => {
                Seen::End(cause)
            }
            Outcome::Fail(cause) => Seen::Answer(cause),
        };
        Self {
            started: observation.started,
            ended: observation.ended,
            seen,
            depth: observation.depth,
            phases: observation.phases.clone(),
            session: observation.session,
            role: observation.server.as_ref().and_then(|facts| facts.role),
        }
    }

    /// What a fresh probe's fact says about a session that would have been open.
    fn for_a_session(&self) -> Option<Self> {
        let seen = match self.seen {
            Seen::Pass => Seen::Pass,
            Seen::Silence(_) => Seen::Silence(Cause::Unresponsive),
            Seen::Answer(Cause::Refused) => Seen::End(Cause::Reset),
            Seen::Answer(cause) if self.seen.is_dead() => Seen::End(cause),
            Seen::Answer(_) | Seen::End(_) => return None,
        };
        Some(Self {
            seen,
            ..self.clone()
        })
    }

    /// How long it took to come as far as a depth.
    fn took(&self, depth: Depth) -> Duration {
        let connect = self.phases.took(Phase::Connect);
        match connect.filter(|_| depth <= Depth::Connect) {
            Some(connect) => connect,
            None => self.ended.since(self.started),
        }
    }

    /// What it says about a question of this depth, if anything.
    fn at_depth(&self, depth: Depth) -> Option<Self> {
        let reached = self.depth.is_some_and(|reached| reached >= depth);
        match self.seen {
            Seen::Pass if !reached => None,
            Seen::Pass => Some(self.clone()),
            Seen::Answer(_) | Seen::Silence(_) if reached && depth <= Depth::Connect => {
                Some(Self {
                    seen: Seen::Pass,
                    ended: self.started + self.took(depth),
                    ..self.clone()
                })
            }
            Seen::Answer(_) | Seen::Silence(_) | Seen::End(_) => Some(self.clone()),
        }
    }
}

/// Whether the cause is that nothing came; some causes that a deadline may bring are the server's
/// own words as well.
fn is_silence(cause: Cause) -> bool {
    cause.is_timeout() && !matches!(cause, Cause::DnsFailed | Cause::WriteFailed)
}

impl Past {
    pub(super) fn of(recorded: &Recorded) -> Self {
        let mut past = Self {
            held: Vec::new(),
            fresh: Vec::new(),
            looks: Vec::new(),
            ends: Vec::new(),
            late: recorded.late.clone(),
            deepest: recorded.plans.first.deepest(),
        };
        past.late.sort_unstable();
        // A record that begins in the middle of a run begins with a session, if pings come first.
        let mut asked = recorded.observations.iter();
        let first = asked.find(|it| it.path != Path::Queue);
        let mut session = first.is_some_and(|first| first.path == Path::Held);
        for observation in &recorded.observations {
            let fact = Fact::of(observation);
            match observation.path {
                Path::Held => {
                    session = observation.session;
                    past.held.push(fact);
                }
                Path::Fresh => {
                    if !session {
                        past.held.extend(fact.for_a_session());
                    }
                    session |= observation.session;
                    past.fresh.push(fact);
                }
                Path::Queue => past.looks.push(observation.clone()),
            }
        }
        let ends = past.held.iter().filter_map(|fact| match fact.seen {
            Seen::End(cause) => Some((fact.ended, cause)),
            Seen::Pass | Seen::Answer(_) | Seen::Silence(_) => None,
        });
        past.ends = ends.collect();
        past
    }

    fn facts(&self, path: Path) -> &[Fact] {
        match path {
            Path::Held => &self.held,
            Path::Fresh => &self.fresh,
            // Looks are told as they came; nobody is asked.
            Path::Queue => &[],
        }
    }

    /// Whether something on the held path shows that the server lived at a moment: a ping that
    /// passed after it, or a session that ended only then; before `until` both.
    fn lived_at(&self, at: Moment, until: Moment) -> bool {
        let from = self.held.partition_point(|fact| fact.ended <= at);
        let facts = self.held.get(from..).unwrap_or_default();
        let near = facts.iter().take_while(|fact| fact.ended <= until);
        near.take(1).any(|fact| match fact.seen {
            Seen::Pass | Seen::Answer(_) => true,
            Seen::End(_) => fact.started > at,
            Seen::Silence(_) => false,
        })
    }

    /// What was last known before a moment, where the server lived then: a slow answer among
    /// quick ones was the end of a silence, so the quickest of the last few tells how long it takes.
    fn before(&self, index: usize, path: Path, depth: Depth) -> (Option<Fact>, Duration) {
        let earlier = self.facts(path).get(..index).unwrap_or_default();
        let known = earlier.iter().rev().filter_map(|fact| fact.at_depth(depth));
        let last = known.clone().next().filter(|fact| !fact.seen.is_dead());
        let passes = known.filter(|fact| fact.seen == Seen::Pass);
        let took = passes.take(PASSES).map(|fact| fact.took(depth)).min();
        let took = match last.as_ref().map(|fact| fact.seen) {
            Some(Seen::Pass) | None => took.unwrap_or(ANSWER),
            Some(Seen::Answer(_) | Seen::Silence(_) | Seen::End(_)) => {
                last.as_ref().map_or(ANSWER, |fact| fact.took(depth))
            }
        };
        (last, took)
    }

    /// What the probe meets: the fact, and when it is met.
    fn meet(&self, asked: &Asked, depth: Depth) -> Option<(Fact, Moment)> {
        let facts = self.facts(asked.path);
        let index = facts.partition_point(|fact| fact.ended < asked.started);
        let later = facts.get(index..).unwrap_or_default();
        let mut silence: Option<Fact> = None;
        for fact in later.iter().filter_map(|fact| fact.at_depth(depth)) {
            let under_way = fact.started < asked.started;
            let (ended, took) = (fact.ended, fact.took(depth));
            if let Some(silent) = silence {
                if silent.ended + asked.patience() / NEAR_SHARE >= asked.deadline {
                    return Some((silent, asked.deadline));
                }
                match fact.seen {
                    Seen::Silence(_) => silence = Some(fact),
                    Seen::End(_) => return Some((fact, ended)),
                    Seen::Pass | Seen::Answer(_) => {
                        return Some((fact, silent.ended + took));
                    }
                }
                continue;
            }
            let lived = !under_way && self.lived_at(asked.started, fact.started);
            if lived && (fact.seen.is_dead() || fact.seen == Seen::Pass) {
                let (known, took) = self.before(index, asked.path, depth);
                let pass = Fact {
                    seen: Seen::Pass,
                    depth: Some(depth),
                    ..fact
                };
                let known = known.filter(|_| fact.seen.is_dead()).unwrap_or(pass);
                return Some((known, asked.started + took));
            }
            match fact.seen {
                Seen::Silence(_) => silence = Some(fact),
                Seen::End(_) => return Some((fact, ended)),
                Seen::Pass | Seen::Answer(_) if under_way => return Some((fact, ended)),
                Seen::Pass | Seen::Answer(_) => {
                    return Some((fact, asked.started + took));
                }
            }
        }
        silence.map(|silent| (silent, asked.deadline))
    }
}

impl World for Past {
    fn answer(&self, asked: &Asked) -> Answer {
        let depth = asked.depth.min(self.deepest);
        let (fact, ended) = self.meet(asked, depth).unwrap_or_else(|| {
            // Nothing is known after this moment: it stays as it was.
            let facts = self.facts(asked.path);
            let last = facts.iter().rev().find_map(|fact| fact.at_depth(depth));
            let (_, took) = self.before(facts.len(), asked.path, depth);
            let unknown = Fact {
                started: asked.started,
                ended: asked.started + took,
                seen: Seen::Pass,
                depth: Some(depth),
                phases: Phases::default(),
                session: true,
                role: None,
            };
            (last.unwrap_or(unknown), asked.started + took)
        });
        let in_time = ended < asked.deadline;
        let outcome = match (fact.seen, in_time) {
            (Seen::Silence(cause), _) => Outcome::Fail(cause),
            (seen, true) => seen.outcome(),
            (_, false) => Outcome::Fail(too_late(asked, &fact)),
        };
        let goes_on = in_time
            && match fact.seen {
                Seen::Pass => true,
                Seen::Answer(_) => fact.session || fact.depth >= Some(Depth::Ping),
                Seen::Silence(_) | Seen::End(_) => false,
            };
        Answer {
            ended: ended.min(asked.deadline),
            outcome,
            // A question that was never asked is taken for answered where the deepest one was.
            depth: match outcome {
                Outcome::Pass => Some(asked.depth),
                Outcome::Fail(_) => fact.depth.filter(|_| in_time),
            },
            phases: fact.phases,
            goes_on,
            role: fact.role.filter(|_| in_time),
        }
    }

    fn session_end(&self, since: Moment) -> Option<(Moment, Cause)> {
        let index = self.ends.partition_point(|(at, _)| *at <= since);
        self.ends.get(index).copied()
    }

    fn looks(&self) -> &[Observation] {
        &self.looks
    }

    fn woken(&self, at: Moment) -> Moment {
        let index = self.late.partition_point(|(from, _)| *from <= at);
        let earlier = self.late.get(..index).unwrap_or_default();
        let until = earlier.last().map_or(at, |(_, until)| *until);
        until.max(at)
    }
}

/// What a prober says whose deadline is sooner than the answer that was recorded.
fn too_late(asked: &Asked, fact: &Fact) -> Cause {
    if asked.path == Path::Held {
        return Cause::Unresponsive;
    }
    let patience = asked.patience();
    let mut spent = Duration::ZERO;
    for (phase, took, _) in fact.phases.iter() {
        spent += took;
        if spent >= patience {
            return match phase {
                Phase::Resolve => Cause::DnsFailed,
                Phase::Connect => Cause::ConnectTimeout,
                Phase::Greeting => Cause::NoGreeting,
                Phase::Listening => Cause::AgentStalled,
                Phase::Tls
                | Phase::Login
                | Phase::Ping
                | Phase::Query
                | Phase::Role
                | Phase::Lag
                | Phase::Write => Cause::Unresponsive,
            };
        }
    }
    Cause::Unresponsive
}
