//! The pings of one connection in time: what came before each, what after, and what it met.
//!
//! Times are those of the capture, in nanoseconds. What is concluded goes into a [`Tally`]. Called
//! by [`Connection`](super::connection::Connection).

use dbvitals_wire::passive::{Command, Heard, Outcome};

use super::tally::{Death, Tally};

/// A command that comes this soon after a ping's answer is what the ping was for: 10 ms.
pub(crate) const FOLLOWS_WITHIN: u64 = 10_000_000;

/// What a connection's pings are held against.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When either side last said something.
    last_words: Option<u64>,
    /// When the server last did.
    last_proof: Option<u64>,
    /// The last command, if it was a ping.
    ping: Option<Ping>,
    /// When the last ping came, unless work came after it.
    last_ping_at: Option<u64>,
    /// Commands so far.
    pub(super) commands: u32,
    /// The server has closed.
    is_closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ping {
    at: u64,
    answered_at: Option<u64>,
    idle: Option<u64>,
    /// The server was heard so shortly before that it was known to be there.
    was_proven: bool,
    is_dead: bool,
}

impl Pulse {
    /// The server has closed the connection, or reset it.
    pub(super) fn note_end(&mut self, was_reset: bool, tally: &mut Tally) {
        let unanswered = self.ping.as_mut().filter(|ping| ping.answered_at.is_none());
        if let Some(ping) = unanswered.filter(|ping| !ping.is_dead) {
            ping.is_dead = true;
            tally.note_death(Death::Reset, ping.idle);
        }
        self.is_closed |= !was_reset;
    }

    /// The client has heard an answer that was not captured.
    pub(super) fn note_answer_missed(&mut self) {
        if let Some(ping) = self.ping.as_mut().filter(|ping| ping.answered_at.is_none()) {
            ping.answered_at = Some(ping.at);
        }
    }

    /// Somebody said something.
    pub(super) fn note_words(&mut self, at: u64, is_server: bool) {
        self.last_words = Some(at);
        if is_server {
            self.last_proof = Some(at);
        }
    }

    pub(super) fn note(&mut self, heard: Heard, at: u64, idle_threshold: u64, tally: &mut Tally) {
        match heard {
            Heard::Asked(command) => self.note_command(command, at, idle_threshold, tally),
            Heard::Answered {
                command: Command::Ping(_),
                mark,
                outcome,
            } => self.note_answer(mark, outcome, at, tally),
            // Who says goodbye has no doubt.
            Heard::Quit => self.ping = None,
            Heard::Answered { .. } | Heard::Cancelled => {}
            Heard::Opaque(opaque) => tally.connections.note_opaque(opaque),
        }
    }

    fn note_command(&mut self, command: Command, at: u64, idle_threshold: u64, tally: &mut Tally) {
        self.commands = self.commands.saturating_add(1);
        tally.note_command(command);
        let form = match command {
            Command::Ping(form) => Some(form),
            Command::Work => None,
        };
        if let Some(ping) = self.ping.take() {
            let end = ping.answered_at.unwrap_or(ping.at);
            if at.saturating_sub(end) <= FOLLOWS_WITHIN {
                tally.followed += 1;
                tally.work_after_ping += u64::from(form.is_none());
                if ping.was_proven && !ping.is_dead {
                    tally.useless += 1;
                    tally.useless_time += end.saturating_sub(ping.at);
                }
            }
        }
        let Some(form) = form else {
            self.last_ping_at = None;
            return;
        };
        if let Some(last) = self.last_ping_at.replace(at) {
            tally.intervals.add(at.saturating_sub(last));
        }
        let since = |then: u64| at.saturating_sub(then);
        let idle = self.last_words.map(since);
        tally.note_idle(idle);
        if self.is_closed {
            tally.note_death(Death::Closed, idle);
            tally.note_unheard(form);
        }
        self.ping = Some(Ping {
            at,
            answered_at: None,
            idle,
            was_proven: self
                .last_proof
                .map(since)
                .is_some_and(|since| since <= idle_threshold),
            is_dead: self.is_closed,
        });
    }

    fn note_answer(&mut self, asked_at: u64, outcome: Outcome, at: u64, tally: &mut Tally) {
        tally.latency.add(at.saturating_sub(asked_at));
        let ping = self.ping.as_mut().filter(|ping| ping.at == asked_at);
        let mut idle = None;
        if let Some(ping) = ping {
            ping.answered_at = Some(at);
            ping.is_dead |= outcome == Outcome::Ended;
            idle = ping.idle;
        }
        if outcome == Outcome::Ended {
            tally.note_death(Death::Error, idle);
        }
    }
}
