//! One shard: a thread that drives a Monitor and a Prober, and writes on the board.
//!
//! Everything that can happen here, in the order in which it is dealt with: an action of the
//! monitor, an observation of the prober, a moment that is due, a wake-up from outside. After
//! each, the monitor is asked again until it has nothing more to do; only then does the thread
//! wait.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use dbvitals_probe::{Clock, Order, Prober, TargetId};
use dbvitals_verdict::{
    Action, Admin, BackendId, Cause, Class, Course, Moment, Monitor, Observation, Outcome, Path,
    Standing, Verdict,
};
use mio::Waker;
use tokio::sync::broadcast;

use crate::agent::board::{BackendBoard, ShardBeat};
use crate::agent::history::{self, MinuteUnderWay};
use crate::agent::log;
use crate::agent::look::{self, Look, Trouble};
use crate::agent::plan::BackendPlan;
use crate::agent::transitions::Told;
use crate::record::{Chapter, Feed};

/// How long the thread waits at the most, so that it shows a sign of life.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How old what is shown of a fresh path may become while nothing changes.
const SHOW_EVERY: Duration = Duration::from_secs(5);
/// How often it is said that the agent was late, while that goes on.
const TELL_STALLS_EVERY: Duration = Duration::from_secs(60);
/// How long the goodbyes at the end may take.
const GOODBYE_WITHIN: Duration = Duration::from_millis(1200);

/// What is dealt with before the clock is read again: a few microseconds each.
const STEPS_PER_READING: usize = 64;

/// Commands that may wait for a shard; it takes them each time it turns.
const COMMANDS_MAX: usize = 1024;

/// What a shard is told from outside.
#[derive(Debug)]
pub(crate) enum Command {
    /// These are its backends from now on, and no others; so many logins a second may they cost
    /// together, where the operator set a limit.
    Watch(Vec<Assignment>, Option<f64>),
    /// An operator's order about the backend at a place.
    Order(u32, Admin),
    /// A fresh probe of the backend at a place is wanted now.
    Refresh(u32),
    /// What a look at the accept queue of the backend at a place tells.
    Look(u32, Box<Look>),
}

/// One backend that a shard watches, and where: its index there, its id in the monitor and in the
/// prober.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) place: u32,
    pub(crate) plan: BackendPlan,
    pub(crate) board: Arc<BackendBoard>,
    pub(crate) admin: Admin,
    /// Whether its target is another one than the one watched at this place so far, or is asked in
    /// another way.
    pub(crate) anew: bool,
}

/// A shard that has more commands than it can take, or is gone.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("an event loop takes no more commands")]
pub(crate) struct Busy;

/// Tells a shard what to do from outside.
#[derive(Debug)]
pub(crate) struct ShardHandle {
    commands: SyncSender<Command>,
    stopping: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl ShardHandle {
    /// Gives a command; it is carried out soon, in order.
    pub(crate) fn tell(&self, command: Command) -> Result<(), Busy> {
        self.commands.try_send(command).map_err(|_| Busy)?;
        // A shard that cannot be woken looks up once a second by itself.
        let _ = self.waker.wake();
        Ok(())
    }

    /// Asks the shard to say goodbye to its servers and end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // A shard that cannot be woken looks up once a second by itself.
        let _ = self.waker.wake();
    }
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct EventLoop {
    clock: Clock,
    monitor: Monitor,
    prober: Prober,
    /// By their places.
    backends: Vec<Option<Watched>>,
    commands: Receiver<Command>,
    beat: Arc<ShardBeat>,
    /// Since when the first of the probes that start in this turn is due.
    due: Option<Moment>,
    told: broadcast::Sender<Arc<Told>>,
    record: Option<Feed>,
    history: Option<history::Feed>,
    /// Whose fresh probe has ended; told once all that follows from it is on the board.
    fresh_ended: Option<u32>,
    /// When it was said last that this loop was late.
    stall_told_at: Option<Moment>,
    stopping: Arc<AtomicBool>,
}

/// One backend of this shard.
#[derive(Debug)]
struct Watched {
    board: Arc<BackendBoard>,
    holds: bool,
    /// Something was wrong when its standing was put up last.
    troubled: bool,
    /// That standing shows a ping as those are which tell nothing new.
    shows_ping: bool,
    /// When that was, but for changes of the verdict.
    shown_at: Moment,
    /// The losses of held sessions that were told.
    sessions_lost: u64,
    /// The fault of our own that was complained of last, and has not gone away since.
    complained: Option<Cause>,
    /// What is wrong with its accept queue.
    queue_trouble: Trouble,
    /// Where it is in the record, if there is one.
    chapter: Option<Arc<Chapter>>,
    /// How long its probes took, for the history.
    minute: MinuteUnderWay,
}

impl Watched {
    /// Says once that a check fails by our own fault: it takes nothing out of rotation, so nobody
    /// would hear of it otherwise.
    fn complain(&mut self, observation: &Observation) {
        match observation.outcome {
            Outcome::Pass => self.complained = None,
            Outcome::Fail(cause) if self.board.plan().classes.of(cause) == Class::Ours => {
                if self.complained.replace(cause) != Some(cause) {
                    log::own_fault(&self.board, cause, observation.detail.as_deref());
                }
            }
            Outcome::Fail(_) => {}
        }
    }
}

impl Watched {
    fn new(plan: &BackendPlan, board: Arc<BackendBoard>, now: Moment) -> Self {
        Self {
            board,
            holds: matches!(plan.plan.course, Course::Session { .. }),
            troubled: false,
            shows_ping: false,
            shown_at: now,
            sessions_lost: 0,
            complained: None,
            queue_trouble: Trouble::default(),
            chapter: None,
            minute: MinuteUnderWay::default(),
        }
    }

    /// Begins another chapter of the record, if its plan is another than so far. Where it asks for
    /// other things, the monitor starts anew, and so does the record.
    fn be_recorded(&mut self, record: &Feed, plan: &BackendPlan, now: (Moment, Verdict)) {
        let before = self.chapter.as_deref();
        if before.is_some_and(|before| before.plan() == &*plan.plan) {
            return;
        }
        let before = before.filter(|before| before.plan().course == plan.plan.course);
        self.chapter = Some(record.chapter(&plan.name, &plan.plan, now, before));
    }

    /// Hands over what there is of the minute under way: nobody asks this backend any more.
    fn end_minute(&mut self, history: Option<&history::Feed>) {
        if let Some(history) = history {
            history.hand_over(&mut self.minute, &self.board.name);
        }
    }

    /// Puts up where it stands. It is troubled where the verdict is not up, or something else is wrong.
    fn put_up(&mut self, standing: Standing, troubled: bool) {
        let held = standing.evidence.held.as_ref();
        self.shows_ping = held.is_some_and(Observation::is_plain_ping);
        self.troubled = troubled || standing.verdict != Verdict::Up;
        self.board.put_up(standing);
    }

    /// Says that a held session ended while a fresh one works: nothing is wrong with the server,
    /// but somebody or some timeout ends sessions.
    fn tell_losses(&mut self, standing: &Standing) {
        if standing.sessions_lost != self.sessions_lost {
            self.sessions_lost = standing.sessions_lost;
            log::session_lost(&self.board, standing);
        }
    }
}

impl EventLoop {
    /// A shard without backends, and the handle that gives it some.
    pub(crate) fn new(
        clock: Clock,
        seed: u64,
        beat: Arc<ShardBeat>,
        told: broadcast::Sender<Arc<Told>>,
        record: Option<Feed>,
        history: Option<history::Feed>,
    ) -> io::Result<(Self, ShardHandle)> {
        let prober = Prober::new(clock)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (sender, commands) = sync_channel(COMMANDS_MAX);
        let handle = ShardHandle {
            commands: sender,
            stopping: Arc::clone(&stopping),
            waker: prober.waker(),
        };
        let event_loop = Self {
            clock,
            monitor: Monitor::new(seed),
            prober,
            backends: Vec::new(),
            commands,
            beat,
            due: None,
            told,
            record,
            history,
            fresh_ended: None,
            stall_told_at: None,
            stopping,
        };
        Ok((event_loop, handle))
    }

    /// Runs until asked to stop.
    pub(crate) fn run(mut self) {
        while !self.stopping.load(Ordering::Acquire) {
            self.turn();
        }
        self.say_goodbye();
    }

    /// One turn: deal with all there is, then wait.
    fn turn(&mut self) {
        let due = self.monitor.poll_timeout();
        let now = self.clock.now();
        let lag = due.map_or(Duration::ZERO, |due| now.since(due));
        self.beat.beat(now, lag);
        if let Some(record) = &self.record {
            record.note_lag(now, lag);
        }
        self.take_commands();
        for id in self.monitor.due(now) {
            self.monitor.fetch(id);
            self.prober.fetch(TargetId(id.0));
        }
        self.monitor.handle_timeout(now);
        self.due = due.filter(|due| *due <= now);
        self.settle();
        self.due = None;
        self.beat.note_deferred(self.monitor.logins_deferred());
        self.tell_stalls(now);
        let until = (now + BEAT_EVERY).min(self.monitor.poll_timeout().unwrap_or(now + BEAT_EVERY));
        if let Err(error) = self.prober.wait(Some(until)) {
            // epoll refuses only what a broken program asks; going on at full speed would burn a
            // core, so the loop stops and /liveness tells.
            tracing::error!(%error, "the event loop cannot wait for sockets any more");
            self.stopping.store(true, Ordering::Release);
        }
        self.fetch_observed();
        self.settle();
    }

    /// Has the processor fetch what the observations that are there will need.
    fn fetch_observed(&self) {
        for target in self.prober.observed() {
            self.monitor.fetch(BackendId(target.0));
            if let Some(Some(watched)) = self.backends.get(target.0 as usize) {
                watched.board.fetch();
            }
        }
    }

    /// Counts the times at which this loop was too late to judge anybody, and says so now and then.
    fn tell_stalls(&mut self, now: Moment) {
        let stalls = self.monitor.stalls();
        if !self.beat.note_stalls(stalls) {
            return;
        }
        if self
            .stall_told_at
            .is_none_or(|at| now.since(at) >= TELL_STALLS_EVERY)
        {
            self.stall_told_at = Some(now);
            log::stall(self.monitor.newest_stall(), stalls);
        }
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            let now = self.clock.now();
            match command {
                Command::Watch(assignments, logins) => {
                    self.monitor.limit_logins(logins);
                    self.watch(assignments, now);
                }
                Command::Order(place, admin) => {
                    self.monitor.handle_admin(BackendId(place), admin, now);
                }
                Command::Refresh(place) => self.monitor.handle_refresh(BackendId(place), now),
                Command::Look(place, look) => self.look(place, *look, now),
            }
            self.settle();
        }
    }

    /// Watches these backends from now on. One whose target is the same keeps its session and its
    /// verdict; what is gone is left politely.
    fn watch(&mut self, assignments: Vec<Assignment>, now: Moment) {
        let plan = |it: &Assignment| (BackendId(it.place), Arc::clone(&it.plan.plan));
        let known = |place: u32| matches!(self.backends.get(place as usize), Some(Some(_)));
        let kept = |it: &&Assignment| !it.anew && known(it.place);
        let staying: BTreeMap<_, _> = assignments.iter().filter(kept).map(plan).collect();
        self.monitor.handle_plan(&staying, now);
        self.settle();
        for (place, slot) in (0..).zip(&mut self.backends) {
            if !staying.contains_key(&BackendId(place))
                && let Some(mut gone) = slot.take()
            {
                self.prober.remove_target(TargetId(place));
                gone.board.forget(now);
                gone.end_minute(self.history.as_ref());
            }
        }
        let all: BTreeMap<_, _> = assignments.iter().map(plan).collect();
        let orders: Vec<_> = assignments.iter().map(|it| (it.place, it.admin)).collect();
        for assignment in assignments {
            self.assign(assignment, now);
        }
        self.monitor.handle_plan(&all, now);
        for (place, admin) in orders {
            self.monitor.handle_admin(BackendId(place), admin, now);
        }
    }

    fn assign(&mut self, assignment: Assignment, now: Moment) {
        let Assignment {
            place, plan, board, ..
        } = assignment;
        let index = place as usize;
        if self.backends.len() <= index {
            self.backends.resize_with(index + 1, || None);
        }
        board.set_plan(&plan);
        let slot = &mut self.backends[index];
        if slot.is_none() {
            self.prober
                .add_target(TargetId(place), Arc::clone(&plan.target));
        }
        let watched = slot.get_or_insert_with(|| Watched::new(&plan, board, now));
        watched.holds = matches!(plan.plan.course, Course::Session { .. });
        if let Some(record) = &self.record {
            let standing = self.monitor.standing(BackendId(place));
            let verdict = standing.map_or(Verdict::Unknown, |standing| standing.verdict);
            watched.be_recorded(record, &plan, (now, verdict));
        }
    }

    fn watched_mut(&mut self, place: u32) -> Option<&mut Watched> {
        self.backends.get_mut(place as usize)?.as_mut()
    }

    /// Carries out actions and takes observations until there are none.
    fn settle(&mut self) {
        let mut now = self.clock.now();
        for step in 1_usize.. {
            if step.is_multiple_of(STEPS_PER_READING) {
                now = self.clock.now();
            }
            if let Some(action) = self.monitor.poll_action() {
                self.act(action);
            } else if let Some(place) = self.fresh_ended.take() {
                if let Some(watched) = self.watched_mut(place) {
                    watched.board.note_fresh_ended();
                }
            } else if let Some((target, observation)) = self.prober.poll_observation() {
                self.observe(target, observation, now);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StartProbe {
                backend,
                probe,
                path,
                depth,
                deadline,
            } => {
                // Asked of the fresh path alone: a ping is spared the look.
                let hold =
                    path == Path::Fresh && self.watched_mut(backend.0).is_some_and(|it| it.holds);
                let started = self.prober.start(Order {
                    target: TargetId(backend.0),
                    probe,
                    path,
                    depth,
                    deadline,
                    hold,
                });
                if let Some(due) = self.due {
                    self.beat.note_start(started.since(due));
                }
            }
            Action::CancelProbe { backend, path } => {
                self.prober.cancel(TargetId(backend.0), path);
            }
            Action::Announce(transition) => {
                let standing = self.monitor.standing(transition.backend);
                let place = transition.backend.0 as usize;
                let Some(Some(watched)) = self.backends.get_mut(place) else {
                    return;
                };
                if let (Some(record), Some(chapter)) = (&self.record, &watched.chapter) {
                    record.announce(chapter, &transition);
                }
                if let Some(standing) = standing {
                    watched.put_up(standing, false);
                }
                watched.board.count_transition(&transition);
                log::transition(&watched.board, &transition);
                let told = Arc::new(Told {
                    backend: Arc::clone(&watched.board),
                    transition: *transition,
                });
                if let Some(history) = &self.history {
                    history.announce(&told);
                }
                // Nobody may be listening.
                let _ = self.told.send(told);
            }
        }
    }

    fn observe(&mut self, target: TargetId, observation: Observation, now: Moment) {
        let id = BackendId(target.0);
        if observation.outcome == Outcome::Fail(Cause::ConnectTimeout) {
            self.look_for_room(target.0, now);
        }
        let Some(Some(watched)) = self.backends.get_mut(target.0 as usize) else {
            return;
        };
        if observation.path == Path::Fresh {
            self.fresh_ended = Some(target.0);
        }
        log::observation(&watched.board, &observation);
        if let (Some(record), Some(chapter)) = (&self.record, &watched.chapter) {
            record.observe(chapter, &observation);
        }
        if let Some(history) = &self.history {
            history.note(&mut watched.minute, &watched.board.name, &observation);
        }
        watched.complain(&observation);
        let (seen, took) = (observation.outcome, observation.took());
        let (started, ended) = (observation.started, observation.ended);
        let goes_on = watched.shows_ping && observation.is_plain_ping();
        // What a server said of itself may be new, and a board that nothing changes grows old.
        let news = observation.server.is_some() || now.since(watched.shown_at) >= SHOW_EVERY;
        let taken = self.monitor.handle_observation(id, observation, now);
        let outcome = taken.unwrap_or(seen);
        watched.board.count(outcome, took);
        let passed = outcome == Outcome::Pass;
        if passed && !watched.troubled {
            if goes_on {
                watched.board.note_ping(started, ended);
                return;
            }
            if !news {
                // Seen, but not shown: the next ping does not simply go on from what is.
                watched.shows_ping = false;
                watched.board.note_proof(now);
                return;
            }
        }
        // Not the path of every ping: the cause may have changed, or the trouble may be over.
        if let Some(standing) = self.monitor.standing(id) {
            watched.shown_at = now;
            watched.tell_losses(&standing);
            watched.put_up(standing, !passed);
        }
    }

    /// Takes what a look at an accept queue tells. It is no probe: nobody was asked, and it counts
    /// nowhere as one.
    fn look(&mut self, place: u32, look: Look, now: Moment) {
        let id = BackendId(place);
        let Some(Some(watched)) = self.backends.get_mut(place as usize) else {
            return;
        };
        if !look.is_of(&watched.board) {
            return;
        }
        let observation = look.observation;
        if let (Some(record), Some(chapter)) = (&self.record, &watched.chapter) {
            record.observe(chapter, &observation);
        }
        let trouble = observation.outcome.cause();
        if watched.queue_trouble.note(trouble, now) {
            log::queue(&watched.board, &observation);
        }
        self.monitor.handle_observation(id, observation, now);
        if let Some(standing) = self.monitor.standing(id) {
            watched.shown_at = now;
            watched.put_up(standing, trouble.is_some());
        }
    }

    /// Tells the monitor of a queue that was seen to have room, before it concludes from an unanswered
    /// connect that it was full.
    fn look_for_room(&mut self, place: u32, now: Moment) {
        let Some(Some(watched)) = self.backends.get(place as usize) else {
            return;
        };
        let roomy = watched.board.queue().and_then(|queue| queue.roomy);
        let Some(roomy) = roomy.filter(|_| watched.queue_trouble.found().is_none()) else {
            return;
        };
        let observation = look::observation(roomy, Outcome::Pass);
        if let (Some(record), Some(chapter)) = (&self.record, &watched.chapter) {
            record.observe(chapter, &observation);
        }
        self.monitor
            .handle_observation(BackendId(place), observation, now);
    }

    fn say_goodbye(&mut self) {
        self.prober.leave_all();
        let until = self.clock.now() + GOODBYE_WITHIN;
        while !self.prober.is_quiet() && self.clock.now() < until {
            if self.prober.wait(Some(until)).is_err() {
                return;
            }
        }
    }
}

/// However the loop ends, a panic included, its verdicts are nobody's any more.
impl Drop for EventLoop {
    fn drop(&mut self) {
        let now = self.clock.now();
        for watched in self.backends.iter_mut().flatten() {
            watched.board.forget(now);
            watched.end_minute(self.history.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::{Address, Protocol, Target};
    use dbvitals_verdict::{Depth, Evidence, Phase, Phases, Plan};

    use crate::agent::board::Board;
    use crate::agent::plan::Origin;

    use super::*;

    fn plan_at(path: &str) -> BackendPlan {
        let address = Address::Unix(path.into());
        BackendPlan {
            name: "orders".into(),
            origin: Origin::default(),
            target: Arc::new(Target::new(Protocol::Opaque, address)),
            plan: Arc::new(Plan::new(Course::Sessionless {
                depth: Depth::Connect,
                deeper: None,
            })),
        }
    }

    /// A loop that watches this one backend, and what is shown of it.
    fn watching(plan: BackendPlan) -> (EventLoop, Arc<BackendBoard>) {
        let clock = Clock::start();
        let board = Board::new(clock).entry(&plan, Admin::Ready);
        let (told, _) = broadcast::channel(1);
        let beat = Arc::default();
        let (mut event_loop, _) = EventLoop::new(clock, 1, beat, told, None, None).unwrap();
        let assignment = Assignment {
            place: 0,
            plan,
            board: Arc::clone(&board),
            admin: Admin::Ready,
            anew: true,
        };
        event_loop.watch(vec![assignment], clock.now());
        (event_loop, board)
    }

    #[test]
    fn a_look_at_the_queue_of_an_address_that_a_backend_has_left_is_not_heard() {
        let (mut event_loop, board) = watching(plan_at("/now"));
        let now = event_loop.clock.now();
        for (path, heard) in [("/before", None), ("/now", Some(Cause::QueueFull))] {
            let full = Outcome::Fail(Cause::QueueFull);
            let look = Look {
                backend: Arc::clone(&board),
                target: plan_at(path).target,
                observation: look::observation((now, now), full),
            };
            event_loop.look(0, look, now);
            let watched = event_loop.watched_mut(0).unwrap();
            assert_eq!(watched.queue_trouble.found(), heard, "{path}");
        }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    /// A ping that was answered, from one moment to the other.
    fn ping(started: Moment, ended: Moment) -> Observation {
        let mut phases = Phases::default();
        phases.push(Phase::Ping, ended.since(started));
        Observation {
            path: Path::Held,
            probe: None,
            started,
            ended,
            depth: Some(Depth::Ping),
            outcome: Outcome::Pass,
            phases,
            session: true,
            server: None,
            detail: None,
        }
    }

    /// A backend that is up, and on whose held path this was the newest.
    fn up_after(held: Observation, board: &BackendBoard) -> Standing {
        Standing {
            verdict: Verdict::Up,
            evidence: Evidence {
                held: Some(held),
                ..Evidence::default()
            },
            ..Standing::clone(&board.standing())
        }
    }

    #[test]
    fn a_ping_that_tells_nothing_new_is_shown_all_the_same() {
        let (mut event_loop, board) = watching(plan_at("/nowhere"));
        let standing = up_after(ping(at(1000), at(1001)), &board);
        let watched = event_loop.watched_mut(0).unwrap();
        watched.put_up(standing.clone(), false);
        let edition = board.edition();
        let later = ping(at(2000), at(2003));
        event_loop.observe(TargetId(0), later.clone(), at(2003));
        assert!(board.edition() == edition, "nothing else changed");
        assert_eq!(*board.standing(), standing);
        let shown = board.standing_now().evidence;
        assert_eq!(shown.held, Some(later));
        assert_eq!(shown.pass_at, Some(at(2003)));
        assert_eq!(board.evidence_age(at(2004)), Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_fresh_probe_that_passes_is_shown_with_what_is_put_up_next() {
        let (mut event_loop, board) = watching(plan_at("/nowhere"));
        let standing = up_after(ping(at(1000), at(1001)), &board);
        let watched = event_loop.watched_mut(0).unwrap();
        watched.put_up(standing, false);
        watched.shown_at = at(1001);
        let edition = board.edition();
        let fresh = Observation {
            path: Path::Fresh,
            ..ping(at(2000), at(2001))
        };
        event_loop.observe(TargetId(0), fresh, at(2001));
        assert!(board.edition() == edition, "it can wait");
        let late = at(2001) + SHOW_EVERY;
        event_loop.observe(TargetId(0), ping(late, late), late);
        assert!(board.edition() != edition, "it is not shown");
    }

    #[test]
    fn a_ping_after_anything_else_on_the_held_path_is_put_up() {
        let (mut event_loop, board) = watching(plan_at("/nowhere"));
        let lost = Observation {
            outcome: Outcome::Fail(Cause::Closed),
            session: false,
            ..ping(at(1000), at(1001))
        };
        let standing = up_after(lost, &board);
        event_loop.watched_mut(0).unwrap().put_up(standing, false);
        let edition = board.edition();
        event_loop.observe(TargetId(0), ping(at(9000), at(9001)), at(9001));
        assert!(board.edition() != edition);
    }

    #[test]
    fn what_a_loop_knew_is_unknown_after_its_end() {
        let (event_loop, board) = watching(plan_at("/nowhere"));
        board.put_up(Standing {
            verdict: Verdict::Up,
            ..Standing::clone(&board.standing())
        });
        drop(event_loop);
        assert_eq!(board.standing().verdict, Verdict::Unknown);
        assert_eq!(board.watch().borrow().verdict, Verdict::Unknown);
    }
}
