//! What a row is given: how long and how often to measure, and the programs, built.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::peers::Peers;

/// The words by which cargo builds `dbvitals`.
pub(crate) const BUILD: [&str; 5] = ["build", "--release", "--locked", "--package", "dbvitals"];

/// What a row is given.
#[derive(Debug)]
pub(crate) struct Bench {
    /// How often each side runs.
    pub(crate) rounds: u32,
    /// How long a run measures, where it is the row's to choose.
    pub(crate) window: Duration,
    /// How many sessions, instead of the row's own numbers.
    pub(crate) sessions: Option<u32>,
    /// What a case's name has to have in it, where a row has many.
    pub(crate) only: Option<String>,
    pub(crate) peers: Peers,
    /// `dbvitals`, in release.
    pub(crate) program: PathBuf,
    /// A directory for configurations, sockets and the like; emptied at each start.
    pub(crate) scratch: PathBuf,
}

impl Bench {
    /// Builds what is measured and raises our descriptor limit, which children inherit.
    pub(crate) fn prepare(
        rounds: Option<u32>,
        seconds: Option<u32>,
        sessions: Option<u32>,
        only: Option<String>,
    ) -> anyhow::Result<Self> {
        raise_descriptor_limit()?;
        let here = env::current_exe().context("failed to find this program")?;
        let target = here.parent().context("a program is in a directory")?;
        let program = build_program(target)?;
        let scratch = target.join("bench-scratch");
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        fs::create_dir_all(&scratch)?;
        Ok(Self {
            rounds: rounds.unwrap_or(5),
            window: Duration::from_secs(u64::from(seconds.unwrap_or(10))),
            sessions,
            only,
            peers: Peers::build(target)?,
            program,
            scratch,
        })
    }

    /// Whether a case of this name is asked for.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|only| case.contains(only))
    }

    /// The row's own numbers of sessions, or the one that was asked for.
    pub(crate) fn sessions_or(&self, own: &[u32]) -> Vec<u32> {
        self.sessions.map_or_else(|| own.to_vec(), |it| vec![it])
    }
}

/// Builds `dbvitals` in the directory where this program was built.
fn build_program(target: &Path) -> anyhow::Result<PathBuf> {
    cargo(target.parent().unwrap_or(target), &BUILD)?;
    Ok(target.join("dbvitals"))
}

/// Runs cargo on this repository with a target directory.
pub(crate) fn cargo(target: &Path, words: &[&str]) -> anyhow::Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo says of this package to whom it runs would have others built anew.
    let of_ours = |key: &OsString| {
        let key = key.to_string_lossy();
        key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")
    };
    for (key, _) in env::vars_os().filter(|(key, _)| of_ours(key)) {
        cargo.env_remove(key);
    }
    let status = cargo
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target)
        .status()
        .context("failed to run cargo")?;
    ensure!(status.success(), "cargo {words:?} failed");
    Ok(())
}

fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).context("failed to raise the descriptor limit")
}
