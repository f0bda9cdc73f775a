//! A state directory of a test's own, with the control socket that an agent makes in it.

use std::fs;
use std::path::{Path, PathBuf};

/// A state directory that is removed with this value.
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    pub(crate) fn new(name: &str) -> Self {
        // A socket's path may have 107 bytes.
        let path = std::env::temp_dir().join(format!("dbv-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }

    pub(crate) fn section(&self) -> String {
        format!("[agent]\nstate_dir = \"{}\"\n", self.0.display())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // A directory too many does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
