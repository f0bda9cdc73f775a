//! The server's replies to a login and to commands: OK, ERR, EOF, authentication requests.
//!
//! A reply's kind is its first byte, and what a byte means depends on the moment: 0xfe is an EOF
//! among rows and an authentication switch during the login.

use super::bytes::{self, Reader};
use super::packet;
use crate::{Event, Refusal, text};

const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const EOF: u8 = 0xfe;
const SWITCH: u8 = 0xfe;
const ERR: u8 = 0xff;

/// An EOF packet is shorter than a row that begins with the same byte.
const EOF_LENGTH_MAX: usize = 8;
const MESSAGE_LIMIT: usize = 512;
const SQLSTATE_LENGTH: usize = 5;
const STATUS_AUTOCOMMIT: u16 = 2;
/// The statements of this query have more to answer.
const STATUS_MORE_RESULTS: u16 = 8;

/// caching_sha2_password's words within "more data" packets.
pub(super) mod caching_sha2 {
    /// Server: the scrambled password was found in the cache; an OK follows.
    pub(in super::super) const FAST: u8 = 3;
    /// Server: the password itself is needed.
    pub(in super::super) const FULL: u8 = 4;
    /// Client, in a packet by itself: the server's public key is needed.
    pub(in super::super) const PUBLIC_KEY_REQUEST: u8 = 2;
}

/// sha256_password's word.
pub(super) mod sha256 {
    /// Client, in a packet by itself: the server's public key is needed.
    pub(in super::super) const PUBLIC_KEY_REQUEST: u8 = 1;
}

/// The replies that end an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// All is well; `more` says that another result follows.
    Ok {
        more: bool,
    },
    Error(Refusal),
}

impl Reply {
    /// `None` where the packet is neither, or is broken.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            OK => {
                let _affected_rows = reader.lenenc_integer()?;
                let _last_insert_id = reader.lenenc_integer()?;
                let status = reader.u16()?;
                let more = status & STATUS_MORE_RESULTS != 0;
                Some(Self::Ok { more })
            }
            ERR => error(reader).map(Self::Error),
            _ => None,
        }
    }
}

/// Reads what follows an ERR's first byte. Before the login there is no SQLSTATE.
fn error(mut reader: Reader<'_>) -> Option<Refusal> {
    let number = reader.u16()?;
    let sqlstate = match reader.rest().split_first() {
        Some((b'#', _)) => reader.bytes(1 + SQLSTATE_LENGTH)?.get(1..)?,
        _ => b"",
    };
    Some(Refusal {
        number,
        sqlstate: text::clean(sqlstate, SQLSTATE_LENGTH),
        message: text::clean(reader.rest(), MESSAGE_LIMIT),
        routine: String::new(),
        fatal: ends_session(number),
    })
}

/// A refusal that is the last thing the server says, whatever its number.
pub(super) fn last_words(refusal: Refusal) -> Event {
    Event::Refused(Refusal {
        fatal: true,
        ..refusal
    })
}

/// The errors after which a server closes a session that was logged in: shutdown, a KILL, a
/// timeout of the server's.
fn ends_session(number: u16) -> bool {
    matches!(number, 1053 | 1080 | 1152 | 1184 | 1927 | 3169 | 4031)
}

/// What a server may say during a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LoginReply<'a> {
    End(Reply),
    /// The next message of the plugin.
    MoreData(&'a [u8]),
    /// Another plugin, with a nonce for it.
    Switch {
        plugin: &'a [u8],
        nonce: &'a [u8],
    },
}

impl<'a> LoginReply<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            MORE_DATA => Some(Self::MoreData(reader.rest())),
            // Alone, the byte asks for the hash of MySQL 3.23.
            SWITCH if reader.is_empty() => Some(Self::Switch {
                plugin: b"mysql_old_password",
                nonce: b"",
            }),
            SWITCH => {
                let plugin = reader.nul_string_or_rest();
                Some(Self::Switch {
                    plugin,
                    nonce: reader.rest(),
                })
            }
            _ => Reply::parse(payload).map(Self::End),
        }
    }
}

pub(super) fn is_eof(payload: &[u8]) -> bool {
    payload.first() == Some(&EOF) && payload.len() <= EOF_LENGTH_MAX
}

/// Whether an EOF says that another result follows.
pub(super) fn eof_has_more(payload: &[u8]) -> bool {
    let mut reader = Reader::new(payload);
    let _kind_and_warnings = reader.bytes(3);
    reader
        .u16()
        .is_some_and(|status| status & STATUS_MORE_RESULTS != 0)
}

pub(super) fn append_ok(sequence: u8, out: &mut Vec<u8>) {
    packet::append(out, sequence, |out| {
        out.extend_from_slice(&[OK, 0, 0]);
        out.extend_from_slice(&STATUS_AUTOCOMMIT.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
    });
}

/// Appends an EOF; `more` says that another result follows.
pub(super) fn append_eof(sequence: u8, more: bool, out: &mut Vec<u8>) {
    let status = match more {
        true => STATUS_AUTOCOMMIT | STATUS_MORE_RESULTS,
        false => STATUS_AUTOCOMMIT,
    };
    packet::append(out, sequence, |out| {
        out.extend_from_slice(&[EOF, 0, 0]);
        out.extend_from_slice(&status.to_le_bytes());
    });
}

/// Appends an ERR; without SQLSTATE where the protocol is not agreed on yet.
pub(super) fn append_error(
    sequence: u8,
    number: u16,
    sqlstate: Option<&str>,
    message: &str,
    out: &mut Vec<u8>,
) {
    packet::append(out, sequence, |out| {
        out.push(ERR);
        out.extend_from_slice(&number.to_le_bytes());
        if let Some(sqlstate) = sqlstate {
            out.push(b'#');
            out.extend_from_slice(sqlstate.as_bytes());
        }
        out.extend(message.bytes().take(MESSAGE_LIMIT));
    });
}

pub(super) fn append_more_data(sequence: u8, data: &[u8], out: &mut Vec<u8>) {
    packet::append(out, sequence, |out| {
        out.push(MORE_DATA);
        out.extend_from_slice(data);
    });
}

/// Appends an authentication switch; `nonce` with the NUL that some plugins expect.
pub(super) fn append_switch(sequence: u8, plugin: &str, nonce: &[u8], out: &mut Vec<u8>) {
    packet::append(out, sequence, |out| {
        out.push(SWITCH);
        bytes::put_nul_string(out, plugin.as_bytes());
        out.extend_from_slice(nonce);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(number: u16, sqlstate: &str, message: &str, fatal: bool) -> Option<Reply> {
        let (sqlstate, message) = (sqlstate.to_owned(), message.to_owned());
        Some(Reply::Error(Refusal {
            number,
            sqlstate,
            message,
            routine: String::new(),
            fatal,
        }))
    }

    #[test]
    fn replies_are_read_with_and_without_sqlstate() {
        #[track_caller]
        fn check(payload: &[u8], expected: Option<Reply>) {
            assert_eq!(Reply::parse(payload), expected);
        }
        check(&[0, 0, 0, 2, 0, 0, 0], Some(Reply::Ok { more: false }));
        check(&[0, 0, 0, 10, 0, 0, 0], Some(Reply::Ok { more: true }));
        check(&[0, 0, 0, 2], None);
        check(
            b"\xff\x10\x04Too many connections",
            refusal(1040, "", "Too many connections", false),
        );
        check(
            b"\xff\x15\x04#28000Access denied",
            refusal(1045, "28000", "Access denied", false),
        );
        check(
            b"\xff\x87\x07#70100killed",
            refusal(1927, "70100", "killed", true),
        );
        check(b"\xff\x15\x04#280", None);
        check(b"\xff\x15", None);
        check(b"\x0a", None);
        check(b"", None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        append_error(0, 1040, None, "full", &mut out);
        assert_eq!(Reply::parse(&out[4..]), refusal(1040, "", "full", false));
        out.clear();
        append_switch(2, "client_ed25519", &[3; 32], &mut out);
        let expected = LoginReply::Switch {
            plugin: b"client_ed25519",
            nonce: &[3; 32],
        };
        assert_eq!(LoginReply::parse(&out[4..]), Some(expected));
        out.clear();
        append_more_data(2, &[caching_sha2::FULL], &mut out);
        assert_eq!(
            LoginReply::parse(&out[4..]),
            Some(LoginReply::MoreData(&[4]))
        );
        for more in [false, true] {
            out.clear();
            append_eof(3, more, &mut out);
            assert!(is_eof(&out[4..]));
            assert_eq!(eof_has_more(&out[4..]), more);
        }
    }

    #[test]
    fn the_switch_to_the_oldest_plugin_has_no_name() {
        let expected = LoginReply::Switch {
            plugin: b"mysql_old_password",
            nonce: b"",
        };
        assert_eq!(LoginReply::parse(&[0xfe]), Some(expected));
    }
}
