//! Asks the agent, and listens to it: what it tells becomes [`News`].
//!
//! Where the agent tells of changes as they happen, it is asked for all of it only now and then,
//! and at once when something changed; else every second. An agent that goes away is asked again
//! until it is back. The past is asked for where it is kept; an agent that keeps none has no such
//! paths, and is not asked again.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent_client::{AgentClient, Event, Hearing, segment};
use crate::commands::status::{Change, Picture, Seen};
use crate::duration::{moment, rfc3339};
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
/// Transitions asked for at the beginning, and of the past at a time.
const TRANSITIONS_MAX: usize = 1000;
/// How often more of the past is asked for, one time after the other.
const PAGES_MAX: usize = 20;
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
    /// What is known of the past.
    Past(Past),
    /// What is kept of the latencies of one backend.
    Minutes { of: String, minutes: Vec<Minute> },
    /// What one path saw.
    Sample(Box<Sample>),
    /// Nobody answers, and why.
    Silence(String),
}

/// A part of the past: the newest that was not told yet.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) changes: Vec<Change>,
    /// Since when these are all there were.
    pub(super) since: Option<SystemTime>,
    /// Whether it goes on to now.
    pub(super) is_newest: bool,
    /// Since when transitions are kept, where they are.
    pub(super) kept_since: Option<String>,
    /// From when to when an agent kept them.
    pub(super) runs: Vec<(SystemTime, SystemTime)>,
}

/// One observation, schema `dbvitals.observation.v1`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sample {
    pub(super) backend: String,
    pub(super) path: String,
    /// Of the newest proof, which this one need not be.
    pub(super) evidence_age_ms: Option<u64>,
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
    complete: bool,
    runs: Vec<Run>,
    transitions: Vec<Change>,
    points: Vec<Minute>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Run {
    began: String,
    seen: String,
}

/// Which past is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// The backend whose latencies are.
    pub(super) latency_of: Option<String>,
    /// How much of the time line.
    pub(super) span: Duration,
    pub(super) since: Option<SystemTime>,
}

impl Wanted {
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
) -> Infallible {
    let mut feed = Feed {
        client,
        wanted,
        news,
        keeps_past: true,
        told_since: None,
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
    /// Whether this agent keeps a past, as far as is known.
    keeps_past: bool,
    /// Since when all of its past was told.
    told_since: Option<SystemTime>,
}

impl Feed<'_> {
    /// Follows an agent until it does not answer.
    async fn attend(&mut self) -> Result<Infallible, Misuse> {
        let session = self.client.open().await?;
        let mut hearing = session.listen("/api/v1/events").await.ok();
        // After the stream, so that nothing happens between the two.
        let picture = picture(self.client).await?;
        let memory = memory(&picture);
        self.tell(News::Picture(Box::new(picture))).await;
        self.tell(News::Live(hearing.is_some())).await;
        (self.keeps_past, self.told_since) = (true, None);
        self.tell_past().await?;
        if !self.keeps_past {
            self.tell(News::Past(memory)).await;
        }
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

    /// Tells the transitions of the time line, as far as they were not told: the newest first.
    async fn tell_past(&mut self) -> Result<(), Misuse> {
        let wanted = self.wanted.borrow_and_update().clone();
        let Some(mut since) = wanted.since.filter(|_| self.keeps_past) else {
            return Ok(());
        };
        for _ in 0..PAGES_MAX {
            let until = self.told_since;
            if until.is_some_and(|until| until <= since) {
                break;
            }
            let kept: Option<Kept> = self.ask(&path_of_past(since, until)).await?;
            self.keeps_past = kept.is_some();
            let Some(kept) = kept else {
                break;
            };
            let kept_since = kept.kept_since.as_deref().and_then(moment);
            if let Some(kept_since) = kept_since.filter(|it| *it > since && !kept.complete) {
                // Not complete for that alone, or because there were too many as well: asked so,
                // it says which.
                since = kept_since;
                continue;
            }
            let past = kept.past(since, until.is_none());
            let told_since = past.since;
            self.tell(News::Past(past)).await;
            if told_since == until {
                break;
            }
            self.told_since = told_since;
        }
        Ok(())
    }

    /// Tells the latencies of the backend that is shown: of the last hour, by the agent's clock,
    /// where nobody says since when.
    async fn tell_minutes(&mut self) -> Result<(), Misuse> {
        let Some(of) = self.wanted.borrow().latency_of.clone() else {
            return Ok(());
        };
        let path = format!("/api/v1/history/latency?of={}&step=1m", segment(&of));
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

impl Kept {
    /// What was told of the past since then.
    fn past(self, since: SystemTime, is_newest: bool) -> Past {
        // Of too many the newest are told; then what was before them is still to be asked for.
        let first = self.transitions.first().and_then(|it| moment(&it.at));
        let runs = self.runs.iter();
        Past {
            since: match (self.complete, first) {
                (false, Some(first)) => Some(first),
                (_, _) => Some(since),
            },
            is_newest,
            runs: runs
                .filter_map(|run| Some((moment(&run.began)?, moment(&run.seen)?)))
                .collect(),
            changes: self.transitions,
            kept_since: self.kept_since,
        }
    }
}

/// The past of an agent that keeps none: what it remembers itself, since it began or as many
/// transitions ago as it tells.
fn memory(picture: &Picture) -> Past {
    let oldest = picture.transitions.first();
    let since = match picture.transitions.len() < TRANSITIONS_MAX {
        true => picture.agent.started.as_deref(),
        false => oldest.map(|it| it.told.at.as_str()),
    };
    Past {
        since: since.and_then(moment),
        is_newest: true,
        ..Past::default()
    }
}

fn path_of_past(since: SystemTime, until: Option<SystemTime>) -> String {
    let since = rfc3339(since);
    let until = until.map_or_else(String::new, |until| format!("&until={}", rfc3339(until)));
    format!("/api/v1/history/transitions?since={since}{until}&max={TRANSITIONS_MAX}")
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
