//! The last transitions, for whoever asks what happened, and everything as it comes, for whoever
//! listens.
//!
//! Each event is put into words once and shared by all who hear it. Both the past and what a
//! listener may be behind are bounded; who is too slow loses the oldest and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use dbvitals_probe::Clock;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, broadcast};

use super::server::Ending;
use crate::agent::transition_line::TransitionLine;
use crate::agent::transitions::Told;

/// Transitions kept.
pub(super) const KEPT_MAX: usize = 1000;
/// Streams at a time: dashboards, and programs that want to know at once.
pub(super) const LISTENERS_MAX: usize = 64;
/// Events that a listener may be behind.
const BEHIND_MAX: usize = 1024;

/// What happened lately, and what happens.
#[derive(Debug)]
pub(crate) struct History {
    clock: Clock,
    /// Tells the ids of this run of the agent from those of another.
    run: String,
    past: Mutex<Past>,
    live: broadcast::Sender<Arc<Event>>,
    /// Told when somebody begins to listen.
    pub(super) heard: Notify,
    /// Places for those who listen, at all doors together.
    pub(super) listeners: Arc<Semaphore>,
    pub(super) ending: Ending,
}

#[derive(Debug, Default)]
struct Past {
    /// Transitions so far.
    count: u64,
    transitions: VecDeque<Arc<Event>>,
}

/// Something that listeners are told.
#[derive(Debug)]
pub(super) struct Event {
    /// The number of a transition, from 1 on; 0 for what is not kept.
    number: u64,
    /// Whose; `None` concerns all.
    of: Option<Arc<str>>,
    json: String,
    /// As server-sent events have it.
    pub(super) frame: Bytes,
}

impl Event {
    /// Something that is told now and not kept.
    pub(super) fn passing(kind: &str, of: Option<Arc<str>>, content: &impl Serialize) -> Self {
        // Nothing that is told has a map with keys other than strings.
        let json = serde_json::to_string(content).unwrap_or_default();
        Self {
            number: 0,
            of,
            frame: format!("event: {kind}\ndata: {json}\n\n").into(),
            json,
        }
    }

    /// Says that a listener was not told of this many events.
    pub(super) fn lost(count: u64) -> Self {
        Self::passing("lost", None, &serde_json::json!({ "lost": count }))
    }

    pub(super) fn concerns(&self, of: Option<&str>) -> bool {
        of.is_none() || self.of.is_none() || self.of.as_deref() == of
    }
}

/// What a listener begins with.
#[derive(Debug)]
pub(super) struct Hearing {
    /// What it has missed.
    pub(super) missed: VecDeque<Arc<Event>>,
    pub(super) live: broadcast::Receiver<Arc<Event>>,
}

impl History {
    pub(in crate::agent) fn new(clock: Clock, ending: Ending) -> Self {
        let began = clock.wall(clock.now());
        let began = began.duration_since(std::time::UNIX_EPOCH);
        Self {
            clock,
            run: format!("{:x}", began.unwrap_or_default().as_millis()),
            past: Mutex::default(),
            live: broadcast::Sender::new(BEHIND_MAX),
            heard: Notify::new(),
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            ending,
        }
    }

    /// Keeps and tells transitions until there are no more to come.
    pub(crate) async fn follow(self: Arc<Self>, mut transitions: broadcast::Receiver<Arc<Told>>) {
        loop {
            match transitions.recv().await {
                Ok(told) => self.keep(&told),
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "HTTP is too slow; transitions were not kept for it");
                    self.tell(Event::lost(lost));
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn keep(&self, told: &Told) {
        let line = TransitionLine::of(told, self.clock);
        let json = serde_json::to_string(&line).unwrap_or_default();
        let mut past = self.past();
        past.count += 1;
        let number = past.count;
        let event = Arc::new(Event {
            number,
            of: Some(Arc::clone(&told.backend.name)),
            frame: format!(
                "id: {}-{number}\nevent: transition\ndata: {json}\n\n",
                self.run
            )
            .into(),
            json,
        });
        if past.transitions.len() == KEPT_MAX {
            past.transitions.pop_front();
        }
        past.transitions.push_back(Arc::clone(&event));
        // Under the lock, so that a listener who begins now hears it once. Nobody may be listening.
        let _ = self.live.send(event);
    }

    /// Tells something that is not kept.
    pub(super) fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.live.send(Arc::new(event));
    }

    pub(super) fn has_listeners(&self) -> bool {
        self.live.receiver_count() > 0
    }

    /// Listens from now on, or from where a listener was when it heard the event of this id.
    pub(super) fn listen(&self, of: Option<&str>, last_id: Option<&str>) -> Hearing {
        let past = self.past();
        let live = self.live.subscribe();
        let last = last_id.and_then(|id| self.number_of(id));
        let mut missed = VecDeque::new();
        if let Some(last) = last {
            let kept = past.transitions.front().map_or(0, |event| event.number);
            if last + 1 < kept {
                missed.push_back(Arc::new(Event::lost(kept - last - 1)));
            }
            let later = past.transitions.iter().filter(|it| it.number > last);
            missed.extend(later.filter(|it| it.concerns(of)).cloned());
        }
        drop(past);
        self.heard.notify_one();
        Hearing { missed, live }
    }

    /// The number in an id. One of another run is before all of this one's; what is no id of ours
    /// tells nothing.
    fn number_of(&self, id: &str) -> Option<u64> {
        let (run, number) = id.rsplit_once('-')?;
        let number = number.parse().ok()?;
        Some(if run == self.run { number } else { 0 })
    }

    /// The last transitions as the API tells them, the newest last.
    pub(super) fn transitions(&self, of: Option<&str>, max: usize) -> String {
        let past = self.past();
        let newest = past.transitions.iter().rev();
        let mut told: Vec<_> = newest.filter(|it| it.concerns(of)).take(max).collect();
        told.reverse();
        let lines: Vec<_> = told.iter().map(|it| it.json.as_str()).collect();
        format!(
            "{{\"schema\":\"dbvitals.transitions.v1\",\"transitions\":[{}]}}",
            lines.join(",")
        )
    }

    /// Whether a backend, which may be gone, had a transition.
    pub(super) fn knows(&self, backend: &str) -> bool {
        let past = self.past();
        let mut transitions = past.transitions.iter();
        transitions.any(|it| it.of.as_deref() == Some(backend))
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::{Address, Protocol, Target};
    use dbvitals_verdict::{Admin, BackendId, Change, Course, Depth, Evidence, Plan, Transition};

    use super::*;
    use crate::agent::board::Board;
    use crate::agent::plan::{BackendPlan, Origin};

    fn history() -> History {
        History::new(Clock::start(), Ending::new().1)
    }

    /// A transition of a backend of this name.
    fn told(history: &History, name: &str) -> Told {
        let plan = BackendPlan {
            name: name.into(),
            origin: Origin::default(),
            target: Arc::new(Target::new(Protocol::Opaque, Address::Unix("/x".into()))),
            plan: Arc::new(Plan::new(Course::Sessionless {
                depth: Depth::Connect,
                deeper: None,
            })),
        };
        Told {
            backend: Board::new(history.clock).entry(&plan, Admin::Ready),
            transition: Transition {
                backend: BackendId(0),
                at: history.clock.now(),
                change: Change::Admin {
                    from: Admin::Ready,
                    to: Admin::Drain,
                },
                evidence: Evidence::default(),
            },
        }
    }

    fn text(event: &Event) -> String {
        String::from_utf8(event.frame.to_vec()).unwrap()
    }

    fn read(body: &str) -> Vec<serde_json::Value> {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["transitions"].as_array().unwrap().clone()
    }

    #[test]
    fn the_newest_are_kept_and_told_last() {
        let history = history();
        let one = told(&history, "first");
        history.keep(&one);
        let other = told(&history, "other");
        for _ in 0..KEPT_MAX {
            history.keep(&other);
        }
        assert_eq!(read(&history.transitions(None, KEPT_MAX)).len(), KEPT_MAX);
        assert!(!history.knows("first") && history.knows("other"));
        history.keep(&one);
        let last = read(&history.transitions(None, 2));
        let names: Vec<_> = last
            .iter()
            .map(|it| it["backend"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["other", "first"]);
        assert_eq!(read(&history.transitions(Some("first"), 10)).len(), 1);
        assert_eq!(last[0]["schema"], "dbvitals.transition.v1");
    }

    #[test]
    fn who_comes_back_hears_what_it_missed_once() {
        let history = history();
        let (one, other) = (told(&history, "one"), told(&history, "other"));
        history.keep(&one);
        let id = format!("{}-1", history.run);
        history.keep(&other);
        history.keep(&one);
        let mut hearing = history.listen(Some("one"), Some(&id));
        assert_eq!(hearing.missed.len(), 1);
        let frame = text(&hearing.missed[0]);
        let head = format!("id: {}-3\nevent: transition\ndata: {{", history.run);
        assert!(
            frame.starts_with(&head) && frame.ends_with("}\n\n"),
            "{frame}"
        );
        assert!(hearing.live.try_recv().is_err());
        history.keep(&one);
        assert_eq!(hearing.live.try_recv().unwrap().number, 4);
    }

    #[test]
    fn who_was_away_for_too_long_is_told_how_much_is_gone() {
        let history = history();
        let one = told(&history, "one");
        for _ in 0..KEPT_MAX + 5 {
            history.keep(&one);
        }
        let hearing = history.listen(None, Some(&format!("{}-2", history.run)));
        assert_eq!(
            text(&hearing.missed[0]),
            "event: lost\ndata: {\"lost\":3}\n\n"
        );
        assert_eq!(hearing.missed.len(), KEPT_MAX + 1);
        // Another run of the agent gave this id: everything is new.
        let hearing = history.listen(None, Some("abc-999999"));
        assert_eq!(hearing.missed.len(), KEPT_MAX + 1);
        assert_eq!(history.listen(None, Some("nonsense")).missed.len(), 0);
        assert_eq!(history.listen(None, None).missed.len(), 0);
    }
}
