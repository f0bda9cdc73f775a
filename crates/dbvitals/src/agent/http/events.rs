//! What happens, as it happens: `GET /api/v1/events`, server-sent events; and what happened,
//! `GET /api/v1/transitions`.
//!
//! A stream is fed from a bounded queue and told what it lost. Nothing of it is waited for by the
//! agent, at its end neither.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::sleep;

use super::history::{Event, Hearing, KEPT_MAX, LISTENERS_MAX};
use super::server::Ending;
use super::{Desk, given_twice, refuse, refuse_backend};

/// How long a stream may be silent, so that proxies keep it and both sides learn of a lost one.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(15);
/// How many transitions are told where nobody says.
const TOLD_DEFAULT: usize = 100;

/// What is asked of transitions.
#[derive(Debug, Default)]
struct Question {
    of: Option<String>,
    max: Option<usize>,
}

impl Question {
    /// Reads the parameters; `max` where it is known.
    fn read(asked: Vec<(String, String)>, with_max: bool) -> Result<Self, Box<Response>> {
        let mut question = Self::default();
        let refused = |error, detail| Box::new(refuse(StatusCode::BAD_REQUEST, error, detail));
        if let Some((error, detail)) = given_twice(&asked) {
            return Err(refused(error, detail));
        }
        for (key, value) in asked {
            match key.as_str() {
                "of" => question.of = Some(value),
                "max" if with_max => {
                    let max = value
                        .parse()
                        .ok()
                        .filter(|max| (1..=KEPT_MAX).contains(max));
                    let wrong = || format!("max: {value:?} is no number from 1 to {KEPT_MAX}");
                    question.max = Some(max.ok_or_else(|| refused("wrong_parameter", wrong()))?);
                }
                _ => {
                    let known = if with_max { "of and max" } else { "of" };
                    let detail = format!("{key}= is not known here; known: {known}");
                    return Err(refused("unknown_parameter", detail));
                }
            }
        }
        Ok(question)
    }

    /// Refuses a backend that nobody ever heard of.
    fn check(&self, desk: &Desk) -> Result<(), Box<Response>> {
        match &self.of {
            Some(name) if desk.board.backend(name).is_none() && !desk.history.knows(name) => {
                Err(Box::new(refuse_backend(name, &desk.board)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// `GET /api/v1/transitions`
pub(super) async fn transitions(
    State(desk): State<Desk>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    let question = Question::read(asked, true);
    let question = question.and_then(|it| it.check(&desk).map(|()| it));
    match question {
        Ok(question) => {
            let max = question.max.unwrap_or(TOLD_DEFAULT);
            let body = desk.history.transitions(question.of.as_deref(), max);
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(refused) => *refused,
    }
}

/// `GET /api/v1/events`
pub(super) async fn events(
    State(desk): State<Desk>,
    Query(asked): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let question = Question::read(asked, false);
    let question = match question.and_then(|it| it.check(&desk).map(|()| it)) {
        Ok(question) => question,
        Err(refused) => return *refused,
    };
    let Ok(permit) = Arc::clone(&desk.history.listeners).try_acquire_owned() else {
        let detail = format!("{LISTENERS_MAX} streams are open, and more are not served");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
    };
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let Hearing { missed, live } = desk.history.listen(question.of.as_deref(), last_id);
    let feed = Feed {
        of: question.of,
        missed,
        live,
        ending: desk.history.ending.clone(),
        _permit: permit,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::new(Stream::of(feed))).into_response()
}

/// Where one stream takes its events from.
#[derive(Debug)]
struct Feed {
    of: Option<String>,
    missed: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    ending: Ending,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// The next that is said, until the agent ends.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(missed) = self.missed.pop_front() {
            return Some((missed.frame.clone(), self));
        }
        let mut silent = std::pin::pin!(sleep(SIGN_OF_LIFE_EVERY));
        let frame = loop {
            tokio::select! {
                biased;
                () = self.ending.come() => return None,
                heard = self.live.recv() => match heard {
                    Ok(event) if event.concerns(self.of.as_deref()) => break event.frame.clone(),
                    Ok(_) => {}
                    Err(RecvError::Lagged(lost)) => break Event::lost(lost).frame,
                    Err(RecvError::Closed) => return None,
                },
                () = &mut silent => break Bytes::from_static(b": still here\n\n"),
            }
        };
        Some((frame, self))
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Feed)>> + Send>>;

/// The body of a stream.
struct Stream {
    /// `None` at the end.
    next: Option<Next>,
}

impl Stream {
    fn of(feed: Feed) -> Self {
        Self {
            next: Some(Box::pin(feed.next())),
        }
    }
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let said = ready!(next.as_mut().poll(context));
        let (frame, next) = said.map_or((None, None), |(frame, feed)| {
            let next: Next = Box::pin(feed.next());
            (Some(Ok(Frame::data(frame))), Some(next))
        });
        self.next = next;
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::Clock;

    use super::*;
    use crate::agent::http::history::History;

    fn feed(history: &History, of: Option<&str>) -> Feed {
        let Hearing { missed, live } = history.listen(of, None);
        let permit = Arc::clone(&history.listeners).try_acquire_owned();
        Feed {
            of: of.map(str::to_owned),
            missed,
            live,
            ending: history.ending.clone(),
            _permit: permit.unwrap(),
        }
    }

    fn event(of: &str, number: usize) -> Event {
        Event::passing("test", Some(of.into()), &number)
    }

    async fn hear(feed: &mut Option<Feed>) -> Option<String> {
        let (frame, next) = feed.take()?.next().await?;
        *feed = Some(next);
        Some(String::from_utf8(frame.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_too_slow_loses_the_oldest_and_is_told() {
        let (_end, ending) = Ending::new();
        let history = History::new(Clock::start(), ending);
        let mut feed = Some(feed(&history, None));
        for number in 0..1030 {
            history.tell(event("one", number));
        }
        let lost = hear(&mut feed).await.unwrap();
        assert_eq!(lost, "event: lost\ndata: {\"lost\":6}\n\n");
        assert_eq!(hear(&mut feed).await.unwrap(), "event: test\ndata: 6\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_that_it_lives_whatever_others_are_told() {
        let (_end, ending) = Ending::new();
        let history = History::new(Clock::start(), ending);
        let mut feed = Some(feed(&history, Some("one")));
        let others = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                history.tell(event("other", 1));
            }
        };
        let before = tokio::time::Instant::now();
        let heard = tokio::select! {
            heard = hear(&mut feed) => heard,
            () = others => None,
        };
        assert_eq!(heard.as_deref(), Some(": still here\n\n"));
        assert!(before.elapsed() >= SIGN_OF_LIFE_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_the_agent() {
        let (end, ending) = Ending::new();
        let history = History::new(Clock::start(), ending);
        let mut feed = Some(feed(&history, None));
        end.send_replace(true);
        assert_eq!(hear(&mut feed).await, None);
        assert!(feed.is_none());
    }
}
