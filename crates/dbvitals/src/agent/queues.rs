//! The accept queues of the backends on this machine, looked at from outside: no connection is made
//! for it, and the servers know nothing of it.
//!
//! ```text
//!   Namespace ── one sample for all ──▶ Vigil of each backend ──▶ Board (length, limit, overflows)
//!                                                            └──▶ its shard (what is wrong with it)
//! ```
//!
//! A thread of its own, so that no probe waits for it. It looks at least as often as any of these
//! backends is asked, and as a rule more often, since a look costs tens of microseconds; where it
//! costs more, it comes more rarely. What a look means is for the monitor to conclude.

mod vigil;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use dbvitals_acceptqueue::{AskError, Counters, Listeners, Namespace};
use dbvitals_verdict::Moment;

use self::vigil::Vigil;
use crate::agent::control::Control;

/// From one look to the next, unless a backend is asked more often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// No backend is looked at more often.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);
/// However dear looks are, nobody waits longer for the next.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(2);
/// For how many times the processor time that a look took nobody looks again: a hundredth of a core
/// at most.
const REST_FACTOR: u32 = 100;
/// Of so many backends it is asked at one look who waits, which is dearer than how many; of the
/// others at the next ones.
const WAITING_MAX: usize = 8;

/// The thread that looks.
#[derive(Debug)]
pub(crate) struct QueueWatch {
    thread: JoinHandle<()>,
    /// Dropped to end it.
    stop: SyncSender<()>,
}

impl QueueWatch {
    /// Looks from now on, at the queues of whatever backends are on the board.
    pub(crate) fn start(control: &Arc<Control>) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let mut watch = Watch {
            control: Arc::clone(control),
            namespace: None,
            counters: None,
            vigils: BTreeMap::new(),
            turn: 0,
            rested: LOOK_EVERY,
        };
        let thread = Builder::new()
            .name("queues".to_owned())
            .spawn(move || watch.run(&stopped))?;
        Ok(Self { thread, stop })
    }

    /// Looks no more.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // A thread that panicked has said so already.
        let _ = self.thread.join();
    }
}

/// The thread's state.
#[derive(Debug)]
struct Watch {
    control: Arc<Control>,
    /// Opened once there is anything to look at.
    namespace: Option<Namespace>,
    /// What the namespace had counted at the look before, and at the one before that.
    counters: Option<(Counters, Counters)>,
    vigils: BTreeMap<Arc<str>, Vigil>,
    /// Whose turn it is to be asked who waits, where there are too many.
    turn: usize,
    /// From the look before to this one, as it was meant.
    rested: Duration,
}

impl Watch {
    fn run(&mut self, stopped: &Receiver<()>) {
        let clock = self.control.board().clock();
        let mut is_blind = false;
        loop {
            let (began, spent) = (clock.now(), clock.processor_time());
            let every = self.follow_backends(began);
            match self.look(began) {
                Ok(()) => is_blind = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_blind, true) {
                        tracing::warn!(%error, "accept queues cannot be looked at; probes go on");
                    }
                    self.namespace = None;
                    self.see_nothing(began);
                }
            }
            let took = clock.processor_time().saturating_sub(spent);
            self.rested = (took * REST_FACTOR).min(LOOK_EVERY_MAX).max(every);
            match stopped.recv_timeout(self.rested) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Keeps a vigil for each backend of this machine, and none for others; answers how often to
    /// look.
    fn follow_backends(&mut self, now: Moment) -> Duration {
        let backends = self.control.board().backends();
        let mut before = std::mem::take(&mut self.vigils);
        let mut every = LOOK_EVERY;
        for backend in backends.iter() {
            let known = before.remove(&backend.name);
            let vigil = known.filter(|vigil| vigil.is_of(backend));
            let mut vigil = vigil.unwrap_or_else(|| Vigil::of(backend));
            if vigil.is_here(now) {
                every = every.min(backend.plan().interval);
            }
            self.vigils.insert(Arc::clone(&backend.name), vigil);
        }
        every.max(LOOK_EVERY_MIN)
    }

    /// Looks once at all queues.
    fn look(&mut self, now: Moment) -> Result<(), AskError> {
        let of_interest = |vigil: &&mut Vigil| vigil.is_of_interest();
        let mut here: Vec<_> = self.vigils.values_mut().filter(of_interest).collect();
        if here.is_empty() {
            return Ok(());
        }
        let namespace = match self.namespace.take() {
            Some(namespace) => namespace,
            None => Namespace::current().map_err(io::Error::other)?,
        };
        let namespace = self.namespace.insert(namespace);
        let sample = namespace.sample()?;
        let counters = namespace.counters()?;
        // A sample and the counters are not of one moment: what was dropped between two samples was
        // counted since the look before them.
        let (last, before_last) = self.counters.unwrap_or((counters, counters));
        let counted = counters.since(&before_last);
        self.counters = Some((counters, last));
        for vigil in &mut here {
            vigil.see(&sample, &counted);
        }
        let crowded: Vec<_> = (0..here.len())
            .filter(|it| here[*it].is_crowded())
            .collect();
        let count = crowded.len();
        for step in 0..count.min(WAITING_MAX) {
            let place = crowded[(self.turn + step) % count];
            here[place].ask_who_waits(namespace, &sample, now, self.rested)?;
        }
        self.turn = self.turn.wrapping_add(WAITING_MAX);
        self.tell(now);
        Ok(())
    }

    /// Nobody knows what is wrong any more.
    fn see_nothing(&mut self, now: Moment) {
        for vigil in self.vigils.values_mut() {
            vigil.see(&Listeners::default(), &Counters::default());
        }
        self.tell(now);
    }

    /// Tells the board what was seen, and the shards what is wrong.
    fn tell(&mut self, now: Moment) {
        for (name, vigil) in &mut self.vigils {
            if let Some(observation) = vigil.tell(now) {
                // A shard that takes no more hears it at the next look.
                let _ = self.control.look(name, observation);
            }
        }
    }
}

/// Shows that nothing is known of queues any more.
impl Drop for Watch {
    fn drop(&mut self) {
        for backend in self.control.board().backends().iter() {
            backend.show_queue(None);
        }
    }
}
