//! Tells a MySQL server from what else may answer on its port, by the first few bytes.
//!
//! Foreign bytes read as a packet header announce absurd lengths, and waiting for those would turn
//! "this is an HTTP server" into a timeout. [`judge`] is asked before the first packet is whole.
//! What it says of some bytes it also says of any more of them, so the answer does not depend on
//! how they arrive.

use super::packet::payload_length;
use crate::{Foreign, MESSAGE_LENGTH_MAX};

/// How many bytes [`judge`] needs at most.
pub(super) const BYTES_MAX: usize = 7;

/// What the first bytes of a peer say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstWords {
    /// Nothing against it yet.
    Plausible,
    /// A greeting of the protocol before 4.1, which nobody has spoken since MySQL 3.22.
    Protocol9,
    /// No MySQL server.
    Foreign(Foreign),
}

/// Judges the first bytes of a peer, of which [`BYTES_MAX`] are enough.
///
/// A MySQL server begins with packet number 0, which holds a greeting (first byte 10) or an error
/// (first byte 255).
pub(super) fn judge(bytes: &[u8]) -> FirstWords {
    let Some((header, payload)) = bytes.split_first_chunk::<4>() else {
        return FirstWords::Plausible;
    };
    let length = payload_length(u32::from_le_bytes(*header));
    match (header, payload) {
        // A TLS record would be a packet of some 200 kB that no greeting is.
        ([0x14..=0x17, 0x03, 0x00..=0x04, _], _) => FirstWords::Foreign(Foreign::Tls),
        ([_, _, _, 1..=255], _) => FirstWords::Foreign(numbered_wrong(header)),
        _ if length == 0 || length > MESSAGE_LENGTH_MAX => {
            FirstWords::Foreign(Foreign::Unrecognised)
        }
        // PostgreSQL's ErrorResponse of just 255 bytes: a severity such as "SFATAL" follows, which
        // as an error number of MySQL would be above 16,000.
        ([b'E', 0, 0, 0], [0xff, b'S', b'A'..=b'Z', ..]) => {
            FirstWords::Foreign(Foreign::PostgreSql)
        }
        (_, [] | [10 | 0xff, ..]) => FirstWords::Plausible,
        (_, [9, ..]) => FirstWords::Protocol9,
        ([b'E' | b'R', 0, 0, 0], _) => FirstWords::Foreign(Foreign::PostgreSql),
        _ => FirstWords::Foreign(Foreign::Unrecognised),
    }
}

/// Who it is whose fourth byte is no packet number 0: texts, mostly.
fn numbered_wrong(header: &[u8; 4]) -> Foreign {
    match header {
        b"HTTP" => Foreign::Http,
        b"SSH-" => Foreign::Ssh,
        // An ErrorResponse over 255 bytes; the old form of it, which a server that cannot fork
        // still uses ("Ecould not fork new process…", "EFATAL…").
        [b'E', 0, 0, _] | b"Ecou" | b"EFAT" => Foreign::PostgreSql,
        _ => Foreign::Unrecognised,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_by_their_first_bytes() {
        #[track_caller]
        fn check(bytes: &[u8], expected: FirstWords) {
            let first = bytes.get(..BYTES_MAX).unwrap_or(bytes);
            assert_eq!(judge(first), expected);
        }
        let foreign = FirstWords::Foreign;
        check(b"", FirstWords::Plausible);
        check(b"HTT", FirstWords::Plausible);
        check(b"HTTP/1.1 400 Bad Request\r\n", foreign(Foreign::Http));
        check(b"SSH-2.0-OpenSSH_9.2\r\n", foreign(Foreign::Ssh));
        check(
            b"220 mail.example ESMTP\r\n",
            foreign(Foreign::Unrecognised),
        );
        check(b"-ERR unknown command\r\n", foreign(Foreign::Unrecognised));
        check(&[0x15, 3, 3, 0, 2, 2, 40], foreign(Foreign::Tls));
        check(&[0x16, 3, 1, 2, 0, 1, 0], foreign(Foreign::Tls));
        check(b"E\0\0\0\x5cSFATAL\0VFATAL\0", foreign(Foreign::PostgreSql));
        check(b"E\0\0\0\xffSFATAL\0VFATAL\0", foreign(Foreign::PostgreSql));
        check(
            b"E\0\0\x01\x10SFATAL\0VFATAL\0",
            foreign(Foreign::PostgreSql),
        );
        check(b"Ecould not fork new process", foreign(Foreign::PostgreSql));
        check(b"R\0\0\0\x08\0\0\0\0", foreign(Foreign::PostgreSql));
        check(&[0; 7], foreign(Foreign::Unrecognised));
        check(&[1, 0, 0x10, 0, 10, 0, 0], foreign(Foreign::Unrecognised));
        check(&[0x4a, 0, 0, 0, 10, b'8', b'.'], FirstWords::Plausible);
        check(&[0x45, 0, 0, 0, 0xff, 0x10, 0x04], FirstWords::Plausible);
        check(&[0x45, 0, 0, 0, 9, b'3', b'.'], FirstWords::Protocol9);
    }

    #[test]
    fn a_judgement_stands_whatever_follows() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..200_000 {
            // Bytes that occur in the rules, so that random ones meet them.
            let bytes: [u8; BYTES_MAX] = std::array::from_fn(|_| {
                random
                    .choice(*b"E\0\0\0\xffSARH\x0a\x09\x16\x03\x01")
                    .unwrap_or_default()
            });
            let judgements: Vec<_> = (0..=BYTES_MAX).map(|n| judge(&bytes[..n])).collect();
            let first = judgements.iter().find(|j| **j != FirstWords::Plausible);
            if let Some(first) = first {
                assert_eq!(judgements.last(), Some(first), "{bytes:02x?}");
            }
        }
    }
}
