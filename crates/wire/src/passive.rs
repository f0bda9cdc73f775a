//! Listening to a conversation between others: which commands were said, and how they ended.
//!
//! ```text
//!   client's segments ──▶ ┌──────────┐
//!                         │ Follower │ ──▶ Heard: Asked(command), Answered { … }, Opaque(…)
//!   server's segments ──▶ └──────────┘
//!       and gaps      ──▶
//! ```
//!
//! A [`Follower`] is for one connection. Unlike a [`Session`](crate::Session) it cannot ask again:
//! a capture may begin in the middle, lack packets, hold only the first bytes of each, or be of an
//! encrypted connection. So it walks over messages by the lengths that they and TCP announce,
//! never by looking for bytes; where it lost its place it says nothing until a message fits; and
//! what cannot be read is told as such.
//!
//! It knows no time. Each segment has a mark, whatever the caller wants to find again: an answer
//! comes with the mark of the segment in which its command ended.
//!
//! Memory: at most [`WAITING_MAX`] commands without their answers, [`STATEMENTS_MAX`] prepared
//! statements (only those that are pings), and the unfinished head of one message each way.
//! No text of a statement is kept or told.

mod course;
#[cfg(test)]
mod ear;
mod mysql;
mod ping_text;
mod postgres;
mod recognition;
mod waiting;

pub use recognition::{Opening, looks_like_answer, looks_like_command, opening_of};

/// How many commands of one connection may wait for their answers; older ones are forgotten.
pub const WAITING_MAX: usize = 64;
/// How many prepared statements of one connection are remembered to be pings.
pub const STATEMENTS_MAX: usize = 32;

/// Whose protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// MySQL's and MariaDB's.
    MySql,
    /// PostgreSQL's.
    Postgres,
}

impl Protocol {
    /// Returns `mysql` or `postgresql`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgresql",
        }
    }
}

/// The ways to ask "are you there".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PingForm {
    /// MySQL's COM_PING, "ADMIN PING" to some tools.
    ComPing,
    /// `SELECT 1`, or another statement that asks for one constant; prepared ones too.
    Select1,
    /// The same with a comment in it.
    CommentedSelect1,
    /// MySQL's COM_STATISTICS.
    ComStatistics,
    /// MySQL's COM_RESET_CONNECTION.
    ComResetConnection,
    /// A statement of nothing but blanks, semicolons and comments.
    EmptyQuery,
    /// PostgreSQL's Sync without anything to be synchronised.
    LoneSync,
}

impl PingForm {
    /// All forms, in the order of the reports.
    pub const ALL: [Self; 7] = [
        Self::ComPing,
        Self::Select1,
        Self::CommentedSelect1,
        Self::ComStatistics,
        Self::ComResetConnection,
        Self::EmptyQuery,
        Self::LoneSync,
    ];

    /// Returns the form's name, as the JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ComPing => "com_ping",
            Self::Select1 => "select_1",
            Self::CommentedSelect1 => "commented_select_1",
            Self::ComStatistics => "com_statistics",
            Self::ComResetConnection => "com_reset_connection",
            Self::EmptyQuery => "empty_query",
            Self::LoneSync => "lone_sync",
        }
    }
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Only whether the server is there.
    Ping(PingForm),
    /// Anything else.
    Work,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not in an error, or in one that was not captured.
    Fine,
    /// In an error that leaves the session as it was.
    Refused,
    /// In an error that says that the session or the server ends.
    Ended,
}

/// Why a connection cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opaque {
    /// It is encrypted with TLS.
    Tls,
    /// It is encrypted with GSSAPI.
    Gss,
}

/// What is heard on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The client asked.
    Asked(Command),
    /// The server's answer to a command began.
    Answered {
        /// The command.
        command: Command,
        /// The mark of the segment that the command ended in.
        mark: u64,
        /// How it ended, as far as the first words tell.
        outcome: Outcome,
    },
    /// The client says goodbye.
    Quit,
    /// The client only asks for the end of another session's statement.
    Cancelled,
    /// Nothing more will be understood.
    Opaque(Opaque),
}

/// What one packet carried, in the order of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// How many bytes followed in the same packet that were not.
    pub missing: usize,
    /// Whether the sender had heard something from its peer since it spoke last.
    pub turn: bool,
    /// Whether the peer was already heard to say what the sender had not yet heard: captured in
    /// another order than it happened, an answer may have come before its command.
    pub late: bool,
    /// What the caller wants back with the answer.
    pub mark: u64,
}

impl Segment<'_> {
    /// How many bytes the packet carried.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len() + self.missing
    }
}

/// Follows one connection of either protocol.
#[derive(Debug)]
pub struct Follower {
    conversation: Conversation,
}

#[derive(Debug)]
enum Conversation {
    MySql(mysql::Conversation),
    Postgres(postgres::Conversation),
    Opaque,
}

impl Follower {
    /// Follows a connection from its first byte on.
    #[must_use]
    pub fn from_start(protocol: Protocol) -> Self {
        Self::new(protocol, true)
    }

    /// Follows a connection that was there before the capture.
    #[must_use]
    pub fn from_middle(protocol: Protocol) -> Self {
        Self::new(protocol, false)
    }

    fn new(protocol: Protocol, from_start: bool) -> Self {
        let conversation = match protocol {
            Protocol::MySql => Conversation::MySql(mysql::Conversation::new(from_start)),
            Protocol::Postgres => Conversation::Postgres(postgres::Conversation::new(from_start)),
        };
        Self { conversation }
    }

    /// Listens to the client. Returns how many of the bytes, from the first one on, hold nothing
    /// but framing and pings: what may be shown to others.
    pub fn hear_client(&mut self, segment: Segment<'_>, tell: &mut dyn FnMut(Heard)) -> usize {
        let heard = match &mut self.conversation {
            Conversation::MySql(it) => it.hear_client(segment, tell),
            Conversation::Postgres(it) => it.hear_client(segment, tell),
            Conversation::Opaque => Listening::Opaque,
        };
        self.settle(heard)
    }

    /// Listens to the server; returns what [`hear_client`](Self::hear_client) does.
    pub fn hear_server(&mut self, segment: Segment<'_>, tell: &mut dyn FnMut(Heard)) -> usize {
        let heard = match &mut self.conversation {
            Conversation::MySql(it) => it.hear_server(segment, tell),
            Conversation::Postgres(it) => it.hear_server(segment, tell),
            Conversation::Opaque => Listening::Opaque,
        };
        self.settle(heard)
    }

    /// Takes note that so many of the client's bytes were not captured.
    pub fn miss_client(&mut self, length: usize) {
        match &mut self.conversation {
            Conversation::MySql(it) => it.miss_client(length),
            Conversation::Postgres(it) => it.miss_client(length),
            Conversation::Opaque => {}
        }
    }

    /// Takes note that so many of the server's bytes were not captured.
    pub fn miss_server(&mut self, length: usize) {
        match &mut self.conversation {
            Conversation::MySql(it) => it.miss_server(length),
            Conversation::Postgres(it) => it.miss_server(length),
            Conversation::Opaque => {}
        }
    }

    /// Forgets the commands whose answers were not captured: the client has moved on.
    pub fn forget_waiting(&mut self) {
        match &mut self.conversation {
            Conversation::MySql(it) => it.waiting.clear(),
            Conversation::Postgres(it) => it.forget_waiting(),
            Conversation::Opaque => {}
        }
    }

    /// The oldest command that waits for its answer, with its mark.
    #[must_use]
    pub fn waiting(&self) -> Option<(Command, u64)> {
        match &self.conversation {
            Conversation::MySql(it) => it.waiting.oldest(),
            Conversation::Postgres(it) => it.waiting(),
            Conversation::Opaque => None,
        }
    }

    fn settle(&mut self, heard: Listening) -> usize {
        match heard {
            Listening::Shown(length) => length,
            Listening::Opaque => {
                self.conversation = Conversation::Opaque;
                0
            }
        }
    }
}

/// What became of a segment.
#[derive(Debug, Clone, Copy)]
enum Listening {
    /// So many of its bytes may be shown.
    Shown(usize),
    /// It began what cannot be read.
    Opaque,
}
