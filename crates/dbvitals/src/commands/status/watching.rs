//! `status --watch`: the same, anew every second, until it is told to end.
//!
//! A terminal is drawn over; a file or a pipe gets a block whenever something changed, and with
//! `--json` a line per second. An agent that goes away is waited for.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use dbvitals_probe::Clock;
use rustix::termios::tcgetwinsize;

use super::document::Document;
use super::page::{ALARM, DIM, Page};
use super::picture::Picture;
use super::{exit, overview, page, write_json};
use crate::agent_client::AgentClient;
use crate::cli::StatusArgs;
use crate::commands::ending::Ending;
use crate::duration::rfc3339;
use crate::exit::Exit;
use crate::misuse::Misuse;

const EVERY: Duration = Duration::from_secs(1);

/// How it is shown.
#[derive(Debug)]
enum Display {
    /// One document per line.
    Json,
    /// Blocks, when what `seen` keeps has changed.
    Blocks { seen: String },
    /// A terminal that is drawn over.
    Screen(Screen),
}

/// What was shown last, for the time without an agent.
#[derive(Debug)]
struct Watching {
    display: Display,
    clock: Clock,
    last: Picture,
    /// Since when nobody answers, and why.
    silence: Option<(String, String)>,
}

/// Watches until a signal comes; ends as what was seen last has it.
pub(super) async fn watch(
    client: &AgentClient,
    first: Picture,
    clock: Clock,
    args: &StatusArgs,
    json: bool,
) -> anyhow::Result<Exit> {
    let mut ending = Ending::new()?;
    let display = match (json, io::stdout().is_terminal()) {
        (true, _) => Display::Json,
        (false, true) => Display::Screen(Screen::enter()?),
        (false, false) => Display::Blocks {
            seen: String::new(),
        },
    };
    let mut watching = Watching {
        display,
        clock,
        last: first,
        silence: None,
    };
    loop {
        watching.show()?;
        let taken = async {
            tokio::time::sleep(EVERY).await;
            Picture::take(client, &args.names).await
        };
        tokio::select! {
            _ = ending.wait() => break,
            taken = taken => watching.note(taken),
        }
    }
    Ok(match watching.silence {
        None => exit(&watching.last),
        Some(_) => Exit::Unknown,
    })
}

impl Watching {
    fn note(&mut self, taken: Result<Picture, Misuse>) {
        match taken {
            Ok(picture) => {
                self.last = picture;
                self.silence = None;
            }
            Err(Misuse(why)) => {
                let now = overview::time(&rfc3339(self.clock.wall(self.clock.now())));
                let since = self.silence.take().map_or(now, |(since, _)| since);
                self.silence = Some((since, why));
            }
        }
    }

    fn show(&mut self) -> io::Result<()> {
        let now = rfc3339(self.clock.wall(self.clock.now()));
        match &mut self.display {
            Display::Json => {
                let mut out = io::stdout().lock();
                let document = match &self.silence {
                    None => Document::of(&self.last),
                    Some((_, why)) => Document::of_silence(why),
                };
                write_json(&mut out, &document)?;
                out.flush()
            }
            Display::Blocks { seen } => {
                let next = match &self.silence {
                    None => essence(&self.last),
                    Some((since, _)) => format!("silence since {since}"),
                };
                if *seen == next {
                    return Ok(());
                }
                let is_first = seen.is_empty();
                *seen = next;
                let mut block = Page::default();
                if !is_first {
                    block.gap();
                }
                block.line([(DIM, overview::time(&now))]);
                let mut out = anstream::stdout().lock();
                block.write(&mut out, None)?;
                match &self.silence {
                    None => page(&self.last, self.clock).write(&mut out, None)?,
                    Some((_, why)) => writeln!(out, "{why}")?,
                }
                out.flush()
            }
            Display::Screen(screen) => {
                let mut shown = Page::default();
                if let Some((since, why)) = &self.silence {
                    shown.line([(ALARM, format!("cut off since {since}: {why}"))]);
                    shown.line([(DIM, "what follows was the case before".to_owned())]);
                    shown.gap();
                }
                screen.draw(shown, page(&self.last, self.clock))
            }
        }
    }
}

/// What has to change for another block: not the ages, and not the latencies.
fn essence(picture: &Picture) -> String {
    let mut essence = String::from("known");
    for service in &picture.services {
        let it = &service.told;
        essence += &format!(
            "\n{} {} {:?} {:?} {:?} {:?}",
            it.name, it.verdict, it.cause, it.fit, it.primaries, it.alarm
        );
    }
    for backend in &picture.backends {
        let it = &backend.told;
        essence += &format!(
            "\n{} {} {:?} {} {:?} {}",
            it.name,
            it.verdict,
            it.cause,
            it.admin,
            it.role,
            it.warning.is_some()
        );
    }
    essence
}

/// A terminal in its second screen, put back with this value.
#[derive(Debug)]
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        write!(out, "\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(Self)
    }

    fn draw(&self, mut notice: Page, page: Page) -> io::Result<()> {
        let size = tcgetwinsize(io::stdout()).ok();
        let size = size.map(|size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        let (rows, columns) = size
            .filter(|(rows, columns)| *rows > 0 && *columns > 0)
            .unwrap_or((24, 80));
        notice.append(page);
        if notice.len() > rows {
            let left_out = notice.len() - rows + 1;
            notice.cut(rows - 1);
            notice.line([(
                DIM,
                format!("… {left_out} lines more; name a server to see it alone"),
            )]);
        }
        let mut out = io::stdout().lock();
        let with_colours = AutoStream::choice(&out) != ColorChoice::Never;
        notice.draw(&mut out, columns, with_colours)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal is gone, there is nothing to put back.
        let mut out = io::stdout().lock();
        let _ = write!(out, "\x1b[?25h\x1b[?1049l");
        let _ = out.flush();
    }
}
