//! PostgreSQL's conversation, overheard.
//!
//! What is asked goes in rounds, each ended by a simple query or a Sync and answered up to a
//! ReadyForQuery. Commands are queries, executions, calls, and rounds that executed nothing: those
//! only prepare, unless there was nothing but the Sync, which is a ping. A round of which the end
//! was not captured is taken to execute what it had bound.
//!
//! Callers: [`Follower`](super::Follower), and `recognition.rs`.

mod message;
mod round;

use self::message::{Message, Opening};
pub(super) use self::message::{fits_answer, fits_command, fits_opening};
use self::round::{Round, Statements};
use super::course::{Course, Head, Step, Walk};
use super::recognition::is_tls_record;
use super::waiting::{Pending as _, Waiting};
use super::{Command, Heard, Listening, Opaque, Outcome, PingForm, Segment};

/// What the client may say next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Packets without a type: requests for encryption, then who it is.
    Opening,
    /// The same; the answer to a request, one byte, is still to come.
    Requested,
    /// Messages.
    Session,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conversation {
    phase: Phase,
    client: Course,
    server: Course,
    rounds: Waiting<Round>,
    statements: Statements,
    /// The client has ended a copy; a Sync that follows belongs to it.
    copied: bool,
    /// The client sends rounds ahead of their answers.
    pipelines: bool,
}

impl Conversation {
    pub(super) fn new(from_start: bool) -> Self {
        Self {
            phase: match from_start {
                true => Phase::Opening,
                false => Phase::Session,
            },
            client: Course::new(!from_start),
            server: Course::new(!from_start),
            rounds: Waiting::new(),
            statements: Statements::default(),
            copied: false,
            pipelines: false,
        }
    }

    pub(super) fn miss_client(&mut self, length: usize) {
        self.client.miss(length);
    }

    pub(super) fn miss_server(&mut self, length: usize) {
        self.server.miss(length);
    }

    /// Forgets all rounds but one that is not ended.
    pub(super) fn forget_waiting(&mut self) {
        while self.rounds.front_mut().is_some_and(|round| round.is_ended) {
            self.rounds.pop();
        }
    }

    pub(super) fn waiting(&self) -> Option<(Command, u64)> {
        self.rounds.oldest()
    }

    pub(super) fn hear_client(
        &mut self,
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> Listening {
        let (bytes, length) = (segment.bytes, segment.length());
        let astray = self.client.is_lost() || segment.turn && self.client.is_inside();
        if astray && segment.turn {
            if is_tls_record(bytes, length) {
                tell(Heard::Opaque(Opaque::Tls));
                return Listening::Opaque;
            }
            if fits_command(bytes, length) {
                self.phase = Phase::Session;
                self.client.find();
            }
        }
        if segment.turn {
            self.move_on();
        }
        let was_idle = self.rounds.is_empty();
        let mut client = std::mem::replace(&mut self.client, Course::new(true));
        let walk = client.walk(segment, |head| self.client_step(head, segment.mark, tell));
        self.client = client;
        if walk.lost && segment.missing > 0 {
            self.end_unseen_round(segment.mark, tell);
        }
        if segment.late && was_idle {
            self.forget_waiting();
        }
        listening(walk)
    }

    pub(super) fn hear_server(
        &mut self,
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> Listening {
        if self.phase == Phase::Requested {
            return self.hear_about_encryption(segment, tell);
        }
        if self.server.is_lost()
            && self.rounds.front_mut().is_some_and(|round| round.is_owed())
            && fits_answer(segment.bytes, segment.length())
        {
            self.server.find();
        }
        let mut server = std::mem::replace(&mut self.server, Course::new(true));
        let walk = server.walk(segment, |head| self.server_step(head, tell));
        self.server = server;
        listening(walk)
    }

    /// A client that speaks again has its answers, whether or not we saw where they end.
    fn move_on(&mut self) {
        if self.server.is_lost() || self.server.is_inside() {
            let mut over = false;
            while self
                .rounds
                .front_mut()
                .is_some_and(|round| round.is_answered)
            {
                self.rounds.pop();
                over = true;
            }
            if over && self.rounds.is_empty() {
                self.server.lose();
            }
        }
    }

    /// The one byte that answers a request for encryption.
    fn hear_about_encryption(
        &mut self,
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> Listening {
        let Some(&answer) = segment.bytes.first() else {
            return Listening::Shown(0);
        };
        self.phase = Phase::Opening;
        let opaque = match answer {
            b'S' => Opaque::Tls,
            b'G' => Opaque::Gss,
            _ => return Listening::Shown(1),
        };
        tell(Heard::Opaque(opaque));
        Listening::Opaque
    }

    fn client_step(&mut self, head: Head<'_>, mark: u64, tell: &mut dyn FnMut(Heard)) -> Step {
        if self.phase != Phase::Session {
            return self.opening_step(head, tell);
        }
        let message = match Message::of_client(head) {
            Ok(message) => message,
            Err(step) => return step,
        };
        let shown = self.note(&message, mark, tell);
        Step::Message {
            length: message.length,
            shown,
        }
    }

    fn opening_step(&mut self, head: Head<'_>, tell: &mut dyn FnMut(Heard)) -> Step {
        let (opening, length) = match Opening::parse(head) {
            Ok(parsed) => parsed,
            Err(step) => {
                if step == Step::Opaque {
                    tell(Heard::Opaque(Opaque::Tls));
                }
                return step;
            }
        };
        match opening {
            Opening::Encryption => self.phase = Phase::Requested,
            Opening::Cancel => tell(Heard::Cancelled),
            Opening::Startup => self.phase = Phase::Session,
        }
        Step::Message {
            length,
            shown: message::OPENING_LENGTH,
        }
    }

    /// Takes note of a message; returns how much of it may be shown.
    fn note(&mut self, message: &Message<'_>, mark: u64, tell: &mut dyn FnMut(Heard)) -> usize {
        let mut is_shown = false;
        match message.kind {
            b'Q' => {
                let form = message.query();
                is_shown = form.is_some();
                self.copied = false;
                self.execute(form, mark, tell);
                self.end_round(mark);
            }
            b'P' => {
                is_shown = self.statements.prepare(message);
                self.touch(mark);
            }
            b'B' => {
                is_shown = self.statements.bind(message);
                self.touch(mark);
            }
            b'E' => {
                is_shown = message.length < message::BARE_LENGTH_MAX;
                self.execute(self.statements.bound, mark, tell);
            }
            b'F' => self.execute(None, mark, tell),
            b'C' => {
                self.statements.close(message);
                self.touch(mark);
            }
            b'D' | b'H' => {
                is_shown = message.length < message::BARE_LENGTH_MAX;
                self.touch(mark);
            }
            b'S' => {
                is_shown = true;
                self.sync(mark, tell);
            }
            b'c' | b'f' => self.copied = true,
            b'X' => {
                is_shown = true;
                tell(Heard::Quit);
            }
            _ => {}
        }
        match is_shown {
            true => message.length,
            false => message::HEADER,
        }
    }

    /// The round that is not ended, begun here if there is none.
    fn touch(&mut self, mark: u64) {
        self.copied = false;
        if self.rounds.back_mut().is_none_or(|round| round.is_ended) {
            self.pipelines |= !self.rounds.is_empty();
            self.rounds.push(Round::new(mark));
        }
    }

    fn execute(&mut self, form: Option<PingForm>, mark: u64, tell: &mut dyn FnMut(Heard)) {
        let command = form.map_or(Command::Work, Command::Ping);
        tell(Heard::Asked(command));
        self.touch(mark);
        if let Some(round) = self.rounds.back_mut() {
            round.execute(command);
        }
    }

    fn sync(&mut self, mark: u64, tell: &mut dyn FnMut(Heard)) {
        let is_open = self.rounds.back_mut().is_some_and(|round| !round.is_ended);
        if !is_open && self.copied {
            self.copied = false;
            return;
        }
        let command = match is_open {
            true => Command::Work,
            false => Command::Ping(PingForm::LoneSync),
        };
        self.touch(mark);
        if let Some(round) = self.rounds.back_mut()
            && round.executes_nothing()
        {
            round.execute(command);
            tell(Heard::Asked(command));
        }
        self.end_round(mark);
    }

    fn end_round(&mut self, mark: u64) {
        self.statements.end_round();
        if let Some(round) = self.rounds.back_mut() {
            round.end(mark);
        }
    }

    /// Ends the round whose end was cut off.
    fn end_unseen_round(&mut self, mark: u64, tell: &mut dyn FnMut(Heard)) {
        let Some(round) = self.rounds.back_mut().filter(|round| !round.is_ended) else {
            return;
        };
        if round.executes_nothing() {
            let form = self.statements.about_to_run();
            self.execute(form, mark, tell);
        }
        self.end_round(mark);
    }

    fn server_step(&mut self, head: Head<'_>, tell: &mut dyn FnMut(Heard)) -> Step {
        let message = match Message::of_server(head) {
            Ok(message) => message,
            Err(step) => return step,
        };
        let mut shown = message::HEADER;
        match message.kind {
            // Notices, settings, notifications, and what belongs to a login.
            b'N' | b'S' | b'A' | b'R' | b'K' | b'v' => {}
            kind => {
                let mut outcome = Outcome::Fine;
                if kind == b'E' {
                    (outcome, shown) = message.error();
                }
                if let Some(round) = self.rounds.front_mut()
                    && round.is_owed()
                {
                    round.is_answered = true;
                    tell(Heard::Answered {
                        command: round.command(),
                        mark: round.mark(),
                        outcome,
                    });
                    if !self.pipelines && !is_whole(kind) {
                        // The next answer begins behind the next command; what is left of this
                        // one need not be walked over.
                        return Step::Rest {
                            shown: shown.min(message.length),
                        };
                    }
                }
                if kind == b'Z' && self.rounds.front_mut().is_some_and(|round| round.is_ended) {
                    self.rounds.pop();
                }
            }
        }
        if is_whole(message.kind) {
            shown = message.length;
        }
        Step::Message {
            length: message.length,
            shown: shown.min(message.length),
        }
    }
}

/// Messages of a server's that tell nothing, and are shown whole.
fn is_whole(kind: u8) -> bool {
    matches!(kind, b'Z' | b'I' | b'1' | b'2' | b'3' | b's' | b'n')
}

fn listening(walk: Walk) -> Listening {
    match walk.opaque {
        true => Listening::Opaque,
        false => Listening::Shown(walk.shown),
    }
}

#[cfg(test)]
mod tests;
