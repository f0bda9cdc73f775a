//! The task behind a pool: opens, tries, tidies up and closes connections, and goes its rounds.
//!
//! It is the only one that awaits anything on a connection, each time with a limit. What it works
//! on is held by a guard that gives the books their due if the work panics or is dropped.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dbvitals_verdict::Moment;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::books::{Lay, Order};
use crate::clock;
use crate::counters::add_one;
use crate::driver::{ConnectFault, Driver, Opened};
use crate::ending::Ending;
use crate::failure::ConnectError;
use crate::ledger::Failed;
use crate::member::Member;
use crate::rounds::ROUND_MAX;
use crate::shared::{Finding, Shared};
use crate::socket::Socket;
use crate::watch::Ends;

/// A successor is ordered when this share of the lifetime is left.
const SUCCESSOR_SHARE: u32 = 20;
/// How long a server that answered, and let nobody in, is left alone.
const PAUSE_NOT_NOW: Duration = Duration::from_millis(50);
/// How long one is that will not let anybody in.
const PAUSE_REJECTED: Duration = Duration::from_secs(1);
/// A sleep of the machine that may have cost connections.
const SLEEP_MIN: Duration = Duration::from_secs(1);
/// How long drivers get to read the last words of a connection that ended, before it is named.
const LAST_WORDS: u32 = 3;

/// What the keeper wakes up for.
enum Call<T> {
    Order(Order<T>),
    Alarm,
}

/// The state of the task.
pub(crate) struct Keeper<D: Driver> {
    shared: Arc<Shared<D>>,
    jobs: JoinSet<()>,
    names: Arc<AtomicU64>,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` stands at.
    armed: Option<Moment>,
    next_round: Moment,
    /// How long the machine had slept by the last round.
    slept: Duration,
}

/// Without it nobody is served any more: whoever waits learns so, now and later.
impl<D: Driver> Drop for Keeper<D> {
    fn drop(&mut self) {
        drop(self.shared.ledger.orphan());
        self.shared.news.notify_waiters();
    }
}

impl<D: Driver> Keeper<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>) -> Self {
        Self {
            shared,
            jobs: JoinSet::new(),
            names: Arc::new(AtomicU64::new(0)),
            sleep: Box::pin(sleep(ROUND_MAX)),
            armed: None,
            next_round: clock::exact(),
            slept: clock::slept(),
        }
    }

    /// Runs until the pool is dropped, which aborts it.
    pub(crate) async fn run(mut self, mut ends: Ends) {
        loop {
            tokio::select! {
                call = poll_fn({
                    let (shared, sleep) = (&self.shared, &mut self.sleep);
                    let (armed, next_round) = (&mut self.armed, self.next_round);
                    move |cx| poll_call(shared, sleep, armed, next_round, cx)
                }) => match call {
                    Call::Order(order) => self.carry_out(order),
                    Call::Alarm => self.wake_up(),
                },
                ids = ends.next() => self.note_ends(&ids).await,
                Some(_) = self.jobs.join_next(), if !self.jobs.is_empty() => {}
            }
        }
    }

    fn carry_out(&mut self, order: Order<Box<Member<D>>>) {
        let shared = Arc::clone(&self.shared);
        match order {
            Order::Open => {
                let name = self.names.fetch_add(1, Ordering::Relaxed);
                self.jobs.spawn(open(Attempt::begin(shared), name));
            }
            Order::Try(member) => {
                self.jobs.spawn(try_out(Trial::new(shared, member), false));
            }
            Order::Settle(member) => {
                self.jobs.spawn(try_out(Trial::new(shared, member), true));
            }
            Order::Close(member) => {
                self.jobs.spawn(close(Closing { shared }, member));
            }
        }
    }

    fn wake_up(&mut self) {
        self.armed = None;
        let now = clock::exact();
        self.shared.ledger.tick(now);
        if self.next_round <= now {
            let slept = clock::slept();
            if slept.saturating_sub(self.slept) >= SLEEP_MIN {
                self.shared.note_sleep(now);
            }
            self.slept = slept;
            self.next_round = now + self.shared.tidy_up(now);
        }
    }

    /// Marks those that ended, and parts with the idle ones.
    async fn note_ends(&self, ids: &[u64]) {
        for _ in 0..LAST_WORDS {
            tokio::task::yield_now().await;
        }
        for card in self.shared.roll.cards() {
            if ids.contains(&card.id) {
                card.mark_hung_up();
            }
        }
        let hung_up = |member: &Member<D>| member.card.has_hung_up();
        self.shared.drop_dead(clock::exact(), hung_up);
    }
}

/// Looks for an order, and else sets the alarm to where it has to stand by now.
fn poll_call<D: Driver>(
    shared: &Shared<D>,
    sleep: &mut Pin<Box<Sleep>>,
    armed: &mut Option<Moment>,
    next_round: Moment,
    cx: &mut Context<'_>,
) -> Poll<Call<Box<Member<D>>>> {
    if let Poll::Ready(order) = shared.ledger.poll_order(cx) {
        return Poll::Ready(Call::Order(order));
    }
    // An order that comes from here on wakes this task, and so does a change of the alarm.
    let alarm = shared
        .ledger
        .alarm()
        .map_or(next_round, |it| it.min(next_round));
    if *armed != Some(alarm) {
        *armed = Some(alarm);
        sleep
            .as_mut()
            .reset(Instant::now() + alarm.since(clock::exact()));
    }
    sleep.as_mut().poll(cx).map(|()| Call::Alarm)
}

// --- Jobs ---------------------------------------------------------------------------------------

/// An attempt under way; dropped without an outcome, it has failed.
struct Attempt<D: Driver> {
    shared: Arc<Shared<D>>,
    started: Moment,
    pending: bool,
}

impl<D: Driver> Attempt<D> {
    fn begin(shared: Arc<Shared<D>>) -> Self {
        Self {
            shared,
            started: clock::exact(),
            pending: true,
        }
    }

    fn fail(&mut self, error: ConnectError<D::Error>) {
        if !std::mem::take(&mut self.pending) {
            return;
        }
        let fault = match &error {
            ConnectError::Driver(error) => self.shared.judge_attempt(error),
            ConnectError::TimedOut(_) | ConnectError::EndedAtOnce(_) | ConnectError::Panicked => {
                ConnectFault::Unreachable
            }
        };
        self.shared.note_failure(error);
        let failed = Failed {
            started: self.started,
            pause_min: match fault {
                ConnectFault::Unreachable => Duration::ZERO,
                ConnectFault::NotNow => PAUSE_NOT_NOW,
                ConnectFault::Rejected => PAUSE_REJECTED,
            },
            rejected: fault == ConnectFault::Rejected,
            chance: fastrand::f64(),
        };
        self.shared.ledger.note_failure(failed, clock::exact());
        self.shared.news.notify_waiters();
    }
}

impl<D: Driver> Drop for Attempt<D> {
    fn drop(&mut self) {
        self.fail(ConnectError::Panicked);
    }
}

async fn open<D: Driver>(mut attempt: Attempt<D>, id: u64) {
    let shared = Arc::clone(&attempt.shared);
    let limit = shared.settings.connect_timeout;
    match timeout(limit, shared.connect()).await {
        Ok(Ok(opened)) => {
            let now = clock::exact();
            shared.forget_failure();
            let member = shared.enlist(opened, id, now);
            attempt.pending = false;
            shared.ledger.admit(member, now);
            let took = now.since(attempt.started);
            shared.tell(|observer| observer.opened(id, took));
            shared.news.notify_waiters();
        }
        Ok(Err(error)) => attempt.fail(ConnectError::Driver(error)),
        Err(_) => attempt.fail(ConnectError::TimedOut(limit)),
    }
}

impl<D: Driver> Shared<D> {
    /// Makes a member of a connection.
    fn enlist(&self, opened: Opened<D::Connection>, id: u64, now: Moment) -> Box<Member<D>> {
        let settings = &self.settings;
        let lifetime = settings.max_lifetime.map(|longest| {
            let earlier = longest.as_secs_f64() * settings.lifetime_jitter * fastrand::f64();
            longest.saturating_sub(Duration::try_from_secs_f64(earlier).unwrap_or_default())
        });
        let successor_due = lifetime.map(|it| now + (it - it / SUCCESSOR_SHARE));
        let socket = opened.socket;
        let without_socket = socket.is_none();
        // On the roll before it is watched, so that an end finds its card.
        let card = self.roll.enter(id, successor_due);
        Box::new(Member {
            connection: opened.connection,
            _without_socket: without_socket.then(|| self.counters.count_without_socket()),
            socket: socket.map(|fd| Socket::new(fd, id, &self.watch, settings.keepalive)),
            card,
            opened_at: now,
            expires_at: lifetime.map(|lifetime| now + lifetime),
            idle_since: now,
            proven_at: now,
            place: None,
            idle_limit: opened.idle_limit,
            uses: 0,
            cleared: false,
            leaving: None,
            opinion: None,
        })
    }
}

/// A connection in the keeper's hands; dropped without an outcome, it is no more.
struct Trial<D: Driver> {
    shared: Arc<Shared<D>>,
    member: Option<Box<Member<D>>>,
}

impl<D: Driver> Trial<D> {
    fn new(shared: Arc<Shared<D>>, member: Box<Member<D>>) -> Self {
        Self {
            shared,
            member: Some(member),
        }
    }

    fn pass(mut self, now: Moment, lay: Lay) {
        if let Some(member) = self.member.take() {
            self.shared.ledger.keep(member, now, lay);
            self.shared.news.notify_waiters();
        }
    }

    fn fail(&mut self, ending: Ending) {
        let Some(member) = self.member.take() else {
            return;
        };
        let now = clock::exact();
        self.shared.end_trial(member, ending, now);
        if ending == Ending::Silent {
            // All that are as old are tried at once, rather than one checkout after another.
            self.shared.drop_dead(now, |_| true);
        }
    }
}

impl<D: Driver> Drop for Trial<D> {
    fn drop(&mut self) {
        self.fail(Ending::TrialFailed);
    }
}

/// Pings a connection, or tidies it up; either way the server has to answer in time.
async fn try_out<D: Driver>(mut trial: Trial<D>, unsettled: bool) {
    let shared = Arc::clone(&trial.shared);
    let Some(member) = &mut trial.member else {
        return;
    };
    if !unsettled
        && member.opinion.is_none()
        && let Finding::Dead(ending) = shared.climb(member, clock::exact())
    {
        // It may have ended since it was found doubtful; shadow mode pings it all the same.
        return trial.fail(ending);
    }
    // What a user left behind may take its time, and tells nothing of the server.
    let left_behind = unsettled || member.has_unread();
    add_one(&shared.counters.pings);
    let limit = shared.settings.ping_timeout;
    let connection = &mut member.connection;
    let outcome = match unsettled {
        true => timeout(limit, shared.driver.settle(connection)).await,
        false => timeout(limit, shared.driver.ping(connection)).await,
    };
    let alive = matches!(outcome, Ok(Ok(())));
    if let Some(opinion) = member.opinion.take() {
        shared.counters.count_opinion(opinion, alive);
    }
    if alive {
        let now = clock::exact();
        shared.note_answer(member, now);
        member.cleared = true;
        let lay = match unsettled {
            true => Lay::Newest,
            false => Lay::Oldest,
        };
        if lay == Lay::Newest {
            member.idle_since = now;
        }
        return trial.pass(now, lay);
    }
    add_one(&shared.counters.pings_unanswered);
    let said = shared.ending(member);
    trial.fail(match outcome {
        Err(_) if left_behind => Ending::Cancelled,
        Err(_) => Ending::Silent,
        Ok(_) => said.unwrap_or(Ending::TrialFailed),
    });
}

/// A goodbye under way; said or not, there is room for another connection afterwards.
struct Closing<D: Driver> {
    shared: Arc<Shared<D>>,
}

impl<D: Driver> Drop for Closing<D> {
    fn drop(&mut self) {
        self.shared.ledger.end_closing(clock::exact());
        self.shared.news.notify_waiters();
    }
}

async fn close<D: Driver>(closing: Closing<D>, member: Box<Member<D>>) {
    let shared = &closing.shared;
    let ending = member.leaving.unwrap_or(match shared.ledger.is_closed() {
        true => Ending::PoolClosed,
        false => Ending::Surplus,
    });
    shared.tell_end(&member, ending, clock::exact());
    let Member {
        connection, socket, ..
    } = *member;
    let limit = shared.settings.close_timeout;
    // Whoever does not hear it in time is left.
    let _ = match ending == Ending::Cancelled {
        true => timeout(limit, shared.driver.abandon(connection)).await,
        false => timeout(limit, shared.driver.close(connection)).await,
    };
    if let Some(socket) = socket {
        // The driver may hold on to it; what is still to come is for nobody.
        socket.end();
    }
}
