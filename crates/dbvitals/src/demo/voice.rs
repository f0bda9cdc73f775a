//! Tells on standard output what happens, as it happens: to people, or to programs.

use std::io::{self, Write};

use dbvitals_verdict::Moment;

use crate::demo::outcome::{Ledger, Outcome};
use crate::demo::script::Scene;
use crate::demo::stage::Stage;
use crate::demo::{json, story};

/// In which words it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Sentences, and a table at the end.
    Story,
    /// One object per line, schema `dbvitals.demo.v1`.
    Json,
    /// The address of the page, and then nothing.
    Address,
}

impl Voice {
    pub(crate) fn tell_opening(self, stage: &Stage) -> io::Result<()> {
        self.tell(|out| match self {
            Self::Story => story::write_opening(out, stage),
            Self::Json => json::write_opening(out, stage),
            Self::Address => writeln!(out, "{}", stage.page()),
        })
    }

    pub(crate) fn tell_scene(self, at: Moment, scene: &Scene) -> io::Result<()> {
        self.tell(|out| match self {
            Self::Story => story::write_scene(out, at, scene),
            Self::Json => json::write_scene(out, at, scene),
            Self::Address => Ok(()),
        })
    }

    pub(crate) fn tell_outcome(self, outcome: &Outcome) -> io::Result<()> {
        self.tell(|out| match self {
            Self::Story => story::write_outcome(out, outcome),
            Self::Json => json::write_outcome(out, outcome),
            Self::Address => Ok(()),
        })
    }

    pub(crate) fn tell_end(self, at: Moment, ledger: &Ledger) -> io::Result<()> {
        self.tell(|out| match self {
            Self::Story => story::write_end(out, ledger),
            Self::Json => json::write_end(out, at, ledger),
            Self::Address => Ok(()),
        })
    }

    fn tell(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        write(&mut out)?;
        out.flush()
    }
}
