//! All that the agent told, put together: the newest picture, the transitions, the latencies.
//!
//! Everything in here has a bound, so that a `top` may run for weeks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::feed::{Minute, News, Sample};
use super::strip::Turn;
use crate::commands::status::{Backend, Change, Picture, Seen};

/// Latencies that are kept of a backend, one a second or so.
const LATENCIES_MAX: usize = 120;
/// Transitions that are kept of all.
const TRANSITIONS_MAX: usize = 20_000;

/// What was told.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) picture: Picture,
    /// The newest proof behind each verdict, by our clock.
    proven: BTreeMap<String, SystemTime>,
    latencies: BTreeMap<String, Latencies>,
    /// By time, and then by what they say.
    transitions: BTreeMap<(String, String), Change>,
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
            proven: BTreeMap::new(),
            latencies: BTreeMap::new(),
            transitions: BTreeMap::new(),
            minutes: None,
            kept_since: None,
            silence: None,
            is_live: false,
            has_token,
        };
        known.note_picture(picture, now);
        known
    }

    /// Takes what was told.
    pub(super) fn note(&mut self, news: News, now: SystemTime) {
        match news {
            News::Picture(picture) => {
                self.silence = None;
                self.note_picture(*picture, now);
            }
            News::Live(is_live) => self.is_live = is_live,
            News::Transition(change) => self.add(*change),
            News::Past { changes, since } => {
                changes.into_iter().for_each(|it| self.add(it));
                self.kept_since = since;
            }
            News::Minutes { of, minutes } => self.minutes = Some((of, minutes)),
            News::Sample(sample) => self.note_sample(*sample, now),
            News::Silence(why) => {
                self.is_live = false;
                let since = self.silence.take().map_or(now, |it| it.since);
                self.silence = Some(Silence { since, why });
            }
        }
    }

    fn note_picture(&mut self, mut picture: Picture, now: SystemTime) {
        self.proven.clear();
        for told in &picture.backends {
            let backend = &told.told;
            let age = backend.evidence_age_ms.map(Duration::from_millis);
            if let Some(at) = age.and_then(|age| now.checked_sub(age)) {
                self.proven.insert(backend.name.clone(), at);
            }
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
        let names = self.picture.backends.iter().map(|it| it.told.name.as_str());
        let names: BTreeSet<_> = names.collect();
        self.latencies
            .retain(|name, _| names.contains(name.as_str()));
    }

    fn note_sample(&mut self, sample: Sample, now: SystemTime) {
        let Sample {
            backend: name,
            path,
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
        if seen.outcome == "pass" {
            self.proven.insert(name, now);
        }
        match path.as_str() {
            "held" => backend.held = Some(seen),
            _ => backend.fresh = Some(seen),
        }
    }

    fn add(&mut self, change: Change) {
        let who = change.backend.as_deref().or(change.service.as_deref());
        let what = format!(
            "{} {} {}",
            who.unwrap_or_default(),
            change.change,
            change.to
        );
        self.transitions.insert((change.at.clone(), what), change);
        if self.transitions.len() > TRANSITIONS_MAX {
            self.transitions.pop_first();
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

    /// How often which backend changed its verdict, oldest first.
    pub(super) fn turns(&self) -> BTreeMap<&str, Vec<Turn>> {
        let mut turns: BTreeMap<&str, Vec<Turn>> = BTreeMap::new();
        for change in self.transitions.values() {
            let (Some(name), "verdict") = (&change.backend, change.change.as_str()) else {
                continue;
            };
            if let Some(at) = moment(&change.at) {
                turns.entry(name).or_default().push(Turn {
                    at,
                    from: change.from.clone(),
                    to: change.to.clone(),
                });
            }
        }
        turns
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

/// A time of the API.
pub(super) fn moment(rfc3339: &str) -> Option<SystemTime> {
    let time: Timestamp = rfc3339.parse().ok()?;
    Some(time.into())
}
