//! The beginning of a connection: questions that need no router are answered in the bytes they came in.
//!
//! All that came at once is answered at once, with one write. The first thing that is asked for
//! beyond that takes the connection to the router, with what came and was not answered, and for good.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::Moment;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::places::Place;
use crate::agent::http::shortcut::{Shortcut, Step};

/// How much is kept of what was asked and not answered yet, in bytes; a head that is longer is the
/// router's.
const ASKED_MAX: usize = 4 * 1024;
/// How much is kept of answers until they are sent, in bytes; the last one may go beyond.
const TOLD_MAX: usize = 16 * 1024;

/// A connection whose questions have all been plain so far.
#[derive(Debug)]
pub(super) struct Express<I> {
    stream: I,
    shortcut: Shortcut,
    /// What came and was not answered yet.
    asked: Vec<u8>,
    /// Answers of which not all has left yet; the first `sent` bytes are written.
    told: Vec<u8>,
    sent: usize,
    /// The client wants no more answers than it has.
    is_over: bool,
    /// When it was answered last, or came.
    answered: Moment,
}

/// How a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onward {
    ToRouter,
    /// It is closed in order.
    Parts,
    /// It is closed at once.
    Leaves,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Express<I> {
    pub(super) fn new(stream: I, shortcut: Shortcut) -> Self {
        Self {
            answered: shortcut.now(),
            stream,
            shortcut,
            asked: Vec::with_capacity(ASKED_MAX),
            told: Vec::new(),
            sent: 0,
            is_over: false,
        }
    }

    /// Answers until there is something for the router, or nothing more. Cancel safe: it goes on
    /// from where it was.
    pub(super) async fn run(&mut self, place: &Arc<Place>) -> Onward {
        loop {
            let step = self.answer();
            if self.owes() {
                let _work = place.work();
                if self.send().await.is_err() {
                    return Onward::Parts;
                }
            }
            match step {
                Step::Answered(_) => continue,
                Step::Last(_) => return Onward::Parts,
                Step::Incomplete if self.asked.len() < ASKED_MAX => {}
                Step::Incomplete | Step::Beyond => return Onward::ToRouter,
            }
            match self.stream.read_buf(&mut self.asked).await {
                Ok(1..) => {}
                // Whatever went wrong is the client's matter.
                Ok(0) | Err(_) => return Onward::Parts,
            }
        }
    }

    /// Answers all that came, or as much as answers are kept of; tells what the rest is.
    fn answer(&mut self) -> Step {
        if self.is_over {
            return Step::Last(0);
        }
        let now = self.shortcut.now();
        let mut taken = 0;
        let last = loop {
            let asked = &self.asked[taken..];
            if asked.is_empty() {
                break Step::Incomplete;
            }
            match self.shortcut.answer(asked, now, &mut self.told) {
                Step::Answered(length) => taken += length,
                Step::Last(length) => {
                    taken += length;
                    self.is_over = true;
                    break Step::Last(length);
                }
                rest @ (Step::Incomplete | Step::Beyond) => break rest,
            }
            if self.told.len() >= TOLD_MAX {
                break Step::Answered(taken);
            }
        };
        if taken > 0 {
            self.answered = now;
            self.asked.drain(..taken);
        }
        last
    }

    /// Whether there are answers that have not left.
    pub(super) fn owes(&self) -> bool {
        !self.told.is_empty()
    }

    /// Sends what is to be sent still; TLS may keep back what it took. Cancel safe.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        while self.sent < self.told.len() {
            match self.stream.write(&self.told[self.sent..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => self.sent += sent,
            }
        }
        self.stream.flush().await?;
        self.told.clear();
        self.sent = 0;
        Ok(())
    }

    /// How long the client has been silent.
    pub(super) fn silent_for(&self) -> Duration {
        self.shortcut.now().since(self.answered)
    }

    /// The stream as it is.
    pub(super) fn into_stream(self) -> I {
        self.stream
    }

    /// The stream from the first byte on that was not answered.
    pub(super) fn into_rest(self) -> impl AsyncRead + AsyncWrite + Unpin {
        let (rest, answers) = tokio::io::split(self.stream);
        tokio::io::join(Cursor::new(self.asked).chain(rest), answers)
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::Clock;
    use tokio::io::BufWriter;

    use super::*;
    use crate::agent::board::Board;

    #[tokio::test]
    async fn what_the_stream_keeps_back_is_owed_until_it_has_left() {
        let board = Arc::new(Board::new(Clock::start()));
        // Takes all at once, and lets go of it when it is told to, as far as there is room.
        let (mut client, server) = tokio::io::duplex(4);
        let mut express = Express::new(BufWriter::new(server), Shortcut::new(&board));
        express.told.extend_from_slice(b"answered");
        let hasty = tokio::time::timeout(Duration::from_millis(1), express.send());
        assert!(hasty.await.is_err(), "there is no room for all of it");
        assert!(express.owes());
        let mut heard = [0; 8];
        let (sent, read) = tokio::join!(express.send(), client.read_exact(&mut heard));
        assert!(sent.is_ok() && read.is_ok() && !express.owes());
        assert_eq!(&heard, b"answered");
    }
}
