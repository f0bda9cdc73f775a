//! Framing: cuts a stream into messages, takes their bodies apart, and writes messages.
//!
//! A message is a type byte, a length that counts itself but not the type, and a body; the packets
//! that open a connection lack the type byte. A message that lies whole in the input is borrowed
//! from it; only an unfinished one is copied, into [`Pending`], which is freed with its last byte.
//! Callers: every other file of this protocol.

use std::{borrow::Cow, mem};

use crate::Event;

/// The types of messages that a server sends.
pub(super) mod backend {
    pub(in crate::postgres) const AUTHENTICATION: u8 = b'R';
    pub(in crate::postgres) const BACKEND_KEY_DATA: u8 = b'K';
    pub(in crate::postgres) const COMMAND_COMPLETE: u8 = b'C';
    pub(in crate::postgres) const COPY_BOTH_RESPONSE: u8 = b'W';
    pub(in crate::postgres) const COPY_DATA: u8 = b'd';
    pub(in crate::postgres) const COPY_DONE: u8 = b'c';
    pub(in crate::postgres) const COPY_IN_RESPONSE: u8 = b'G';
    pub(in crate::postgres) const COPY_OUT_RESPONSE: u8 = b'H';
    pub(in crate::postgres) const DATA_ROW: u8 = b'D';
    pub(in crate::postgres) const EMPTY_QUERY_RESPONSE: u8 = b'I';
    pub(in crate::postgres) const ERROR_RESPONSE: u8 = b'E';
    pub(in crate::postgres) const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    pub(in crate::postgres) const NOTICE_RESPONSE: u8 = b'N';
    pub(in crate::postgres) const NOTIFICATION_RESPONSE: u8 = b'A';
    pub(in crate::postgres) const PARAMETER_STATUS: u8 = b'S';
    pub(in crate::postgres) const READY_FOR_QUERY: u8 = b'Z';
    pub(in crate::postgres) const ROW_DESCRIPTION: u8 = b'T';
}

/// The types of messages that a client sends.
pub(super) mod frontend {
    pub(in crate::postgres) const COPY_FAIL: u8 = b'f';
    /// PasswordMessage, SASLInitialResponse and SASLResponse share it.
    pub(in crate::postgres) const PASSWORD: u8 = b'p';
    pub(in crate::postgres) const QUERY: u8 = b'Q';
    pub(in crate::postgres) const SYNC: u8 = b'S';
    pub(in crate::postgres) const TERMINATE: u8 = b'X';
}

/// Whether a server may send this between any two messages.
pub(super) fn is_asynchronous(tag: u8) -> bool {
    matches!(
        tag,
        backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE | backend::PARAMETER_STATUS
    )
}

/// The bytes of a length field.
const LENGTH_LENGTH: usize = 4;

/// The peer broke the protocol; the text says what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl From<Malformed> for Event {
    fn from(Malformed(expected): Malformed) -> Self {
        Self::Malformed(expected)
    }
}

/// A complete message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// Its type byte; 0 for a packet, which has none.
    pub(super) tag: u8,
    header_length: usize,
    bytes: Cow<'a, [u8]>,
}

impl Message<'_> {
    /// A reader at the first byte of the body.
    pub(super) fn body(&self) -> Body<'_> {
        Body(self.bytes.get(self.header_length..).unwrap_or_default())
    }
}

/// The unfinished message at the end of a stream; owns no memory when there is none.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
}

impl Pending {
    /// Takes the next message from `input`; `None` when it is not complete, `input` then is empty.
    pub(super) fn next_message<'a>(
        &mut self,
        input: &mut &'a [u8],
        length_max: usize,
    ) -> Result<Option<Message<'a>>, Malformed> {
        self.next(1, input, length_max)
    }

    /// The same for a packet without a type byte.
    pub(super) fn next_packet<'a>(
        &mut self,
        input: &mut &'a [u8],
        length_max: usize,
    ) -> Result<Option<Message<'a>>, Malformed> {
        self.next(0, input, length_max)
    }

    fn next<'a>(
        &mut self,
        tag_length: usize,
        input: &mut &'a [u8],
        length_max: usize,
    ) -> Result<Option<Message<'a>>, Malformed> {
        let header_length = tag_length + LENGTH_LENGTH;
        if !self.bytes.is_empty() {
            self.fill(header_length, input);
        }
        let known = if self.bytes.is_empty() {
            *input
        } else {
            &self.bytes
        };
        let Some((tag, length)) = header(known, tag_length) else {
            self.hold(input);
            return Ok(None);
        };
        if length < LENGTH_LENGTH || length > length_max {
            return Err(Malformed("a message of sane length"));
        }
        let total = tag_length + length;
        let bytes = if self.bytes.is_empty()
            && let Some((whole, rest)) = input.split_at_checked(total)
        {
            *input = rest;
            Cow::Borrowed(whole)
        } else {
            self.fill(total, input);
            if self.bytes.len() < total {
                return Ok(None);
            }
            Cow::Owned(mem::take(&mut self.bytes))
        };
        Ok(Some(Message {
            tag,
            header_length,
            bytes,
        }))
    }

    /// Takes a line, without its end, from a peer that frames nothing; `None` when the end is yet
    /// to come. What follows the line is dropped.
    pub(super) fn next_line(
        &mut self,
        input: &mut &[u8],
        length_max: usize,
    ) -> Result<Option<Vec<u8>>, Malformed> {
        self.hold(input);
        match self
            .bytes
            .iter()
            .take(length_max)
            .position(|&byte| byte == b'\n')
        {
            Some(end) => {
                let mut line = mem::take(&mut self.bytes);
                line.truncate(end);
                Ok(Some(line))
            }
            None if self.bytes.len() >= length_max => Err(Malformed("a line that ends")),
            None => Ok(None),
        }
    }

    /// Whether nothing is held, not even memory.
    #[cfg(test)]
    pub(super) fn is_empty_of_memory(&self) -> bool {
        self.bytes.capacity() == 0
    }

    /// Keeps all of `input` until more comes.
    pub(super) fn hold(&mut self, input: &mut &[u8]) {
        self.bytes.extend_from_slice(input);
        *input = &[];
    }

    /// At most `count` bytes of the stream, from where the last message ended.
    pub(super) fn peek(&self, count: usize, input: &[u8]) -> Vec<u8> {
        self.bytes
            .iter()
            .chain(input)
            .take(count)
            .copied()
            .collect()
    }

    /// Moves bytes from `input` here until there are `total`, or no more.
    fn fill(&mut self, total: usize, input: &mut &[u8]) {
        let missing = total.saturating_sub(self.bytes.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((*input, &[]));
        self.bytes.extend_from_slice(taken);
        *input = rest;
    }
}

/// The type byte and the length field, once `known` reaches that far.
fn header(known: &[u8], tag_length: usize) -> Option<(u8, usize)> {
    let (tag, rest) = known.split_at_checked(tag_length)?;
    let length = u32::from_be_bytes(*rest.first_chunk()?);
    let tag = tag.first().copied().unwrap_or(0);
    Some((tag, usize::try_from(length).unwrap_or(usize::MAX)))
}

/// Reads a message's body front to back; what is missing is [`Malformed`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// All that was not read yet.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self
            .0
            .split_first_chunk()
            .ok_or(Malformed("a longer message"))?;
        self.0 = rest;
        Ok(*head)
    }

    /// A value whose length was sent before it as an Int32; `None` for -1, which means NULL.
    pub(super) fn sized(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let (head, rest) = usize::try_from(length)
                    .ok()
                    .and_then(|length| self.0.split_at_checked(length))
                    .ok_or(Malformed("a value that fits its message"))?;
                self.0 = rest;
                Ok(Some(head))
            }
        }
    }

    /// A text that ends with NUL, without the NUL.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|&byte| byte == 0);
        let (text, rest) = end
            .and_then(|end| self.0.split_at_checked(end))
            .ok_or(Malformed("a text that ends with NUL"))?;
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(text)
    }
}

/// Appends a message; `write_body` appends its body.
pub(super) fn put_message(out: &mut Vec<u8>, tag: u8, write_body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    put_packet(out, write_body);
}

/// Appends a packet, which is a message without a type byte.
pub(super) fn put_packet(out: &mut Vec<u8>, write_body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_LENGTH]);
    write_body(out);
    let length = (out.len() - start) as u32;
    if let Some(field) = out.get_mut(start..start + LENGTH_LENGTH) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a text and its NUL. A NUL within the text ends it, as it would for libpq: a user name
/// must not smuggle in further parameters.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().take_while(|&byte| byte != 0));
    out.push(0);
}

/// Appends a value with its length before it, or NULL.
pub(super) fn put_sized(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_QUERY_RESPONSE: &[u8] = b"I\0\0\0\x04";

    #[test]
    fn a_message_in_one_piece_is_borrowed() {
        let mut pending = Pending::default();
        let mut input: &[u8] = b"I\0\0\0\x04Z\0\0\0\x05I";
        let first = pending.next_message(&mut input, 64).unwrap().unwrap();
        assert_eq!(first.tag, b'I');
        assert!(first.body().rest().is_empty());
        assert!(matches!(first.bytes, Cow::Borrowed(EMPTY_QUERY_RESPONSE)));
        let second = pending.next_message(&mut input, 64).unwrap().unwrap();
        assert_eq!((second.tag, second.body().rest()), (b'Z', &b"I"[..]));
        assert_eq!(pending.next_message(&mut input, 64), Ok(None));
        assert_eq!(pending.bytes.capacity(), 0);
    }

    #[test]
    fn a_message_in_pieces_is_put_together_and_its_memory_given_away() {
        let bytes = b"E\0\0\0\x07abcI";
        for cut in 1..8 {
            let mut pending = Pending::default();
            let (mut head, mut tail) = bytes.split_at(cut);
            assert_eq!(pending.next_message(&mut head, 64), Ok(None));
            assert!(head.is_empty());
            let message = pending.next_message(&mut tail, 64).unwrap().unwrap();
            assert_eq!((message.tag, message.body().rest()), (b'E', &b"abc"[..]));
            assert_eq!(tail, b"I");
            assert_eq!(pending.bytes.capacity(), 0);
        }
    }

    #[test]
    fn a_length_out_of_bounds_is_malformed_as_soon_as_it_is_known() {
        for length in [0_u32, 3, 65, u32::MAX] {
            let mut bytes = vec![b'D'];
            bytes.extend_from_slice(&length.to_be_bytes());
            let mut input = &bytes[..];
            assert!(
                Pending::default().next_message(&mut input, 64).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_malformed() {
        let mut pending = Pending::default();
        assert_eq!(pending.next_line(&mut &b"Ecould"[..], 8), Ok(None));
        assert_eq!(
            pending.next_line(&mut &b" not"[..], 8),
            Err(Malformed("a line that ends"))
        );
    }

    #[test]
    fn a_body_that_is_too_short_is_malformed() {
        assert!(Body(b"\0").i16().is_err());
        assert!(Body(b"no end").text().is_err());
        assert!(Body(b"\0\0\0\x05four").sized().is_err());
        assert!(Body(b"\xff\xff\xff\xfefour").sized().is_err());
        assert_eq!(Body(b"\xff\xff\xff\xff").sized(), Ok(None));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = b"before".to_vec();
        put_message(&mut out, b'Q', |body| {
            put_text(body, "cut\0here");
            put_sized(body, Some(b"value"));
            put_sized(body, None);
        });
        let mut input = &out[6..];
        let message = Pending::default()
            .next_message(&mut input, 64)
            .unwrap()
            .unwrap();
        let mut body = message.body();
        assert_eq!(body.text(), Ok(&b"cut"[..]));
        assert_eq!(body.sized(), Ok(Some(&b"value"[..])));
        assert_eq!(body.sized(), Ok(None));
        assert!(body.rest().is_empty() && input.is_empty());
    }
}
