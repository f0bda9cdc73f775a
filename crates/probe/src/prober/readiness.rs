//! What a moving connection means, by the purpose it serves.

use std::cmp::Reverse;
use std::mem;

use dbvitals_verdict::Phase;

use super::held::{Heard, hear_held};
use super::{Line, Prober, Purpose};
use crate::conversation::Extent;
use crate::probe::Surroundings;

impl Prober {
    /// Something moved on a connection.
    pub(super) fn handle_ready(&mut self, key: usize, readable: bool, ended: bool) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let dialling =
            matches!(&line.purpose, Purpose::Probe(probe) if probe.phase == Phase::Connect);
        if dialling {
            match line
                .conversation
                .as_ref()
                .and_then(|it| it.stream.connected())
            {
                Some(Ok(())) => self.handle_connected(key),
                Some(Err(error)) => self.handle_attempt_failed(key, &error),
                None => return,
            }
        }
        let Some(conversation) = self
            .lines
            .get_mut(key)
            .and_then(|line| line.conversation.as_mut())
        else {
            return;
        };
        // A write that fails is told by the read that follows.
        let broken = !conversation.is_flushed() && conversation.flush().is_err();
        if readable || ended || broken {
            self.read(key, ended || broken);
        } else {
            self.finish_goodbye(key);
        }
    }

    /// Goes on reading where a turn's share was not all there is.
    pub(super) fn read_on(&mut self) {
        for (key, serial) in mem::take(&mut self.unread) {
            let line = self.lines.get(key);
            if line.is_some_and(|line| line.serial == serial) {
                self.read(key, true);
            }
        }
    }

    /// Reads what came, and does what follows from it.
    pub(super) fn read(&mut self, key: usize, ended: bool) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let Some(Some(entry)) = self.targets.get_mut(line.target.0 as usize) else {
            // Its target is gone; only a goodbye can be under way.
            self.read_goodbye(key, ended);
            return;
        };
        let mut around = Surroundings {
            target: &entry.target,
            learned: &mut entry.learned,
            clock: self.clock,
        };
        let Line {
            conversation: Some(conversation),
            purpose,
            serial,
            ..
        } = line
        else {
            return;
        };
        self.scratch.out.clear();
        let woken = self.woken;
        match purpose {
            Purpose::Probe(probe) => {
                let read =
                    conversation.read(&mut self.scratch, ended, |conversation, told, out| {
                        probe.hear(conversation, told, out, &mut around)
                    });
                if read == Extent::More {
                    self.unread.push((key, *serial));
                }
                for at in [probe.write_until, probe.cancel_at].into_iter().flatten() {
                    self.timers.push(Reverse((at, key, *serial)));
                }
                if probe.ending.is_some() {
                    self.end_probe(key);
                }
            }
            Purpose::Held(ping) => {
                let mut heard = None;
                let read = conversation.read(&mut self.scratch, ended, |_, told, _| {
                    heard = hear_held(told, ping, &mut around, woken);
                    heard.is_none()
                });
                if read == Extent::More {
                    self.unread.push((key, *serial));
                }
                match heard {
                    Some(Heard::Next) => self.ask_held(key, woken),
                    Some(Heard::Answer(answer)) => self.answer_held(key, answer),
                    Some(Heard::End(failure)) => self.end_held(key, failure),
                    None => {}
                }
            }
            Purpose::Hung { .. } => self.end_hang(key, ended),
            Purpose::Leaving { .. } => self.read_goodbye(key, ended),
        }
    }
}
