//! What a person got wrong, and how a person is told: one sentence on standard error.

use std::fmt;

use crate::journal;

/// What a person got wrong: one sentence on standard error, exit code 3.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

impl From<String> for Misuse {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

/// Writes to standard error what ended a command.
pub(crate) fn tell_failure(error: &str) {
    let told = format!("dbvitals: {error}");
    anstream::eprintln!("{}", journal::marked(&told));
}

/// Writes a sentence to standard error, as all commands do.
pub(crate) fn tell(sentence: &str) {
    anstream::eprintln!("dbvitals: {sentence}");
}
