//! The task behind a pool: opens, tries, tidies up and closes connections, and keeps the idle ones
//! in order.
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

use crate::books::{Order, Stay};
use crate::clock;
use crate::counters::add_one;
use crate::driver::{Driver, Opened};
use crate::ending::Ending;
use crate::member::Member;
use crate::observer::Leak;
use crate::shared::{Finding, Shared};
use crate::socket::Socket;
use crate::watch::Ends;

/// The longest time between two rounds through the idle connections.
const ROUND_MAX: Duration = Duration::from_millis(500);
/// The shortest, whatever the limits say.
const ROUND_MIN: Duration = Duration::from_millis(5);
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
                self.jobs.spawn(open(shared, name));
            }
            Order::Try(member) => {
                self.jobs.spawn(try_out(Trial::new(shared, member), false));
            }
            Order::Settle(member) => {
                self.jobs.spawn(try_out(Trial::new(shared, member), true));
            }
            Order::Close(member) => {
                self.jobs.spawn(close(shared, member));
            }
        }
    }

    fn wake_up(&mut self) {
        self.armed = None;
        let now = clock::exact();
        self.shared.ledger.tick(now);
        if self.next_round <= now {
            self.next_round = now + self.shared.tidy_up(now);
        }
    }

    /// Parts with those that ended while idle, and remembers those that ended in use.
    async fn note_ends(&self, ids: &[u64]) {
        for _ in 0..LAST_WORDS {
            tokio::task::yield_now().await;
        }
        let shared = &self.shared;
        let now = clock::exact();
        shared.drop_dead(now, |member| ids.contains(&member.id));
        shared
            .ledger
            .inspect_leases(|lease| lease.hung_up |= ids.contains(&lease.id));
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

// --- Rounds -------------------------------------------------------------------------------------

impl<D: Driver> Shared<D> {
    /// Goes through the idle connections; returns the time until the next round.
    fn tidy_up(&self, now: Moment) -> Duration {
        let min_idle = self.bounds().min_idle;
        let mut spare = self.ledger.census().idle.saturating_sub(min_idle);
        let mut next = now + ROUND_MAX;
        let mut successors = 0;
        let dropped = self.ledger.inspect(now, |member| {
            if member.wants_successor(now) {
                member.replaced = true;
                successors += 1;
            }
            if let Some(expires_at) = member.expires_at {
                if expires_at <= now {
                    member.leaving = Some(Ending::Lifetime);
                    return Stay::Close;
                }
                next = next.min(expires_at);
            }
            self.judge_idleness(member, now, &mut spare, &mut next)
        });
        debug_assert!(dropped.is_empty(), "a round drops nothing");
        (0..successors).for_each(|_| self.ledger.replace(now));
        self.tell_leaks(now);
        next.since(now).max(ROUND_MIN)
    }

    /// Whether one has idled for too long: closed if there are enough, else kept alive by a ping.
    fn judge_idleness(
        &self,
        member: &mut Member<D>,
        now: Moment,
        spare: &mut usize,
        next: &mut Moment,
    ) -> Stay {
        let own_limit = self.settings.max_idle_time.map(|it| member.idle_since + it);
        let servers = self.idle_allowance(member).map(|it| member.proven_at + it);
        let due = |limit: Option<Moment>| limit.is_some_and(|limit| limit <= now);
        if *spare > 0 && (due(own_limit) || due(servers)) {
            *spare -= 1;
            member.leaving = Some(Ending::IdleTime);
            return Stay::Close;
        }
        if due(servers) {
            return Stay::Trial;
        }
        for limit in own_limit.into_iter().chain(servers).filter(|it| *it > now) {
            *next = (*next).min(limit);
        }
        Stay::Idle
    }

    /// Drops the idle connections of a kind that a look finds dead, and tries those it cannot
    /// judge; the rest stays.
    fn drop_dead(&self, now: Moment, concerns: impl Fn(&Member<D>) -> bool) {
        let mut endings = Vec::new();
        let dropped = self.ledger.inspect(now, |member| {
            if !concerns(member) {
                return Stay::Idle;
            }
            match self.climb(member, now) {
                Finding::Alive => Stay::Idle,
                Finding::Doubtful => Stay::Trial,
                Finding::Dead(ending) => {
                    endings.push(ending);
                    Stay::Drop
                }
            }
        });
        for (member, ending) in dropped.into_iter().zip(endings) {
            self.end_trial(member, ending, now);
        }
    }

    fn tell_leaks(&self, now: Moment) {
        let Some(after) = self.settings.leak_after else {
            return;
        };
        let mut leaks = Vec::new();
        self.ledger.inspect_leases(|lease| {
            let held = now.since(lease.since);
            if held >= after && !lease.leak_told {
                lease.leak_told = true;
                leaks.push(Leak {
                    connection: lease.id,
                    place: lease.place,
                    held,
                });
            }
        });
        for leak in leaks {
            add_one(&self.counters.leaks);
            self.observer.leaked(&leak);
        }
    }
}

// --- Jobs ---------------------------------------------------------------------------------------

/// An attempt under way; dropped without an outcome, it has failed.
struct Attempt<D: Driver> {
    shared: Arc<Shared<D>>,
    started: Moment,
    pending: bool,
}

impl<D: Driver> Attempt<D> {
    fn fail(&mut self) {
        if std::mem::take(&mut self.pending) {
            let chance = fastrand::f64();
            self.shared
                .ledger
                .note_failure(self.started, clock::exact(), chance);
            self.shared.news.notify_waiters();
        }
    }
}

impl<D: Driver> Drop for Attempt<D> {
    fn drop(&mut self) {
        self.fail();
    }
}

async fn open<D: Driver>(shared: Arc<Shared<D>>, id: u64) {
    let mut attempt = Attempt {
        shared: Arc::clone(&shared),
        started: clock::exact(),
        pending: true,
    };
    let limit = shared.settings.connect_timeout;
    match timeout(limit, shared.driver.connect()).await {
        Ok(Ok(opened)) => {
            attempt.pending = false;
            let now = clock::exact();
            shared.forget_failure();
            shared.observer.opened(id, now.since(attempt.started));
            let member = shared.enlist(opened, id, now);
            shared.ledger.admit(member, now);
            shared.news.notify_waiters();
        }
        Ok(Err(error)) => {
            shared.note_failure(error);
            attempt.fail();
        }
        Err(_) => attempt.fail(),
    }
}

impl<D: Driver> Shared<D> {
    /// Makes a member of a connection.
    fn enlist(&self, opened: Opened<D::Connection>, id: u64, now: Moment) -> Box<Member<D>> {
        let settings = &self.settings;
        let lifetime = settings
            .max_lifetime
            .map(|lifetime| lifetime.mul_f64(1.0 - settings.lifetime_jitter * fastrand::f64()));
        let socket = opened.socket;
        let without_socket = socket.is_none();
        Box::new(Member {
            connection: opened.connection,
            _without_socket: without_socket.then(|| self.counters.count_without_socket()),
            socket: socket.map(|fd| Socket::new(fd, id, &self.watch, settings.keepalive)),
            id,
            slot: 0,
            opened_at: now,
            expires_at: lifetime.map(|lifetime| now + lifetime),
            idle_since: now,
            proven_at: now,
            taken_at: now,
            idle_limit: opened.idle_limit,
            uses: 0,
            cleared: false,
            replaced: false,
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

    fn pass(mut self, now: Moment) {
        if let Some(member) = self.member.take() {
            self.shared.ledger.keep(member, now);
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
        member.idle_since = if unsettled { now } else { member.idle_since };
        member.cleared = true;
        return trial.pass(now);
    }
    add_one(&shared.counters.pings_unanswered);
    let said = shared.driver.ending(&member.connection);
    trial.fail(match outcome {
        Err(_) => Ending::Silent,
        Ok(_) => said.unwrap_or(Ending::TrialFailed),
    });
}

/// A goodbye under way; said or not, there is room for another connection afterwards.
struct Closing<D: Driver> {
    shared: Arc<Shared<D>>,
    slot: usize,
}

impl<D: Driver> Drop for Closing<D> {
    fn drop(&mut self) {
        self.shared.ledger.end_closing(self.slot, clock::exact());
        self.shared.news.notify_waiters();
    }
}

async fn close<D: Driver>(shared: Arc<Shared<D>>, member: Box<Member<D>>) {
    let ending = member.leaving.unwrap_or(match shared.ledger.is_closed() {
        true => Ending::PoolClosed,
        false => Ending::Surplus,
    });
    let _closing = Closing {
        shared: Arc::clone(&shared),
        slot: member.slot,
    };
    shared.tell_end(&member, ending, clock::exact());
    let Member {
        connection, socket, ..
    } = *member;
    drop(socket);
    let goodbye = shared.driver.close(connection);
    // Whoever does not hear it in time is left.
    let _ = timeout(shared.settings.close_timeout, goodbye).await;
}
