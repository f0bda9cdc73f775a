//! Text result sets: the client's reading of an answer, and the server's writing of one.
//!
//! A result set is a column count, a definition of each column, an EOF, the rows, and an EOF; a
//! statement without rows answers OK instead. Each says whether another one follows. What is kept
//! of all this is bounded by [`Answer`], however many rows come.

use super::UTF8MB4;
use super::bytes::{self, Reader};
use super::packet::{self, Packet};
use super::reply::{self, Reply};
use crate::{Answer, Event, Table};

/// In place of a column count: the server asks for a file of ours, which nobody offered.
const LOCAL_INFILE: u8 = 0xfb;
const TYPE_VAR_STRING: u8 = 0xfd;
/// The length of the fixed fields at the end of a column definition.
const FIXED_FIELDS_LENGTH: u8 = 12;
const COLUMN_LENGTH: u32 = 1024;
/// How many texts of a column definition come before the column's name: catalog, schema, table,
/// original table.
const TEXTS_BEFORE_NAME: usize = 4;

/// The reading of the answer to one query.
#[derive(Debug)]
pub(super) struct ResultSet {
    /// The number that the next packet has to bear.
    sequence: u8,
    expects: Expects,
    answer: Box<Answer>,
}

#[derive(Debug, Clone, Copy)]
enum Expects {
    ColumnCount,
    Columns { left: u64 },
    ColumnsEnd,
    Rows,
}

impl ResultSet {
    pub(super) fn new() -> Self {
        Self {
            sequence: 1,
            expects: Expects::ColumnCount,
            answer: Box::default(),
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
            Expects::Columns { left } => self.handle_column(payload, left),
            Expects::ColumnsEnd if reply::is_eof(payload) => {
                self.expects = Expects::Rows;
                None
            }
            Expects::ColumnsEnd => Some(Event::Malformed("an EOF after the columns")),
            Expects::Rows if reply::is_eof(payload) => {
                self.finish_result(reply::eof_has_more(payload))
            }
            Expects::Rows => self.handle_row(payload),
        }
    }

    fn handle_column_count(&mut self, payload: &[u8]) -> Option<Event> {
        if let Some(Reply::Ok { more }) = Reply::parse(payload) {
            return self.finish_result(more);
        }
        if payload.first() == Some(&LOCAL_INFILE) {
            return Some(Event::Malformed("a result, not a request for a local file"));
        }
        match Reader::new(payload).lenenc_integer() {
            Some(left @ 1..) => {
                self.expects = Expects::Columns { left };
                self.answer.begin_table();
                None
            }
            _ => Some(Event::Malformed("a column count")),
        }
    }

    fn handle_column(&mut self, payload: &[u8], left: u64) -> Option<Event> {
        self.expects = match left {
            ..=1 => Expects::ColumnsEnd,
            _ => Expects::Columns { left: left - 1 },
        };
        let Some(name) = column_name(payload) else {
            return Some(Event::Malformed("a column definition"));
        };
        self.answer.push_column(name);
        None
    }

    /// Rows beyond what is kept are not even looked into.
    fn handle_row(&mut self, payload: &[u8]) -> Option<Event> {
        if self.answer.is_full() {
            return None;
        }
        // Read twice rather than gathered: a row of a megabyte may be a million times NULL.
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            if reader.column().is_none() {
                return Some(Event::Malformed("a row of text values"));
            }
        }
        let mut reader = Reader::new(payload);
        self.answer.push_row(std::iter::from_fn(|| reader.column()));
        None
    }

    fn finish_result(&mut self, more: bool) -> Option<Event> {
        self.expects = Expects::ColumnCount;
        (!more).then(|| Event::Answer(std::mem::take(&mut self.answer)))
    }
}

fn column_name(definition: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(definition);
    for _ in 0..TEXTS_BEFORE_NAME {
        reader.lenenc_string()?;
    }
    reader.lenenc_string()
}

/// Appends an answer, its first packet numbered `sequence`; an OK where it has no table.
pub(super) fn append(answer: &Answer, sequence: u8, out: &mut Vec<u8>) {
    let Some((last, before)) = answer.tables().split_last() else {
        reply::append_ok(sequence, out);
        return;
    };
    let mut sequence = sequence;
    for table in before {
        append_table(table, true, &mut sequence, out);
    }
    append_table(last, false, &mut sequence, out);
}

fn append_table(table: &Table, more: bool, sequence: &mut u8, out: &mut Vec<u8>) {
    let mut next = || {
        let this = *sequence;
        *sequence = sequence.wrapping_add(1);
        this
    };
    packet::append(out, next(), |out| {
        bytes::put_lenenc_integer(out, table.columns().len());
    });
    for column in table.columns() {
        packet::append(out, next(), |out| put_column_definition(column, out));
    }
    reply::append_eof(next(), false, out);
    for row in table.rows() {
        packet::append(out, next(), |out| {
            for value in row.values() {
                match value {
                    Some(value) => bytes::put_lenenc_string(out, value),
                    None => bytes::put_null(out),
                }
            }
        });
    }
    reply::append_eof(next(), more, out);
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
        for (position, payload) in (1_usize..).zip(payloads) {
            packet::append(&mut stream, position as u8, |out| {
                out.extend_from_slice(payload)
            });
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
    const EOF_MORE: &[u8] = &[0xfe, 0, 0, 10, 0];
    const OK: &[u8] = &[0, 1, 0, 2, 0, 0, 0];
    const OK_MORE: &[u8] = &[0, 1, 0, 10, 0, 0, 0];
    const COLUMN: &[u8] = b"\x03def\0\0\0\x01a";
    const OTHER: &[u8] = b"\x03def\0\0\0\x01b";

    fn answer(tables: impl Into<Vec<Table>>) -> Answer {
        Answer::of(tables.into())
    }

    fn read_answer(payloads: &[&[u8]]) -> Answer {
        match read(payloads) {
            Some(Event::Answer(answer)) => *answer,
            event => panic!("{event:?}"),
        }
    }

    #[test]
    fn rows_are_kept_with_their_columns() {
        let a = || Table::new(["a"]);
        assert_eq!(read_answer(&[OK]), answer([]));
        assert_eq!(read_answer(&[b"\x01", COLUMN, EOF, EOF]), answer([a()]));
        let one = [b"\x01", COLUMN, EOF, b"\x011", EOF];
        assert_eq!(read_answer(&one), answer([a().with_row([Some("1")])]));
        let empty = [b"\x01", COLUMN, EOF, b"\x00", EOF];
        assert_eq!(read_answer(&empty), answer([a().with_row([Some("")])]));
        let null = [b"\x01", COLUMN, EOF, b"\xfb", EOF];
        assert_eq!(read_answer(&null), answer([a().with_row([None])]));
        let two = Table::new(["a", "b"])
            .with_row([Some("a"), Some("b")])
            .with_row([Some("c"), None]);
        let payloads = [
            b"\x02",
            COLUMN,
            OTHER,
            EOF,
            b"\x01a\x01b",
            b"\x01c\xfb",
            EOF,
        ];
        assert_eq!(read_answer(&payloads), answer([two]));
    }

    #[test]
    fn statements_answer_one_after_the_other() {
        let payloads = [
            OK_MORE, b"\x01", COLUMN, EOF, b"\x011", EOF_MORE, OK_MORE, b"\x01", OTHER, EOF, EOF,
        ];
        let expected = answer([Table::new(["a"]).with_row([Some("1")]), Table::new(["b"])]);
        assert_eq!(read_answer(&payloads), expected);
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
        check(&[b"\x01", b"\x03def\0"], "a column definition");
        check(&[b"\x01", COLUMN, b"\x011"], "an EOF after the columns");
        check(
            &[b"\x01", COLUMN, EOF, b"\x09short"],
            "a row of text values",
        );
    }

    #[test]
    fn an_error_may_come_among_the_rows() {
        let error = b"\xff\x25\x05#70100Query execution was interrupted";
        let event = read(&[b"\x01", COLUMN, EOF, b"\x011", error]);
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
        let version = Table::new(["@@version"]).with_row([Some("10.11.19-MariaDB")]);
        let nothing = Table::new(["a", "b"]).with_row([None, Some("")]);
        for tables in [vec![], vec![version.clone()], vec![nothing, version]] {
            let written = answer(tables);
            let mut stream = Vec::new();
            append(&written, 1, &mut stream);
            match read_stream(&stream) {
                Some(Event::Answer(read)) => assert_eq!(*read, written),
                event => panic!("{event:?}"),
            }
        }
    }

    #[test]
    fn three_hundred_rows_outlive_the_sequence_number() {
        let mut payloads: Vec<&[u8]> = vec![b"\x01", COLUMN, EOF];
        payloads.resize(303, b"\x01x");
        payloads.push(EOF);
        assert_eq!(read_answer(&payloads).tables()[0].rows().len(), 300);
    }
}
