//! What the handles, leases and tasks of one pool have in common: the ledger, the driver, and how
//! a connection is judged and parted with.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbvitals_verdict::Moment;
use tokio::sync::Notify;

use crate::books::{Bounds, Census};
use crate::card::Roll;
use crate::clock;
use crate::counters::{Counters, Stats};
use crate::driver::{ConnectFault, Driver, Fault, Opened, Returned, Unread};
use crate::ending::Ending;
use crate::failure::ConnectError;
use crate::idle_limit::{IdleLimits, allowance};
use crate::ladder::{Doubt, Ladder, Rung};
use crate::ledger::Ledger;
use crate::member::{Member, Opinion};
use crate::observer::{Ended, Observer};
use crate::pool::Preparation;
use crate::settings::Settings;
use crate::socket::{Sight, Socket};
use crate::watch::Watch;

/// One that ends unused before that age is as good as none.
const STILLBORN_AGE: Duration = Duration::from_secs(1);
/// How long a trial stands for the checkout that it was made for.
const CLEARED_FOR: Duration = Duration::from_secs(1);

/// The common part of a pool.
pub(crate) struct Shared<D: Driver> {
    pub(crate) driver: D,
    pub(crate) settings: Settings,
    pub(crate) ledger: Ledger<Box<Member<D>>>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) roll: Roll,
    pub(crate) counters: Counters,
    observer: Box<dyn Observer>,
    preparation: Option<Preparation<D>>,
    /// Something was found out, or ended: who waits for that looks again.
    pub(crate) news: Notify,
    ladder: Ladder,
    suspicion: Suspicion,
    /// When a command on a lease was answered last, in nanoseconds.
    answered: AtomicU64,
    limits: Mutex<IdleLimits>,
    bounds: Mutex<Bounds>,
    last_failure: Mutex<Option<Arc<ConnectError<D::Error>>>>,
}

/// Since when connections are in doubt: those on which the server has not answered since.
#[derive(Debug, Default)]
struct Suspicion {
    closed: AtomicU64,
    silent: AtomicU64,
}

/// What the ladder says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    Alive,
    Dead(Ending),
    /// A ping decides.
    Doubtful,
}

impl<D: Driver> fmt::Debug for Shared<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let census = self.ledger.census();
        f.debug_struct("Shared").field("census", &census).finish()
    }
}

impl<D: Driver> Shared<D> {
    pub(crate) fn new(
        driver: D,
        settings: Settings,
        observer: Box<dyn Observer>,
        preparation: Option<Preparation<D>>,
        watch: Watch,
    ) -> Self {
        let bounds = settings.bounds();
        Self {
            driver,
            ledger: Ledger::new(bounds),
            watch: Arc::new(watch),
            roll: Roll::default(),
            counters: Counters::default(),
            observer,
            preparation,
            news: Notify::new(),
            ladder: Ladder {
                trust_for: settings.trust_for,
                ping_after: settings.ping_after,
            },
            suspicion: Suspicion::default(),
            answered: AtomicU64::new(0),
            limits: Mutex::default(),
            bounds: Mutex::new(bounds),
            last_failure: Mutex::new(None),
            settings,
        }
    }

    /// Opens a connection, ready for use.
    pub(crate) async fn connect(&self) -> Result<Opened<D::Connection>, D::Error> {
        let mut opened = self.driver.connect().await?;
        if let Some(prepare) = &self.preparation {
            prepare(&mut opened.connection).await?;
            if self.driver.at_return(&mut opened.connection) == Returned::Unsettled {
                self.driver.settle(&mut opened.connection).await?;
            }
        }
        Ok(opened)
    }

    /// Climbs the ladder as far as it goes without waiting, for a checkout.
    pub(crate) fn examine(&self, member: &mut Member<D>, now: Moment) -> Finding {
        let finding = self.climb(member, now);
        let tried = std::mem::take(&mut member.cleared);
        if tried && now.since(member.proven_at) < CLEARED_FOR {
            // The trial was for this checkout: what still speaks against it is its end alone.
            return match finding {
                Finding::Doubtful | Finding::Alive => Finding::Alive,
                Finding::Dead(ending) => Finding::Dead(ending),
            };
        }
        if !self.settings.shadow {
            return finding;
        }
        member.opinion = Some(match finding {
            Finding::Alive => Opinion::Alive,
            Finding::Dead(_) => Opinion::Dead,
            Finding::Doubtful => Opinion::Unsure,
        });
        Finding::Doubtful
    }

    /// The ladder itself.
    pub(crate) fn climb(&self, member: &mut Member<D>, now: Moment) -> Finding {
        if self.is_closed(member) {
            return Finding::Dead(self.name_ending(member, Ending::Broken, now));
        }
        let doubt = match member.card.has_hung_up() {
            true => self.suspicion.of(member.proven_at).max(Doubt::Closed),
            false => self.suspicion.of(member.proven_at),
        };
        let proven_age = now.since(member.proven_at);
        let rung = self.ladder.rung(proven_age, doubt, member.socket.is_some());
        let sight = match (&member.socket, rung) {
            (Some(socket), Rung::Look | Rung::Ping) => socket.look(),
            (_, Rung::Ping) => return Finding::Doubtful,
            (_, Rung::Nothing) | (None, Rung::Look) => return Finding::Alive,
        };
        match (sight, rung) {
            (Sight::Gone { ending, .. }, _) => Finding::Dead(self.name_ending(member, ending, now)),
            (_, Rung::Ping) => Finding::Doubtful,
            (Sight::Quiet, _) => Finding::Alive,
            (Sight::Bytes, _) => match self.judge_unread(member) {
                Unread::Alive => Finding::Alive,
                Unread::Dead => Finding::Dead(self.name_ending(member, Ending::HungUp, now)),
                Unread::Unclear => Finding::Doubtful,
            },
        }
    }

    /// Finds the best name for an end that was seen as `ending`.
    fn name_ending(&self, member: &Member<D>, ending: Ending, now: Moment) -> Ending {
        if let Some(said) = self.ending(member) {
            return said;
        }
        let tells_nothing = matches!(ending, Ending::HungUp | Ending::Reset);
        let idled = member.idled_for(now).filter(|_| tells_nothing);
        // The clock of a checkout is coarse, so an idle limit may seem to come a little early.
        let idled = idled.map(|idled| idled + Duration::from_millis(20));
        let limit = self.idle_limit(member);
        match idled
            .zip(limit)
            .is_some_and(|(idled, limit)| idled >= limit)
        {
            true => Ending::IdleLimit,
            false => ending,
        }
    }

    /// The end of one whose command was begun and not ended: cancelled, unless it is to be seen that
    /// the connection was lost under it.
    pub(crate) fn name_unended(&self, member: &Member<D>, now: Moment) -> Ending {
        match member.socket.as_ref().map(Socket::look) {
            Some(Sight::Gone { ending, .. }) => self.name_ending(member, ending, now),
            Some(Sight::Quiet | Sight::Bytes) | None => Ending::Cancelled,
        }
    }

    /// How long something lets this connection idle, as far as is known.
    fn idle_limit(&self, member: &Member<D>) -> Option<Duration> {
        let learned = self.limits().learned(clock::coarse());
        member.idle_limit.into_iter().chain(learned).min()
    }

    /// How long the pool lets this connection idle without a sign of life.
    pub(crate) fn idle_allowance(&self, member: &Member<D>) -> Option<Duration> {
        self.idle_limit(member).map(allowance)
    }

    /// Parts with a leased connection that is no more.
    pub(crate) fn bury(&self, member: Box<Member<D>>, ending: Ending, now: Moment) {
        self.part_with(member, ending, now);
        self.ledger.bury(now, ending.is_death());
        self.news.notify_waiters();
    }

    /// Parts with one in the keeper's hands that is no more.
    pub(crate) fn end_trial(&self, member: Box<Member<D>>, ending: Ending, now: Moment) {
        self.part_with(member, ending, now);
        self.ledger.end_trial(now, ending.is_death());
        self.news.notify_waiters();
    }

    /// Counts and tells an end, and drops what is left, before another one may take its place.
    fn part_with(&self, member: Box<Member<D>>, ending: Ending, now: Moment) {
        self.tell_end(&member, ending, now);
        // Silence takes its time, and needs no pause.
        let ended_at_once = ending.is_death()
            && ending != Ending::Silent
            && member.uses == 0
            && now.since(member.opened_at) < STILLBORN_AGE;
        if ended_at_once {
            self.note_failure(ConnectError::EndedAtOnce(ending));
            self.ledger.note_stillborn(now, fastrand::f64());
        }
        member.end();
    }

    /// Counts and tells an end, and lets it cast doubt on others.
    pub(crate) fn tell_end(&self, member: &Member<D>, ending: Ending, now: Moment) {
        let silence = now.since(member.proven_at);
        self.counters.count_ending(ending);
        if ending.is_death() {
            self.suspicion.raise(ending, self.seen_since(ending, now));
        }
        if matches!(ending, Ending::HungUp | Ending::Reset)
            && let Some(idled) = member.idled_for(now)
        {
            self.limits().note_end(idled, now);
        }
        let ended = Ended {
            connection: member.card.id,
            ending,
            age: now.since(member.opened_at),
            silence,
            uses: member.uses,
        };
        self.tell(|observer| observer.ended(&ended));
    }

    /// Since when an end was there to be seen: a silence is as old as the ping that showed it.
    fn seen_since(&self, ending: Ending, now: Moment) -> Moment {
        match ending == Ending::Silent {
            true => now - self.settings.ping_timeout,
            false => now,
        }
    }

    /// The server answered on it.
    pub(crate) fn note_answer(&self, member: &mut Member<D>, now: Moment) {
        if let Some(idled) = member.idled_for(now) {
            self.limits().note_answer(idled);
        }
        member.proven_at = now;
    }

    /// The machine has slept, and what happened meanwhile was told to nobody.
    pub(crate) fn note_sleep(&self, now: Moment) {
        self.suspicion.raise(Ending::Silent, now);
    }

    pub(crate) fn note_failure(&self, error: ConnectError<D::Error>) {
        self.tell(|observer| observer.attempt_failed(&error.to_string()));
        *self.last_failure() = Some(Arc::new(error));
    }

    /// How the last attempt failed, where none has succeeded since.
    pub(crate) fn failure(&self) -> Option<Arc<ConnectError<D::Error>>> {
        self.last_failure().clone()
    }

    pub(crate) fn forget_failure(&self) {
        *self.last_failure() = None;
    }

    /// A command was answered on a lease, which may stay out for long.
    pub(crate) fn note_command(&self, now: Moment) {
        let now = now.as_nanos();
        // Mostly the clock has not moved on since the last one.
        if self.answered.load(Ordering::Relaxed) < now {
            self.answered.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// The census, with what is known of leases that are out.
    pub(crate) fn census(&self) -> Census {
        let mut census = self.ledger.census();
        let answered = self.answered.load(Ordering::Relaxed);
        let answered = (answered > 0).then(|| Moment::from_nanos(answered));
        census.proven = census.proven.max(answered);
        census
    }

    /// Changes how many there may be.
    pub(crate) fn change_bounds(&self, change: impl FnOnce(&mut Bounds)) {
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut bounds);
        self.ledger.set_bounds(*bounds, clock::exact());
    }

    pub(crate) fn bounds(&self) -> Bounds {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> Stats {
        let learned = self.limits().learned(clock::coarse());
        Stats::new(&self.ledger.census(), &self.counters, learned)
    }

    fn limits(&self) -> MutexGuard<'_, IdleLimits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<Arc<ConnectError<D::Error>>>> {
        let failure = self.last_failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner)
    }
}

/// What others' code says; a panic there is theirs, and costs the pool no place.
impl<D: Driver> Shared<D> {
    pub(crate) fn tell(&self, tell: impl FnOnce(&dyn Observer)) {
        let _ = catch_unwind(AssertUnwindSafe(|| tell(&*self.observer)));
    }

    fn is_closed(&self, member: &Member<D>) -> bool {
        let ask = || self.driver.is_closed(&member.connection);
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or(true)
    }

    fn judge_unread(&self, member: &mut Member<D>) -> Unread {
        let ask = || self.driver.judge_unread(&mut member.connection);
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or(Unread::Dead)
    }

    pub(crate) fn at_return(&self, member: &mut Member<D>) -> Returned {
        let ask = || self.driver.at_return(&mut member.connection);
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or(Returned::Broken)
    }

    pub(crate) fn judge_error(&self, error: &D::Error) -> Fault {
        let ask = || self.driver.judge_error(error);
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or(Fault::Lost)
    }

    pub(crate) fn judge_attempt(&self, error: &D::Error) -> ConnectFault {
        let ask = || self.driver.judge_attempt(error);
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or(ConnectFault::Unreachable)
    }

    pub(crate) fn ending(&self, member: &Member<D>) -> Option<Ending> {
        let ask = || self.driver.ending(&member.connection);
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or(None)
    }
}

impl Suspicion {
    /// One was found dead now: all that have not answered since are in doubt.
    fn raise(&self, ending: Ending, now: Moment) {
        let since = match ending == Ending::Silent {
            true => &self.silent,
            false => &self.closed,
        };
        since.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    fn of(&self, proven_at: Moment) -> Doubt {
        let before = |since: &AtomicU64| proven_at.as_nanos() <= since.load(Ordering::Relaxed);
        match () {
            () if before(&self.silent) => Doubt::Silent,
            () if before(&self.closed) => Doubt::Closed,
            () => Doubt::None,
        }
    }
}
