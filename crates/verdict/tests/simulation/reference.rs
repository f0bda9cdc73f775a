//! A slow and obvious reference: the verdict on one backend, found anew each time from the whole
//! list of what was heard.
//!
//! Written from the words of the design, with lists and scans where the real thing keeps counters
//! and flags. It decides nothing about when to ask; it is told what was asked, what was heard, and
//! how late the loop was.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Cause, Class, Course, Depth, Moment, Observation, Outcome, Path, Plan, ProbeId, Verdict,
};

use crate::story::{Entry, Heard, Leaning, Story};

/// A probe that was started.
#[derive(Debug, Clone, Copy)]
struct Start {
    path: Path,
    probe: ProbeId,
    depth: Depth,
    at: Moment,
    deadline: Moment,
}

/// All that is known of one backend.
#[derive(Debug)]
pub(crate) struct Reference {
    plan: Arc<Plan>,
    starts: Vec<Start>,
    /// Wake-ups that came late: when they were due, and when they came.
    late: Vec<(Moment, Moment)>,
    entries: Vec<Entry>,
    /// The conclusion from the present list, until the list grows.
    concluded: Option<(Verdict, Option<Cause>)>,
}

impl Reference {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        let mut reference = Self {
            plan: Arc::clone(&plan),
            starts: Vec::new(),
            late: Vec::new(),
            entries: Vec::new(),
            concluded: None,
        };
        reference.plan(&plan);
        reference
    }

    pub(crate) fn plan(&mut self, plan: &Arc<Plan>) {
        self.plan = Arc::clone(plan);
        self.push(Entry::Counts {
            rise: plan.rise as usize,
            fall: plan.fall as usize,
        });
    }

    pub(crate) fn notice(&mut self, due: Moment, now: Moment) {
        if now.since(due) > Duration::from_millis(12) {
            self.late.push((due, now));
        }
    }

    pub(crate) fn start(
        &mut self,
        path: Path,
        probe: ProbeId,
        depth: Depth,
        at: Moment,
        deadline: Moment,
    ) {
        self.starts.push(Start {
            path,
            probe,
            depth,
            at,
            deadline,
        });
    }

    /// The monitor lost its patience with a loop that did not end a probe.
    pub(crate) fn cancel(&mut self, path: Path, now: Moment) {
        let start = self.starts.iter().rfind(|start| start.path == path);
        let start = *start.expect("a probe in flight");
        self.push(Entry::Heard(Heard {
            path,
            probe: Some(start.probe),
            began: start.at,
            ended: now,
            leaning: Leaning::Mute,
            cause: Some(Cause::AgentStalled),
            session: false,
            let_in: false,
            shallow: false,
            next_counts: None,
        }));
    }

    /// Takes an observation that is no stray; answers what it speaks for.
    pub(crate) fn hear(&mut self, observation: &Observation, now: Moment) -> Leaning {
        let start = observation.probe.and_then(|probe| self.started(probe));
        let observation = &self.in_the_light_of_the_session(observation);
        let leaning = self.leaning(observation, start);
        self.push(Entry::Heard(Heard {
            path: observation.path,
            probe: observation.probe,
            began: start.map_or(now, |start| start.at),
            ended: observation.ended,
            leaning,
            cause: observation.outcome.cause(),
            session: observation.session,
            let_in: leaning == Leaning::Good && start.is_some_and(|start| self.lets_in(start)),
            shallow: self.is_shallow(start),
            next_counts: self.next_counts(observation),
        }));
        leaning
    }

    /// A connect that went unanswered while the open session was answered met a full queue.
    fn in_the_light_of_the_session(&self, observation: &Observation) -> Observation {
        let mut observation = observation.clone();
        let newest = self.heard().filter(|heard| heard.path == Path::Held).last();
        let answered = newest.is_some_and(|held| {
            held.cause.is_none() && held.session && held.ended >= observation.started
        });
        let seen = self.newest_look().map(|(cause, _)| cause);
        let is_seen_full = !self.holds_session() && seen == Some(Cause::QueueFull);
        let unanswered = observation.outcome == Outcome::Fail(Cause::ConnectTimeout);
        if unanswered && (answered || is_seen_full) {
            observation.outcome = Outcome::Fail(Cause::QueueFull);
        }
        observation
    }

    /// Of a look that finds something wrong, and counts: when the next one does.
    fn next_counts(&self, look: &Observation) -> Option<Moment> {
        let remembered = self.entries.iter().rev();
        let mut remembered = remembered.take_while(|entry| !matches!(entry, Entry::Forgotten));
        let due = remembered.find_map(|entry| match entry {
            Entry::Heard(heard) => heard.next_counts,
            Entry::Counts { .. } | Entry::Forgotten => None,
        });
        let is_trouble = look.path == Path::Queue && look.outcome != Outcome::Pass;
        let counts = is_trouble && due.is_none_or(|due| due <= look.ended);
        counts.then(|| look.ended + self.plan.fast_interval.min(self.plan.interval))
    }

    /// What the newest look at the queue found wrong, as far as it is remembered, and when.
    fn newest_look(&self) -> Option<(Cause, Moment)> {
        let remembered = self.entries.iter().rev();
        let mut remembered = remembered.take_while(|entry| !matches!(entry, Entry::Forgotten));
        remembered.find_map(|entry| match entry {
            Entry::Heard(heard) if heard.path == Path::Queue => {
                Some(heard.cause.map(|cause| (cause, heard.ended)))
            }
            Entry::Heard(_) | Entry::Counts { .. } | Entry::Forgotten => None,
        })?
    }

    /// Whether a probe that passes was let in although nobody seemed to be.
    fn lets_in(&self, start: Start) -> bool {
        let stood_still = |(cause, at)| cause == Cause::NotAccepting && start.at >= at;
        start.path == Path::Fresh
            && start.depth >= Depth::Greeting
            && self.newest_look().is_some_and(stood_still)
    }

    /// Time passes: what is too old is forgotten.
    pub(crate) fn look(&mut self, now: Moment) {
        let remembered = self.entries.iter().rev();
        let newest_proof = remembered
            .take_while(|entry| !matches!(entry, Entry::Forgotten))
            .find_map(|entry| match entry {
                Entry::Heard(heard) if heard.is_proof() => Some(heard.ended),
                Entry::Heard(_) | Entry::Counts { .. } | Entry::Forgotten => None,
            });
        if newest_proof.is_some_and(|ended| ended + self.plan.stale_after <= now) {
            self.push(Entry::Forgotten);
        }
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.concluded = None;
    }

    fn started(&self, probe: ProbeId) -> Option<Start> {
        let start = self.starts.iter().rfind(|start| start.probe == probe);
        start.copied()
    }

    fn is_shallow(&self, start: Option<Start>) -> bool {
        match self.plan.course {
            Course::Sessionless {
                deeper: Some(deeper),
                ..
            } => start.is_some_and(|start| start.depth != deeper),
            Course::Sessionless { deeper: None, .. } | Course::Session { .. } => false,
        }
    }

    fn leaning(&self, observation: &Observation, start: Option<Start>) -> Leaning {
        let Outcome::Fail(cause) = observation.outcome else {
            return Leaning::Good;
        };
        if let Some(start) = start {
            let hung_up = matches!(cause, Cause::Reset | Cause::Closed);
            if (cause.is_timeout() || hung_up) && self.was_late(observation, start) {
                return Leaning::Mute;
            }
            if cause.is_timeout() && self.was_cut_short(start) {
                return Leaning::Mute;
            }
        }
        match self.plan.classes.of(cause) {
            Class::Dead | Class::Unfit => Leaning::Bad,
            Class::Full if observation.path == Path::Queue => Leaning::Impaired,
            Class::Full if cause == Cause::QueueFull && !self.holds_session() => Leaning::Bad,
            Class::Full | Class::Slow => Leaning::Impaired,
            Class::Ours if cause.proves_a_server() => Leaning::Impaired,
            Class::Ours => Leaning::Mute,
            Class::Passing => Leaning::Good,
        }
    }

    /// Whether the loop was late in the time of a probe, by more than the probe could bear: a
    /// fourth of its time, or a tenth of a second at most; ever finer lateness is told apart only
    /// down to 12 ms.
    fn was_late(&self, observation: &Observation, start: Start) -> bool {
        let bears = start.deadline.since(start.at) / 4;
        let bears = [100, 50, 25, 12]
            .map(Duration::from_millis)
            .into_iter()
            .find(|grade| *grade <= bears)
            .unwrap_or(Duration::from_millis(12));
        self.late.iter().any(|&(due, came)| {
            came.since(due) > bears && observation.started <= came && observation.ended >= due
        })
    }

    /// Whether a fresh probe ran beside a ping, under the ping's deadline, and the ping was
    /// answered before it.
    fn was_cut_short(&self, start: Start) -> bool {
        let ping = self.starts.iter().rfind(|ping| {
            ping.path == Path::Held && ping.at <= start.at && ping.deadline == start.deadline
        });
        let Some(ping) = ping else { return false };
        let order = |probe| self.starts.iter().position(|start| start.probe == probe);
        start.path == Path::Fresh
            && order(ping.probe) < order(start.probe)
            && self
                .heard()
                .any(|heard| heard.probe == Some(ping.probe) && heard.session)
    }

    fn heard(&self) -> impl Iterator<Item = &Heard> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Heard(heard) => Some(heard),
            Entry::Counts { .. } | Entry::Forgotten => None,
        })
    }

    fn holds_session(&self) -> bool {
        // A fresh probe that opened none says nothing about the one that is held.
        let of_sessions = |heard: &&Heard| heard.path == Path::Held || heard.session;
        let newest = self.heard().filter(of_sessions).last();
        newest.is_some_and(|heard| heard.session)
    }

    /// The verdict, and the cause behind it where it is degraded or down.
    pub(crate) fn conclude(&mut self) -> (Verdict, Option<Cause>) {
        if let Some(concluded) = self.concluded {
            return concluded;
        }
        let story = Story::of(&self.entries);
        let concluded = (story.verdict(), story.cause);
        self.concluded = Some(concluded);
        concluded
    }
}
