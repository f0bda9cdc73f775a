//! One direction of a connection as a course of messages, walked by their announced lengths.
//!
//! What a protocol's parser needs of each message is its head; the rest is passed over, captured
//! or not. A head that two segments share is kept until the second comes. Where bytes are missing
//! and no announced length leads over them, the place is lost, and the protocol has to find it
//! again at the beginning of a segment. Called by both protocols.

use super::Segment;

/// What a parser makes of the bytes at the beginning of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A message of so many bytes, its header included, which may be shown up to `shown`.
    Message { length: usize, shown: usize },
    /// A message that may be shown up to `shown`, behind which nothing matters until the place
    /// is found again.
    Rest { shown: usize },
    /// The head is longer than what is there.
    More,
    /// No message begins like this.
    Lost,
    /// From here on nothing can be read.
    Opaque,
}

/// What a head has to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) bytes: &'a [u8],
    /// No more bytes of this segment were captured, so `bytes` is all there will be.
    pub(super) is_cut: bool,
}

/// How a segment was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    /// How many bytes may be shown, counted from the first.
    pub(super) shown: usize,
    /// The place was lost in this segment, behind what was heard of it.
    pub(super) lost: bool,
    pub(super) opaque: bool,
}

/// The longest head that is kept until the rest of it comes.
const HEAD_LENGTH_MAX: usize = 320;

/// Where one direction stands.
#[derive(Debug)]
pub(super) struct Course {
    /// How many bytes of the current message are still to come.
    skip: usize,
    /// The beginning of a head whose rest has not come.
    kept: Vec<u8>,
    lost: bool,
}

impl Course {
    /// A course at its beginning, which is that of a message unless the place is lost.
    pub(super) fn new(is_lost: bool) -> Self {
        Self {
            skip: 0,
            kept: Vec::new(),
            lost: is_lost,
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether the next byte is in the middle of a message.
    pub(super) fn is_inside(&self) -> bool {
        self.skip > 0 || !self.kept.is_empty()
    }

    /// The place is lost.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.skip = 0;
        self.kept = Vec::new();
    }

    /// The next segment begins with a message.
    pub(super) fn find(&mut self) {
        self.lost = false;
        self.skip = 0;
        self.kept = Vec::new();
    }

    /// So many bytes were not captured.
    pub(super) fn miss(&mut self, length: usize) {
        match self.skip.checked_sub(length) {
            Some(rest) if self.kept.is_empty() => self.skip = rest,
            _ => self.lose(),
        }
    }

    /// Walks over a segment, with `parse` called at the head of every message in it.
    pub(super) fn walk(
        &mut self,
        segment: Segment<'_>,
        mut parse: impl FnMut(Head<'_>) -> Step,
    ) -> Walk {
        let mut walk = Walk {
            shown: 0,
            lost: false,
            opaque: false,
        };
        if self.lost {
            return walk;
        }
        let length = segment.length();
        let captured = segment.bytes.len();
        let mut at = self.skip.min(length);
        self.skip -= at;
        // What belongs to an earlier message is not shown, so neither is what comes behind it.
        let mut showing = at == 0;
        if !self.kept.is_empty() && at < length {
            showing = false;
            match self.resume(segment, &mut parse) {
                Step::Message { length, .. } => at = length,
                Step::Rest { .. } => {
                    self.lose();
                    return walk;
                }
                Step::More => return walk,
                Step::Lost => walk.lost = true,
                Step::Opaque => walk.opaque = true,
            }
        }
        while at < length && !walk.lost && !walk.opaque {
            let bytes = segment.bytes.get(at..).unwrap_or_default();
            let is_cut = segment.missing > 0;
            let step = match bytes.is_empty() {
                true => Step::Lost,
                false => parse(Head { bytes, is_cut }),
            };
            match step {
                Step::Message {
                    length: message,
                    shown,
                } => {
                    if showing {
                        walk.shown = (at + shown).min(captured);
                        showing = shown == message;
                    }
                    let end = at + message;
                    at = end.min(length);
                    self.skip = end - at;
                }
                Step::Rest { shown } => {
                    if showing {
                        walk.shown = (at + shown).min(captured);
                    }
                    self.lose();
                    return walk;
                }
                Step::More if !is_cut && bytes.len() < HEAD_LENGTH_MAX => {
                    self.kept = bytes.to_vec();
                    return walk;
                }
                Step::More | Step::Lost => walk.lost = true,
                Step::Opaque => walk.opaque = true,
            }
        }
        if walk.lost {
            self.lose();
        }
        walk
    }

    /// Completes the head that was kept. A message's length is then counted from this segment on.
    fn resume(&mut self, segment: Segment<'_>, parse: &mut impl FnMut(Head<'_>) -> Step) -> Step {
        let before = self.kept.len();
        let room = HEAD_LENGTH_MAX.saturating_sub(before);
        let more = &segment.bytes[..segment.bytes.len().min(room)];
        self.kept.extend_from_slice(more);
        let is_cut = segment.missing > 0 || self.kept.len() >= HEAD_LENGTH_MAX;
        let step = parse(Head {
            bytes: &self.kept,
            is_cut,
        });
        match step {
            Step::Message { length, shown } => {
                self.kept = Vec::new();
                // A message that ended before this segment would not have been kept.
                let here = length.saturating_sub(before);
                let taken = here.min(segment.length());
                self.skip = here - taken;
                Step::Message {
                    length: taken,
                    shown,
                }
            }
            Step::More if !is_cut => Step::More,
            Step::More => Step::Lost,
            Step::Rest { .. } | Step::Lost | Step::Opaque => step,
        }
    }
}
