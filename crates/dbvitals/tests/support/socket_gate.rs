//! A gate at a unix socket from the outside: a file that can be connected to, or is not there.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The path of a gate, in the temporary directory because it has to be short; what is left there
/// is removed with this value.
#[derive(Debug)]
pub(crate) struct SocketGate(PathBuf);

impl SocketGate {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("dbv-{}-{name}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// As it stands behind `listen`.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    /// What a connect meets: `None` where it succeeds.
    pub(crate) fn refusal(&self) -> Option<ErrorKind> {
        UnixStream::connect(&self.0).err().map(|error| error.kind())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.refusal().is_none()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.refusal() == Some(ErrorKind::NotFound)
    }
}

impl Drop for SocketGate {
    fn drop(&mut self) {
        // An agent that ended well has removed it.
        let _ = fs::remove_file(&self.0);
    }
}
