//! The held session: asked a question now and then, and watched for its end in between.

use dbvitals_verdict::{Cause, Moment, Observation, Outcome, Path, Phase, Phases};
use dbvitals_wire::Event;

use super::{Ping, Prober, Purpose};
use crate::conversation::Told;
use crate::failure::Failure;
use crate::learned::Learned;
use crate::order::Order;
use crate::probe::Surroundings;
use crate::question::{self, Question};

impl Prober {
    pub(super) fn start_held(&mut self, order: Order, now: Moment) {
        let Some(Some(entry)) = self.targets.get(order.target.0 as usize) else {
            return;
        };
        let ping = Ping {
            probe: order.probe,
            started: now,
            deadline: order.deadline,
            question: Question::new(order.depth, &entry.target),
            cancel_at: None,
        };
        let held = entry.held;
        match held.and_then(|key| Some((key, self.lines.get_mut(key)?))) {
            Some((key, line)) => {
                line.purpose = Purpose::Held(Some(ping));
                self.ask_held(key, now);
            }
            None => {
                let failure = Failure::new(Cause::Closed, "no session is held");
                let observation = ping.observe(Err(failure), None, now);
                self.observations.push_back((order.target, observation));
            }
        }
    }

    /// Says what the question under way has to say now.
    pub(super) fn ask_held(&mut self, key: usize, now: Moment) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let Some(Some(entry)) = self.targets.get(line.target.0 as usize) else {
            return;
        };
        let (Purpose::Held(Some(ping)), Some(conversation)) =
            (&mut line.purpose, &mut line.conversation)
        else {
            return;
        };
        self.scratch.out.clear();
        if let Some(session) = &mut conversation.session {
            let patience = ping.deadline.since(now);
            ping.cancel_at = ping.question.cancel_at(session, now, patience);
            let wake = ping.cancel_at.unwrap_or(ping.deadline).min(ping.deadline);
            self.questions.set(key as u32, Some(wake));
            let out = &mut self.scratch.out;
            ping.question
                .ask(session, &entry.target, &entry.learned, patience, out);
        }
        let sent = conversation.write(&mut self.scratch.out);
        if let Err(error) = sent {
            let failure = Failure::from_io(&error, ping.question.phase());
            self.end_held(key, failure);
        }
    }

    /// The held session is over, with a question under way or without.
    pub(super) fn end_held(&mut self, key: usize, failure: Failure) {
        let now = self.clock.now();
        let Some(line) = self.lines.try_remove(key) else {
            return;
        };
        self.questions.set(key as u32, None);
        if let Purpose::Held(ping) = line.purpose {
            if let Some(entry) = self.entry_mut(line.target) {
                entry.held = None;
            }
            let observation = match ping {
                Some(ping) => ping.observe(Err(failure), None, now),
                None => account(Err(failure), now),
            };
            self.observations.push_back((line.target, observation));
        }
    }

    /// The question on the held session was answered, well or badly; the session goes on.
    pub(super) fn answer_held(&mut self, key: usize, answer: Result<(), Failure>) {
        self.questions.set(key as u32, None);
        let now = self.woken;
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        if let Purpose::Held(ping) = &mut line.purpose
            && let Some(ping) = ping.take()
        {
            let target = line.target;
            let entry = self.targets.get(target.0 as usize).and_then(Option::as_ref);
            let learned = entry.map(|entry| &entry.learned);
            let observation = ping.observe(answer, learned, now);
            self.observations.push_back((target, observation));
        }
    }
}

/// What a held session let one hear.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer to the question under way.
    Answer(Result<(), Failure>),
    /// There is more to ask.
    Next,
    /// The session's end.
    End(Failure),
}

pub(super) fn hear_held(
    told: Told,
    ping: &mut Option<Ping>,
    around: &mut Surroundings<'_>,
    now: Moment,
) -> Option<Heard> {
    let phase = ping
        .as_ref()
        .map_or(Phase::Login, |ping| ping.question.phase());
    let end = |failure| Some(Heard::End(failure));
    match told {
        Told::Event(Event::Refused(refusal)) if refusal.fatal => {
            end(Failure::refused(&refusal, Phase::Ping))
        }
        Told::Event(Event::Malformed(expected)) => end(Failure::new(Cause::Malformed, expected)),
        Told::Event(Event::WrongProtocol(foreign)) => end(Failure::foreign(foreign)),
        Told::Event(event) => {
            let ping = ping.as_mut()?;
            let heard = ping
                .question
                .hear(&event, around.target, around.learned, now);
            match heard {
                question::Heard::Nothing => None,
                question::Heard::Answer(answer) => Some(Heard::Answer(answer)),
                question::Heard::Next => {
                    if ping.question.phase() != phase {
                        ping.question.note_phase(phase, now.since(ping.started));
                    }
                    Some(Heard::Next)
                }
            }
        }
        Told::TlsEstablished => None,
        Told::TlsFailed(error) => {
            let detail = format!("the encrypted connection broke: {error}");
            end(Failure::new(Cause::Reset, detail))
        }
        Told::Closed if ping.is_some() => end(Failure::closed(phase)),
        Told::Closed => end(Failure::new(
            Cause::Closed,
            "the server closed the held session",
        )),
        Told::Broken(error) => end(Failure::from_io(&error, phase)),
    }
}

impl Ping {
    /// The account of the question. What was learned is known where the session goes on.
    fn observe(
        self,
        answer: Result<(), Failure>,
        learned: Option<&Learned>,
        now: Moment,
    ) -> Observation {
        let took = now.since(self.started);
        let depth = learned.map(|_| self.question.reached(&answer));
        Observation {
            path: Path::Held,
            probe: Some(self.probe),
            started: self.started,
            ended: now,
            depth,
            phases: self.question.phases(took, answer.is_err()),
            session: learned.is_some(),
            server: learned.and_then(|learned| self.question.facts(learned)),
            ..account(answer, now)
        }
    }
}

/// The account of what ended so, now, between two questions.
fn account(answer: Result<(), Failure>, now: Moment) -> Observation {
    let (outcome, detail) = match answer {
        Ok(()) => (Outcome::Pass, None),
        Err(failure) => (Outcome::Fail(failure.cause), Some(failure.detail)),
    };
    Observation {
        path: Path::Held,
        probe: None,
        started: now,
        ended: now,
        depth: None,
        outcome,
        phases: Phases::default(),
        session: false,
        server: None,
        detail,
    }
}
