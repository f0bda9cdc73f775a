//! Framing: a packet is three bytes of length, one of sequence number, and the payload.
//!
//! [`Inbox`] cuts a stream into packets. A packet that arrives whole is lent straight from the
//! input; only one that arrives in pieces is gathered, and its memory goes with it: between packets
//! an inbox owns none. Packets longer than [`MESSAGE_LENGTH_MAX`] are refused by their header,
//! which also refuses the continuation packets of messages over 16 MiB.

use std::borrow::Cow;

use super::bytes::Reader;
use crate::MESSAGE_LENGTH_MAX;

const HEADER_LENGTH: usize = 4;

/// One packet of the peer.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    /// Header and payload.
    bytes: Cow<'a, [u8]>,
}

impl Packet<'_> {
    /// The number that counts the packets of one exchange, from 0, wrapping.
    pub(super) fn sequence(&self) -> u8 {
        self.bytes.get(3).copied().unwrap_or_default()
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_LENGTH..).unwrap_or_default()
    }
}

/// The peer announced a packet over the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Cuts what arrives into packets.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The beginning of a packet that has not arrived whole.
    pending: Vec<u8>,
}

impl Inbox {
    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next bytes that [`next`](Self::next) would look at, wherever they are now.
    pub(super) fn peek(&self, input: &[u8], count: usize) -> Vec<u8> {
        self.pending
            .iter()
            .chain(input)
            .take(count)
            .copied()
            .collect()
    }

    /// Takes the next whole packet; `None` when all of `input` is used and none is whole.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Packet<'a>>, TooLong> {
        if self.pending.is_empty()
            && let Some(length) = whole_length(input)?
            && let Some((whole, rest)) = input.split_at_checked(length)
        {
            *input = rest;
            return Ok(Some(Packet {
                bytes: Cow::Borrowed(whole),
            }));
        }
        loop {
            let length = whole_length(&self.pending)?;
            let missing = length
                .unwrap_or(HEADER_LENGTH)
                .saturating_sub(self.pending.len());
            if length.is_some() && missing == 0 {
                let whole = std::mem::take(&mut self.pending);
                return Ok(Some(Packet {
                    bytes: Cow::Owned(whole),
                }));
            }
            let (taken, rest) = input.split_at(missing.min(input.len()));
            *input = rest;
            self.pending.extend_from_slice(taken);
            if taken.len() < missing {
                return Ok(None);
            }
        }
    }
}

/// The length of a packet with its header, as soon as the header is there.
fn whole_length(bytes: &[u8]) -> Result<Option<usize>, TooLong> {
    let Some(header) = Reader::new(bytes).u32() else {
        return Ok(None);
    };
    match payload_length(header) {
        ..=MESSAGE_LENGTH_MAX => Ok(Some(HEADER_LENGTH + payload_length(header))),
        _ => Err(TooLong),
    }
}

/// The payload's length, from a header read as one integer.
pub(super) fn payload_length(header: u32) -> usize {
    (header & 0xff_ffff) as usize
}

/// Appends one packet whose payload is written by `write`.
///
/// Callers keep payloads under the 16 MiB that one packet holds.
pub(super) fn append(out: &mut Vec<u8>, sequence: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, sequence]);
    write(out);
    let length = out.len() - start - HEADER_LENGTH;
    debug_assert!(
        length < 0xff_ffff,
        "a payload of {length} bytes needs continuation packets"
    );
    for (slot, byte) in out
        .iter_mut()
        .skip(start)
        .zip(length.to_le_bytes().into_iter().take(3))
    {
        *slot = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, sequence, |out| out.extend_from_slice(payload));
        out
    }

    #[test]
    fn packets_are_the_same_however_they_arrive() {
        let payloads: [&[u8]; 4] = [b"first", b"", b"the third", &[7; 70_000]];
        let stream: Vec<u8> = (0..)
            .zip(payloads)
            .flat_map(|(n, p)| packet(n, p))
            .collect();
        for piece_length in [1, 2, 3, 4, 5, 9, 1000, stream.len()] {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for mut piece in stream.chunks(piece_length) {
                while let Some(packet) = inbox.next(&mut piece).unwrap() {
                    seen.push((packet.sequence(), packet.payload().to_vec()));
                }
                assert!(piece.is_empty());
            }
            let expected: Vec<_> = (0..).zip(payloads.map(<[u8]>::to_vec)).collect();
            assert_eq!(seen, expected, "in pieces of {piece_length}");
        }
    }

    #[test]
    fn a_whole_packet_is_lent_and_a_gathered_one_leaves_nothing_behind() {
        let ok = packet(1, &[0, 0, 0, 2, 0, 0, 0]);
        let mut inbox = Inbox::default();
        let whole = inbox.next(&mut &ok[..]).unwrap().unwrap();
        assert!(matches!(whole.bytes, Cow::Borrowed(_)));

        assert!(inbox.next(&mut &ok[..5]).unwrap().is_none());
        assert!(!inbox.is_empty());
        inbox.next(&mut &ok[5..]).unwrap().unwrap();
        assert_eq!(inbox.pending.capacity(), 0);
    }

    #[test]
    fn a_packet_over_the_limit_is_refused_by_its_header() {
        let mut header = &[0x01, 0x00, 0x10, 0x00][..];
        assert_eq!(Inbox::default().next(&mut header).unwrap_err(), TooLong);
        let mut continuation = &[0xff, 0xff, 0xff, 0x00][..];
        assert_eq!(
            Inbox::default().next(&mut continuation).unwrap_err(),
            TooLong
        );
        let mut longest = &[0x00, 0x00, 0x10, 0x00][..];
        assert!(Inbox::default().next(&mut longest).unwrap().is_none());
    }

    #[test]
    fn a_long_length_reserves_no_memory_before_the_bytes_arrive() {
        let mut inbox = Inbox::default();
        assert!(
            inbox
                .next(&mut &[0x00, 0x00, 0x10, 0x00, 0x0a][..])
                .unwrap()
                .is_none()
        );
        assert!(inbox.pending.capacity() < 64);
    }
}
