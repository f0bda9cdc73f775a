//! `top`: what the running agent thinks, in a terminal, as it happens.
//!
//! ```text
//!   agent ── events, answers ──▶ Feed ── News ──▶ Known ─┐
//!     ▲                                                  ├──▶ draw ──▶ Screen
//!     └── orders ── Clerk ◀── Deed ── View ◀── keys ─────┘
//! ```
//!
//! [`Known`] is what was told, [`View`] what a person wants to see of it;
//! drawing reads both, and nothing else. Nothing is concluded here but the exit code.

mod draw;
mod feed;
mod ink;
mod known;
mod order;
mod record;
mod rows;
mod screen;
mod strip;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use crossterm::event::{Event, EventStream};
use dbvitals_probe::Clock;
use futures_core::Stream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use self::feed::{News, Wanted};
use self::ink::Ink;
use self::known::Known;
use self::order::Order;
use self::screen::Screen;
use self::view::{Deed, View};
use super::ending::Ending;
use super::status;
use crate::agent_client::{self, AgentClient, Purpose};
use crate::cli::TopArgs;
use crate::exit::Exit;
use crate::misuse::Misuse;
use crate::password;

/// How often the screen may change by itself: fast enough to look live, slow enough for ssh.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// After so many of these it changes whatever happens, since ages grow.
const DRAWS_PER_SECOND: u32 = 10;
/// News that may wait while the terminal is slow.
const NEWS_MAX: usize = 256;
/// Orders that may be under way.
const ORDERS_MAX: usize = 4;

/// Where the loop hears from everybody else.
struct Desk {
    wanted: watch::Sender<Wanted>,
    news: mpsc::Receiver<News>,
    orders: mpsc::Sender<Order>,
    answers: mpsc::Receiver<String>,
}

/// Shows it until told to end.
pub(crate) fn run(args: &TopArgs, json: bool) -> anyhow::Result<Exit> {
    if json || !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        let why = "top needs a terminal; for pipes and programs there is `dbvitals status --watch`, with --json too";
        return Err(Misuse(why.to_owned()).into());
    }
    let token = args.token_file.as_deref().map(password::from_file);
    let token = token
        .transpose()
        .map_err(|error| Misuse(error.to_string()))?;
    let has_token = token.is_some() || args.agent.config.is_some();
    let clock = Clock::start();
    let reading = AgentClient::new(&args.agent, Purpose::Reading, token.clone(), clock)?;
    let ordering = AgentClient::new(&args.agent, Purpose::Orders, token, clock)?;
    agent_client::run(async {
        // Where nobody answers from the beginning, that is said in plain words.
        let picture = feed::picture(&reading).await?;
        let known = Known::new(picture, clock.wall(clock.now()), has_token);
        let (wanted, asked) = watch::channel(Wanted::default());
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (answer, answers) = mpsc::channel(ORDERS_MAX);
        let desk = Desk {
            wanted,
            news,
            orders,
            answers,
        };
        tokio::select! {
            ended = watch(known, desk, clock) => ended,
            never = feed::follow(&reading, asked, tell) => match never {},
            never = order::clerk(&ordering, taken, answer) => match never {},
        }
    })
}

/// Draws, and does what keys and signals ask for.
async fn watch(mut known: Known, mut desk: Desk, clock: Clock) -> anyhow::Result<Exit> {
    let mut signals = Signals::new().context("failed to listen to signals")?;
    let ink = Ink {
        colours: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
    };
    let mut screen = Screen::enter().context("failed to use the terminal")?;
    let mut view = View::default();
    let mut keys = EventStream::new();
    let mut frames = interval(DRAW_EVERY);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_due, mut idle) = (true, 0);
    loop {
        let now = clock.wall(clock.now());
        if is_due {
            view.settle(&known);
            desk.want(&view, known.agents(now));
            screen.draw(|frame| draw::draw(frame, &known, &mut view, ink, now))?;
            (is_due, idle) = (false, 0);
        }
        let deed = tokio::select! {
            biased;
            heard = signals.wait() => heard,
            event = next(&mut keys) => match event {
                Some(Ok(Event::Key(key))) => {
                    is_due = true;
                    view.press(key, &known)
                }
                Some(Ok(_)) => {
                    is_due = true;
                    None
                }
                // The terminal is gone.
                Some(Err(_)) | None => Some(Deed::Quit),
            },
            Some(answer) = desk.answers.recv() => {
                view.notice = Some(answer);
                is_due = true;
                None
            }
            _ = frames.tick() => {
                idle += 1;
                let has_news = desk.read(&mut known, now);
                is_due = has_news || idle >= DRAWS_PER_SECOND;
                None
            }
        };
        match deed {
            Some(Deed::Quit) => return Ok(known.exit()),
            Some(Deed::Suspend) => {
                screen.suspend()?;
                is_due = true;
            }
            Some(Deed::Give(order)) => {
                let sent = desk.orders.try_send(order);
                let refused = sent
                    .err()
                    .map(|_| "too many orders are under way; try again");
                view.notice = refused.map(str::to_owned).or(view.notice.take());
            }
            None => {}
        }
    }
}

impl Desk {
    /// Takes what came in; whether anything did.
    fn read(&mut self, known: &mut Known, now: std::time::SystemTime) -> bool {
        let mut has_news = false;
        while let Ok(news) = self.news.try_recv() {
            known.note(news, now);
            has_news = true;
        }
        has_news
    }

    /// Asks for the past that the view shows.
    fn want(&self, view: &View, now: std::time::SystemTime) {
        let next = view.wanted(now);
        self.wanted.send_if_modified(|wanted| {
            let is_other = !wanted.is_like(&next);
            if is_other {
                *wanted = next;
            }
            is_other
        });
    }
}

/// The next key, or a new size of the terminal. Cancel safe.
async fn next(keys: &mut EventStream) -> Option<io::Result<Event>> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *keys).poll_next(context)).await
}

/// The signals that a program on a whole terminal has to hear.
struct Signals {
    ending: Ending,
    hangup: Signal,
    quit: Signal,
    stop: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let stop = rustix::process::Signal::TSTP.as_raw();
        Ok(Self {
            ending: Ending::new()?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            stop: signal(SignalKind::from_raw(stop))?,
        })
    }

    /// Cancel safe.
    async fn wait(&mut self) -> Option<Deed> {
        tokio::select! {
            _ = self.ending.wait() => Some(Deed::Quit),
            _ = self.hangup.recv() => Some(Deed::Quit),
            _ = self.quit.recv() => Some(Deed::Quit),
            _ = self.stop.recv() => Some(Deed::Suspend),
        }
    }
}

impl Known {
    /// As `status` has it; nobody knows where the agent is silent.
    fn exit(&self) -> Exit {
        match self.silence {
            None => status::exit(&self.picture),
            Some(_) => Exit::Unknown,
        }
    }
}
