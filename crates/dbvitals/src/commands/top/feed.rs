//! Asks the agent, and listens to it: what it tells becomes [`News`].
//!
//! Where the agent tells of changes as they happen, it is asked for all of it only now and then,
//! and at once when something changed; else every second. An agent that goes away is asked again
//! until it is back. The past is asked for where it is kept; an agent that keeps none has no such
//! paths, and is not asked again.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use dbvitals_probe::Clock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::view::View;
use crate::agent_client::{AgentClient, Event, Hearing, segment};
use crate::commands::status::{Change, Picture, Seen};
use crate::duration::rfc3339;
use crate::misuse::Misuse;

/// How often all is asked for where changes are told as they happen.
const ASK_EVERY_WHEN_LIVE: Duration = Duration::from_secs(5);
/// How often it is where they are not.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How soon after a change; several often come together.
const ASK_AFTER_CHANGE: Duration = Duration::from_millis(30);
/// How soon an agent that does not answer is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How often the minutes of one backend are.
const MINUTES_EVERY: Duration = Duration::from_secs(60);
/// Transitions asked for at the beginning.
const TRANSITIONS_MAX: usize = 1000;
/// Transitions asked for later, when the others are known.
const NEWEST_MAX: usize = 100;

/// What was told.
#[derive(Debug)]
pub(super) enum News {
    /// All that is the case.
    Picture(Box<Picture>),
    /// Whether changes are told as they happen.
    Live(bool),
    /// One change.
    Transition(Box<Change>),
    /// What is kept of the past.
    Past {
        changes: Vec<Change>,
        since: Option<String>,
    },
    /// What is kept of the latencies of one backend.
    Minutes { of: String, minutes: Vec<Minute> },
    /// What one path saw.
    Sample(Box<Sample>),
    /// Nobody answers, and why.
    Silence(String),
}

/// One observation, schema `dbvitals.observation.v1`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sample {
    pub(super) backend: String,
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) seen: Seen,
}

/// The latencies of one minute, schema `dbvitals.history_latency.v1`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Minute {
    pub(super) path: String,
    pub(super) phase: String,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kept {
    kept_since: Option<String>,
    transitions: Vec<Change>,
    points: Vec<Minute>,
}

/// Which past is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// The backend whose latencies are.
    latency_of: Option<String>,
    /// How much of the time line.
    span: Duration,
    since: Option<SystemTime>,
}

impl Wanted {
    pub(super) fn of(view: &View, now: SystemTime) -> Self {
        let key = view.selected.as_ref().filter(|key| !key.is_service);
        Self {
            latency_of: key.map(|key| key.name.clone()),
            span: view.span(),
            since: now.checked_sub(view.span()),
        }
    }

    /// Whether the same past is wanted, a moment later.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.latency_of == other.latency_of && self.span == other.span
    }
}

/// All that is the case.
pub(super) async fn picture(client: &AgentClient) -> Result<Picture, Misuse> {
    Picture::take_with(client, &[], TRANSITIONS_MAX).await
}

/// Tells what the agent does, for ever. Where nobody reads the news any more, it waits.
pub(super) async fn follow(
    client: &AgentClient,
    wanted: watch::Receiver<Wanted>,
    news: mpsc::Sender<News>,
    clock: Clock,
) -> Infallible {
    let mut feed = Feed {
        client,
        wanted,
        news,
        clock,
        keeps_past: true,
    };
    loop {
        let why = match feed.attend().await {
            Err(Misuse(why)) => why,
            Ok(never) => match never {},
        };
        feed.tell(News::Silence(why)).await;
        sleep(RETRY_AFTER).await;
    }
}

struct Feed<'a> {
    client: &'a AgentClient,
    wanted: watch::Receiver<Wanted>,
    news: mpsc::Sender<News>,
    clock: Clock,
    /// Whether this agent keeps a past, as far as is known.
    keeps_past: bool,
}

impl Feed<'_> {
    /// Follows an agent until it does not answer.
    async fn attend(&mut self) -> Result<Infallible, Misuse> {
        let session = self.client.open().await?;
        let mut hearing = session.listen("/api/v1/events").await.ok();
        // After the stream, so that nothing happens between the two.
        let picture = picture(self.client).await?;
        self.tell(News::Picture(Box::new(picture))).await;
        self.tell(News::Live(hearing.is_some())).await;
        self.keeps_past = true;
        self.tell_past().await?;
        let mut ask_at = Instant::now() + pace(&hearing);
        let mut minutes_at = Instant::now();
        loop {
            tokio::select! {
                event = next(&mut hearing) => match event {
                    Some(event) => {
                        if self.tell_event(&event).await {
                            ask_at = ask_at.min(Instant::now() + ASK_AFTER_CHANGE);
                        }
                    }
                    None => {
                        // It ends, or has too many listeners.
                        hearing = None;
                        self.tell(News::Live(false)).await;
                        ask_at = Instant::now();
                    }
                },
                () = sleep_until(ask_at) => {
                    self.tell_picture().await?;
                    ask_at = Instant::now() + pace(&hearing);
                    if hearing.is_none() {
                        let session = self.client.open().await?;
                        hearing = session.listen("/api/v1/events").await.ok();
                        self.tell(News::Live(hearing.is_some())).await;
                    }
                }
                () = sleep_until(minutes_at), if self.keeps_past => {
                    self.tell_minutes().await?;
                    minutes_at = Instant::now() + MINUTES_EVERY;
                }
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    minutes_at = Instant::now();
                    self.tell_past().await?;
                }
            }
        }
    }

    async fn tell_picture(&self) -> Result<(), Misuse> {
        let picture = Picture::take_with(self.client, &[], NEWEST_MAX).await?;
        self.tell(News::Picture(Box::new(picture))).await;
        Ok(())
    }

    /// Passes an event on; whether things may be otherwise now than was told.
    async fn tell_event(&self, event: &Event) -> bool {
        match event.name.as_str() {
            "transition" => {
                if let Some(change) = read(&event.data) {
                    self.tell(News::Transition(Box::new(change))).await;
                }
                true
            }
            "observation" => {
                if let Some(sample) = read(&event.data) {
                    self.tell(News::Sample(Box::new(sample))).await;
                }
                false
            }
            "lost" => true,
            _ => false,
        }
    }

    /// Tells the transitions of the time line.
    async fn tell_past(&mut self) -> Result<(), Misuse> {
        let wanted = self.wanted.borrow_and_update().clone();
        let Some(since) = wanted.since.filter(|_| self.keeps_past) else {
            return Ok(());
        };
        let since = rfc3339(since);
        let path = format!("/api/v1/history/transitions?since={since}&max={TRANSITIONS_MAX}");
        let kept: Option<Kept> = self.ask(&path).await?;
        self.keeps_past = kept.is_some();
        if let Some(kept) = kept {
            let past = News::Past {
                changes: kept.transitions,
                since: kept.kept_since,
            };
            self.tell(past).await;
        }
        Ok(())
    }

    /// Tells the latencies of the last hour of the backend that is shown.
    async fn tell_minutes(&mut self) -> Result<(), Misuse> {
        let of = self.wanted.borrow().latency_of.clone();
        let now = self.clock.wall(self.clock.now());
        let since = now.checked_sub(Duration::from_secs(3600));
        let (Some(of), Some(since)) = (of, since) else {
            return Ok(());
        };
        let since = rfc3339(since);
        let path = format!(
            "/api/v1/history/latency?of={}&since={since}&step=1m",
            segment(&of)
        );
        let kept: Option<Kept> = self.ask(&path).await?;
        if let Some(kept) = kept {
            let minutes = kept.points;
            self.tell(News::Minutes { of, minutes }).await;
        }
        Ok(())
    }

    /// Asks for JSON; none where the agent has no such path.
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Misuse> {
        let mut session = self.client.open().await?;
        let answer = session.get(path).await?;
        Ok(match answer.status {
            200 => read(&answer.body),
            _ => None,
        })
    }

    async fn tell(&self, news: News) {
        if self.news.send(news).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn pace(hearing: &Option<Hearing>) -> Duration {
    match hearing {
        Some(_) => ASK_EVERY_WHEN_LIVE,
        None => ASK_EVERY,
    }
}

/// The next event of a stream that is there; else waits for ever. Cancel safe.
async fn next(hearing: &mut Option<Hearing>) -> Option<Event> {
    match hearing {
        Some(hearing) => hearing.next().await,
        None => std::future::pending().await,
    }
}

/// What cannot be read is left out: it is another agent's, of another time.
fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}
