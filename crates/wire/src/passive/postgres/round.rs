//! A round of PostgreSQL's extended protocol, and the prepared statements that are pings.

use super::message::Message;
use crate::passive::waiting::Pending;
use crate::passive::{Command, PingForm, STATEMENTS_MAX};

/// What a client asks up to a simple query or a Sync.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    mark: u64,
    /// What it executes; work, where that is several things.
    command: Option<Command>,
    pub(super) is_ended: bool,
    pub(super) is_answered: bool,
}

impl Round {
    pub(super) fn new(mark: u64) -> Self {
        Self {
            mark,
            command: None,
            is_ended: false,
            is_answered: false,
        }
    }

    pub(super) fn execute(&mut self, command: Command) {
        self.command = Some(match self.command {
            None => command,
            Some(_) => Command::Work,
        });
    }

    pub(super) fn executes_nothing(&self) -> bool {
        self.command.is_none()
    }

    pub(super) fn end(&mut self, mark: u64) {
        self.mark = mark;
        self.is_ended = true;
    }

    /// Whether the next words of the server's answer it.
    pub(super) fn is_owed(&self) -> bool {
        self.is_ended && !self.is_answered
    }
}

impl Pending for Round {
    fn command(&self) -> Command {
        self.command.unwrap_or(Command::Work)
    }

    fn mark(&self) -> u64 {
        self.mark
    }
}

/// The prepared statements that are pings, and what is bound.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// Named ones, by the hashes of their names.
    named: Vec<(u64, PingForm)>,
    unnamed: Option<PingForm>,
    /// The unnamed statement was prepared in this round.
    is_fresh: bool,
    /// A named one was prepared in this round.
    names_one: bool,
    pub(super) bound: Option<PingForm>,
    is_bound: bool,
}

impl Statements {
    /// A Parse; says whether it can be shown.
    pub(super) fn prepare(&mut self, message: &Message<'_>) -> bool {
        let Some((name, form)) = message.parse() else {
            return false;
        };
        if name.is_empty() {
            self.unnamed = form;
            self.is_fresh = true;
            return form.is_some();
        }
        self.names_one = true;
        let name = hash(name);
        self.named.retain(|(it, _)| *it != name);
        if let Some(form) = form {
            if self.named.len() == STATEMENTS_MAX {
                self.named.remove(0);
            }
            self.named.push((name, form));
        }
        form.is_some()
    }

    /// A Bind; says whether it can be shown.
    pub(super) fn bind(&mut self, message: &Message<'_>) -> bool {
        self.bound = message.bind().and_then(|statement| match statement {
            b"" => self.unnamed,
            name => self.named_form(hash(name)),
        });
        self.is_bound = true;
        self.bound.is_some()
    }

    pub(super) fn close(&mut self, message: &Message<'_>) {
        if let Some(name) = message.closed_statement() {
            let name = hash(name);
            self.named.retain(|(it, _)| *it != name);
        }
    }

    /// What a round executes whose end was not captured.
    pub(super) fn about_to_run(&self) -> Option<PingForm> {
        match (self.is_bound, self.is_fresh, self.names_one) {
            (true, _, _) => self.bound,
            (false, true, false) => self.unnamed,
            (false, _, _) => None,
        }
    }

    pub(super) fn end_round(&mut self) {
        self.is_fresh = false;
        self.names_one = false;
        self.is_bound = false;
    }

    fn named_form(&self, name: u64) -> Option<PingForm> {
        let named = self.named.iter().find(|(it, _)| *it == name);
        named.map(|(_, form)| *form)
    }
}

/// FNV-1a: names are short, and a client that makes two of its own collide deceives itself.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
