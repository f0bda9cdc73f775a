//! Who speaks what: recognises the protocols where no port tells.
//!
//! First words are telling alone. In the middle of a conversation a command that fits its segment
//! is a guess, to be confirmed by an answer that fits too. Called by whoever reads a capture.

use super::{Protocol, mysql, postgres};

/// Who says the first words that are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The side that accepted the connection: a MySQL server greets.
    Server(Protocol),
    /// The side that connected: a PostgreSQL client says who it is.
    Client(Protocol),
}

/// Recognises a protocol by the first bytes that a side says after the connection was made.
#[must_use]
pub fn opening_of(bytes: &[u8], length: usize, from_acceptor: bool) -> Option<Opening> {
    match from_acceptor {
        true => is_mysql_greeting(bytes, length).then_some(Opening::Server(Protocol::MySql)),
        false => {
            postgres::fits_opening(bytes, length).then_some(Opening::Client(Protocol::Postgres))
        }
    }
}

/// Says whose command a segment looks like, if any's.
#[must_use]
pub fn looks_like_command(bytes: &[u8], length: usize) -> Option<Protocol> {
    if mysql::fits_command(bytes, length) {
        return Some(Protocol::MySql);
    }
    postgres::fits_command(bytes, length).then_some(Protocol::Postgres)
}

/// Whether a segment looks like the beginning of an answer in this protocol.
#[must_use]
pub fn looks_like_answer(protocol: Protocol, bytes: &[u8], length: usize) -> bool {
    match protocol {
        Protocol::MySql => mysql::fits_answer(bytes, length, false),
        Protocol::Postgres => postgres::fits_answer(bytes, length),
    }
}

/// A greeting of protocol 10, or an error in its place: packet number 0, all in one segment.
fn is_mysql_greeting(bytes: &[u8], length: usize) -> bool {
    let Some(&[a, b, 0, 0, first]) = bytes.first_chunk() else {
        return false;
    };
    let packet = usize::from(u16::from_le_bytes([a, b]));
    let is_known = matches!(first, 0x0a | 0xff);
    is_known && (packet + 4 == length || packet < length)
}

/// Whether a segment begins with a record of TLS, complete or filling the segment. A MySQL packet
/// whose length reads like a record's head has a length here that no such record can have.
pub(super) fn is_tls_record(bytes: &[u8], length: usize) -> bool {
    const MAX: u16 = (1 << 14) + 2048;
    let Some(&[kind, 3, 1..=4, high, low]) = bytes.first_chunk() else {
        return false;
    };
    let record = u16::from_be_bytes([high, low]);
    // Change of cipher; alert, plain or not; handshake; data, with the proof behind it.
    let is_record = matches!(
        (kind, record),
        (0x14, 1) | (0x15, 2 | 18..=MAX) | (0x16, 4..=MAX) | (0x17, 17..=MAX)
    );
    is_record && (usize::from(record) + 5 <= length || length > 500)
}
