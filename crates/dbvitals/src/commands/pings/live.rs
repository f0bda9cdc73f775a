//! Listening to an interface for a while, or until a signal.

use std::time::Duration;

use anyhow::Context as _;
use dbvitals_probe::Clock;

use super::interface::Interface;
use super::{Heard, Live};
use crate::cli::PingsArgs;
use crate::commands::ending::Ending;
use crate::misuse::{Misuse, tell};
use crate::pings::{Frame, Listener};

/// From one look to the next: packets come in batches, and the load is left alone in between.
const PAUSE: Duration = Duration::from_millis(5);

/// Hears an interface.
pub(super) fn listen(
    name: &str,
    args: &PingsArgs,
    listener: &mut Listener,
) -> anyhow::Result<Heard> {
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
    let took = runtime.block_on(hear(&mut interface, args.patience, listener))?;
    let lost = interface.lost();
    if lost > 0 {
        tell(&format!(
            "the kernel had no room for {lost} packets; what is told is of the others"
        ));
    }
    Ok(Heard {
        whole: lost == 0,
        live: Some(Live { took, lost }),
    })
}

/// Hears until the time is up or a signal comes; returns how long that was.
async fn hear(
    interface: &mut Interface,
    patience: Duration,
    listener: &mut Listener,
) -> anyhow::Result<Duration> {
    let clock = Clock::start();
    let started = clock.now();
    let mut ending = Ending::new().context("failed to listen for signals")?;
    tell("listening; Ctrl-C ends it and tells");
    let mut hear = |frame: Frame<'_>| {
        let _ = listener.hear(frame);
    };
    loop {
        interface.receive_waiting(&mut hear)?;
        let took = clock.now().since(started);
        if took >= patience {
            return Ok(took);
        }
        tokio::select! {
            _ = ending.wait() => {
                interface.receive_waiting(&mut hear)?;
                return Ok(clock.now().since(started));
            }
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
