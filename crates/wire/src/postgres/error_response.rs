//! ErrorResponse: a list of fields, each a type byte and a text, to and from [`Refusal`].
//!
//! The severity is read from field `V`, which PostgreSQL sends since 9.6 and never translates, else
//! from `S`. Unknown fields are skipped, as the protocol demands. Callers: both sides.

use super::message::{Body, Malformed, backend, put_message, put_text};
use crate::{Refusal, text};

const SEVERITY: u8 = b'S';
const SEVERITY_NOT_LOCALISED: u8 = b'V';
const CODE: u8 = b'C';
const MESSAGE: u8 = b'M';
const ROUTINE: u8 = b'R';

const CODE_LENGTH: usize = 5;
const MESSAGE_LENGTH_MAX: usize = 512;
const ROUTINE_LENGTH_MAX: usize = 64;

/// Reads the body of an ErrorResponse.
pub(super) fn parse(mut body: Body<'_>) -> Result<Refusal, Malformed> {
    let mut refusal = Refusal::default();
    let (mut severity, mut severity_localised): (&[u8], &[u8]) = (b"", b"");
    loop {
        match body.u8()? {
            0 => break,
            SEVERITY_NOT_LOCALISED => severity = body.text()?,
            SEVERITY => severity_localised = body.text()?,
            CODE => refusal.sqlstate = text::clean(body.text()?, CODE_LENGTH),
            MESSAGE => refusal.message = text::clean(body.text()?, MESSAGE_LENGTH_MAX),
            ROUTINE => refusal.routine = text::clean(body.text()?, ROUTINE_LENGTH_MAX),
            _ => _ = body.text()?,
        }
    }
    if severity.is_empty() {
        severity = severity_localised;
    }
    refusal.fatal = matches!(severity, b"FATAL" | b"PANIC");
    Ok(refusal)
}

/// Reads what a postmaster that cannot fork says: `E` and a line, as protocol 2 had it, with no
/// length and no SQLSTATE. `None` if it is no such line (memcached says `ERROR`, CR, LF).
pub(super) fn parse_unframed(line: &[u8]) -> Option<Refusal> {
    let message = line.strip_prefix(&[backend::ERROR_RESPONSE])?;
    let is_text = str::from_utf8(message).is_ok_and(|text| !text.contains(char::is_control));
    is_text.then(|| Refusal {
        message: text::clean(message, MESSAGE_LENGTH_MAX),
        fatal: true,
        ..Refusal::default()
    })
}

/// Appends an ErrorResponse.
pub(super) fn put(refusal: &Refusal, out: &mut Vec<u8>) {
    let severity = if refusal.fatal { "FATAL" } else { "ERROR" };
    put_message(out, backend::ERROR_RESPONSE, |body| {
        let fields = [
            (SEVERITY, severity),
            (SEVERITY_NOT_LOCALISED, severity),
            (CODE, &refusal.sqlstate),
            (MESSAGE, &refusal.message),
            (ROUTINE, &refusal.routine),
        ];
        for (field, text) in fields {
            body.push(field);
            put_text(body, text);
        }
        body.push(0);
    });
}

#[cfg(test)]
mod tests;
