//! What one probe says to people and to programs: the ladder, the document, the plugin's line.
//!
//! An observation comes in with its target; a [`Finding`] adds what follows for somebody who asks
//! once: a verdict without history, an exit code, a remedy.

mod document;
mod ladder;
mod nagios;
mod remedy;

use dbvitals_verdict::{Cause, Class, Depth, Observation, Outcome, Verdict};

use crate::exit::Exit;
use crate::target_url::TargetUrl;

pub(crate) use document::{PhaseEntry, ServerEntry, document, rounded_ms};
pub(crate) use ladder::{colour, print_ladder};
pub(crate) use nagios::plugin_line;
pub(crate) use remedy::remedy;

/// One answer to one question.
#[derive(Debug)]
pub(crate) struct Finding<'a> {
    pub(crate) target: &'a TargetUrl,
    pub(crate) depth: Depth,
    pub(crate) observation: &'a Observation,
}

impl Finding<'_> {
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.observation.outcome.cause()
    }

    /// The verdict on the evidence of this one probe.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.observation.outcome {
            Outcome::Pass => Verdict::Up,
            Outcome::Fail(cause) => match cause.default_class() {
                Class::Dead | Class::Unfit => Verdict::Down,
                Class::Full | Class::Slow => Verdict::Degraded,
                Class::Ours if self.observation.proves_a_server() => Verdict::Degraded,
                Class::Ours => Verdict::Unknown,
                Class::Passing => Verdict::Up,
            },
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.observation.outcome {
            Outcome::Pass => Exit::Fine,
            Outcome::Fail(cause) => match cause.default_class() {
                Class::Dead | Class::Unfit => Exit::Critical,
                Class::Full | Class::Slow => Exit::Warning,
                Class::Ours => Exit::Unknown,
                Class::Passing => Exit::Fine,
            },
        }
    }

    /// What happened, in one sentence.
    pub(crate) fn detail(&self) -> String {
        match self.cause() {
            None => format!(
                "{} in {}",
                self.depth,
                crate::duration::show(self.observation.took())
            ),
            Some(cause) => match &self.observation.detail {
                Some(detail) => format!("{} {}", cause.meaning(), sentence(detail)),
                None => cause.meaning().to_owned(),
            },
        }
    }
}

/// Makes a sentence of a fragment.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let capital = letters.next().map(|first| first.to_uppercase().to_string());
    let end = match text.ends_with(['.', '!', '?']) {
        true => "",
        false => ".",
    };
    format!("{}{}{end}", capital.unwrap_or_default(), letters.as_str())
}
