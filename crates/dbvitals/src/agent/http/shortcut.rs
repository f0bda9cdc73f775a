//! Answers to `/health/NAME` without the router: what balancers ask all day, word for word.
//!
//! Only what leaves nothing to interpret is answered here; everything else, a name that is not known
//! included, is the router's. An answer is put together once, from the same parts as the router's,
//! and holds until something about its backend changes: only its age and its date are filled in. A
//! client that asks the same again, byte by byte, is not even read.

mod prepared;
mod question;

use std::sync::Arc;

use dbvitals_verdict::Moment;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use self::prepared::Prepared;
use self::question::{Manner, Question, Reading};
use crate::agent::board::Board;

/// The answers for one client; a clone is for another one.
#[derive(Debug, Clone)]
pub(crate) struct Shortcut {
    board: Arc<Board>,
    /// What was asked last.
    known: Option<Known>,
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
            known: None,
            date: Date::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.board.clock().now()
    }

    /// Answers the first request in these bytes, behind what was told already.
    pub(super) fn answer(&mut self, asked: &[u8], now: Moment, told: &mut Vec<u8>) -> Step {
        let known = match self.known.take() {
            Some(known) if known.answers(asked, &self.board) => known,
            _ => {
                let question = match Question::read(asked) {
                    Reading::Complete(question) => question,
                    Reading::Incomplete => return Step::Incomplete,
                    Reading::Beyond => return Step::Beyond,
                };
                let Some(answer) = Prepared::new(question.name, question.condition, &self.board)
                else {
                    return Step::Beyond;
                };
                Known {
                    words: asked[..question.length].into(),
                    manner: question.manner,
                    answer,
                }
            }
        };
        let date = self.date.at(now, &self.board);
        known.answer.tell(now, date, known.manner, told);
        let (length, closes) = (known.words.len(), known.manner.closes);
        self.known = Some(known);
        match closes {
            true => Step::Last(length),
            false => Step::Answered(length),
        }
    }
}

impl Known {
    /// Whether the same is asked, and the answer still holds.
    fn answers(&self, asked: &[u8], board: &Board) -> bool {
        asked.starts_with(&self.words) && self.answer.holds(board)
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
