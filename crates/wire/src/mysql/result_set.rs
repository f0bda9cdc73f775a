//! Text result sets: the client's reading of one, and the server's writing of the smallest.
//!
//! A result set is a column count, a definition of each column, an EOF, the rows, and an EOF. Of
//! all that a probe wants one value, so nothing else is stored, however many rows come.

use super::UTF8MB4;
use super::bytes::{self, Reader};
use super::packet::{self, Packet};
use super::reply::{self, Reply};
use crate::Event;

/// In place of a column count: the server asks for a file of ours, which nobody offered.
const LOCAL_INFILE: u8 = 0xfb;
const TYPE_VAR_STRING: u8 = 0xfd;
/// The length of the fixed fields at the end of a column definition.
const FIXED_FIELDS_LENGTH: u8 = 12;
const COLUMN_LENGTH: u32 = 1024;

/// The reading of the answer to one query.
#[derive(Debug)]
pub(super) struct ResultSet {
    /// The number that the next packet has to bear.
    sequence: u8,
    expects: Expects,
    /// The first column of the first row.
    value: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum Expects {
    ColumnCount,
    Columns { left: u64 },
    ColumnsEnd,
    FirstRow,
    Rows,
}

impl ResultSet {
    pub(super) fn new() -> Self {
        Self {
            sequence: 1,
            expects: Expects::ColumnCount,
            value: None,
        }
    }

    /// Takes one packet; returns the event that ends the query, if this is the last.
    pub(super) fn handle_packet(&mut self, packet: &Packet<'_>) -> Option<Event> {
        let payload = packet.payload();
        let in_sequence = packet.sequence() == self.sequence;
        self.sequence = self.sequence.wrapping_add(1);

        if let Some(Reply::Error(refusal)) = Reply::parse(payload) {
            // Out of sequence it is no answer to the query: the server is ending the session.
            return Some(match in_sequence {
                true => Event::Refused(refusal),
                false => reply::last_words(refusal),
            });
        }
        if !in_sequence {
            return Some(Event::Malformed("the packets of a result set in sequence"));
        }
        match self.expects {
            Expects::ColumnCount => self.handle_column_count(payload),
            Expects::Columns { left } => {
                self.expects = match left {
                    ..=1 => Expects::ColumnsEnd,
                    _ => Expects::Columns { left: left - 1 },
                };
                None
            }
            Expects::ColumnsEnd if reply::is_eof(payload) => {
                self.expects = Expects::FirstRow;
                None
            }
            Expects::ColumnsEnd => Some(Event::Malformed("an EOF after the columns")),
            Expects::FirstRow | Expects::Rows if reply::is_eof(payload) => {
                Some(Event::Value(self.value.take()))
            }
            Expects::FirstRow => {
                self.expects = Expects::Rows;
                match Reader::new(payload).column() {
                    Some(column) => self.value = column.map(<[u8]>::to_vec),
                    None => return Some(Event::Malformed("a row of text values")),
                }
                None
            }
            Expects::Rows => None,
        }
    }

    fn handle_column_count(&mut self, payload: &[u8]) -> Option<Event> {
        if Reply::parse(payload) == Some(Reply::Ok) {
            return Some(Event::Value(None));
        }
        if payload.first() == Some(&LOCAL_INFILE) {
            return Some(Event::Malformed("a result, not a request for a local file"));
        }
        match Reader::new(payload).lenenc_integer() {
            Some(left @ 1..) => {
                self.expects = Expects::Columns { left };
                None
            }
            _ => Some(Event::Malformed("a column count")),
        }
    }
}

/// Appends a result set of one row and one column, its first packet numbered `sequence`.
pub(super) fn append(column: &str, value: Option<&str>, sequence: u8, out: &mut Vec<u8>) {
    let mut sequence = sequence;
    let mut next = || {
        let this = sequence;
        sequence = sequence.wrapping_add(1);
        this
    };
    packet::append(out, next(), |out| bytes::put_lenenc_integer(out, 1));
    packet::append(out, next(), |out| put_column_definition(column, out));
    reply::append_eof(next(), out);
    packet::append(out, next(), |out| match value {
        Some(value) => bytes::put_lenenc_string(out, value.as_bytes()),
        None => bytes::put_null(out),
    });
    reply::append_eof(next(), out);
}

fn put_column_definition(column: &str, out: &mut Vec<u8>) {
    let (catalog, schema, table, table_origin, column_origin) = ("def", "", "", "", "");
    for text in [catalog, schema, table, table_origin, column, column_origin] {
        bytes::put_lenenc_string(out, text.as_bytes());
    }
    let (flags, decimals, filler) = ([0, 0], 0, [0, 0]);
    out.extend_from_slice(&[FIXED_FIELDS_LENGTH, UTF8MB4, 0]);
    out.extend_from_slice(&COLUMN_LENGTH.to_le_bytes());
    out.push(TYPE_VAR_STRING);
    out.extend_from_slice(&flags);
    out.push(decimals);
    out.extend_from_slice(&filler);
}

#[cfg(test)]
mod tests {
    use super::super::packet::Inbox;
    use super::*;

    /// Feeds payloads as packets 1, 2, … and returns the event that ends the query.
    fn read(payloads: &[&[u8]]) -> Option<Event> {
        let mut stream = Vec::new();
        for (sequence, payload) in (1..).zip(payloads) {
            packet::append(&mut stream, sequence, |out| out.extend_from_slice(payload));
        }
        read_stream(&stream)
    }

    fn read_stream(mut stream: &[u8]) -> Option<Event> {
        let (mut inbox, mut result_set) = (Inbox::default(), ResultSet::new());
        while let Some(packet) = inbox.next(&mut stream).unwrap() {
            if let Some(event) = result_set.handle_packet(&packet) {
                return Some(event);
            }
        }
        None
    }

    const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];
    const OK: &[u8] = &[0, 1, 0, 2, 0, 0, 0];

    #[test]
    fn the_first_value_is_kept_and_the_rest_is_skipped() {
        #[track_caller]
        fn check(payloads: &[&[u8]], expected: Event) {
            assert_eq!(read(payloads), Some(expected));
        }
        let value = |text: &[u8]| Event::Value(Some(text.to_vec()));
        check(&[OK], Event::Value(None));
        check(&[b"\x01", b"column", EOF, EOF], Event::Value(None));
        check(&[b"\x01", b"column", EOF, b"\x011", EOF], value(b"1"));
        check(&[b"\x01", b"column", EOF, b"\x00", EOF], value(b""));
        check(&[b"\x01", b"column", EOF, b"\xfb", EOF], Event::Value(None));
        check(
            &[b"\x02", b"a", b"b", EOF, b"\x01a\x01b", b"\x01c\x01d", EOF],
            value(b"a"),
        );
    }

    #[test]
    fn what_is_no_result_set_is_said_to_be_malformed() {
        #[track_caller]
        fn check(payloads: &[&[u8]], expected: &'static str) {
            assert_eq!(read(payloads), Some(Event::Malformed(expected)));
        }
        check(
            &[b"\xfb/etc/passwd"],
            "a result, not a request for a local file",
        );
        check(&[b""], "a column count");
        check(&[b"\x00"], "a column count");
        check(&[b"\x01", b"column", b"\x011"], "an EOF after the columns");
        check(
            &[b"\x01", b"column", EOF, b"\x09short"],
            "a row of text values",
        );
    }

    #[test]
    fn an_error_may_come_among_the_rows() {
        let error = b"\xff\x25\x05#70100Query execution was interrupted";
        let event = read(&[b"\x01", b"column", EOF, b"\x011", error]);
        let Some(Event::Refused(refusal)) = event else {
            panic!("{event:?}")
        };
        assert_eq!((refusal.number, refusal.fatal), (1317, false));
    }

    #[test]
    fn an_error_out_of_sequence_ends_the_session() {
        let mut stream = Vec::new();
        reply::append_error(0, 1317, Some("70100"), "unasked", &mut stream);
        let event = read_stream(&stream);
        assert!(matches!(event, Some(Event::Refused(refusal)) if refusal.fatal));
    }

    #[test]
    fn what_the_server_writes_the_client_reads() {
        for value in [Some("10.11.19-MariaDB"), Some(""), None] {
            let mut stream = Vec::new();
            append("@@version", value, 1, &mut stream);
            let expected = value.map(|text| text.as_bytes().to_vec());
            assert_eq!(read_stream(&stream), Some(Event::Value(expected)));
        }
    }

    #[test]
    fn three_hundred_rows_outlive_the_sequence_number() {
        let mut payloads: Vec<&[u8]> = vec![b"\x01", b"column", EOF];
        payloads.resize(303, b"\x01x");
        payloads.push(EOF);
        let mut stream = Vec::new();
        for (position, payload) in payloads.iter().enumerate() {
            packet::append(&mut stream, (position + 1) as u8, |out| {
                out.extend_from_slice(payload)
            });
        }
        assert_eq!(
            read_stream(&stream),
            Some(Event::Value(Some(b"x".to_vec())))
        );
    }
}
