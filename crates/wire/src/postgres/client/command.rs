//! One simple query and its answer, up to the ReadyForQuery that ends it.
//!
//! What the caller will be told is decided by the messages on the way and told at ReadyForQuery, so
//! that the session is idle by then; only a FATAL, after which nothing comes, is told at once.
//! Caller: [`Client`](super::Client).

use crate::{
    Answer, Event, Refusal,
    postgres::{
        error_response,
        message::{
            Body, Malformed, Message, backend, frontend, is_asynchronous, put_message, put_text,
        },
    },
};

/// A statement under way.
#[derive(Debug)]
pub(super) struct Command {
    kind: Kind,
    /// Whether the statement was answered; if not, it is too early for ReadyForQuery.
    answered: bool,
    /// What a statement brought so far; boxes, because a ping has neither.
    answer: Option<Box<Answer>>,
    /// What to tell instead of an answer.
    refusal: Option<Box<Refusal>>,
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

    /// Runs a statement, or several.
    pub(super) fn query(sql: &str, out: &mut Vec<u8>) -> Self {
        Self::new(Kind::Query, sql, out)
    }

    fn new(kind: Kind, sql: &str, out: &mut Vec<u8>) -> Self {
        put_message(out, frontend::QUERY, |body| put_text(body, sql));
        Self {
            kind,
            answered: false,
            answer: None,
            refusal: None,
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
                self.refusal = Some(Box::new(refusal));
            }
            backend::ROW_DESCRIPTION => read_columns(message.body(), self.answer())?,
            backend::DATA_ROW => read_row(message.body(), self.answer())?,
            backend::COPY_IN_RESPONSE => put_message(out, frontend::COPY_FAIL, |body| {
                put_text(body, "dbvitals has nothing to copy");
            }),
            backend::COPY_OUT_RESPONSE
            | backend::COPY_BOTH_RESPONSE
            | backend::COPY_DATA
            | backend::COPY_DONE => {}
            tag if is_asynchronous(tag) => {}
            _ => return Err(Malformed("the answer to a query")),
        }
        Ok(None)
    }

    fn answer(&mut self) -> &mut Answer {
        self.answer.get_or_insert_default()
    }

    fn finish(&mut self) -> Event {
        match (self.refusal.take(), self.kind) {
            (Some(refusal), _) => Event::Refused(*refusal),
            (None, Kind::Ping) => Event::Pong,
            (None, Kind::Query) => Event::Answer(self.answer.take().unwrap_or_default()),
        }
    }
}

/// What a RowDescription says of a column beside its name: table, number, type, length, modifier
/// and format.
const COLUMN_FACTS_LENGTH: usize = 18;

fn read_columns(mut body: Body<'_>, answer: &mut Answer) -> Result<(), Malformed> {
    answer.begin_table();
    for _ in 0..body.i16()? {
        answer.push_column(body.text()?);
        body.array::<COLUMN_FACTS_LENGTH>()?;
    }
    Ok(())
}

/// Rows beyond what is kept are not even looked into.
fn read_row(mut body: Body<'_>, answer: &mut Answer) -> Result<(), Malformed> {
    if answer.is_full() {
        return Ok(());
    }
    if answer.tables().is_empty() {
        return Err(Malformed("columns before rows"));
    }
    let mut values = Vec::new();
    for _ in 0..body.i16()? {
        values.push(body.sized()?);
    }
    answer.push_row(values);
    Ok(())
}
