//! MySQL's and MariaDB's conversation, overheard.
//!
//! A command is a client's packet with the sequence number 0: what a login, a file's contents or a
//! packet beyond 16 MiB add have other numbers, so logins need not be followed. An answer begins
//! with the server's number 1. Both hold for the compressed protocol too, whose own packets are
//! numbered alike and leave pings as they are.
//!
//! Callers: [`Follower`](super::Follower), and `recognition.rs` with [`fits_command`].

mod command;
mod compression;

use self::command::{Asked, Said, Statements, classify};
pub(super) use self::command::{fits_answer, fits_command};
use super::course::{Course, Head, Step};
use super::waiting::{Pending as _, Waiting};
use super::{Command, Heard, Listening, Opaque, Outcome, Segment};

/// Length and sequence number of a packet.
const HEADER: usize = 4;
/// The same of a compressed one, with the length that it unfolds to.
const COMPRESSED_HEADER: usize = 7;

/// Capability flags of the client's first packet, and of the server's.
const COMPRESS: u32 = 1 << 5;
const SSL: u32 = 1 << 11;
const ZSTD: u32 = 1 << 26;
/// The length of a packet that asks for TLS and says nothing else.
const SSL_REQUEST_LENGTH: usize = 32;

/// The first bytes of a packet from the server.
mod first {
    pub(super) const OK: u8 = 0x00;
    pub(super) const GREETING: u8 = 0x0a;
    pub(super) const ERROR: u8 = 0xff;
}

/// So much of a server's packet is looked at: an error's number, a statement's.
const ANSWER_HEAD: usize = 7;

/// Errors after which a session is over: aborted, shutting down, killed, disconnected.
const FATAL_ERRORS: [u16; 8] = [1040, 1053, 1077, 1079, 1080, 1184, 1927, 4031];
/// What MariaDB calls an error and is a report of progress.
const PROGRESS: u16 = 0xffff;

/// One connection.
#[derive(Debug)]
pub(super) struct Conversation {
    client: Course,
    server: Course,
    pub(super) waiting: Waiting<Asked>,
    statements: Statements,
    /// The client's first packet has not been heard.
    opening: bool,
    /// What the login says; in force from the first command on.
    will_compress: bool,
    /// The server's greeting was heard, and offers no compression.
    refuses_compression: bool,
    compressed: bool,
    client_sequence: u8,
    server_sequence: u8,
    /// The client sends commands ahead of their answers.
    pipelines: bool,
    /// The server's numbers have just begun anew in the middle of an answer.
    server_wrapped: bool,
}

impl Conversation {
    pub(super) fn new(from_start: bool) -> Self {
        Self {
            client: Course::new(!from_start),
            server: Course::new(!from_start),
            waiting: Waiting::new(),
            statements: Statements::default(),
            opening: from_start,
            will_compress: false,
            refuses_compression: false,
            compressed: false,
            client_sequence: 0,
            server_sequence: 0,
            server_wrapped: false,
            pipelines: false,
        }
    }

    pub(super) fn miss_client(&mut self, length: usize) {
        self.client.miss(length);
    }

    pub(super) fn miss_server(&mut self, length: usize) {
        self.server.miss(length);
    }

    pub(super) fn hear_client(
        &mut self,
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> Listening {
        let astray = self.client.is_lost() || segment.turn && self.client.is_inside();
        if astray && segment.turn {
            match Beginning::of(segment) {
                Beginning::Tls => {
                    tell(Heard::Opaque(Opaque::Tls));
                    return Listening::Opaque;
                }
                Beginning::Command { compressed } => {
                    self.compressed = compressed;
                    self.opening = false;
                    self.client.find();
                }
                Beginning::Unknown => {}
            }
        }
        if segment.turn && self.server.is_inside() && self.waiting.is_empty() {
            // A client that has its answer speaks; so it was not where we thought.
            self.server.lose();
        }
        let was_idle = self.waiting.is_empty();
        let mut client = std::mem::replace(&mut self.client, Course::new(true));
        let walk = client.walk(segment, |head| self.client_step(head, segment, tell));
        self.client = client;
        if segment.late && was_idle {
            self.waiting.clear();
        }
        match walk.opaque {
            true => Listening::Opaque,
            false => Listening::Shown(walk.shown),
        }
    }

    pub(super) fn hear_server(
        &mut self,
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> Listening {
        if self.server.is_lost() && !self.waiting.is_empty() {
            let fits = fits_answer(segment.bytes, segment.length(), self.compressed);
            if fits {
                self.server.find();
            }
        }
        let mut server = std::mem::replace(&mut self.server, Course::new(true));
        let walk = server.walk(segment, |head| self.server_step(head, tell));
        self.server = server;
        Listening::Shown(walk.shown)
    }

    fn client_step(
        &mut self,
        head: Head<'_>,
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> Step {
        let Some((length, sequence)) = header(head.bytes) else {
            return more(head);
        };
        if self.will_compress && sequence == 0 {
            // The login is over: both sides compress from here on.
            self.compressed = true;
            self.will_compress = false;
        }
        if self.compressed {
            return self.compressed_step(head, segment, tell);
        }
        let is_rest = sequence != 0 || self.client_sequence == u8::MAX && !segment.turn;
        self.client_sequence = sequence;
        if is_rest {
            return self.not_a_command(head, length, tell);
        }
        match classify(head, length, &self.statements) {
            Some(said) => self.note(said, segment.mark, tell),
            None => match head.is_cut {
                true => Step::Lost,
                false if command::is_whole(head, length) => Step::Lost,
                false => Step::More,
            },
        }
    }

    /// What a client says that is no command: most of all, who it is.
    fn not_a_command(
        &mut self,
        head: Head<'_>,
        length: usize,
        tell: &mut dyn FnMut(Heard),
    ) -> Step {
        if !self.opening {
            return Step::Message {
                length: HEADER + length,
                shown: HEADER,
            };
        }
        let Some(capabilities) = head.bytes.get(HEADER..).and_then(<[u8]>::first_chunk) else {
            return more(head);
        };
        let capabilities = u32::from_le_bytes(*capabilities);
        self.opening = false;
        if capabilities & SSL != 0 && length == SSL_REQUEST_LENGTH {
            tell(Heard::Opaque(Opaque::Tls));
            return Step::Opaque;
        }
        let compresses = capabilities & (COMPRESS | ZSTD) != 0;
        self.will_compress = compresses && !self.refuses_compression;
        Step::Message {
            length: HEADER + length,
            shown: HEADER + size_of::<u32>(),
        }
    }

    fn compressed_step(
        &mut self,
        head: Head<'_>,
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> Step {
        let Some(packet) = compression::Packet::parse(head.bytes) else {
            return more(head);
        };
        let length = COMPRESSED_HEADER + packet.length;
        if packet.sequence != 0 {
            return Step::Message {
                length,
                shown: COMPRESSED_HEADER,
            };
        }
        let visible = head.bytes.len().min(length);
        let inside = &head.bytes[COMPRESSED_HEADER..visible];
        if visible < length && !head.is_cut && length <= COMPRESSED_HEADER + command::HEAD_MAX {
            return Step::More;
        }
        let unfolded;
        let inside = match packet.unfolds_to {
            0 => inside,
            unfolds_to => match compression::unfold(inside, unfolds_to) {
                Some(text) => {
                    unfolded = text;
                    &unfolded[..]
                }
                None => {
                    self.ask(Command::Work, segment.mark, tell);
                    return Step::Message {
                        length,
                        shown: COMPRESSED_HEADER,
                    };
                }
            },
        };
        let shown = self.commands_inside(inside, segment, tell);
        Step::Message {
            length,
            shown: match packet.unfolds_to {
                0 => COMPRESSED_HEADER + shown,
                // Even a ping is not worth showing what it came with.
                _ => COMPRESSED_HEADER,
            },
        }
    }

    /// The commands of a compressed packet, which may be several, or the beginning of one.
    fn commands_inside(
        &mut self,
        inside: &[u8],
        segment: Segment<'_>,
        tell: &mut dyn FnMut(Heard),
    ) -> usize {
        let (mut at, mut shown_until) = (0, 0);
        while let Some((length, sequence)) = inside.get(at..).and_then(header) {
            let bytes = &inside[at..];
            let head = Head {
                bytes,
                is_cut: true,
            };
            let said = match sequence {
                0 => classify(head, length, &self.statements),
                _ => None,
            };
            let step = said.map(|said| self.note(said, segment.mark, tell));
            if let Some(Step::Message { length, shown }) = step
                && shown_until == at
            {
                shown_until = at + shown.min(length);
            }
            at = at.saturating_add(HEADER + length);
        }
        shown_until.min(inside.len())
    }

    /// Takes note of a command, and of where its packet ends.
    fn note(&mut self, said: Said, mark: u64, tell: &mut dyn FnMut(Heard)) -> Step {
        let Said {
            asked,
            length,
            shown,
        } = said;
        match asked {
            Asked::Quit => tell(Heard::Quit),
            Asked::Close(id) => {
                self.statements.forget(id);
                tell(Heard::Asked(Command::Work));
            }
            Asked::Unanswered => tell(Heard::Asked(Command::Work)),
            Asked::Answered { command, .. } | Asked::Prepare { command, .. } => {
                tell(Heard::Asked(command));
                self.pipelines |= !self.waiting.is_empty();
                self.waiting.push(asked.at(mark));
            }
        }
        Step::Message { length, shown }
    }

    fn ask(&mut self, command: Command, mark: u64, tell: &mut dyn FnMut(Heard)) {
        tell(Heard::Asked(command));
        self.waiting.push(Asked::Answered { command, mark });
    }

    fn server_step(&mut self, head: Head<'_>, tell: &mut dyn FnMut(Heard)) -> Step {
        let Some(packet) = ServerPacket::parse(head.bytes, self.compressed) else {
            return more(head);
        };
        let wanted = packet.header + (packet.inside + ANSWER_HEAD).min(packet.length);
        if head.bytes.len() < wanted && !head.is_cut {
            return Step::More;
        }
        let end = head.bytes.len().min(wanted);
        let said = head.bytes.get(packet.header + packet.inside..end);
        let said = said.filter(|_| packet.is_readable).unwrap_or_default();
        // The number after 255 is 0, and then comes a 1 that begins no answer.
        let before = std::mem::replace(&mut self.server_sequence, packet.sequence);
        match packet.sequence {
            0 => self.server_wrapped = before == u8::MAX,
            1 if !self.server_wrapped => {
                if let Some(asked) = self.waiting.pop() {
                    self.statements.note_answer(asked, said);
                    tell(Heard::Answered {
                        command: asked.command(),
                        mark: asked.mark(),
                        outcome: outcome_of(said),
                    });
                    let shown = packet.inside + shown_of(said);
                    return match self.pipelines || !self.waiting.is_empty() {
                        true => packet.step(shown),
                        // The next answer begins behind the next command; what is left of this
                        // one need not be walked over.
                        false => Step::Rest {
                            shown: packet.header + shown.min(packet.length),
                        },
                    };
                }
            }
            _ => self.server_wrapped = false,
        }
        if packet.sequence == 0 && self.opening && said.first() == Some(&first::GREETING) {
            let greeting = head.bytes.get(HEADER..).unwrap_or_default();
            let offered = command::offered_capabilities(greeting);
            self.refuses_compression =
                offered.is_some_and(|offered| offered & (COMPRESS | ZSTD) == 0);
        }
        packet.step(usize::from(packet.sequence == 0))
    }
}

/// A packet of the server's, by its header.
struct ServerPacket {
    length: usize,
    sequence: u8,
    header: usize,
    /// The length of the header inside, where there is one.
    inside: usize,
    is_readable: bool,
}

impl ServerPacket {
    fn parse(bytes: &[u8], compressed: bool) -> Option<Self> {
        if !compressed {
            let (length, sequence) = header(bytes)?;
            return Some(Self {
                length,
                sequence,
                header: HEADER,
                inside: 0,
                is_readable: true,
            });
        }
        let packet = compression::Packet::parse(bytes)?;
        let is_readable = packet.unfolds_to == 0;
        Some(Self {
            length: packet.length,
            sequence: packet.sequence,
            header: COMPRESSED_HEADER,
            inside: if is_readable { HEADER } else { 0 },
            is_readable,
        })
    }

    fn step(&self, shown: usize) -> Step {
        Step::Message {
            length: self.header + self.length,
            shown: self.header + shown.min(self.length),
        }
    }
}

/// The length and the number of the packet that begins here.
fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, sequence] = *bytes.first_chunk()?;
    let length = u32::from_le_bytes([a, b, c, 0]);
    Some((length as usize, sequence))
}

fn more(head: Head<'_>) -> Step {
    match head.is_cut {
        true => Step::Lost,
        false => Step::More,
    }
}

fn outcome_of(said: &[u8]) -> Outcome {
    match *said {
        [first::ERROR, low, high, ..] => match u16::from_le_bytes([low, high]) {
            PROGRESS => Outcome::Fine,
            number if FATAL_ERRORS.contains(&number) => Outcome::Ended,
            _ => Outcome::Refused,
        },
        _ => Outcome::Fine,
    }
}

/// How much of an answer tells nothing about data: an OK's head, an error's number.
fn shown_of(said: &[u8]) -> usize {
    match said.first() {
        Some(&first::OK) => ANSWER_HEAD,
        Some(&first::ERROR) => 3,
        _ => 1,
    }
}

/// What the client's segment after a pause begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Tls,
    Command { compressed: bool },
    Unknown,
}

impl Beginning {
    fn of(segment: Segment<'_>) -> Self {
        let (bytes, length) = (segment.bytes, segment.length());
        if super::recognition::is_tls_record(bytes, length) {
            return Self::Tls;
        }
        if fits_command(bytes, length) {
            return Self::Command { compressed: false };
        }
        let packet = compression::Packet::parse(bytes);
        let compressed = packet.is_some_and(|packet| packet.fits(bytes, length));
        match compressed {
            true => Self::Command { compressed },
            false => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
