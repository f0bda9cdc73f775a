//! Netlink's framing: the messages of a datagram, and the attributes of a message.
//!
//! Pure: bytes in, slices out. The bytes are the kernel's, and no more trusted than a peer's: a
//! length that leads outside is [`Malformed`], never a panic. `question.rs` writes, `answer.rs`
//! reads.

/// The kernel's bytes are not what its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's answer is malformed: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// The length of a message's header.
pub(crate) const HEADER: usize = 16;
/// The flags of a request for one thing, and for all there is.
pub(crate) const REQUEST: u16 = 1;
pub(crate) const DUMP: u16 = 0x300;
/// Flags of an answer: more messages follow; what was walked through changed meanwhile.
const MULTI: u16 = 2;
const DUMP_INTERRUPTED: u16 = 0x10;

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// Whether more messages belong to this answer.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.flags & MULTI != 0
    }

    /// Whether the kernel's tables changed so much meanwhile that rows may be missing or double.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }
}

/// The messages of one datagram, in order; ends after the first malformed one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.0, read_message)
    }
}

fn read_message(bytes: &[u8]) -> Result<(usize, Message<'_>), Malformed> {
    let short = Malformed("a message is cut off");
    let length = u32_at(bytes, 0).ok_or(short)? as usize;
    let message = bytes.get(..length).ok_or(short)?;
    let message = Message {
        kind: u16_at(message, 4).ok_or(short)?,
        flags: u16_at(message, 6).ok_or(short)?,
        sequence: u32_at(message, 8).ok_or(short)?,
        payload: message.get(HEADER..).ok_or(short)?,
    };
    Ok((length, message))
}

/// Takes the next of those that follow each other at multiples of four; a malformed one is the last.
fn next_of<'a, T>(
    left: &mut &'a [u8],
    read: impl Fn(&'a [u8]) -> Result<(usize, T), Malformed>,
) -> Option<Result<T, Malformed>> {
    if left.is_empty() {
        return None;
    }
    let read = read(left);
    let after = match &read {
        Ok((length, _)) => left.get(aligned(*length)..),
        Err(_) => None,
    };
    *left = after.unwrap_or_default();
    Some(read.map(|(_, taken)| taken))
}

/// The attributes that end a message, as kind and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.0, read_attribute)
    }
}

fn read_attribute(bytes: &[u8]) -> Result<(usize, (u16, &[u8])), Malformed> {
    // The two upper bits of the kind are flags.
    const KIND: u16 = 0x3fff;
    let short = Malformed("an attribute is cut off");
    let length = usize::from(u16_at(bytes, 0).ok_or(short)?);
    let kind = u16_at(bytes, 2).ok_or(short)? & KIND;
    let value = bytes.get(4..length).ok_or(short)?;
    Ok((length, (kind, value)))
}

/// Messages and attributes begin at multiples of four.
pub(crate) const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_ne_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_claims_more_than_there_is_ends_the_reading() {
        let mut bytes = vec![0; 20];
        bytes[..4].copy_from_slice(&24_u32.to_ne_bytes());
        let mut messages = Messages(&bytes);
        assert!(messages.next().is_some_and(|message| message.is_err()));
        assert!(messages.next().is_none());
    }

    #[test]
    fn a_length_below_a_header_ends_the_reading() {
        let bytes = [0; 16];
        assert!(Messages(&bytes).next().is_some_and(|it| it.is_err()));
        assert!(
            Attributes(&[3, 0, 1, 0])
                .next()
                .is_some_and(|it| it.is_err())
        );
        assert!(Attributes(&[0; 8]).next().is_some_and(|it| it.is_err()));
    }

    #[test]
    fn attributes_follow_each_other_at_multiples_of_four() {
        let bytes = [5, 0, 7, 0, 42, 0, 0, 0, 6, 0, 8, 0x80, 1, 2];
        let read: Vec<_> = Attributes(&bytes).map(Result::unwrap).collect();
        assert_eq!(read, [(7, &[42][..]), (8, &[1, 2][..])]);
    }
}
