//! The lines of a record, as they are written and read.

use std::collections::BTreeMap;
use std::time::Duration;

use dbvitals_verdict::{
    Cause, Change, Class, Classes, Course, Depth, Moment, Observation, Outcome, Path, Phase,
    Phases, Plan, Role, ServerFacts, Transition, Verdict,
};
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use super::chapter::Chapter;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) schema: String,
    /// When the agent started: RFC 3339.
    pub(crate) at: String,
    pub(crate) agent: String,
    /// A backend that does not say its shard belongs to `b % shards`.
    pub(crate) shards: usize,
    /// Those that are watched when this file is begun, as far as they have been seen.
    pub(crate) backends: Vec<BackendHeader>,
}

/// One backend, and how it is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BackendHeader {
    /// Its number in the lines; where it is left out, its place in the header.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) b: Option<u32>,
    /// Its shard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) n: Option<usize>,
    pub(crate) name: String,
    /// The same backend under the plan before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) follows: Option<u32>,
    /// When the plan came into force.
    #[serde(default)]
    since_us: u64,
    /// The verdict when this was written.
    pub(crate) verdict: String,
    depth: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    deeper: Option<String>,
    held: bool,
    interval_us: u64,
    confirm_interval_us: u64,
    fast_interval_us: u64,
    down_interval_us: u64,
    fresh_interval_us: u64,
    timeout_us: u64,
    stale_after_us: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    slow_over_us: Option<u64>,
    rise: u32,
    fall: u32,
    /// The classes that an operator changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    classes: BTreeMap<String, String>,
}

impl Header {
    pub(crate) fn new(at: String, agent: String, shards: usize) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            at,
            agent,
            shards: shards.max(1),
            backends: Vec::new(),
        }
    }
}

impl BackendHeader {
    pub(crate) fn new(chapter: &Chapter, verdict: Verdict) -> Self {
        let plan = chapter.plan();
        let (depth, deeper, held) = match plan.course {
            Course::Session { depth } => (depth, None, true),
            Course::Sessionless { depth, deeper } => (depth, deeper, false),
        };
        let changed = Cause::ALL
            .into_iter()
            .filter(|cause| plan.classes.of(*cause) != cause.default_class());
        Self {
            b: Some(chapter.number),
            n: Some(chapter.shard),
            name: chapter.name.to_string(),
            follows: chapter.follows,
            since_us: since_origin(chapter.since),
            verdict: verdict.name().to_owned(),
            depth: depth.name().to_owned(),
            deeper: deeper.map(|depth| depth.name().to_owned()),
            held,
            interval_us: micros(plan.interval),
            confirm_interval_us: micros(plan.confirm_interval),
            fast_interval_us: micros(plan.fast_interval),
            down_interval_us: micros(plan.down_interval),
            fresh_interval_us: micros(plan.fresh_interval),
            timeout_us: micros(plan.timeout),
            stale_after_us: micros(plan.stale_after),
            slow_over_us: plan.slow_over.map(micros),
            rise: plan.rise,
            fall: plan.fall,
            classes: changed
                .map(|cause| (cause.name().into(), plan.classes.of(cause).name().into()))
                .collect(),
        }
    }

    /// When the plan came into force.
    pub(crate) fn since(&self) -> Moment {
        Moment::ORIGIN + Duration::from_micros(self.since_us)
    }

    /// The plan of the recorded run; `None` where a word of it is not known.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let depth = self.depth.parse().ok()?;
        let deeper = match &self.deeper {
            Some(deeper) => Some(deeper.parse().ok()?),
            None => None,
        };
        let course = match self.held {
            true => Course::Session { depth },
            false => Course::Sessionless { depth, deeper },
        };
        let mut classes = Classes::default();
        for (cause, class) in &self.classes {
            classes.set(cause.parse().ok()?, class.parse::<Class>().ok()?);
        }
        let plan = Plan {
            course,
            interval: Duration::from_micros(self.interval_us),
            confirm_interval: Duration::from_micros(self.confirm_interval_us),
            fast_interval: Duration::from_micros(self.fast_interval_us),
            down_interval: Duration::from_micros(self.down_interval_us),
            fresh_interval: Duration::from_micros(self.fresh_interval_us),
            timeout: Duration::from_micros(self.timeout_us),
            stale_after: Duration::from_micros(self.stale_after_us),
            slow_over: self.slow_over_us.map(Duration::from_micros),
            rise: self.rise,
            fall: self.fall,
            classes,
        };
        plan.check().ok()?;
        Some(plan)
    }
}

/// Any other line; `record.rs` explains the keys.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) t: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) b: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) p: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    d: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    e: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) v: Option<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    r: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    s: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ph: Option<Vec<(String, u64)>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ro: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) n: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) l: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) plan: Option<Box<BackendHeader>>,
}

impl Line {
    /// The line that tells who a number stands for.
    pub(crate) fn of_chapter(chapter: &Chapter, verdict: Verdict) -> Self {
        Self {
            t: since_origin(chapter.since),
            plan: Some(Box::new(BackendHeader::new(chapter, verdict))),
            ..Self::default()
        }
    }

    /// The line of an observation.
    pub(crate) fn of_observation(b: u32, depth: Depth, seen: &Observation) -> Self {
        let passed = seen.outcome == Outcome::Pass;
        let usual_depth = passed.then_some(depth);
        let one_phase = passed && is_one_phase(seen, depth);
        let reached = seen.depth.filter(|_| seen.depth != usual_depth);
        let phases: Vec<_> = seen
            .phases
            .iter()
            .map(|(phase, took, _)| (phase.name().to_owned(), micros(took)))
            .collect();
        let role = seen.server.as_ref().and_then(|facts| facts.role);
        Self {
            t: since_origin(seen.started),
            b: Some(b),
            p: Some(match seen.path {
                Path::Held => 'h',
                Path::Fresh => 'f',
                Path::Queue => 'q',
            }),
            d: seen.probe.map(|_| micros(seen.took())),
            e: seen.probe.is_none().then_some(1),
            c: seen.outcome.cause().map(|cause| cause.name().to_owned()),
            r: reached.map(|depth| depth.name().to_owned()),
            s: (seen.session != usual_session(seen.path, passed)).then_some(seen.session.into()),
            ph: (!one_phase && !phases.is_empty()).then_some(phases),
            ro: role.map(|role| role.name().to_owned()),
            x: seen.detail.as_deref().map(str::to_owned),
            ..Self::default()
        }
    }

    /// The line of a transition; orders of operators are not the server's.
    pub(crate) fn of_transition(b: u32, transition: &Transition) -> Option<Self> {
        let (Change::Verdict { from, to }, evidence) = (transition.change, &transition.evidence)
        else {
            return None;
        };
        Some(Self {
            t: since_origin(transition.at),
            b: Some(b),
            v: Some((from.name().to_owned(), to.name().to_owned())),
            c: evidence.cause.map(|cause| cause.name().to_owned()),
            ..Self::default()
        })
    }

    /// The line of a shard that was late.
    pub(crate) fn of_lateness(shard: usize, due: Moment, by: Duration) -> Self {
        Self {
            t: since_origin(due),
            n: Some(shard),
            l: Some(micros(by)),
            ..Self::default()
        }
    }

    /// The line that stands for lines that were lost.
    pub(crate) fn of_loss(t: u64, lost: u64) -> Self {
        Self {
            t,
            lost: Some(lost),
            ..Self::default()
        }
    }

    /// The moment it tells of.
    pub(crate) fn at(&self) -> Moment {
        Moment::ORIGIN + Duration::from_micros(self.t)
    }

    /// The observation that the line tells of; `None` where it tells of none that is known.
    pub(crate) fn observation(&self, depth: Depth) -> Option<Observation> {
        let path = match self.p? {
            'h' => Path::Held,
            'f' => Path::Fresh,
            'q' => Path::Queue,
            _ => return None,
        };
        let outcome = match self.cause()? {
            None => Outcome::Pass,
            Some(cause) => Outcome::Fail(cause),
        };
        let passed = outcome == Outcome::Pass;
        let started = self.at();
        let took = Duration::from_micros(self.d.unwrap_or(0));
        let reached = match &self.r {
            Some(reached) => Some(reached.parse().ok()?),
            None => passed.then_some(depth),
        };
        let mut phases = Phases::default();
        for (name, micros) in self.ph.iter().flatten() {
            let phase = Phase::ALL.into_iter().find(|phase| phase.name() == name)?;
            phases.push(phase, Duration::from_micros(*micros));
        }
        if self.ph.is_none() && passed {
            let own = Phase::ALL
                .into_iter()
                .find(|phase| phase.name() == depth.name());
            own.into_iter().for_each(|phase| phases.push(phase, took));
        }
        let role = match self.ro.as_deref() {
            None => None,
            Some("primary") => Some(Role::Primary),
            Some("replica") => Some(Role::Replica),
            Some(_) => return None,
        };
        Some(Observation {
            path,
            // Only whether there was one is known.
            probe: self.e.is_none().then(Default::default),
            started,
            ended: started + took,
            depth: reached,
            outcome,
            phases,
            session: self
                .s
                .map_or(usual_session(path, passed), |session| session != 0),
            server: role.map(|role| {
                std::sync::Arc::new(ServerFacts {
                    role: Some(role),
                    ..ServerFacts::default()
                })
            }),
            detail: self.x.as_deref().map(Into::into),
        })
    }

    /// The cause named, if any; `None` for one that is not known.
    pub(crate) fn cause(&self) -> Option<Option<Cause>> {
        match &self.c {
            None => Some(None),
            Some(name) => name.parse().ok().map(Some),
        }
    }
}

/// Whether a session is held after a probe that ended so, as one may expect.
fn usual_session(path: Path, passed: bool) -> bool {
    path == Path::Held && passed
}

/// Whether a pass consists of the one question of its depth, and nothing that its time leaves out.
fn is_one_phase(seen: &Observation, depth: Depth) -> bool {
    let mut phases = seen.phases.iter();
    match (phases.next(), phases.next()) {
        (Some((phase, took, false)), None) => {
            phase.name() == depth.name() && micros(seen.took()).abs_diff(micros(took)) <= 1
        }
        _ => false,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn since_origin(moment: Moment) -> u64 {
    micros(moment.since(Moment::ORIGIN))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn seen(path: Path, outcome: Outcome) -> Observation {
        Observation {
            path,
            probe: Some(Default::default()),
            started: Moment::from_nanos(1_000_000_000),
            ended: Moment::from_nanos(1_000_210_000),
            depth: Some(Depth::Ping),
            outcome,
            phases: Phases::default(),
            session: true,
            server: None,
            detail: None,
        }
    }

    fn check(observation: &Observation, expected: &str) {
        let line = Line::of_observation(0, Depth::Ping, observation);
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(text, expected);
        let read: Line = serde_json::from_str(&text).unwrap();
        assert_eq!(read.observation(Depth::Ping).as_ref(), Some(observation));
    }

    #[test]
    fn what_is_usual_is_left_out_and_comes_back() {
        let mut ping = seen(Path::Held, Outcome::Pass);
        ping.phases.push(Phase::Ping, Duration::from_micros(210));
        check(&ping, r#"{"t":1000000,"b":0,"p":"h","d":210}"#);
    }

    #[test]
    fn a_failure_keeps_its_cause_its_depth_its_phases_and_its_sentence() {
        let mut refused = seen(Path::Fresh, Outcome::Fail(Cause::Refused));
        (refused.depth, refused.session) = (None, false);
        refused
            .phases
            .push(Phase::Connect, Duration::from_micros(90));
        refused.detail = Some("no".into());
        let expected =
            r#"{"t":1000000,"b":0,"p":"f","d":210,"c":"refused","ph":[["connect",90]],"x":"no"}"#;
        check(&refused, expected);
        let mut end = seen(Path::Held, Outcome::Fail(Cause::Reset));
        (end.depth, end.session, end.probe) = (None, false, None);
        end.ended = end.started;
        check(&end, r#"{"t":1000000,"b":0,"p":"h","e":1,"c":"reset"}"#);
    }

    #[test]
    fn a_plan_comes_back_as_it_was() {
        let (depth, deeper) = (Depth::Connect, Some(Depth::Greeting));
        let mut plan = Plan::new(Course::Sessionless { depth, deeper });
        plan.classes.set(Cause::AccessDenied, Class::Dead);
        plan.slow_over = Some(Duration::from_millis(20));
        let chapter = Chapter {
            number: 7,
            shard: 1,
            name: "orders".into(),
            plan: Arc::new(plan.clone()),
            since: Moment::from_nanos(5000),
            verdict: Verdict::Up,
            follows: Some(3),
        };
        let text = serde_json::to_string(&Line::of_chapter(&chapter, Verdict::Up)).unwrap();
        let start = r#"{"t":5,"plan":{"b":7,"n":1,"name":"orders","follows":3,"since_us":5,"verdict":"up","#;
        assert!(text.starts_with(start), "{text}");
        let read: Line = serde_json::from_str(&text).unwrap();
        assert_eq!(read.plan.unwrap().plan(), Some(plan));
    }
}
