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

/// What an observation speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaning {
    Good,
    Impaired,
    Bad,
    /// It proves nothing.
    Mute,
}

/// A probe that was started.
#[derive(Debug, Clone, Copy)]
struct Start {
    path: Path,
    probe: ProbeId,
    depth: Depth,
    at: Moment,
    deadline: Moment,
}

/// Something that was heard.
#[derive(Debug, Clone, Copy)]
struct Heard {
    path: Path,
    probe: Option<ProbeId>,
    /// When the probe began.
    began: Moment,
    ended: Moment,
    leaning: Leaning,
    cause: Option<Cause>,
    session: bool,
    /// It was the shallow question, and there is a deeper one.
    shallow: bool,
}

/// One line of the list.
#[derive(Debug, Clone)]
enum Entry {
    /// From here on these counts are in force.
    Counts {
        rise: usize,
        fall: usize,
    },
    Heard(Heard),
    /// All before this is too old.
    Forgotten,
}

/// What a path last spoke for, and why.
type Word = (Path, Leaning, Option<Cause>);

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
            shallow: false,
        }));
    }

    /// Takes an observation that is no stray; answers what it speaks for.
    pub(crate) fn hear(&mut self, observation: &Observation, now: Moment) -> Leaning {
        let start = observation.probe.and_then(|probe| self.started(probe));
        let leaning = self.leaning(observation, start);
        self.push(Entry::Heard(Heard {
            path: observation.path,
            probe: observation.probe,
            began: start.map_or(now, |start| start.at),
            ended: observation.ended,
            leaning,
            cause: observation.outcome.cause(),
            session: observation.session,
            shallow: self.is_shallow(start),
        }));
        leaning
    }

    /// Time passes: what is too old is forgotten.
    pub(crate) fn look(&mut self, now: Moment) {
        let remembered = self.entries.iter().rev();
        let newest_proof = remembered
            .take_while(|entry| !matches!(entry, Entry::Forgotten))
            .find_map(|entry| match entry {
                Entry::Heard(heard) if heard.leaning != Leaning::Mute => Some(heard.ended),
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

/// The list told from its beginning.
#[derive(Debug, Default)]
struct Story {
    rise: usize,
    fall: usize,
    words: Vec<Word>,
    newest_fresh: Option<Heard>,
    /// A session was lost, and no fresh word came since; whether it is a failure.
    pending_loss: Option<bool>,
    /// Every pass and failure, as far as it is remembered.
    votes: Vec<bool>,
    is_up: Option<bool>,
    /// While up: every answer, whether it was clean.
    clean_votes: Vec<bool>,
    is_clean: bool,
    cause: Option<Cause>,
}

impl Story {
    fn of(entries: &[Entry]) -> Self {
        let mut story = Self::default();
        for entry in entries {
            match entry {
                Entry::Counts { rise, fall } => (story.rise, story.fall) = (*rise, *fall),
                Entry::Forgotten => {
                    story = Self {
                        rise: story.rise,
                        fall: story.fall,
                        ..Self::default()
                    }
                }
                Entry::Heard(heard) => story.hear(heard),
            }
        }
        story
    }

    fn verdict(&self) -> Verdict {
        match self.is_up {
            None => Verdict::Unknown,
            Some(false) => Verdict::Down,
            Some(true) if self.is_clean => Verdict::Up,
            Some(true) => Verdict::Degraded,
        }
    }

    fn hear(&mut self, heard: &Heard) {
        let before = self.verdict();
        match heard.path {
            Path::Held if heard.session => {
                self.speak(heard);
                self.weigh_answer(heard.leaning);
            }
            Path::Held => self.hear_loss(heard),
            Path::Fresh => self.hear_fresh(heard),
        }
        let was_up = matches!(before, Verdict::Up | Verdict::Degraded);
        if self.is_up == Some(true) && !was_up {
            // What it rose on decides.
            let words = [Path::Held, Path::Fresh].map(|path| self.newest_word(path));
            self.is_clean = !words.contains(&Some(Leaning::Impaired));
            self.clean_votes.clear();
        }
        let verdict = self.verdict();
        if verdict != before {
            self.cause = None;
        }
        self.cause = self.shown_cause(verdict).or(self.cause);
    }

    /// An answer on the held session, or to a shallow question: good as it may be, it does not
    /// outweigh what a fresh session, or the deeper question, met.
    fn weigh_answer(&mut self, leaning: Leaning) {
        let fresh = self.newest_word(Path::Fresh);
        match leaning {
            Leaning::Good if fresh == Some(Leaning::Bad) => {}
            Leaning::Good if fresh == Some(Leaning::Impaired) => self.vote(true),
            Leaning::Impaired if fresh == Some(Leaning::Bad) => self.vote_clean(false),
            Leaning::Good | Leaning::Impaired | Leaning::Bad | Leaning::Mute => {
                self.weigh(leaning);
            }
        }
    }

    fn weigh(&mut self, leaning: Leaning) {
        match leaning {
            Leaning::Good => {
                self.vote(true);
                self.vote_clean(true);
            }
            Leaning::Impaired => {
                self.vote(true);
                self.vote_clean(false);
            }
            Leaning::Bad => self.vote(false),
            Leaning::Mute => {}
        }
    }

    /// A held session is lost: a failure once the fresh path says so too.
    fn hear_loss(&mut self, loss: &Heard) {
        self.speak(loss);
        let is_bad = loss.leaning == Leaning::Bad;
        if is_bad && self.queue_was_full_during(loss) {
            // Full in front of a server that answers nobody: dead, not full.
            let word = (Path::Fresh, Leaning::Bad, Some(Cause::QueueFull));
            self.words.push(word);
            self.vote(false);
        }
        if is_bad && self.newest_word(Path::Fresh) == Some(Leaning::Bad) {
            self.vote(false);
        } else {
            self.pending_loss = Some(is_bad);
        }
    }

    fn queue_was_full_during(&self, ping: &Heard) -> bool {
        ping.probe.is_some()
            && self.newest_fresh.is_some_and(|fresh| {
                fresh.leaning == Leaning::Impaired
                    && fresh.cause == Some(Cause::QueueFull)
                    && fresh.ended >= ping.began
            })
    }

    fn hear_fresh(&mut self, heard: &Heard) {
        self.newest_fresh = Some(*heard);
        if heard.session {
            // The new session has not spoken yet.
            self.words.retain(|(path, _, _)| *path != Path::Held);
        }
        if heard.leaning == Leaning::Mute {
            return;
        }
        if self.pending_loss.take() == Some(true) && heard.leaning == Leaning::Bad {
            self.vote(false);
        }
        let impaired = self.newest_word(Path::Fresh) == Some(Leaning::Impaired);
        if heard.shallow && heard.leaning == Leaning::Good && impaired {
            self.weigh_answer(heard.leaning);
        } else {
            self.speak(heard);
            self.weigh(heard.leaning);
        }
    }

    fn speak(&mut self, heard: &Heard) {
        if heard.leaning != Leaning::Mute {
            self.words.push((heard.path, heard.leaning, heard.cause));
        }
    }

    fn newest(&self, path: Path) -> Option<Word> {
        let word = self.words.iter().rfind(|(of, _, _)| *of == path);
        word.copied()
    }

    fn newest_word(&self, path: Path) -> Option<Leaning> {
        self.newest(path).map(|(_, leaning, _)| leaning)
    }

    /// Why, according to the paths: the fresh one's word first.
    fn shown_cause(&self, verdict: Verdict) -> Option<Cause> {
        let wanted = match verdict {
            Verdict::Degraded => Leaning::Impaired,
            Verdict::Down => Leaning::Bad,
            Verdict::Up | Verdict::Unknown => return None,
        };
        [Path::Fresh, Path::Held]
            .into_iter()
            .filter_map(|path| self.newest(path))
            .find(|(_, leaning, _)| *leaning == wanted)
            .and_then(|(_, _, cause)| cause)
    }

    fn vote(&mut self, pass: bool) {
        self.votes.push(pass);
        if self.is_enough(&self.votes, pass) {
            self.is_up = Some(pass);
        }
    }

    fn vote_clean(&mut self, clean: bool) {
        self.clean_votes.push(clean);
        if self.is_enough(&self.clean_votes, clean) {
            self.is_clean = clean;
        }
    }

    /// Whether a list of votes ends in as many alike as it takes to change one's mind.
    fn is_enough(&self, votes: &[bool], vote: bool) -> bool {
        let needed = if vote { self.rise } else { self.fall };
        votes.len() >= needed && votes.iter().rev().take(needed).all(|other| *other == vote)
    }
}
