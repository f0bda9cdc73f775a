//! A listener for tests: says segments to a follower and keeps what it heard.

use super::{Command, Follower, Heard, Outcome, Segment};

/// A follower, and what it has heard.
pub(super) struct Ear {
    pub(super) follower: Follower,
    heard: Vec<Heard>,
    pub(super) mark: u64,
}

impl Ear {
    pub(super) fn new(follower: Follower) -> Self {
        Self {
            follower,
            heard: Vec::new(),
            mark: 0,
        }
    }

    pub(super) fn client(&mut self, bytes: &[u8]) -> usize {
        self.client_cut(bytes, bytes.len())
    }

    /// A segment of which only the first bytes were captured.
    pub(super) fn client_cut(&mut self, bytes: &[u8], captured: usize) -> usize {
        self.say(bytes, captured, true)
    }

    /// More of what the client was saying.
    pub(super) fn client_more(&mut self, bytes: &[u8]) -> usize {
        self.say(bytes, bytes.len(), false)
    }

    /// What the client says; `turn` where it has heard the server since it last spoke.
    pub(super) fn say(&mut self, bytes: &[u8], captured: usize, turn: bool) -> usize {
        self.mark += 1;
        let segment = Segment {
            bytes: &bytes[..captured],
            missing: bytes.len() - captured,
            turn,
            late: false,
            mark: self.mark,
        };
        let heard = &mut self.heard;
        self.follower.hear_client(segment, &mut |it| heard.push(it))
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> usize {
        let segment = Segment {
            bytes,
            missing: 0,
            turn: true,
            late: false,
            mark: 0,
        };
        let heard = &mut self.heard;
        self.follower.hear_server(segment, &mut |it| heard.push(it))
    }

    #[track_caller]
    pub(super) fn expect(&mut self, expected: &[Heard]) {
        assert_eq!(std::mem::take(&mut self.heard), expected);
    }
}

/// A command that was answered well.
pub(super) fn answered(command: Command, mark: u64) -> Heard {
    Heard::Answered {
        command,
        mark,
        outcome: Outcome::Fine,
    }
}
