//! Where one direction of a connection stands in TCP's numbering, and what is ahead of its turn.
//!
//! Bytes are heard once, in their order: what came before is passed over, what comes too early is
//! held until the gap is filled, or until the peer acknowledges more than the gap begins with, and
//! so has what the capture has not. What is held is bounded in number and length.

/// How many segments of a direction are held.
const HELD_MAX: usize = 16;
/// How much of each; the rest counts as not captured.
const HELD_BYTES_MAX: usize = 2048;

/// A segment that came too early.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) missing: usize,
}

impl Held {
    pub(super) fn new(
        sequence: u32,
        acknowledged: u32,
        at: u64,
        bytes: &[u8],
        missing: usize,
    ) -> Self {
        let kept = &bytes[..bytes.len().min(HELD_BYTES_MAX)];
        Self {
            sequence,
            acknowledged,
            at,
            bytes: kept.to_vec(),
            missing: missing + bytes.len() - kept.len(),
        }
    }

    pub(super) fn length(&self) -> usize {
        self.bytes.len() + self.missing
    }

    /// How much memory it takes.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

/// What is to be done with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Heard from this byte of it on.
    Next { from: usize },
    /// Heard before.
    Old,
    /// Ahead of its turn, by so many bytes.
    Ahead(u32),
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    next: Option<u32>,
    /// What the sender had acknowledged when it last said something.
    last_acknowledged: Option<u32>,
    /// In the order of their numbers.
    held: Vec<Held>,
    /// The sender will say nothing more.
    pub(super) is_finished: bool,
}

impl Cursor {
    /// The first number that a segment may have.
    pub(super) fn begin(&mut self, next: u32) {
        self.next = Some(next);
    }

    pub(super) fn next(&self) -> Option<u32> {
        self.next
    }

    /// Where a segment belongs.
    pub(super) fn place(&self, sequence: u32, length: usize) -> Place {
        let Some(next) = self.next else {
            return Place::Next { from: 0 };
        };
        let ahead = sequence.wrapping_sub(next).cast_signed();
        if ahead > 0 {
            return Place::Ahead(ahead.unsigned_abs());
        }
        let from = ahead.unsigned_abs() as usize;
        match from < length {
            true => Place::Next { from },
            false => Place::Old,
        }
    }

    /// So many bytes from this number on were heard, or are given up.
    pub(super) fn advance(&mut self, sequence: u32, length: usize) {
        // TCP's numbers are 32 bits wide, so a longer segment cannot be.
        self.next = Some(sequence.wrapping_add(length as u32));
    }

    /// Notes what the sender has acknowledged as it speaks; says whether it had heard more than
    /// when it last spoke.
    pub(super) fn takes_turn(&mut self, acknowledged: u32) -> bool {
        self.last_acknowledged.replace(acknowledged) != Some(acknowledged)
    }

    /// Holds a segment, and says whether it was not held before; gives it back where there is no
    /// room.
    pub(super) fn hold(&mut self, segment: Held) -> Result<bool, Held> {
        if self.held.len() == HELD_MAX {
            return Err(segment);
        }
        let is_before = |it: &Held| it.sequence.wrapping_sub(segment.sequence).cast_signed() < 0;
        let at = self.held.partition_point(is_before);
        if self
            .held
            .get(at)
            .is_some_and(|it| it.sequence == segment.sequence)
        {
            return Ok(false);
        }
        self.held.insert(at, segment);
        Ok(true)
    }

    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// The first one held whose turn has come.
    pub(super) fn take_next(&mut self) -> Option<Held> {
        let first = self.held.first()?;
        match self.place(first.sequence, first.length()) {
            Place::Ahead(_) => None,
            Place::Next { .. } | Place::Old => Some(self.take_first()),
        }
    }

    /// The first one held, if the peer has acknowledged something of the gap before it.
    pub(super) fn take_acknowledged(&mut self, acknowledged: u32) -> Option<Held> {
        let next = self.next?;
        let beyond = acknowledged.wrapping_sub(next).cast_signed() > 0;
        (beyond && self.holds()).then(|| self.take_first())
    }

    /// The first one held, whatever is missing before it.
    pub(super) fn take_any(&mut self) -> Option<Held> {
        self.holds().then(|| self.take_first())
    }

    fn take_first(&mut self) -> Held {
        let first = self.held.remove(0);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(sequence: u32, length: usize) -> Held {
        Held::new(sequence, 0, 0, &vec![0; length], 0)
    }

    #[test]
    fn numbers_go_round() {
        let mut cursor = Cursor::default();
        cursor.begin(u32::MAX - 1);
        assert_eq!(cursor.place(u32::MAX - 1, 5), Place::Next { from: 0 });
        cursor.advance(u32::MAX - 1, 5);
        assert_eq!(cursor.next(), Some(3));
        assert_eq!(cursor.place(u32::MAX - 1, 5), Place::Old);
        assert_eq!(cursor.place(u32::MAX, 6), Place::Next { from: 4 });
        assert_eq!(cursor.place(10, 1), Place::Ahead(7));
    }

    #[test]
    fn what_is_held_comes_in_order_when_the_gap_is_filled() {
        let mut cursor = Cursor::default();
        cursor.begin(100);
        cursor.hold(held(120, 10)).unwrap();
        cursor.hold(held(110, 10)).unwrap();
        cursor.hold(held(110, 10)).unwrap();
        assert!(cursor.take_next().is_none());
        cursor.advance(100, 10);
        let first = cursor.take_next().expect("the gap is filled");
        assert_eq!(first.sequence, 110);
        cursor.advance(110, 10);
        assert_eq!(cursor.take_next().map(|it| it.sequence), Some(120));
        assert!(!cursor.holds());
    }

    #[test]
    fn a_gap_that_the_peer_has_heard_is_given_up() {
        let mut cursor = Cursor::default();
        cursor.begin(100);
        cursor.hold(held(110, 10)).unwrap();
        assert!(cursor.take_acknowledged(100).is_none());
        assert_eq!(
            cursor.take_acknowledged(120).map(|it| it.sequence),
            Some(110)
        );
    }

    #[test]
    fn no_more_is_held_than_the_limit() {
        let mut cursor = Cursor::default();
        cursor.begin(0);
        for number in 1..=HELD_MAX as u32 {
            cursor.hold(held(number * 10_000, 5000)).unwrap();
        }
        assert!(cursor.hold(held(1, 1)).is_err());
        assert_eq!(cursor.held[0].bytes.len(), HELD_BYTES_MAX);
        assert_eq!(cursor.held[0].length(), 5000);
    }
}
