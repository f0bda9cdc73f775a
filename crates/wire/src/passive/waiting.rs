//! The commands that wait for their answers, the oldest first; a bounded queue.

use std::collections::VecDeque;

use super::{Command, WAITING_MAX};

/// What a protocol keeps of a command until it is answered.
pub(super) trait Pending {
    /// What was asked.
    fn command(&self) -> Command;
    /// The mark of the segment it ended in.
    fn mark(&self) -> u64;
}

/// A queue of commands.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    commands: VecDeque<T>,
}

impl<T: Pending> Waiting<T> {
    pub(super) fn new() -> Self {
        Self {
            commands: VecDeque::new(),
        }
    }

    /// Adds the newest; where there are too many, the oldest was never answered.
    pub(super) fn push(&mut self, command: T) {
        if self.commands.len() == WAITING_MAX {
            self.commands.pop_front();
        }
        self.commands.push_back(command);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.commands.pop_front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut T> {
        self.commands.front_mut()
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut T> {
        self.commands.back_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.commands.clear();
    }

    pub(super) fn oldest(&self) -> Option<(Command, u64)> {
        let oldest = self.commands.front()?;
        Some((oldest.command(), oldest.mark()))
    }
}
