//! Where passwords come from: files, the environment, systemd credentials, and URLs.
//!
//! A password goes from its source straight into a [`SecretString`]; nothing prints it, and error
//! sentences name the source, never the content.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// The variable that holds a password where nothing else does.
pub(crate) const VARIABLE: &str = "DBVITALS_PASSWORD";

/// Why a password could not be had; reads as a sentence with its remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// The file cannot be read.
    #[error(
        "cannot read {}: {reason}; the file must exist and be readable by the user that runs dbvitals",
        path.display()
    )]
    Unreadable { path: PathBuf, reason: String },
    /// The file is empty.
    #[error("{} is empty; write the password or the token into its first line", path.display())]
    Empty { path: PathBuf },
    /// The variable is not set.
    #[error("the environment variable {0} is not set; set it, or use password_file")]
    NoVariable(String),
}

/// Reads the first line of a file.
pub(crate) fn from_file(path: &Path) -> Result<SecretString, PasswordError> {
    let text = fs::read_to_string(path).map_err(|error| PasswordError::Unreadable {
        path: path.to_owned(),
        reason: dbvitals_probe::plain(&error),
    })?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(SecretString::from(line.to_owned())),
        Some(_) | None => Err(PasswordError::Empty {
            path: path.to_owned(),
        }),
    }
}

/// Reads a variable.
pub(crate) fn from_variable(name: &str) -> Result<SecretString, PasswordError> {
    env::var(name)
        .map(SecretString::from)
        .map_err(|_| PasswordError::NoVariable(name.to_owned()))
}

/// The password for a target that names no source: `DBVITALS_PASSWORD`, or a systemd credential
/// that bears the target's name.
pub(crate) fn ambient(name: &str) -> Result<Option<SecretString>, PasswordError> {
    if let Ok(password) = from_variable(VARIABLE) {
        return Ok(Some(password));
    }
    let credential = env::var_os("CREDENTIALS_DIRECTORY")
        .map(|directory| PathBuf::from(directory).join(name))
        .filter(|path| path.is_file());
    credential.map(|path| from_file(&path)).transpose()
}
