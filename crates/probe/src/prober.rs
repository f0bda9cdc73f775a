//! The event loop's hands: starts probes, keeps sessions, and ends everything by its deadline.
//!
//! A [`Prober`] owns every socket of one loop. It decides nothing: it is told what to probe and
//! until when, and gives back one [`Observation`] for each probe, plus one for each held session
//! that ends by itself. Per target there is at most one held session and one fresh connection;
//! a connection that is being left politely gives way to the next fresh one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hint::black_box;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Agenda, Cause, Moment, Observation, Path, Phase, ProbeId};
use dbvitals_wire::Answer;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use crate::clock::Clock;
use crate::conversation::{Conversation, Scratch};
use crate::failure::Failure;
use crate::learned::Learned;
use crate::listening::Lookout;
use crate::order::{Order, TargetId};
use crate::probe::Probe;
use crate::question::Question;
use crate::resolver::Resolver;
use crate::target::Target;

mod fresh;
mod goodbye;
mod hang;
mod held;
mod readiness;

/// How long a resolved name is believed without asking again.
const NAME_FRESH_FOR: Duration = Duration::from_secs(5);
/// How long a resolved name is believed even where its addresses lead nowhere.
const NAME_SURE_FOR: Duration = Duration::from_millis(100);
/// How long a name has for saying that it moved, once its addresses lead nowhere: short, because a
/// server that crashed is to be told at once, and most crash without moving.
const NAME_MOVED_WITHIN: Duration = Duration::from_millis(50);
/// How long a connection that is being left may take to end.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// How long a login that hangs is waited for before another one is begun.
const HUNG_FOR: Duration = Duration::from_secs(10);
/// The pause before a unix connect that met a full accept queue is tried again; the kernel tells
/// nobody when there is room (poll on such a socket says nothing).
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);
/// The token of the waker; no slab key can reach it.
const WAKER: Token = Token(usize::MAX);

/// Probes many targets in one thread, without ever waiting longer than it is told to.
#[derive(Debug)]
pub struct Prober {
    clock: Clock,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    resolver: Resolver,
    targets: Vec<Option<Entry>>,
    lines: Slab<Line>,
    /// Moments at which a line wants to be looked at; entries of lines gone by are passed over.
    timers: BinaryHeap<Reverse<(Moment, usize, u32)>>,
    /// When the questions on held sessions that are under way have to be looked at, by line: taken
    /// off with the answer, so that nearly always it is empty and nobody is woken in vain.
    questions: Agenda,
    /// When the loop last came back from waiting: whatever is read now had come by then.
    woken: Moment,
    observations: VecDeque<(TargetId, Observation)>,
    lookout: Lookout,
    scratch: Scratch,
    serial: u32,
    leaving: usize,
    /// Lines that have more to read than one turn allows.
    unread: Vec<(usize, u32)>,
}

/// What is known of one target.
#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    held: Option<usize>,
    fresh: Option<usize>,
    leaving: Option<usize>,
    hung: Option<usize>,
    /// The addresses of a name, and since when they are known.
    addresses: Option<(Moment, Vec<SocketAddr>)>,
    resolving: bool,
    learned: Learned,
}

/// One connection, or the wish for one.
#[derive(Debug)]
struct Line {
    target: TargetId,
    serial: u32,
    conversation: Option<Conversation>,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// A probe on the fresh path.
    Probe(Box<Probe>),
    /// The held session, and the question under way on it.
    Held(Option<Ping>),
    /// A login that was not answered in time: the next probe waits for it rather than beginning
    /// another one, which would hang behind it and stay with the server.
    Hung {
        until: Moment,
        /// The phase that is not answered.
        phase: Phase,
    },
    /// A goodbye; `said` once there is nothing more to say, `shut` once the kernel knows it too.
    Leaving {
        until: Moment,
        said: bool,
        shut: bool,
    },
}

/// A question on the held session.
#[derive(Debug)]
struct Ping {
    probe: ProbeId,
    started: Moment,
    deadline: Moment,
    question: Question,
    /// When the server is told to give up a statement that is not answered by then.
    cancel_at: Option<Moment>,
}

impl Prober {
    /// A prober without targets.
    ///
    /// # Errors
    ///
    /// Where the system gives no epoll descriptor.
    pub fn new(clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            clock,
            poll,
            events: Events::with_capacity(1024),
            resolver: Resolver::new(Arc::clone(&waker)),
            waker,
            targets: Vec::new(),
            lines: Slab::new(),
            timers: BinaryHeap::new(),
            questions: Agenda::default(),
            woken: clock.now(),
            observations: VecDeque::new(),
            lookout: Lookout::default(),
            scratch: Scratch::new(),
            serial: 0,
            leaving: 0,
            unread: Vec::new(),
        })
    }

    /// Ends a [`wait`](Self::wait) of this prober from another thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Adds a target, or puts another in its place after leaving the old one.
    pub fn add_target(&mut self, id: TargetId, target: Arc<Target>) {
        self.remove_target(id);
        let index = id.0 as usize;
        if self.targets.len() <= index {
            self.targets.resize_with(index + 1, || None);
        }
        if let Some(entry) = self.targets.get_mut(index) {
            *entry = Some(Entry {
                target,
                held: None,
                fresh: None,
                leaving: None,
                hung: None,
                addresses: None,
                resolving: false,
                learned: Learned::default(),
            });
        }
    }

    /// Forgets a target: its probes end without an observation, its held session with a goodbye.
    pub fn remove_target(&mut self, id: TargetId) {
        let Some(entry) = self.targets.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        for key in [entry.fresh, entry.held].into_iter().flatten() {
            self.leave(key);
        }
        if let Some(key) = entry.hung {
            self.lines.try_remove(key);
        }
    }

    /// Leaves everything: no probe is under way any more, held sessions are being told goodbye.
    /// Call [`wait`](Self::wait) until [`is_quiet`](Self::is_quiet); it takes a second at most.
    pub fn leave_all(&mut self) {
        for index in 0..self.targets.len() as u32 {
            self.remove_target(TargetId(index));
        }
    }

    /// Whether no goodbye is under way.
    pub fn is_quiet(&self) -> bool {
        self.leaving == 0
    }

    /// Starts a probe, and tells when that was. It ends in one observation, at the latest when the
    /// deadline is noticed.
    pub fn start(&mut self, order: Order) -> Moment {
        let now = self.clock.now();
        match order.path {
            Path::Held => self.start_held(order, now),
            Path::Fresh => self.start_fresh(order, now),
            // Looks at queues are nobody's order.
            Path::Queue => {}
        }
        now
    }

    /// Drops the probe on a path; no observation comes of it. On the held path the session is
    /// given up with it, since an answer may still be under way on it.
    pub fn cancel(&mut self, target: TargetId, path: Path) {
        let Some(entry) = self.entry_mut(target) else {
            return;
        };
        let key = match path {
            Path::Held => entry.held.take(),
            Path::Fresh => entry.fresh.take(),
            Path::Queue => None,
        };
        if let Some(key) = key {
            self.leave(key);
        }
    }

    /// The next observation.
    pub fn poll_observation(&mut self) -> Option<(TargetId, Observation)> {
        self.observations.pop_front()
    }

    /// The newest answer to a target's statement, where the target keeps it; once.
    pub fn take_answer(&mut self, target: TargetId) -> Option<Answer> {
        let answer = self.entry_mut(target)?.learned.answer.take()?;
        Some(*answer)
    }

    /// The targets of the observations that are there.
    pub fn observed(&self) -> impl Iterator<Item = TargetId> + '_ {
        self.observations.iter().map(|(target, _)| *target)
    }

    /// Has the processor fetch what belongs to a target that is about to be asked on its held session:
    /// where many follow each other, they need not wait for memory one by one.
    pub fn fetch(&self, target: TargetId) {
        if let Some(Some(entry)) = self.targets.get(target.0 as usize)
            && let Some(key) = entry.held
        {
            self.fetch_line(key);
        }
    }

    fn fetch_line(&self, key: usize) {
        if let Some(line) = self.lines.get(key) {
            black_box((line.serial, line.conversation.is_some()));
            black_box(mem::discriminant(&line.purpose));
        }
    }

    /// Waits until something happens, but not beyond `until`, and deals with it.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses to wait at all.
    pub fn wait(&mut self, until: Option<Moment>) -> io::Result<()> {
        let timer = self.timers.peek().map(|Reverse((at, _, _))| *at);
        let question = self.questions.first().map(|(at, _)| at);
        let timeout = match [until, timer, question].into_iter().flatten().min() {
            _ if !self.observations.is_empty() || !self.unread.is_empty() => Some(Duration::ZERO),
            Some(at) => Some(at.since(self.clock.now())),
            None => None,
        };
        let mut events = mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, timeout);
        self.woken = self.clock.now();
        for event in &events {
            self.fetch_line(event.token().0);
        }
        for event in &events {
            if event.token() == WAKER {
                self.take_resolutions();
                continue;
            }
            let ended = event.is_read_closed() || event.is_error();
            self.handle_ready(event.token().0, event.is_readable() || ended, ended);
        }
        self.events = events;
        self.read_on();
        self.fire_timers();
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            polled => polled,
        }
    }

    fn entry_mut(&mut self, id: TargetId) -> Option<&mut Entry> {
        self.targets.get_mut(id.0 as usize)?.as_mut()
    }

    fn target(&self, id: TargetId) -> Option<Arc<Target>> {
        let entry = self.targets.get(id.0 as usize)?.as_ref()?;
        Some(Arc::clone(&entry.target))
    }

    fn wake_at(&mut self, key: usize, at: Moment) {
        if let Some(line) = self.lines.get(key) {
            self.timers.push(Reverse((at, key, line.serial)));
        }
    }

    /// Does what was due when the loop came back: what came by then has been read before.
    fn fire_timers(&mut self) {
        let now = self.woken;
        while let Some((_, key)) = self.questions.first().filter(|(at, _)| *at <= now) {
            self.questions.set(key, None);
            self.handle_timer(key as usize, now);
        }
        while let Some(Reverse((at, key, serial))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            if self
                .lines
                .get(key)
                .is_some_and(|line| line.serial == serial)
            {
                self.handle_timer(key, now);
            }
        }
    }

    fn handle_timer(&mut self, key: usize, now: Moment) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        match &mut line.purpose {
            Purpose::Probe(probe) if probe.deadline <= now => {
                let waits_for_room = line.conversation.is_none()
                    && probe.phase == Phase::Connect
                    && probe.attempt_failure.is_none();
                let failure = match waits_for_room {
                    true => Failure::new(
                        Cause::QueueFull,
                        "the accept queue of the socket stayed full until the deadline",
                    ),
                    false => Failure::late(probe.phase),
                };
                self.cancel_statement(key);
                self.fail_late(key, failure);
            }
            Purpose::Probe(probe)
                if probe.phase == Phase::Resolve && probe.attempt_failure.is_some() =>
            {
                self.fail_attempts(key);
            }
            Purpose::Probe(probe) if probe.phase == Phase::Resolve => {
                let known = self
                    .entry_mut_of(key)
                    .and_then(|entry| entry.addresses.clone());
                if let Some((_, addresses)) = known {
                    self.dial_these(key, addresses, true);
                }
            }
            Purpose::Probe(probe) if probe.phase == Phase::Connect => {
                let waits_for_room = line.conversation.is_none();
                if waits_for_room {
                    self.dial(key);
                } else if probe.attempt_until <= now {
                    probe.attempt_failure = Some(Failure::late(Phase::Connect));
                    line.conversation = None;
                    self.dial(key);
                }
            }
            Purpose::Probe(probe) if probe.write_until.is_some_and(|at| at <= now) => {
                self.look_after_write(key, now);
            }
            Purpose::Probe(probe) if probe.cancel_at.is_some_and(|at| at <= now) => {
                probe.cancel_at = None;
                self.cancel_statement(key);
            }
            Purpose::Probe(_) => {}
            Purpose::Held(Some(ping)) if ping.deadline <= now => {
                let failure = Failure::late(ping.question.phase());
                self.cancel_statement(key);
                self.end_held(key, failure);
            }
            Purpose::Held(Some(ping)) if ping.cancel_at.is_some_and(|at| at <= now) => {
                ping.cancel_at = None;
                let deadline = ping.deadline;
                self.questions.set(key as u32, Some(deadline));
                self.cancel_statement(key);
            }
            Purpose::Held(_) => {}
            Purpose::Hung { until, .. } => {
                if *until <= now {
                    self.give_up_hang(key);
                }
            }
            Purpose::Leaving { until, .. } => {
                if *until <= now {
                    self.close(key);
                }
            }
        }
    }

    fn entry_mut_of(&mut self, key: usize) -> Option<&mut Entry> {
        let target = self.lines.get(key)?.target;
        self.entry_mut(target)
    }
}
