//! All that the agent told, put together: the newest picture, the transitions, the latencies.
//!
//! Everything in here has a bound, so that a `top` may run for weeks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use super::feed::{Minute, News, Past, Sample};
use super::record::{Record, Recorded};
use super::strip::Turn;
use crate::commands::status::{Agent, Backend, Change, Picture, Seen};
use crate::duration::moment;

/// Latencies that are kept of a backend, one a second or so.
const LATENCIES_MAX: usize = 120;
/// Transitions that are kept of all.
const TRANSITIONS_MAX: usize = 20_000;
/// Clocks that differ by less may as well not: an answer takes its time.
const SAME_CLOCK: SignedDuration = SignedDuration::from_millis(1500);

/// What was told.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) picture: Picture,
    /// What the agent's clock, by which all is told, is ahead of ours.
    ahead: SignedDuration,
    /// Probes that ended in a second, between the newest two pictures.
    pub(super) probes_per_second: Option<f64>,
    /// The newest proof behind each verdict.
    proven: BTreeMap<String, SystemTime>,
    latencies: BTreeMap<String, Latencies>,
    /// By time, and then by what they say.
    transitions: BTreeMap<(String, String), Change>,
    /// Those of verdicts again, by backend, oldest first.
    turns: BTreeMap<String, Vec<Turn>>,
    record: Record,
    /// Latencies per minute of the backend that was asked for last, where they are kept.
    minutes: Option<(String, Vec<Minute>)>,
    /// Since when transitions are kept, where they are.
    pub(super) kept_since: Option<String>,
    pub(super) silence: Option<Silence>,
    /// Whether changes are told as they happen, rather than found a second later.
    pub(super) is_live: bool,
    /// Whether a token is there for orders.
    pub(super) has_token: bool,
}

/// That nobody answers.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) since: SystemTime,
    pub(super) why: String,
}

/// What one backend's probes took, in milliseconds; none where one did not pass.
#[derive(Debug, Default)]
struct Latencies {
    newest: String,
    values: VecDeque<Option<f64>>,
}

impl Known {
    pub(super) fn new(picture: Picture, now: SystemTime, has_token: bool) -> Self {
        let mut known = Self {
            picture: Picture::default(),
            ahead: SignedDuration::ZERO,
            probes_per_second: None,
            proven: BTreeMap::new(),
            latencies: BTreeMap::new(),
            transitions: BTreeMap::new(),
            turns: BTreeMap::new(),
            record: Record::default(),
            minutes: None,
            kept_since: None,
            silence: None,
            is_live: false,
            has_token,
        };
        known.note_picture(picture, now);
        known
    }

    /// Our time by the agent's clock.
    pub(super) fn agents(&self, ours: SystemTime) -> SystemTime {
        let apart = self.ahead.unsigned_abs();
        let agents = match self.ahead.is_negative() {
            true => ours.checked_sub(apart),
            false => ours.checked_add(apart),
        };
        agents.unwrap_or(ours)
    }

    /// Takes what was told, at a time of our clock.
    pub(super) fn note(&mut self, news: News, ours: SystemTime) {
        let now = self.agents(ours);
        match news {
            News::Picture(picture) => {
                self.silence = None;
                self.note_picture(*picture, ours);
            }
            News::Live(is_live) => self.is_live = is_live,
            News::Transition(change) => self.add(*change),
            News::Past(past) => self.note_past(past),
            News::Minutes { of, minutes } => self.minutes = Some((of, minutes)),
            News::Sample(sample) => self.note_sample(*sample, now),
            News::Silence(why) => {
                self.is_live = false;
                let since = self.silence.take().map_or(now, |it| it.since);
                self.note_run(since);
                self.record.note_silence(since);
                self.silence = Some(Silence { since, why });
            }
        }
    }

    fn note_picture(&mut self, mut picture: Picture, ours: SystemTime) {
        self.ahead = ahead(&picture.agent, ours);
        let now = self.agents(ours);
        self.probes_per_second = probes_per_second(&self.picture.agent, &picture.agent).or(self
            .probes_per_second
            .filter(|_| picture.agent.vitals.is_some()));
        self.proven.clear();
        for told in &picture.backends {
            let backend = &told.told;
            self.note_proof(&backend.name, backend.evidence_age_ms, now);
            let seen = backend.held.as_ref().or(backend.fresh.as_ref());
            if let Some(seen) = seen {
                let latencies = self.latencies.entry(backend.name.clone());
                latencies.or_default().add(seen);
            }
        }
        for told in picture.transitions.drain(..) {
            self.add(told.told);
        }
        self.picture = picture;
        self.note_run(now);
        let names = self.picture.backends.iter().map(|it| it.told.name.as_str());
        let names: BTreeSet<_> = names.collect();
        self.latencies
            .retain(|name, _| names.contains(name.as_str()));
    }

    /// Notes when the newest proof was got; what is one, the agent knows.
    fn note_proof(&mut self, name: &str, age_ms: Option<u64>, now: SystemTime) {
        let age = age_ms.map(Duration::from_millis);
        if let Some(at) = age.and_then(|age| now.checked_sub(age)) {
            self.proven.insert(name.to_owned(), at);
        }
    }

    /// The agent that was heard last still watches.
    fn note_run(&mut self, now: SystemTime) {
        let began = self.picture.agent.started.as_deref().and_then(moment);
        if let Some(began) = began {
            self.record.note_run(began, now);
        }
    }

    fn note_past(&mut self, past: Past) {
        past.changes.into_iter().for_each(|it| self.add(it));
        for (began, seen) in past.runs {
            self.record.note_run(began, seen);
        }
        if let Some(since) = past.since {
            self.record.note_since(since, past.is_newest);
        }
        self.kept_since = past.kept_since;
    }

    fn note_sample(&mut self, sample: Sample, now: SystemTime) {
        let Sample {
            backend: name,
            path,
            evidence_age_ms,
            seen,
        } = sample;
        let mut backends = self.picture.backends.iter_mut();
        let Some(backend) = backends.find(|it| it.told.name == name) else {
            return;
        };
        let backend = &mut backend.told;
        let is_its_pace = path == "held" || backend.held.is_none();
        if is_its_pace {
            self.latencies.entry(name.clone()).or_default().add(&seen);
        }
        match path.as_str() {
            "held" => backend.held = Some(seen),
            _ => backend.fresh = Some(seen),
        }
        self.note_proof(&name, evidence_age_ms, now);
    }

    fn add(&mut self, change: Change) {
        let who = change.backend.as_deref().or(change.service.as_deref());
        let what = format!(
            "{} {} {}",
            who.unwrap_or_default(),
            change.change,
            change.to
        );
        let key = (change.at.clone(), what);
        if self.transitions.contains_key(&key) {
            return;
        }
        if let Some((name, turn)) = turn(&change) {
            let turns = self.turns.entry(name.to_owned()).or_default();
            let place = turns.partition_point(|it| it.at <= turn.at);
            turns.insert(place, turn);
        }
        self.transitions.insert(key, change);
        if self.transitions.len() > TRANSITIONS_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, gone)) = self.transitions.pop_first() else {
            return;
        };
        if let Some((name, turn)) = turn(&gone)
            && let Some(turns) = self.turns.get_mut(name)
        {
            turns.retain(|it| it.at > turn.at);
            if turns.is_empty() {
                self.turns.remove(name);
            }
        }
        if let Some(at) = moment(&gone.at) {
            self.record.note_dropped(at);
        }
    }

    /// How old the newest proof behind a verdict is.
    pub(super) fn age(&self, backend: &Backend, now: SystemTime) -> Option<Duration> {
        let at = self.proven.get(&backend.name)?;
        Some(now.duration_since(*at).unwrap_or_default())
    }

    /// What the last probes of a backend took, in milliseconds.
    pub(super) fn latencies(&self, name: &str) -> Vec<Option<f64>> {
        let latencies = self.latencies.get(name);
        latencies.map_or_else(Vec::new, |it| it.values.iter().copied().collect())
    }

    /// The minutes that are kept of a backend.
    pub(super) fn minutes(&self, name: &str) -> &[Minute] {
        match &self.minutes {
            Some((of, minutes)) if of == name => minutes,
            Some(_) | None => &[],
        }
    }

    /// All transitions, newest first.
    pub(super) fn transitions(&self) -> impl Iterator<Item = &Change> {
        self.transitions.values().rev()
    }

    /// How often a backend changed its verdict, oldest first.
    pub(super) fn turns(&self, name: &str) -> &[Turn] {
        self.turns.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// What of the past is known. While nobody answers, nobody knows what is now.
    pub(super) fn recorded(&self) -> Recorded {
        self.record
            .recorded(self.silence.as_ref().map(|it| it.since))
    }

    /// Why orders cannot be given where the agent was found; none where they can.
    pub(super) fn why_no_orders(&self) -> Option<&'static str> {
        if self.silence.is_some() {
            return Some("the agent does not answer; no order can be given now");
        }
        let is_http = self.picture.place.starts_with("http://");
        (is_http && !self.has_token)
            .then_some("orders are taken at the control socket, or with a token: --token-file FILE")
    }
}

impl Latencies {
    fn add(&mut self, seen: &Seen) {
        if seen.ended == self.newest {
            return;
        }
        self.newest.clone_from(&seen.ended);
        let took = (seen.outcome == "pass").then_some(seen.took_ms);
        self.values.push_back(took);
        if self.values.len() > LATENCIES_MAX {
            self.values.pop_front();
        }
    }
}

/// What the agent's clock is ahead of ours, where that is more than its answer took.
fn ahead(agent: &Agent, ours: SystemTime) -> SignedDuration {
    let agents: Option<Timestamp> = agent.at.as_deref().and_then(|at| at.parse().ok());
    let (Some(agents), Ok(ours)) = (agents, Timestamp::try_from(ours)) else {
        return SignedDuration::ZERO;
    };
    let ahead = agents.duration_since(ours);
    match ahead.abs() > SAME_CLOCK {
        true => ahead,
        false => SignedDuration::ZERO,
    }
}

/// Probes a second since the picture before, or since the agent began where that was of another one;
/// none where no time has passed.
fn probes_per_second(before: &Agent, agent: &Agent) -> Option<f64> {
    let vitals = agent.vitals.as_ref()?;
    let is_same = before.started == agent.started;
    let known = before.vitals.as_ref().filter(|_| is_same);
    let from = known.map_or(&agent.started, |_| &before.at);
    let [from, at] = [from, &agent.at].map(|it| it.as_deref().and_then(moment));
    let seconds = at?.duration_since(from?).ok()?.as_secs_f64();
    let probes = vitals
        .probes
        .saturating_sub(known.map_or(0, |it| it.probes));
    (seconds > 0.5).then(|| probes as f64 / seconds)
}

/// A change of a backend's verdict.
fn turn(change: &Change) -> Option<(&str, Turn)> {
    let name = change.backend.as_deref()?;
    let at = moment(&change.at).filter(|_| change.change == "verdict")?;
    let turn = Turn {
        at,
        from: change.from.clone(),
        to: change.to.clone(),
    };
    Some((name, turn))
}
