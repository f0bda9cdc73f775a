//! PostgreSQL's messages as far as a listener looks at them: type, length, and the first words.

use super::{Head, Outcome, PingForm, Step};
use crate::passive::ping_text::{TEXT_LENGTH_MAX, form_of};

/// Type and length.
pub(super) const HEADER: usize = 5;
/// Length and code of a packet that opens a connection.
pub(super) const OPENING_LENGTH: usize = 8;
/// A Describe or Execute that names its portal shortly tells nothing.
pub(super) const BARE_LENGTH_MAX: usize = 16;

/// PostgreSQL's own limit on an opening packet.
const OPENING_LENGTH_MAX: usize = 10_000;
/// Names are shorter than this, as PostgreSQL is built.
const NAME_LENGTH_MAX: usize = 64;
/// A Parse longer than this holds no ping.
const PARSE_LENGTH_MAX: usize = HEADER + NAME_LENGTH_MAX + TEXT_LENGTH_MAX;
const _: () = assert!(PARSE_LENGTH_MAX > 2 * NAME_LENGTH_MAX + HEADER);
/// Severity and SQLSTATE are the first fields of an ErrorResponse.
const ERROR_HEAD: usize = 48;
/// Nobody sends more in one message (PostgreSQL allows 1 GiB).
const MESSAGE_LENGTH_MAX: usize = 1 << 30;
/// A message that fills several segments fills the first.
const FULL_SEGMENT_MIN: usize = 500;

const CLIENT_KINDS: &[u8] = b"BCDEFHPQSXcdfp";
const SERVER_KINDS: &[u8] = b"123ACDEGHIKNRSTVWZcdnstv";
/// What a client's turn ends with.
const LAST_KINDS: &[u8] = b"FHQSXcfp";

/// What opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// A request for TLS or GSSAPI.
    Encryption,
    Cancel,
    Startup,
}

impl Opening {
    /// Reads a packet without a type.
    pub(super) fn parse(head: Head<'_>) -> Result<(Self, usize), Step> {
        // A client may begin TLS without asking.
        if let [0x16, 3, ..] = head.bytes {
            return Err(Step::Opaque);
        }
        let Some(bytes) = head.bytes.first_chunk::<OPENING_LENGTH>() else {
            return Err(more(head));
        };
        let [a, b, c, d, e, f, g, h] = *bytes;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let opening = match u32::from_be_bytes([e, f, g, h]) {
            0x04d2_162f | 0x04d2_1630 => Self::Encryption,
            0x04d2_162e => Self::Cancel,
            version if version >> 16 == 3 => Self::Startup,
            _ => return Err(Step::Lost),
        };
        match (OPENING_LENGTH..=OPENING_LENGTH_MAX).contains(&length) {
            true => Ok((opening, length)),
            false => Err(Step::Lost),
        }
    }
}

/// A message, by its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    /// With the type.
    pub(super) length: usize,
    /// What is there of it behind the length.
    body: &'a [u8],
    is_complete: bool,
}

impl<'a> Message<'a> {
    pub(super) fn of_client(head: Head<'a>) -> Result<Self, Step> {
        let (kind, length) = framing(head)?;
        let is_bare = matches!(kind, b'S' | b'H' | b'X' | b'c');
        if !CLIENT_KINDS.contains(&kind) || is_bare && length != HEADER {
            return Err(Step::Lost);
        }
        let wanted = match kind {
            b'Q' | b'P' if length <= PARSE_LENGTH_MAX => length,
            b'B' => length.min(HEADER + 2 * NAME_LENGTH_MAX),
            b'C' => length.min(HEADER + NAME_LENGTH_MAX),
            _ => HEADER,
        };
        Self::of(head, kind, length, wanted)
    }

    pub(super) fn of_server(head: Head<'a>) -> Result<Self, Step> {
        let (kind, length) = framing(head)?;
        if !SERVER_KINDS.contains(&kind) {
            return Err(Step::Lost);
        }
        let wanted = match kind {
            b'E' => length.min(HEADER + ERROR_HEAD),
            _ => HEADER,
        };
        Self::of(head, kind, length, wanted)
    }

    fn of(head: Head<'a>, kind: u8, length: usize, wanted: usize) -> Result<Self, Step> {
        if head.bytes.len() < wanted && !head.is_cut {
            return Err(Step::More);
        }
        let end = head.bytes.len().min(length);
        Ok(Self {
            kind,
            length,
            body: &head.bytes[HEADER..end],
            is_complete: end == length,
        })
    }

    /// Which ping a simple query is.
    pub(super) fn query(&self) -> Option<PingForm> {
        let text = self.body.strip_suffix(&[0])?;
        form_of(text).filter(|_| self.is_complete)
    }

    /// The name of a statement to prepare, and which ping it is.
    pub(super) fn parse(&self) -> Option<(&'a [u8], Option<PingForm>)> {
        let (name, rest) = text(self.body)?;
        let form = text(rest).and_then(|(text, _)| form_of(text));
        Some((name, form.filter(|_| self.is_complete)))
    }

    /// The name of the statement to bind.
    pub(super) fn bind(&self) -> Option<&'a [u8]> {
        let (_portal, rest) = text(self.body)?;
        Some(text(rest)?.0)
    }

    /// The name of the statement that a Close ends.
    pub(super) fn closed_statement(&self) -> Option<&'a [u8]> {
        let (b'S', name) = self.body.split_first()? else {
            return None;
        };
        Some(text(name)?.0)
    }

    /// How grave an ErrorResponse is, and how much of it tells no more than that.
    pub(super) fn error(&self) -> (Outcome, usize) {
        let (mut outcome, mut shown, mut rest) = (Outcome::Refused, HEADER, self.body);
        while let Some((field, value)) = rest.split_first()
            && let Some((value, after)) = text(value)
        {
            match field {
                b'S' | b'V' if matches!(value, b"FATAL" | b"PANIC") => outcome = Outcome::Ended,
                b'C' if value.starts_with(b"57P0") => outcome = Outcome::Ended,
                b'S' | b'V' | b'C' => {}
                _ => break,
            }
            shown = self.body.len() - after.len() + HEADER;
            rest = after;
        }
        (outcome, shown)
    }
}

/// The type and the length of a message; the error is what to do without.
fn framing(head: Head<'_>) -> Result<(u8, usize), Step> {
    let Some(&[kind, a, b, c, d]) = head.bytes.first_chunk() else {
        return Err(more(head));
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match (4..=MESSAGE_LENGTH_MAX).contains(&length) {
        true => Ok((kind, length + 1)),
        false => Err(Step::Lost),
    }
}

fn more(head: Head<'_>) -> Step {
    match head.is_cut {
        true => Step::Lost,
        false => Step::More,
    }
}

/// A text up to its NUL, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Whether the first words of a connection are PostgreSQL's.
pub(in crate::passive) fn fits_opening(bytes: &[u8], length: usize) -> bool {
    let head = Head {
        bytes,
        is_cut: true,
    };
    Opening::parse(head).is_ok_and(|(_, packet)| packet == length)
}

/// Whether a segment is one or more messages of a client, up to where it awaits an answer; or as
/// much of them as was captured; or the beginning of a long one.
pub(in crate::passive) fn fits_command(bytes: &[u8], length: usize) -> bool {
    let (mut at, mut messages) = (0, 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let head = Head {
            bytes: rest,
            is_cut: true,
        };
        let Ok(message) = Message::of_client(head) else {
            // Cut off, behind at least one that fits.
            return messages > 0 && rest.len() < HEADER && bytes.len() < length;
        };
        at += message.length;
        messages += 1;
        if at == length {
            return LAST_KINDS.contains(&message.kind);
        }
        if at > length {
            let is_long = matches!(message.kind, b'Q' | b'P' | b'B' | b'd' | b'F');
            return is_long && length >= FULL_SEGMENT_MIN;
        }
    }
}

/// Whether a segment begins with a message of a server's.
pub(in crate::passive) fn fits_answer(bytes: &[u8], length: usize) -> bool {
    let head = Head {
        bytes,
        is_cut: true,
    };
    let message = Message::of_server(head);
    message.is_ok_and(|message| message.length <= length || length >= FULL_SEGMENT_MIN)
}
