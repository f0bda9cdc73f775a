//! One simple query and its answer, up to the ReadyForQuery that ends it.
//!
//! What the caller will be told is decided by the messages on the way and told at ReadyForQuery, so
//! that the session is idle by then; only a FATAL, after which nothing comes, is told at once.
//! Caller: [`Client`](super::Client).

use crate::{
    Event,
    postgres::{
        error_response,
        message::{
            Body, Malformed, Message, backend, frontend, is_asynchronous, put_message, put_text,
        },
    },
};

/// How much of a value is kept.
const VALUE_LENGTH_MAX: usize = 64 << 10;

/// A statement under way.
#[derive(Debug)]
pub(super) struct Command {
    kind: Kind,
    /// Whether the statement was answered; if not, it is too early for ReadyForQuery.
    answered: bool,
    /// What to tell instead of the usual: a value, or a refusal. A box, because a ping has none.
    outcome: Option<Box<Event>>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ping,
    Query,
}

impl Command {
    /// Asks nothing.
    pub(super) fn ping(out: &mut Vec<u8>) -> Self {
        Self::new(Kind::Ping, "", out)
    }

    /// Asks for the first value of a statement.
    pub(super) fn query(sql: &str, out: &mut Vec<u8>) -> Self {
        Self::new(Kind::Query, sql, out)
    }

    fn new(kind: Kind, sql: &str, out: &mut Vec<u8>) -> Self {
        put_message(out, frontend::QUERY, |body| put_text(body, sql));
        Self {
            kind,
            answered: false,
            outcome: None,
        }
    }

    /// Takes a message of the answer; returns an event when the command is over.
    pub(super) fn handle_message(
        &mut self,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        match message.tag {
            backend::READY_FOR_QUERY if self.answered => return Ok(Some(self.finish())),
            backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE => self.answered = true,
            backend::ERROR_RESPONSE => {
                let refusal = error_response::parse(message.body())?;
                if refusal.fatal {
                    return Ok(Some(Event::Refused(refusal)));
                }
                self.answered = true;
                self.outcome = Some(Box::new(Event::Refused(refusal)));
            }
            backend::DATA_ROW if self.outcome.is_none() => {
                let value = first_value(message.body())?;
                self.outcome = Some(Box::new(Event::Value(value)));
            }
            backend::COPY_IN_RESPONSE => put_message(out, frontend::COPY_FAIL, |body| {
                put_text(body, "dbvitals has nothing to copy");
            }),
            backend::ROW_DESCRIPTION
            | backend::DATA_ROW
            | backend::COPY_OUT_RESPONSE
            | backend::COPY_BOTH_RESPONSE
            | backend::COPY_DATA
            | backend::COPY_DONE => {}
            tag if is_asynchronous(tag) => {}
            _ => return Err(Malformed("the answer to a query")),
        }
        Ok(None)
    }

    fn finish(&mut self) -> Event {
        match (self.outcome.take(), self.kind) {
            (Some(outcome), _) => *outcome,
            (None, Kind::Ping) => Event::Pong,
            (None, Kind::Query) => Event::Value(None),
        }
    }
}

/// The first column of a DataRow.
fn first_value(mut row: Body<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    if row.i16()? == 0 {
        return Ok(None);
    }
    let value = row.sized()?;
    Ok(value.map(|value| value.get(..VALUE_LENGTH_MAX).unwrap_or(value).to_vec()))
}
