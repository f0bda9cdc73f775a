//! The accept queues of the backends on this machine, looked at from outside: no connection is made
//! for it, and the servers know nothing of it.
//!
//! ```text
//!   Namespace ── one sample for all ──▶ Vigil of each backend ──▶ Board (length, limit, overflows)
//!                                                            └──▶ its shard (what is wrong with it)
//! ```
//!
//! A thread of its own, so that no probe waits for it. As a rule it looks at least as often as any of
//! these backends is asked, since a look costs tens of microseconds; where it costs more, it comes
//! more rarely. Who waits is dearer to know, and is asked where somebody does and out of what is left
//! of a hundredth of a core. What a look means is for the monitor to conclude.

mod vigil;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use dbvitals_acceptqueue::{AskError, Counters, Listeners, Namespace};
use dbvitals_verdict::Moment;

use self::vigil::{Place, Vigil};
use crate::agent::board::BackendBoard;
use crate::agent::control::Control;

/// From one look to the next, unless a backend is asked more often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// No backend is looked at more often.
pub(crate) const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);
/// Of a core, all looks together take one part of so many.
const SHARE: u32 = 100;
/// The same of looks at how many wait; the rest is for asking who.
const LENGTHS_SHARE: u32 = 2 * SHARE;
/// Looks that take longer are those of thousands of backends, of which even that would be a twentieth
/// of what their pings cost; they come so many times more rarely.
const DEAR: Duration = Duration::from_millis(2);
const DEAR_FACTOR: u32 = 10;
/// For that alone nobody waits longer: what an old look says of a queue's room is not believed.
const DEAR_REST_MAX: Duration = Duration::from_secs(5);
/// It may be asked so long before the time for it is earned: the first questions about a crowd follow
/// each other look by look, so that a freeze is suspected at the second.
const ADVANCE: Duration = Duration::from_secs(10);
/// How long an address is taken for this machine's own, or not, without asking again: virtual
/// addresses move, and a reload gives a backend another one.
const PLACE_SURE_FOR: Duration = Duration::from_secs(1);
/// However long it takes to ask about all of them.
const PLACE_SURE_MAX: Duration = Duration::from_secs(10);
/// Of so many backends it is asked at one look who waits; of the others at the next ones.
const WAITING_MAX: usize = 8;
/// Of no more, once that took so long in one look.
const WAITING_TIME_MAX: Duration = Duration::from_millis(10);
/// Looks that were so many times as far apart as meant, and at least so far, tell nothing about the
/// time in between: the machine may have slept.
const GAP_FACTOR: u32 = 5;
const GAP_MIN: Duration = Duration::from_secs(2);

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
            found_among: None,
            turn: 0,
            pace: Pace::default(),
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
    /// What the namespace had counted at the look before.
    counters: Option<Counters>,
    /// Of each backend on this machine.
    vigils: BTreeMap<Arc<str>, Vigil>,
    /// Which backends they were found among, and until when that holds.
    found_among: Option<(Arc<Vec<Arc<BackendBoard>>>, Moment)>,
    /// Whose turn it is to be asked who waits, where there are too many.
    turn: usize,
    pace: Pace,
}

/// When the next look may be, and when one that asks who waits.
#[derive(Debug, Default)]
struct Pace {
    /// When all processor time taken so far will have been its share.
    earned_at: Moment,
    /// The newest look, and how long nobody was to look after it.
    last: Option<(Moment, Duration)>,
}

impl Pace {
    /// Whether there was a longer time without a look than meant.
    fn has_gap(&self, now: Moment) -> bool {
        let is_far =
            |(at, rest): (Moment, Duration)| now.since(at) > (rest * GAP_FACTOR).max(GAP_MIN);
        self.last.is_some_and(is_far)
    }

    /// Whether it may be asked who waits.
    fn is_earned(&self, now: Moment) -> bool {
        now + ADVANCE >= self.earned_at
    }

    /// Takes what a look took, in all and for asking who waits; answers how long to rest.
    fn rest(&mut self, now: Moment, took: Duration, asking: Duration, every: Duration) -> Duration {
        self.earned_at = self.earned_at.max(now) + took * SHARE;
        let lengths = took.saturating_sub(asking);
        let dear = lengths.saturating_sub(DEAR) * LENGTHS_SHARE * DEAR_FACTOR;
        let rest = every
            .max(lengths * LENGTHS_SHARE)
            .max(dear.min(DEAR_REST_MAX));
        self.last = Some((now, rest));
        rest
    }
}

impl Watch {
    fn run(&mut self, stopped: &Receiver<()>) {
        let clock = self.control.board().clock();
        let mut is_blind = false;
        loop {
            self.follow_backends(clock.now());
            let (began, spent) = (clock.now(), clock.processor_time());
            if self.pace.has_gap(began) {
                let vigils = self.vigils.values_mut();
                vigils.for_each(Vigil::forget_standstill);
            }
            let asking = match self.look(began) {
                Ok(asking) => {
                    is_blind = false;
                    asking
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_blind, true) {
                        tracing::warn!(%error, "accept queues cannot be looked at; probes go on");
                    }
                    self.namespace = None;
                    self.see_nothing(began);
                    Duration::ZERO
                }
            };
            let took = clock.processor_time().saturating_sub(spent);
            let rest = self.pace.rest(began, took, asking, self.look_every());
            match stopped.recv_timeout(rest) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Keeps a vigil for each backend of this machine, and none for others. Which these are is asked
    /// when the list of backends changes, and now and then; the more rarely the longer it takes.
    fn follow_backends(&mut self, now: Moment) {
        let board = self.control.board();
        let backends = board.backends();
        let holds = |(among, until): &(_, Moment)| Arc::ptr_eq(among, &backends) && now < *until;
        let are_same = |vigils: &BTreeMap<_, Vigil>| vigils.values().all(Vigil::is_in_place);
        if self.found_among.as_ref().is_some_and(holds) && are_same(&self.vigils) {
            return;
        }
        let spent = board.clock().processor_time();
        let mut before = std::mem::take(&mut self.vigils);
        for backend in backends.iter() {
            let place = Place::of(&backend.target().address);
            let known = before.remove(&backend.name);
            let vigil = match (known.filter(|vigil| vigil.is_of(backend)), place) {
                (Some(mut vigil), place) => {
                    vigil.move_to(place);
                    vigil
                }
                (None, Some(place)) => Vigil::of(backend, place),
                (None, None) => continue,
            };
            if vigil.is_of_interest() {
                self.vigils.insert(Arc::clone(&backend.name), vigil);
            }
        }
        let took = board.clock().processor_time().saturating_sub(spent);
        let until = now + PLACE_SURE_FOR.max((took * LENGTHS_SHARE).min(PLACE_SURE_MAX));
        self.found_among = Some((backends, until));
    }

    /// From one look to the next, as often as the backends here are asked.
    fn look_every(&self) -> Duration {
        let intervals = self.vigils.values().map(Vigil::interval);
        intervals
            .fold(LOOK_EVERY, Duration::min)
            .max(LOOK_EVERY_MIN)
    }

    /// Looks once at all queues; answers how much processor time it took to ask who waits.
    fn look(&mut self, now: Moment) -> Result<Duration, AskError> {
        let of_interest = |vigil: &&mut Vigil| vigil.is_of_interest();
        let mut here: Vec<_> = self.vigils.values_mut().filter(of_interest).collect();
        if here.is_empty() {
            return Ok(Duration::ZERO);
        }
        let namespace = match self.namespace.take() {
            Some(namespace) => namespace,
            None => Namespace::current().map_err(io::Error::other)?,
        };
        let namespace = self.namespace.insert(namespace);
        let sample = namespace.sample()?;
        let counters = namespace.counters()?;
        let counted = counters.since(&self.counters.unwrap_or(counters));
        self.counters = Some(counters);
        for vigil in &mut here {
            vigil.see(&sample, &counted, now);
        }
        let mut asking = Duration::ZERO;
        if self.pace.is_earned(now) {
            here.retain(|vigil| vigil.is_crowded());
            let clock = self.control.board().clock();
            let spent = clock.processor_time();
            let count = here.len();
            let first = self.turn;
            for step in 0..count.min(WAITING_MAX) {
                here[(first + step) % count].ask_who_waits(namespace, &sample, now)?;
                self.turn = self.turn.wrapping_add(1);
                asking = clock.processor_time().saturating_sub(spent);
                if asking > WAITING_TIME_MAX {
                    break;
                }
            }
        }
        self.tell(now);
        Ok(asking)
    }

    /// Nobody knows what is wrong any more.
    fn see_nothing(&mut self, now: Moment) {
        for vigil in self.vigils.values_mut() {
            vigil.see(&Listeners::default(), &Counters::default(), now);
        }
        self.tell(now);
    }

    /// Tells the board what was seen, and the shards what is wrong.
    fn tell(&mut self, now: Moment) {
        for vigil in self.vigils.values_mut() {
            let Some(look) = vigil.tell(now) else {
                continue;
            };
            let cause = look.observation.outcome.cause();
            // A shard that takes no more hears it at the next look, also that it is over.
            if self.control.look(look).is_ok_and(|is_known| is_known) {
                vigil.note_told(cause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long looks take together in an hour, where each takes so long, and so long more where it is
    /// asked who waits.
    fn time_in_an_hour(lengths: Duration, asking: Duration) -> Duration {
        let mut pace = Pace::default();
        let mut spent = Duration::ZERO;
        let mut now = Moment::ORIGIN;
        while now < Moment::ORIGIN + Duration::from_secs(3600) {
            assert!(!pace.has_gap(now));
            let asking = match pace.is_earned(now) {
                true => asking,
                false => Duration::ZERO,
            };
            let took = lengths + asking;
            spent += took;
            now = now + took + pace.rest(now, took, asking, LOOK_EVERY_MIN);
        }
        spent
    }

    #[test]
    fn looks_take_a_hundredth_of_a_core_at_most_however_dear_they_are() {
        let micros = Duration::from_micros;
        let most = Duration::from_secs(36) + ADVANCE / SHARE;
        for (lengths, asking) in [
            (40, 500),
            (40, 7000),
            (40, 240_000),
            (60_000, 60_000),
            (1000, 0),
        ] {
            let (lengths, asking) = (micros(lengths), micros(asking));
            let took = time_in_an_hour(lengths, asking);
            // The newest look is earned afterwards.
            assert!(
                took <= most + lengths + asking,
                "{lengths:?} {asking:?}: {took:?}"
            );
        }
    }

    #[test]
    fn who_waits_is_asked_at_each_look_where_that_is_cheap() {
        let mut pace = Pace::default();
        let micros = Duration::from_micros;
        for look in 0..100 {
            let now = Moment::ORIGIN + LOOK_EVERY * look;
            assert!(pace.is_earned(now));
            assert_eq!(
                pace.rest(now, micros(1500), micros(1000), LOOK_EVERY),
                LOOK_EVERY
            );
        }
    }

    #[test]
    fn the_first_questions_about_a_crowd_need_not_be_earned_first() {
        let mut pace = Pace::default();
        let dear = Duration::from_millis(30);
        let asked = (0..10).filter(|look| {
            let now = Moment::ORIGIN + LOOK_EVERY * *look;
            let is_asked = pace.is_earned(now);
            if is_asked {
                pace.rest(now, dear, dear, LOOK_EVERY);
            }
            is_asked
        });
        assert_eq!(asked.collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_machine_that_slept_shows_a_gap() {
        let mut pace = Pace::default();
        let second = |second| Moment::ORIGIN + Duration::from_secs(second);
        pace.rest(second(1), Duration::ZERO, Duration::ZERO, LOOK_EVERY);
        assert!(!pace.has_gap(second(3)) && pace.has_gap(second(4)));
    }
}
