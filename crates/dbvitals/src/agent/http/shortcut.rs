//! Answers to `/health/NAME` without the router: what balancers ask all day, word for word.
//!
//! Only what leaves nothing to interpret is answered here; everything else, a name that is not known
//! included, is the router's. An answer is put together once, from the same parts as the router's,
//! and holds until something about its backend changes: only its age and its date are filled in. A
//! client that asks the same again, byte by byte, is not even read, nor is one that asks for a few in turn.

mod prepared;
mod question;

use std::sync::Arc;

use dbvitals_verdict::Moment;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use self::prepared::Prepared;
use self::question::{Manner, Question, Reading};
use crate::agent::board::Board;

/// Questions of one client that are kept, with their answers: the oldest makes room.
const KNOWN_MAX: usize = 16;

/// How long a question may be that is kept; those of balancers have a hundred bytes or two.
const WORDS_MAX: usize = 512;

/// The answers for one client; a clone is for another one.
#[derive(Debug, Clone)]
pub(crate) struct Shortcut {
    board: Arc<Board>,
    /// What was asked lately, in turn.
    known: Vec<Known>,
    /// Which of them is likely to be asked next.
    next: usize,
    date: Date,
}

/// A question, word for word, and its answer.
#[derive(Debug, Clone)]
struct Known {
    words: Box<[u8]>,
    manner: Manner,
    answer: Prepared,
}

/// What became of the bytes that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many of them were a request, and its answer is there.
    Answered(usize),
    /// The same, and the client wants the connection closed after it.
    Last(usize),
    /// They may become a request that is answered here.
    Incomplete,
    /// They are for the router.
    Beyond,
}

impl Shortcut {
    pub(crate) fn new(board: &Arc<Board>) -> Self {
        Self {
            board: Arc::clone(board),
            known: Vec::new(),
            next: 0,
            date: Date::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.board.clock().now()
    }

    /// Answers the first request in these bytes, behind what was told already.
    pub(super) fn answer(&mut self, asked: &[u8], now: Moment, told: &mut Vec<u8>) -> Step {
        let place = match self.find(asked) {
            Some(place) if self.known[place].answer.holds(&self.board) => place,
            stale => {
                let question = match Question::read(asked) {
                    Reading::Complete(question) if question.length <= WORDS_MAX => question,
                    Reading::Complete(_) => return Step::Beyond,
                    Reading::Incomplete => return Step::Incomplete,
                    Reading::Beyond => return Step::Beyond,
                };
                let Some(answer) = Prepared::new(question.name, question.condition, &self.board)
                else {
                    return Step::Beyond;
                };
                let known = Known {
                    words: asked[..question.length].into(),
                    manner: question.manner,
                    answer,
                };
                self.keep(known, stale)
            }
        };
        self.next = (place + 1) % self.known.len();
        let date = self.date.at(now, &self.board);
        let known = &self.known[place];
        known.answer.tell(now, date, known.manner, told);
        let length = known.words.len();
        match known.manner.closes {
            true => Step::Last(length),
            false => Step::Answered(length),
        }
    }

    /// Where the question is that was asked again, if it was asked lately.
    fn find(&self, asked: &[u8]) -> Option<usize> {
        let count = self.known.len();
        let mut places = (0..count).map(|step| (self.next + step) % count);
        places.find(|place| asked.starts_with(&self.known[*place].words))
    }

    /// Keeps an answer: in the place of the one that it replaces, or of the oldest.
    fn keep(&mut self, known: Known, stale: Option<usize>) -> usize {
        if stale.is_none() && self.known.len() < KNOWN_MAX {
            self.known.push(known);
            return self.known.len() - 1;
        }
        let place = stale.unwrap_or(self.next);
        self.known[place] = known;
        place
    }
}

/// The date of an answer, written anew every second.
#[derive(Debug, Clone, Default)]
struct Date {
    second: i64,
    text: String,
}

impl Date {
    fn at(&mut self, now: Moment, board: &Board) -> &str {
        // Years beyond 9999 are nobody's present.
        let wall = Timestamp::try_from(board.clock().wall(now)).unwrap_or_default();
        if wall.as_second() != self.second || self.text.is_empty() {
            self.second = wall.as_second();
            self.text.clear();
            // It is written into memory, and the year has four digits.
            let _ = DateTimePrinter::new().print_timestamp_rfc9110(&wall, &mut self.text);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::{Address, Clock, Protocol, Target};
    use dbvitals_verdict::{Admin, Course, Depth, Plan};

    use super::*;
    use crate::agent::plan::{BackendPlan, Origin};

    fn ask(shortcut: &mut Shortcut, name: &str) -> (Step, usize, String) {
        let words = format!("GET /health/{name} HTTP/1.1\r\nHost: db-a\r\n\r\n");
        let mut told = Vec::new();
        let now = shortcut.now();
        let step = shortcut.answer(words.as_bytes(), now, &mut told);
        let told = String::from_utf8(told).expect("an answer is text");
        (step, words.len(), told)
    }

    #[test]
    fn a_backend_is_answered_for_here_and_whoever_is_not_one_is_left_to_the_router() {
        let board = Board::new(Clock::start());
        let plan = BackendPlan {
            name: "orders-1".into(),
            origin: Origin::default(),
            target: Arc::new(Target::new(
                Protocol::Opaque,
                Address::Unix("/run/orders".into()),
            )),
            plan: Arc::new(Plan::new(Course::Session { depth: Depth::Ping })),
        };
        let backend = board.entry(&plan, Admin::Ready);
        board.show(vec![Arc::clone(&backend)]);
        let mut shortcut = Shortcut::new(&Arc::new(board));
        for aged in [false, true] {
            if aged {
                backend.note_proof(shortcut.now() + std::time::Duration::from_millis(1));
            }
            for _ in 0..2 {
                let (step, length, told) = ask(&mut shortcut, "orders-1");
                assert_eq!(step, Step::Answered(length));
                assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
                assert_eq!(told.contains("\"evidence_age_ms\":null"), !aged, "{told}");
            }
        }
        for name in ["orders", "orders-2"] {
            let (step, _, told) = ask(&mut shortcut, name);
            assert_eq!((step, told.as_str()), (Step::Beyond, ""), "{name}");
        }
    }
}
