//! `demo`: the agent at work, with no database installed.
//!
//! Exit codes: one round ends with 0 when all that was concluded was right, with 2 when something
//! was not, and with 3 when it was interrupted before the end; the endless form ends with 0.

use anyhow::Context;

use super::ending::Ending;
use crate::cli::DemoArgs;
use crate::demo::{Show, Stage, Voice};
use crate::exit::Exit;

/// Runs one round, or until told to end.
pub(crate) fn run(args: &DemoArgs, json: bool) -> anyhow::Result<Exit> {
    let voice = match (json, args.open) {
        (_, true) => Voice::Address,
        (true, false) => Voice::Json,
        (false, false) => Voice::Story,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(perform(args.once, voice))
}

async fn perform(once: bool, voice: Voice) -> anyhow::Result<Exit> {
    let mut ending = Ending::new().context("failed to listen to signals")?;
    let (stage, told) = Stage::set_up().await?;
    let mut show = Show::new(stage, told, voice);
    let is_complete = tokio::select! {
        biased;
        _ = ending.wait() => false,
        played = show.run(once) => {
            played?;
            true
        }
    };
    let ledger = show.end().await?;
    Ok(match (once, ledger.wrong, is_complete) {
        (false, _, _) | (true, 0, true) => Exit::Fine,
        (true, 0, false) => Exit::Unknown,
        (true, _, _) => Exit::Critical,
    })
}
