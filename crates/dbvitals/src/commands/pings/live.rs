//! Listening to an interface for a while, or until a signal.

use std::time::Duration;

use anyhow::Context as _;
use dbvitals_probe::Clock;

use super::interface::Interface;
use crate::cli::PingsArgs;
use crate::commands::ending::Ending;
use crate::misuse::{Misuse, tell};
use crate::pings::Listener;

/// From one look to the next: packets come in batches, and the load is left alone in between.
const PAUSE: Duration = Duration::from_millis(5);

/// Hears an interface; says whether the kernel lost packets.
pub(super) fn listen(
    name: &str,
    args: &PingsArgs,
    listener: &mut Listener,
) -> anyhow::Result<bool> {
    let port = args
        .port
        .ok_or_else(|| Misuse("--interface needs --port".to_owned()))?;
    let open = Interface::open(name, port);
    let mut interface =
        open.map_err(|error| Misuse(format!("cannot listen to {name}: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(hear(&mut interface, args.patience, listener))?;
    let lost = interface.lost();
    if lost > 0 {
        tell(&format!(
            "the kernel had no room for {lost} packets; what is told is of the others"
        ));
    }
    Ok(lost > 0)
}

async fn hear(
    interface: &mut Interface,
    patience: Duration,
    listener: &mut Listener,
) -> anyhow::Result<()> {
    let clock = Clock::start();
    let deadline = clock.now() + patience;
    let mut ending = Ending::new().context("failed to listen for signals")?;
    tell("listening; Ctrl-C ends it and tells");
    loop {
        while interface.receive(|frame| {
            let _ = listener.hear(frame);
        })? {}
        if clock.now() >= deadline {
            return Ok(());
        }
        tokio::select! {
            _ = ending.wait() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
