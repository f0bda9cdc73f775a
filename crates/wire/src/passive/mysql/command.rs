//! The commands of a client, by their first byte, and which prepared statements are pings.

use super::{ANSWER_HEAD, HEADER, Head, first, header};
use crate::passive::ping_text::{TEXT_LENGTH_MAX, form_of};
use crate::passive::waiting::Pending;
use crate::passive::{Command, PingForm, STATEMENTS_MAX};

/// So much of a command is looked at.
pub(super) const HEAD_MAX: usize = HEADER + 1 + ATTRIBUTES.len() + TEXT_LENGTH_MAX;

const QUIT: u8 = 0x01;
const QUERY: u8 = 0x03;
const STATISTICS: u8 = 0x09;
const PING: u8 = 0x0e;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;
const RESET_STATEMENT: u8 = 0x1a;
const RESET_CONNECTION: u8 = 0x1f;
/// The highest of MySQL's (COM_CLONE).
const LAST: u8 = 0x20;
/// MariaDB's COM_STMT_BULK_EXECUTE.
const BULK_EXECUTE: u8 = 0xfa;
/// The replica's acknowledgement in semi-synchronous replication, which nobody answers.
const REPLICA_SAW: u8 = 0xef;

/// What newer clients put before a statement: no attributes, in one set.
const ATTRIBUTES: [u8; 2] = [0, 1];
/// In MariaDB's protocol, the statement prepared last.
const LAST_PREPARED: u32 = u32::MAX;
/// The shortest COM_STMT_EXECUTE: command, statement, flags, iterations.
const EXECUTE_LENGTH_MIN: usize = 10;
/// A command that fills several segments fills the first.
const FULL_SEGMENT_MIN: usize = 500;

/// What a command asks for, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(in crate::passive) enum Asked {
    Quit,
    /// Nobody answers.
    Unanswered,
    /// The end of a prepared statement, which nobody answers either.
    Close(u32),
    Answered {
        command: Command,
        mark: u64,
    },
    /// A statement that, once prepared, is this ping or none.
    Prepare {
        command: Command,
        form: Option<PingForm>,
        mark: u64,
    },
}

impl Asked {
    fn answered(command: Command) -> Self {
        Self::Answered { command, mark: 0 }
    }

    /// The same, with the mark of its segment.
    pub(super) fn at(self, mark: u64) -> Self {
        match self {
            Self::Answered { command, .. } => Self::Answered { command, mark },
            Self::Prepare { command, form, .. } => Self::Prepare {
                command,
                form,
                mark,
            },
            Self::Quit | Self::Unanswered | Self::Close(_) => self,
        }
    }
}

impl Pending for Asked {
    fn command(&self) -> Command {
        match self {
            Self::Answered { command, .. } | Self::Prepare { command, .. } => *command,
            Self::Quit | Self::Unanswered | Self::Close(_) => Command::Work,
        }
    }

    fn mark(&self) -> u64 {
        match self {
            Self::Answered { mark, .. } | Self::Prepare { mark, .. } => *mark,
            Self::Quit | Self::Unanswered | Self::Close(_) => 0,
        }
    }
}

/// A command as it was said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) asked: Asked,
    /// The whole packet's length.
    pub(super) length: usize,
    /// So much of it may be shown.
    pub(super) shown: usize,
}

/// The prepared statements that are pings.
#[derive(Debug, Default)]
pub(super) struct Statements {
    pings: Vec<(u32, PingForm)>,
    last: Option<PingForm>,
}

impl Statements {
    fn form(&self, id: u32) -> Option<PingForm> {
        if id == LAST_PREPARED {
            return self.last;
        }
        let ping = self.pings.iter().find(|(it, _)| *it == id);
        ping.map(|(_, form)| *form)
    }

    /// Takes the number that the server gave to a statement, where that is a ping.
    pub(super) fn note_answer(&mut self, asked: Asked, said: &[u8]) {
        let Asked::Prepare { form, .. } = asked else {
            return;
        };
        let [first::OK, id @ ..] = said else {
            return;
        };
        self.last = form;
        let (Some(id), Some(form)) = (id.first_chunk(), form) else {
            return;
        };
        if self.pings.len() == STATEMENTS_MAX {
            self.pings.remove(0);
        }
        self.pings.push((u32::from_le_bytes(*id), form));
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.pings.retain(|(it, _)| *it != id);
    }
}

/// Whether all that is looked at of a packet is there.
pub(super) fn is_whole(head: Head<'_>, length: usize) -> bool {
    head.bytes.len() >= (HEADER + length).min(HEAD_MAX)
}

/// Tells a command by the head of its packet; `None` where there is too little of it, or none.
pub(super) fn classify(head: Head<'_>, length: usize, statements: &Statements) -> Option<Said> {
    let end = head.bytes.len().min(HEADER + length);
    let (&command, arguments) = head.bytes.get(HEADER..end)?.split_first()?;
    let is_complete = end == HEADER + length;
    if !is_complete && !head.is_cut && !is_whole(head, length) {
        return None;
    }
    let ping = |form| Asked::answered(Command::Ping(form));
    let asked = match command {
        QUIT => Asked::Quit,
        PING => ping(PingForm::ComPing),
        STATISTICS => ping(PingForm::ComStatistics),
        RESET_CONNECTION => ping(PingForm::ComResetConnection),
        QUERY => match form_of_text(arguments, is_complete) {
            Some(form) => ping(form),
            None => Asked::answered(Command::Work),
        },
        PREPARE => Asked::Prepare {
            command: Command::Work,
            form: form_of_text(arguments, is_complete),
            mark: 0,
        },
        EXECUTE => match statement(arguments).and_then(|id| statements.form(id)) {
            Some(form) => ping(form),
            None => Asked::answered(Command::Work),
        },
        CLOSE => Asked::Close(statement(arguments).unwrap_or(LAST_PREPARED)),
        LONG_DATA | REPLICA_SAW => Asked::Unanswered,
        ..=LAST | BULK_EXECUTE => Asked::answered(Command::Work),
        _ => return None,
    };
    let is_ping = matches!(
        asked,
        Asked::Answered {
            command: Command::Ping(_),
            ..
        } | Asked::Prepare { form: Some(_), .. }
    );
    let is_bare = matches!(asked, Asked::Quit | Asked::Close(_));
    Some(Said {
        asked,
        length: HEADER + length,
        shown: match is_ping || is_bare {
            true => HEADER + length,
            false => HEADER + 1,
        },
    })
}

fn form_of_text(arguments: &[u8], is_complete: bool) -> Option<PingForm> {
    let text = arguments.strip_prefix(&ATTRIBUTES).unwrap_or(arguments);
    form_of(text).filter(|_| is_complete)
}

fn statement(arguments: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*arguments.first_chunk()?))
}

/// Whether a segment is a command, or a few of which all but the last want no answer, or the
/// beginning of one that needs several.
pub(in crate::passive) fn fits_command(bytes: &[u8], length: usize) -> bool {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((packet, 0)) = header(rest) else {
            return false;
        };
        let Some(&command) = rest.get(HEADER) else {
            return false;
        };
        let end = at + HEADER + packet;
        let fits = match command {
            QUIT | PING | STATISTICS | RESET_CONNECTION => packet == 1,
            CLOSE | RESET_STATEMENT => packet == 5,
            EXECUTE => packet >= EXECUTE_LENGTH_MIN,
            QUERY | PREPARE => packet > 0,
            ..=LAST | BULK_EXECUTE => packet > 0 && end == length,
            _ => false,
        };
        let goes_on = matches!(
            command,
            QUERY | PREPARE | EXECUTE | LONG_DATA | BULK_EXECUTE
        );
        if !fits {
            return false;
        }
        if end == length {
            return true;
        }
        if end > length {
            return goes_on && length >= FULL_SEGMENT_MIN;
        }
        if command != CLOSE {
            return false;
        }
        at = end;
    }
}

/// Whether a segment of the server's begins with an answer.
pub(in crate::passive) fn fits_answer(bytes: &[u8], length: usize, compressed: bool) -> bool {
    let Some((packet, 1)) = header(bytes) else {
        return false;
    };
    // Packets of an answer follow each other; one that is the last ends the segment.
    packet > 0 && (compressed || HEADER + packet <= length || length >= FULL_SEGMENT_MIN)
}

/// What a server's greeting offers, where it is there to the capabilities.
pub(super) fn offered_capabilities(greeting: &[u8]) -> Option<u32> {
    /// Connection id, the nonce's first part, filler.
    const BEFORE: usize = 4 + 8 + 1;
    /// Character set and status.
    const BETWEEN: usize = 1 + 2;
    let version = greeting.iter().position(|byte| *byte == 0)?;
    let rest = greeting.get(version + 1 + BEFORE..)?;
    let lower = u16::from_le_bytes(*rest.first_chunk()?);
    let upper = u16::from_le_bytes(*rest.get(2 + BETWEEN..)?.first_chunk()?);
    Some(u32::from(lower) | u32::from(upper) << u16::BITS)
}

const _: () = assert!(ANSWER_HEAD >= 5, "a statement's number is read from it");
