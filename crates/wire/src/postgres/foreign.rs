//! Who answers, if it is not PostgreSQL: judged by the first bytes of the first answer.
//!
//! PostgreSQL's answers begin with one of a few letters, and so may the greeting of a MySQL server,
//! whose first byte is the low byte of a length. The signatures are therefore long enough that no
//! first answer of PostgreSQL fits one. Caller: the client's login.

use std::ops::RangeInclusive;

use crate::Foreign;

/// What the first bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstWords {
    /// PostgreSQL may speak so; the value is the first byte.
    Expected(u8),
    /// Too few to tell.
    Undecided,
    /// Not PostgreSQL.
    Foreign(Foreign),
}

/// How many bytes [`judge`] needs at most.
pub(super) const LENGTH_MAX: usize = 7;

type Signature = &'static [RangeInclusive<u8>];

const ANY: RangeInclusive<u8> = 0..=0xff;

const SIGNATURES: [(Foreign, Signature); 5] = [
    (
        Foreign::Http,
        &[b'H'..=b'H', b'T'..=b'T', b'T'..=b'T', b'P'..=b'P'],
    ),
    (
        Foreign::Ssh,
        &[b'S'..=b'S', b'S'..=b'S', b'H'..=b'H', b'-'..=b'-'],
    ),
    // A record: an alert or a handshake, then the protocol's major version.
    (Foreign::Tls, &[0x15..=0x16, 3..=3]),
    // A packet of less than 1 KiB, number 0: protocol 10 and a version that begins with a digit …
    (
        Foreign::MySql,
        &[ANY, 0..=3, 0..=0, 0..=0, 10..=10, b'0'..=b'9'],
    ),
    // … or an error whose number is between 1024 and 1279, such as "Too many connections" (1040).
    (
        Foreign::MySql,
        &[ANY, 0..=3, 0..=0, 0..=0, 0xff..=0xff, ANY, 4..=4],
    ),
];

/// Judges the first bytes of an answer that, from PostgreSQL, begins with one of `expected`.
pub(super) fn judge(first: &[u8], expected: &[u8]) -> FirstWords {
    let mut may_be_foreign = false;
    for (foreign, signature) in &SIGNATURES {
        if signature
            .iter()
            .zip(first)
            .all(|(range, byte)| range.contains(byte))
        {
            if first.len() >= signature.len() {
                return FirstWords::Foreign(*foreign);
            }
            may_be_foreign = true;
        }
    }
    match first.first() {
        Some(&tag) if expected.contains(&tag) => FirstWords::Expected(tag),
        _ if may_be_foreign => FirstWords::Undecided,
        _ => FirstWords::Foreign(Foreign::Unrecognised),
    }
}

#[cfg(test)]
mod tests;
