//! A question on a session that is logged in, from the first word to the last answer.
//!
//! Both paths ask this way: a fresh probe once its login is done, a held session whenever it is
//! its turn. Depths up to `query` are one ping or one statement; those beyond are a [`Survey`].

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Cause, Depth, Moment, Phase, Phases, ServerFacts};
use dbvitals_wire::{Answer, Event, Refusal, Session};

use crate::failure::Failure;
use crate::learned::Learned;
use crate::survey::{self, Next, Survey};
use crate::target::{Statement, Target};

/// A question that is under way.
#[derive(Debug)]
pub(crate) struct Question {
    depth: Depth,
    /// The target's statement is to be answered first.
    statement: bool,
    /// Boxed, because the pings of most sessions have none.
    survey: Option<Box<Survey>>,
}

/// What an event on the session means for the question.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Nothing yet.
    Nothing,
    /// The answer leads to the next question; ask it.
    Next,
    /// It is answered, well or badly.
    Answer(Result<(), Failure>),
}

impl Question {
    pub(crate) fn new(depth: Depth, target: &Target) -> Self {
        // A ping is spared the look at its target, which is memory that nothing else of it needs.
        let (statement, survey) = match depth >= Depth::Role {
            false => (depth == Depth::Query, None),
            true => {
                let survey = Box::new(Survey::new(depth));
                (target.statement.is_some(), Some(survey))
            }
        };
        Self {
            depth,
            statement,
            survey,
        }
    }

    /// The phase that the present question belongs to.
    pub(crate) fn phase(&self) -> Phase {
        match &self.survey {
            _ if self.statement => Phase::Query,
            Some(survey) => survey.phase(),
            None => Phase::Ping,
        }
    }

    /// When the server is to be told to give up the present statement, where it knows of no limit
    /// by itself: early enough that it can still say so.
    pub(crate) fn cancel_at(
        &self,
        session: &Session,
        now: Moment,
        patience: Duration,
    ) -> Option<Moment> {
        let limited = self.phase() != Phase::Query || session.cancel_request().is_none();
        (!limited).then(|| now + survey::server_share(patience))
    }

    /// Says what is to be said now. The server is to answer within `patience`.
    pub(crate) fn ask(
        &self,
        session: &mut Session,
        target: &Target,
        learned: &Learned,
        patience: Duration,
        out: &mut Vec<u8>,
    ) {
        match &self.survey {
            _ if self.statement => {
                let sql = target.statement.as_deref().map_or("SELECT 1", |it| &it.sql);
                let settings = survey::settings(learned, patience);
                session.query(&format!("{settings}{sql}"), out)
            }
            Some(survey) => session.query(&survey.statement(learned, patience), out),
            None => session.ping(out),
        };
    }

    /// Gives an event on the session a meaning, while the session goes on.
    pub(crate) fn hear(
        &mut self,
        event: &Event,
        target: &Target,
        learned: &mut Learned,
        now: Moment,
    ) -> Heard {
        let answer = match event {
            Event::Pong => return Heard::Answer(Ok(())),
            Event::Answer(answer) => Ok(&**answer),
            Event::Refused(refusal) => Err(refusal),
            Event::Greeted(_)
            | Event::StartTls
            | Event::TlsRefused
            | Event::LoggedIn(_)
            | Event::WrongProtocol(_)
            | Event::Malformed(_) => return Heard::Nothing,
        };
        match &mut self.survey {
            Some(survey) if !self.statement => match survey.hear(answer, target, learned, now) {
                Next::Ask => Heard::Next,
                Next::Done(outcome) => Heard::Answer(outcome),
            },
            survey => match hear_statement(answer, target, learned) {
                Heard::Answer(Ok(())) if survey.is_some() => {
                    self.statement = false;
                    Heard::Next
                }
                heard @ (Heard::Nothing | Heard::Next | Heard::Answer(_)) => heard,
            },
        }
    }

    /// Whether a write is what is asked for now.
    pub(crate) fn writes(&self) -> bool {
        self.survey.as_ref().is_some_and(|survey| survey.writes())
    }

    /// Goes on, on another session, with a look after the write on this one.
    pub(crate) fn look_after(&mut self, session: u32) {
        if let Some(survey) = &mut self.survey {
            survey.look_after(session);
        }
    }

    /// How far the answers have got, when the outcome is this.
    pub(crate) fn reached(&self, outcome: &Result<(), Failure>) -> Depth {
        let asserted = |failure: &Failure| failure.cause == Cause::AssertionFailed;
        match (&self.survey, outcome) {
            (Some(survey), _) if !self.statement => survey.reached().unwrap_or(Depth::Login),
            (_, Err(failure)) if asserted(failure) => Depth::Query,
            (_, Ok(())) => self.depth,
            (_, Err(_)) => Depth::Login,
        }
    }

    /// Notes that a phase of several has come to its end, so long after the question was put.
    pub(crate) fn note_phase(&mut self, phase: Phase, after: Duration) {
        if let Some(survey) = &mut self.survey {
            survey.account.push(phase, after);
        }
    }

    /// The phases of a question that took so long in all.
    pub(crate) fn phases(&self, took: Duration, failed: bool) -> Phases {
        let account = self.survey.as_ref().map(|survey| survey.account.clone());
        let mut account = account.unwrap_or_default();
        account.close(self.phase(), took, failed);
        account.phases
    }

    /// What was learned of the server, where the question tells.
    pub(crate) fn facts(&self, learned: &Learned) -> Option<Arc<ServerFacts>> {
        let survey = self.survey.as_ref()?;
        survey.reached().map(|_| survey.facts(learned))
    }
}

fn hear_statement(
    answer: Result<&Answer, &Refusal>,
    target: &Target,
    learned: &mut Learned,
) -> Heard {
    match answer {
        Ok(answer) => {
            learned.answer = target.keeps_answer.then(|| Box::new(answer.clone()));
            Heard::Answer(compare(target.statement.as_deref(), answer.value()))
        }
        Err(refusal) if survey::wants_fewer_settings(refusal, learned) => Heard::Next,
        Err(refusal) => Heard::Answer(Err(Failure::refused(refusal, Phase::Query))),
    }
}

/// Compares a statement's answer with the expected one.
fn compare(statement: Option<&Statement>, value: Option<&[u8]>) -> Result<(), Failure> {
    let Some(expected) = statement.and_then(|statement| statement.equals.as_deref()) else {
        return Ok(());
    };
    if value == Some(expected.as_bytes()) {
        return Ok(());
    }
    let answer = match value {
        Some(value) => format!("{:?}", String::from_utf8_lossy(value)),
        None => "NULL".to_owned(),
    };
    let detail = format!("the statement answered {answer} instead of {expected:?}");
    Err(Failure::new(Cause::AssertionFailed, detail))
}
