//! What is compared with and has to be built first: C programs of `bench/peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The built peers.
#[derive(Debug)]
pub(crate) struct Peers {
    directory: PathBuf,
}

/// The programs, each from the file of its name.
const PROGRAMS: [&str; 2] = ["server", "bare_loop"];

impl Peers {
    /// Builds them with `cc`, optimised as our own release is.
    pub(crate) fn build(directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.join("peers");
        fs::create_dir_all(&directory)?;
        for program in PROGRAMS {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("peers/{program}.c"));
            let built = Command::new("cc")
                .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
                .arg(directory.join(program))
                .arg(&source)
                .args(["-lssl", "-lcrypto"])
                .status()
                .context("failed to run cc; scripts/servers --bench installs it")?;
            ensure!(
                built.success(),
                "cc refused {}; scripts/servers --bench installs OpenSSL's headers",
                source.display()
            );
        }
        Ok(Self { directory })
    }

    /// Runs one of them.
    pub(crate) fn command(&self, program: &str) -> Command {
        Command::new(self.directory.join(program))
    }
}
