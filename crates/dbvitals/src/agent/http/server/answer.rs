//! The body of an answer on its way: while it is sent, its request is under way.
//!
//! A page about thousands of backends has megabytes. It is handed on in slices as it is read, not
//! for ever, and the pages under way have a bound together: or else clients that hardly read would
//! fill the memory with them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Method;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task;
use tokio::time::{self, Sleep};

use super::places::Work;
use crate::agent::history::ANSWER_BYTES_MAX;

/// How much the pages under way at one door may have together, in slices.
const ALL_SLICES_MAX: usize = 1024;
/// How much an answer from the history may have: what it tells, and what is around that.
const PAST_SLICES: usize = ANSWER_BYTES_MAX.div_ceil(SLICE) + 2;
/// How much of it all is for the history. Several of its answers come to be at a time, so each has all
/// that it may need from the start; those who wait for that are nobody else's matter.
const PAST_SLICES_MAX: usize = 3 * PAST_SLICES;
/// How much the pages have that are made one after the other; the last one made may go beyond. A page
/// of a few backends is one slice, so as long as all are small nobody ever waits.
const SLICES_MAX: usize = ALL_SLICES_MAX - PAST_SLICES_MAX;
/// How long a question for a page waits for those before it.
const PAGE_STARTS_WITHIN: Duration = Duration::from_secs(10);
/// How long a page may take to be read.
const PAGE_READ_WITHIN: Duration = Duration::from_secs(30);
/// What is handed on at a time.
const SLICE: usize = 64 * 1024;

/// The pages under way at one door.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    slices: Arc<Semaphore>,
    /// The same for answers from the history.
    past_slices: Arc<Semaphore>,
    /// Who makes one now: pages are made one after the other, and others have a turn in between.
    turn: Arc<Semaphore>,
}

/// Leave to make a page.
#[derive(Debug)]
pub(super) struct Leave {
    /// Where there is more, and where it goes when the page was read.
    all_slices: Arc<Semaphore>,
    slices: OwnedSemaphorePermit,
    turn: Option<OwnedSemaphorePermit>,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self {
            slices: Arc::new(Semaphore::new(SLICES_MAX)),
            past_slices: Arc::new(Semaphore::new(PAST_SLICES_MAX)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for the leave to make a page; there is none where too many are before it.
    pub(super) async fn leave(&self, path: &str) -> Option<Leave> {
        let waiting = async {
            let (all_slices, count, turn) = match waits_for_disk(path) {
                true => (&self.past_slices, PAST_SLICES, None),
                false => {
                    let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
                    (&self.slices, 1, Some(turn))
                }
            };
            let count = u32::try_from(count).ok()?;
            let slices = Arc::clone(all_slices).acquire_many_owned(count);
            Some(Leave {
                slices: slices.await.ok()?,
                all_slices: Arc::clone(all_slices),
                turn,
            })
        };
        time::timeout(PAGE_STARTS_WITHIN, waiting).await.ok()?
    }
}

impl Leave {
    /// Lets others have their turn, now that the page is made: a balancer's question, a gate that
    /// is to close. Only then the next page is made.
    async fn pass_on(&mut self) {
        task::yield_now().await;
        self.turn = None;
    }

    /// Counts a page as long as it came to be: as far as there is room where it is longer than was
    /// thought, and what is too much goes back.
    fn count(&mut self, length: u64) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let count = length.div_ceil(SLICE).max(1);
        let counted = self.slices.num_permits();
        if count <= counted {
            drop(self.slices.split(counted - count));
            return;
        }
        let more = (count - counted).min(self.all_slices.available_permits());
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if let Ok(more) = Arc::clone(&self.all_slices).try_acquire_many_owned(more) {
            self.slices.merge(more);
        }
    }
}

/// Whether a page is asked for. Whether a backend is fit is none, and waits for nobody.
pub(super) fn is_page(method: &Method, path: &str) -> bool {
    method != Method::POST && (path.starts_with("/metrics") || path.starts_with("/api/"))
}

/// Whether a page is made elsewhere, and may take a while that nobody else is to wait for.
fn waits_for_disk(path: &str) -> bool {
    path.starts_with("/api/v1/history/")
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// What the body gave and was not handed on yet.
    rest: Bytes,
    patience: Option<Pin<Box<Sleep>>>,
    _leave: Option<Leave>,
    _work: Option<Work>,
}

impl Answer {
    /// The page that somebody had the leave to make.
    pub(super) async fn page(body: Body, mut leave: Leave, work: Work) -> Self {
        let length = body.size_hint().exact();
        leave.count(length.unwrap_or_default());
        leave.pass_on().await;
        // A stream has no length; it is no page, and goes on for as long as it likes.
        let leave = length.map(|_| leave);
        Self::new(body, leave, Some(work))
    }

    /// Any other answer.
    pub(super) fn short(body: Body, work: Option<Work>) -> Self {
        Self::new(body, None, work)
    }

    fn new(body: Body, leave: Option<Leave>, work: Option<Work>) -> Self {
        let length = body.size_hint().exact();
        let is_long = length.is_some_and(|length| length > SLICE as u64);
        Self {
            body,
            rest: Bytes::new(),
            patience: is_long.then(|| Box::pin(time::sleep(PAGE_READ_WITHIN))),
            _leave: leave,
            _work: work,
        }
    }

    /// The next slice of what is left.
    fn slice(&mut self, context: &mut Context<'_>) -> Result<Frame<Bytes>, axum::Error> {
        if let Some(patience) = &mut self.patience
            && patience.as_mut().poll(context).is_ready()
        {
            return Err(axum::Error::new("it takes too long to be read"));
        }
        // A copy, so that the page is gone with its last slice, not when that one is read.
        let slice = &self.rest[..SLICE.min(self.rest.len())];
        let slice = Bytes::copy_from_slice(slice);
        self.rest = self.rest.split_off(slice.len());
        Ok(Frame::data(slice))
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match frame.into_data() {
                // A copy without the room that a text keeps to grow, which may be as much again.
                Ok(data) if data.len() > SLICE => self.rest = Bytes::copy_from_slice(&data),
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        Poll::Ready(Some(self.slice(context)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(exact) = hint.exact() {
            hint.set_exact(exact + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAST: &str = "/api/v1/history/transitions";

    #[tokio::test(start_paused = true)]
    async fn answers_from_the_history_have_all_they_may_need_before_they_are_made() {
        let pages = Pages::new();
        let mut leaves = Vec::new();
        while let Some(leave) = pages.leave(PAST).await {
            leaves.push(leave);
        }
        let most = (leaves.len() * ANSWER_BYTES_MAX) as u64;
        assert!(!leaves.is_empty() && most <= 24 << 20, "{}", leaves.len());
        // Others have what is theirs.
        let mut page = pages.leave("/metrics").await.expect("there is room");
        page.count(30 << 20);
        page.pass_on().await;
        assert!(pages.leave("/metrics").await.is_some());
        // A short answer leaves room for others.
        for leave in &mut leaves {
            leave.count(300_000);
        }
        assert!(pages.leave(PAST).await.is_some());
        drop(leaves);
        assert_eq!(pages.past_slices.available_permits(), PAST_SLICES_MAX);
    }
}
