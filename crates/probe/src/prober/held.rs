//! The held session: asked a question now and then, and watched for its end in between.

use dbvitals_verdict::{Cause, Moment, Observation, Outcome, Path, Phase, Phases};
use dbvitals_wire::Event;

use super::{Ping, Prober, Purpose};
use crate::conversation::Told;
use crate::failure::Failure;
use crate::order::Order;
use crate::probe;
use crate::target::Target;

impl Prober {
    pub(super) fn start_held(&mut self, order: Order) {
        let now = self.clock.now();
        let ping = Ping {
            probe: order.probe,
            depth: order.depth,
            started: now,
            deadline: order.deadline,
        };
        let key = self.entry_mut(order.target).and_then(|entry| entry.held);
        let (Some(key), Some(target)) = (key, self.target(order.target)) else {
            let failure = Failure::new(Cause::Closed, "no session is held");
            let observation = observe_ping(Some(ping), Err(failure), false, now);
            self.observations.push_back((order.target, observation));
            return;
        };
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        line.purpose = Purpose::Held(Some(ping));
        let sent = match &mut line.conversation {
            Some(conversation) => {
                self.scratch.out.clear();
                probe::ask(conversation, order.depth, &target, &mut self.scratch.out);
                conversation.write(&mut self.scratch.out)
            }
            None => Ok(()),
        };
        self.wake_at(key, order.deadline);
        if let Err(error) = sent {
            let failure = Failure::from_io(&error, probe::question_phase(order.depth));
            self.end_held(key, failure);
        }
    }

    /// The held session is over, with a question under way or without.
    pub(super) fn end_held(&mut self, key: usize, failure: Failure) {
        let now = self.clock.now();
        let Some(line) = self.lines.try_remove(key) else {
            return;
        };
        if let Purpose::Held(ping) = line.purpose {
            if let Some(entry) = self.entry_mut(line.target) {
                entry.held = None;
            }
            let observation = observe_ping(ping, Err(failure), false, now);
            self.observations.push_back((line.target, observation));
        }
    }

    /// The question on the held session was answered, well or badly; the session goes on.
    pub(super) fn answer_held(&mut self, key: usize, answer: Result<(), Failure>) {
        let now = self.clock.now();
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        if let Purpose::Held(ping) = &mut line.purpose
            && let Some(ping) = ping.take()
        {
            let target = line.target;
            let observation = observe_ping(Some(ping), answer, true, now);
            self.observations.push_back((target, observation));
        }
    }
}

/// What a held session let one hear.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer to the question under way.
    Answer(Result<(), Failure>),
    /// The session's end.
    End(Failure),
}

pub(super) fn hear_held(told: Told, asked: bool, target: &Target) -> Option<Heard> {
    let phase = match asked {
        true => Phase::Ping,
        false => Phase::Login,
    };
    let end = |failure| Some(Heard::End(failure));
    match told {
        Told::Event(Event::Pong) => Some(Heard::Answer(Ok(()))),
        Told::Event(Event::Answer(answer)) => {
            let compared = probe::compare(target.statement.as_deref(), answer.value());
            Some(Heard::Answer(compared))
        }
        Told::Event(Event::Refused(refusal)) => {
            let failure = Failure::refused(&refusal, Phase::Query);
            match refusal.fatal {
                true => end(failure),
                false if asked => Some(Heard::Answer(Err(failure))),
                false => None,
            }
        }
        Told::Event(Event::Malformed(expected)) => end(Failure::new(Cause::Malformed, expected)),
        Told::Event(Event::WrongProtocol(foreign)) => end(Failure::foreign(foreign)),
        Told::Event(
            Event::Greeted(_) | Event::StartTls | Event::TlsRefused | Event::LoggedIn(_),
        )
        | Told::TlsEstablished => None,
        Told::TlsFailed(error) => {
            let detail = format!("the encrypted connection broke: {error}");
            end(Failure::new(Cause::Reset, detail))
        }
        Told::Closed if asked => end(Failure::closed(phase)),
        Told::Closed => end(Failure::new(
            Cause::Closed,
            "the server closed the held session",
        )),
        Told::Broken(error) => end(Failure::from_io(&error, phase)),
    }
}

/// The account of one question on a held session, or of its end between two.
fn observe_ping(
    ping: Option<Ping>,
    answer: Result<(), Failure>,
    session: bool,
    now: Moment,
) -> Observation {
    let started = ping.map_or(now, |ping| ping.started);
    let mut phases = Phases::default();
    let mut depth = None;
    if let Some(ping) = ping {
        let phase = probe::question_phase(ping.depth);
        let took = now.since(started);
        match &answer {
            Ok(()) => phases.push(phase, took),
            Err(_) => phases.push_failed(phase, took),
        }
        depth = session.then(|| probe::question_depth(ping.depth));
    }
    let (outcome, detail) = match answer {
        Ok(()) => (Outcome::Pass, None),
        Err(failure) => (Outcome::Fail(failure.cause), Some(failure.detail)),
    };
    Observation {
        path: Path::Held,
        probe: ping.map(|ping| ping.probe),
        started,
        ended: now,
        depth,
        outcome,
        phases,
        session,
        server: None,
        detail,
    }
}
