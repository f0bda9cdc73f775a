//! The conclusion of the reference: a list of what was heard, told from its beginning.
//!
//! Every word, pass and failure is kept in a list, and what is asked about them is found by going
//! through it; the rules are the design's sentences, one function each.

use dbvitals_verdict::{Cause, Moment, Path, ProbeId, Verdict};

/// What an observation speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaning {
    Good,
    Impaired,
    Bad,
    /// It proves nothing.
    Mute,
}

/// Something that was heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) path: Path,
    pub(crate) probe: Option<ProbeId>,
    /// When the probe began.
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    pub(crate) leaning: Leaning,
    pub(crate) cause: Option<Cause>,
    pub(crate) session: bool,
    /// It was let in by a server that accepted nobody when its queue was looked at last.
    pub(crate) let_in: bool,
    /// It was the shallow question, and there is a deeper one.
    pub(crate) shallow: bool,
    /// A look that counts, and when the next one does.
    pub(crate) next_counts: Option<Moment>,
}

impl Heard {
    /// Whether it proves anything about a server: who waits in a queue proves nobody behind it.
    pub(crate) fn is_proof(&self) -> bool {
        self.path != Path::Queue && self.leaning != Leaning::Mute
    }
}

/// One line of the list.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
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

/// The list told from its beginning.
#[derive(Debug, Default)]
pub(crate) struct Story {
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
    pub(crate) cause: Option<Cause>,
}

impl Story {
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut story = Self::default();
        for entry in entries {
            match entry {
                Entry::Counts { rise, fall } => story.recount(*rise, *fall),
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

    /// Other counts are in force. They change no verdict by themselves: of votes against it that
    /// would be enough now, one too few is kept.
    fn recount(&mut self, rise: usize, fall: usize) {
        (self.rise, self.fall) = (rise, fall);
        if let Some(is_up) = self.is_up {
            while self.is_enough(&self.votes, !is_up) {
                self.votes.pop();
            }
            while self.is_enough(&self.clean_votes, !self.is_clean) {
                self.clean_votes.pop();
            }
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
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
            Path::Queue => {
                self.speak(heard);
                if heard.leaning == Leaning::Impaired && heard.next_counts.is_some() {
                    self.vote_clean(false);
                }
            }
        }
        let was_up = matches!(before, Verdict::Up | Verdict::Degraded);
        if self.is_up == Some(true) && !was_up {
            // What it rose on decides.
            let words = [Path::Held, Path::Fresh, Path::Queue].map(|path| self.newest_word(path));
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
                // What is wrong at the queue, the queue alone takes back.
                if self.newest_word(Path::Queue) != Some(Leaning::Impaired) {
                    self.vote_clean(true);
                }
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
        if heard.let_in {
            self.words.push((Path::Queue, Leaning::Good, None));
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
        [Path::Fresh, Path::Held, Path::Queue]
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
