//! What the pool promises, against a server inside the test that misbehaves on order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(dead_code, reason = "the server can do more than is asked of it here")]

#[path = "support/fake.rs"]
mod fake;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbvitals_pool::{
    AcquireError, Condition, Ended, Ending, IdleOrder, Leak, Observer, Returned, RunError, Settings,
};

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{Failure, MS, Server, eventually, settings};

/// Opens so many connections and gives them back; returns their numbers.
async fn warm(pool: &dbvitals_pool::Pool<Server>, count: usize) -> Vec<u64> {
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.push(pool.acquire().await.unwrap());
    }
    leases.iter().map(|lease| lease.number).collect()
}

#[tokio::test]
async fn a_connection_is_used_again_and_never_pinged_while_busy() {
    let server = Server::default();
    let pool = server.pool(settings(4));
    for _ in 0..1_000 {
        let mut lease = pool.acquire().await.unwrap();
        assert_eq!(lease.run(async |it| it.query().await).await, Ok(0));
    }
    let stats = pool.stats();
    assert_eq!((server.pings(), server.attempts()), (0, 1));
    assert_eq!((stats.checkouts, stats.open, stats.idle), (1_000, 1, 1));
}

#[tokio::test]
async fn what_was_killed_while_idle_is_never_handed_out_and_costs_no_ping() {
    let server = Server::default();
    let pool = server.pool(settings(10));
    warm(&pool, 10).await;
    server.kill_all();
    // Not a moment is left to the watch: the look at checkout finds them.
    for _ in 0..200 {
        let mut lease = pool.acquire().await.unwrap();
        lease.run(async |it| it.query().await).await.unwrap();
    }
    assert_eq!(server.pings(), 0);
    assert_eq!(pool.stats().ended(Ending::HungUp), 10);
}

#[tokio::test]
async fn an_end_is_seen_when_it_happens() {
    let server = Server::default();
    let pool = server.pool(settings(10));
    warm(&pool, 10).await;
    server.kill_all();
    eventually("none idle", || pool.stats().idle == 0).await;
    assert_eq!(pool.stats().ended(Ending::HungUp), 10);
    assert_eq!(server.open(), 0);
}

#[tokio::test]
async fn a_connection_that_ends_in_use_is_not_given_to_the_next() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let lease = pool.acquire().await.unwrap();
    server.kill(lease.number);
    let mut waiter = JoinSet::new();
    waiter.spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(|lease| lease.number) }
    });
    eventually("one waits", || pool.stats().waiting == 1).await;
    drop(lease);
    assert_eq!(waiter.join_all().await[0].as_ref().unwrap(), &1);
}

#[tokio::test]
async fn the_runtimes_budget_does_not_blind_a_look() {
    let server = Server::default();
    let pool = server.pool(settings(50));
    let numbers = warm(&pool, 50).await;
    server.kill_all();
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::coop::consume_budget().await;
    }
    let lease = pool.acquire().await.unwrap();
    assert!(!numbers.contains(&lease.number));
}

#[tokio::test]
async fn the_swallowed_cost_one_ping_each_and_no_user_an_error() {
    let server = Server::default();
    let pool = server.pool(Settings {
        ping_after: 20 * MS,
        ping_timeout: 500 * MS,
        ..settings(4)
    });
    let numbers = warm(&pool, 4).await;
    server.swallow_all();
    tokio::time::sleep(40 * MS).await;
    let started = Instant::now();
    for _ in 0..200 {
        let mut lease = pool.acquire().await.unwrap();
        assert!(!numbers.contains(&lease.number));
        lease.run(async |it| it.query().await).await.unwrap();
    }
    // Three are tried at once when the first is known to be silent; one by one it would be 2 s.
    assert!(started.elapsed() < 1_500 * MS);
    assert_eq!((server.pings(), pool.stats().ended(Ending::Silent)), (4, 4));
}

#[tokio::test]
async fn one_silent_connection_casts_doubt_on_all_that_are_as_old() {
    let server = Server::default();
    let pool = server.pool(Settings {
        ping_after: 20 * MS,
        idle_order: IdleOrder::OldestFirst,
        ..settings(4)
    });
    warm(&pool, 4).await;
    server.swallow_all();
    tokio::time::sleep(40 * MS).await;
    drop(pool.acquire().await.unwrap());
    eventually("all four found", || pool.stats().ended(Ending::Silent) == 4).await;
    assert_eq!(server.pings(), 4);
}

#[tokio::test]
async fn bytes_without_an_end_are_settled_by_a_ping() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let numbers = warm(&pool, 1).await;
    server.say(numbers[0], b"a notification");
    assert_eq!(pool.acquire().await.unwrap().number, numbers[0]);
    assert_eq!(server.pings(), 1);
    server.kill(numbers[0]);
    assert_eq!(
        pool.acquire().await.unwrap().number,
        1,
        "last words, then an end"
    );
    assert_eq!(server.pings(), 1);
}

#[tokio::test]
async fn without_a_socket_age_alone_asks_for_a_ping() {
    let server = Server::default();
    server.hide_sockets();
    let pool = server.pool(Settings {
        ping_after: 100 * MS,
        ..settings(1)
    });
    warm(&pool, 1).await;
    drop(pool.acquire().await.unwrap());
    assert_eq!((server.pings(), pool.stats().without_socket), (0, 1));
    tokio::time::sleep(150 * MS).await;
    drop(pool.acquire().await.unwrap());
    assert_eq!(server.pings(), 1);
    server.kill_all();
    tokio::time::sleep(150 * MS).await;
    assert_eq!(pool.acquire().await.unwrap().number, 1);
    assert_eq!(pool.stats().without_socket, 1, "the other one is no more");
}

#[tokio::test]
async fn a_command_that_was_not_ended_on_a_lost_connection_was_not_cancelled() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let mut lease = pool.acquire().await.unwrap();
    lease.returned = Returned::InFlight;
    server.kill(lease.number);
    drop(lease);
    let stats = pool.stats();
    let (hung_up, cancelled) = (Ending::HungUp, Ending::Cancelled);
    assert_eq!((stats.ended(hung_up), stats.ended(cancelled)), (1, 0));
}

#[tokio::test]
async fn a_cancelled_command_ends_its_connection() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let numbers = warm(&pool, 1).await;
    server.swallow_all();
    let mut lease = pool.acquire().await.unwrap();
    let command = lease.run(async |it| it.query().await);
    assert!(tokio::time::timeout(10 * MS, command).await.is_err());
    drop(lease);
    assert_ne!(pool.acquire().await.unwrap().number, numbers[0]);
    assert_eq!(pool.stats().ended(Ending::Cancelled), 1);
}

#[tokio::test]
async fn cancelled_checkouts_lose_nothing() {
    let server = Server::default();
    let pool = server.pool(Settings {
        ping_after: Duration::ZERO,
        ..settings(4)
    });
    let mut tasks = JoinSet::new();
    for task in 0..32_u64 {
        let pool = pool.clone();
        tasks.spawn(async move {
            for round in 0..200 {
                let patience = Duration::from_micros((task * 7 + round * 13) % 300);
                let lease = tokio::time::timeout(patience, pool.acquire()).await;
                tokio::task::yield_now().await;
                drop(lease);
            }
        });
    }
    tasks.join_all().await;
    eventually("nothing under way", || {
        pool.stats().on_trial + pool.stats().opening == 0
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire_within(1_000 * MS).await.unwrap());
    }
    assert_eq!(server.most().1, 4, "never more than max_open");
    assert!(server.attempts() <= 8, "{} attempts", server.attempts());
}

#[tokio::test]
async fn a_panic_in_the_driver_costs_no_place() {
    let server = Server::default();
    server.panic_at_attempts(2);
    let pool = server.pool(settings(1));
    assert_eq!(pool.acquire().await.unwrap().number, 0);
    assert_eq!((server.attempts(), pool.stats().failed_attempts), (3, 2));
}

#[tokio::test]
async fn an_outage_sees_one_attempt_at_a_time_and_its_end_serves_all() {
    let server = Server::default();
    server.set_down(true);
    server.set_delay(2 * MS);
    let pool = server.pool(settings(16));
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.acquire().await.map(drop) });
    }
    tokio::time::sleep(300 * MS).await;
    assert_eq!(server.most().0, 1, "attempts at a time");
    let during = server.attempts();
    assert!((20..=200).contains(&during), "{during} attempts in 300 ms");
    server.set_down(false);
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_full_pool_is_told_from_a_server_that_is_away() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let lease = pool.acquire().await.unwrap();
    let refusal = pool.acquire_within(10 * MS).await.unwrap_err();
    assert!(
        matches!(refusal, AcquireError::Saturated { max_open: 1, .. }),
        "{refusal}"
    );
    server.set_down(true);
    server.kill_all();
    drop(lease);
    let refusal = pool.acquire_within(20 * MS).await.unwrap_err();
    assert!(
        matches!(refusal, AcquireError::Unreachable { .. }),
        "{refusal}"
    );
    assert!(
        refusal
            .to_string()
            .ends_with("no connection could be opened: Refused")
    );
    assert_eq!(pool.stats().timeouts, 2);
}

#[tokio::test]
async fn who_wants_no_wait_in_a_long_outage_is_refused_at_once() {
    let server = Server::default();
    server.set_down(true);
    let pool = server.pool(Settings {
        fail_fast_after: Some(50 * MS),
        ..settings(1)
    });
    assert!(pool.acquire_within(100 * MS).await.is_err());
    let started = Instant::now();
    let refusal = pool.acquire().await.unwrap_err();
    assert!(matches!(refusal, AcquireError::Unreachable { .. }));
    assert!(
        started.elapsed() < 2_500 * MS,
        "half of what it might have waited"
    );
}

#[tokio::test]
async fn the_order_of_the_line_is_kept() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let lease = pool.acquire().await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let (waiter, served) = (pool.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let _lease = waiter.acquire().await.unwrap();
            served.lock().unwrap().push(number);
        });
        eventually("it waits", || pool.stats().waiting == number + 1).await;
    }
    drop(lease);
    tasks.join_all().await;
    assert!(served.lock().unwrap().iter().copied().eq(0..20));
}

#[tokio::test]
async fn old_connections_are_replaced_before_they_end_busy_ones_too() {
    let server = Server::default();
    let pool = server.pool(Settings {
        max_lifetime: Some(200 * MS),
        lifetime_jitter: 0.0,
        min_idle: 1,
        ..settings(3)
    });
    eventually("one at hand", || pool.stats().idle == 1).await;
    let busy = pool.acquire().await.unwrap();
    let old = busy.number;
    // One takes its place among the idle at once; a successor of its own comes while it is out.
    eventually("its successor is there", || pool.stats().open == 3).await;
    tokio::time::sleep(250 * MS).await;
    drop(busy);
    eventually("the old is gone", || {
        pool.stats().ended(Ending::Lifetime) >= 1
    })
    .await;
    assert_ne!(pool.acquire().await.unwrap().number, old);
    // For a while there is always one at hand: successors come first.
    for _ in 0..100 {
        assert!(pool.stats().idle >= 1, "{:?}", pool.stats());
        tokio::time::sleep(5 * MS).await;
    }
    assert!(
        pool.stats().ended(Ending::Lifetime) >= 3,
        "{:?}",
        pool.stats()
    );
}

#[tokio::test]
async fn lifetimes_are_drawn_apart() {
    let server = Server::default();
    let ends = Ends::default();
    let told = Settings {
        max_lifetime: Some(400 * MS),
        lifetime_jitter: 0.5,
        ..settings(16)
    };
    let pool = server.watched_pool(told, ends.clone());
    warm(&pool, 16).await;
    eventually("all have ended", || ends.ages().len() == 16).await;
    let mut ages = ends.ages();
    ages.sort_unstable();
    assert!(ages[0] >= 190 * MS, "{ages:?}");
    assert!(ages[15] - ages[0] >= 50 * MS, "{ages:?}");
}

/// Notes the ages at which connections ended.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<Duration>>>);

impl Ends {
    fn ages(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Ends {
    fn ended(&self, ended: &Ended) {
        if ended.ending == Ending::Lifetime {
            self.0.lock().unwrap().push(ended.age);
        }
    }
}

#[tokio::test]
async fn the_idle_are_closed_down_to_the_floor() {
    let server = Server::default();
    let pool = server.pool(Settings {
        max_idle_time: Some(50 * MS),
        min_idle: 2,
        ..settings(6)
    });
    warm(&pool, 6).await;
    eventually("two are left", || pool.stats().idle == 2).await;
    assert_eq!(pool.stats().ended(Ending::IdleTime), 4);
    assert_eq!(server.pings(), 0);
}

#[tokio::test]
async fn the_servers_idle_limit_is_kept_with_a_margin() {
    let server = Server::default();
    server.set_idle_limit(300 * MS);
    let ends = Silences::default();
    let pool = server.watched_pool(
        Settings {
            min_idle: 1,
            ..settings(3)
        },
        ends.clone(),
    );
    warm(&pool, 3).await;
    eventually("one is left", || pool.stats().idle == 1).await;
    // The floor is kept alive by a ping now and then, within the limit.
    eventually("pinged", || server.pings() >= 2).await;
    assert_eq!(pool.stats().open, 1);
    for (ending, silence) in ends.0.lock().unwrap().iter() {
        assert_eq!(*ending, Ending::IdleTime);
        assert!((260 * MS..300 * MS).contains(silence), "{silence:?}");
    }
}

/// Notes the silences after which connections were closed.
#[derive(Clone, Default)]
struct Silences(Arc<Mutex<Vec<(Ending, Duration)>>>);

impl Observer for Silences {
    fn ended(&self, ended: &Ended) {
        let mut ends = self.0.lock().unwrap();
        ends.push((ended.ending, ended.silence));
    }
}

#[tokio::test]
async fn a_resize_takes_effect_at_once() {
    let server = Server::default();
    let pool = server.pool(settings(4));
    let held: Vec<_> = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()].into();
    warm(&pool, 2).await;
    pool.resize(1, 0).unwrap();
    eventually("the idle are gone", || pool.stats().open == 2).await;
    drop(held);
    eventually("one is left", || pool.stats().open == 1).await;
    pool.resize(3, 3).unwrap();
    eventually("three at hand", || pool.stats().idle == 3).await;
    assert!(pool.resize(0, 0).is_err());
}

#[tokio::test]
async fn a_close_waits_for_what_is_out_and_refuses_the_rest() {
    let server = Server::default();
    let pool = server.pool(settings(3));
    warm(&pool, 3).await;
    let lease = pool.acquire().await.unwrap();
    assert_eq!(pool.close(20 * MS).await, 1, "one is out");
    assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
    drop(lease);
    assert_eq!(pool.close(5_000 * MS).await, 0);
    assert_eq!(
        (server.open(), pool.stats().ended(Ending::PoolClosed)),
        (0, 3)
    );
}

#[tokio::test]
async fn a_pool_that_is_dropped_leaves_nothing_open() {
    let server = Server::default();
    let pool = server.pool(settings(4));
    warm(&pool, 4).await;
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    drop(pool);
    eventually("the idle are closed", || server.open() == 2).await;
    // A lease outlives its pool, and is closed when it comes back, whoever else is out.
    let [first, second] = leases;
    drop(first);
    assert_eq!(server.open(), 1);
    drop(second);
    assert_eq!(server.open(), 0);
}

#[tokio::test]
async fn what_may_be_repeated_is_repeated_and_nothing_else() {
    let server = Server::default();
    let pool = server.pool(settings(2));
    let runs = AtomicUsize::new(0);
    let failing = |first: Failure| {
        let runs = &runs;
        async move |it: &mut fake::Connection| match runs.fetch_add(1, Ordering::SeqCst) {
            0 => Err(first),
            _ => it.query().await,
        }
    };
    for (first, repeatable, expected) in [
        (Failure::Lost, true, 2),
        (Failure::Lost, false, 1),
        (Failure::LostBefore, false, 2),
        (Failure::Answered, true, 1),
    ] {
        runs.store(0, Ordering::SeqCst);
        let outcome = match repeatable {
            true => pool.run_repeatable(failing(first)).await,
            false => pool.run(failing(first)).await,
        };
        assert_eq!(runs.load(Ordering::SeqCst), expected, "{first:?}");
        let is_first = matches!(outcome, Err(RunError::Commands(error)) if error == first);
        assert_eq!(is_first, expected == 1, "{first:?}");
    }
    assert_eq!(pool.stats().repeats, 2);
    assert_eq!(pool.stats().ended(Ending::Broken), 3);
}

#[tokio::test]
async fn commands_can_be_run_on_tasks_of_their_own() {
    let server = Server::default();
    let pool = server.pool(settings(2));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.run_repeatable(async |it| it.query().await).await });
    }
    for outcome in tasks.join_all().await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn what_a_user_leaves_behind_is_tidied_up_or_closed() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    for (returned, ending) in [
        (Returned::Unsettled, None),
        (Returned::InFlight, Some(Ending::Cancelled)),
        (Returned::Broken, Some(Ending::Broken)),
        (Returned::Proven { ago: MS }, None),
        (Returned::Unproven, None),
    ] {
        let mut lease = pool.acquire().await.unwrap();
        let number = lease.number;
        lease.returned = returned;
        drop(lease);
        let mut next = pool.acquire().await.unwrap();
        assert_eq!(next.number == number, ending.is_none(), "{returned:?}");
        assert_eq!(ending.map_or(1, |it| pool.stats().ended(it)), 1);
        next.returned = Returned::Unknown;
    }
    assert_eq!(server.pings(), 1, "the unsettled one");
}

#[tokio::test]
async fn a_leak_is_told_once_with_the_place_of_its_checkout() {
    let server = Server::default();
    let leaks = Leaks::default();
    let told = Settings {
        leak_after: Some(20 * MS),
        ..settings(2)
    };
    let pool = server.watched_pool(told, leaks.clone());
    let line = line!() + 1;
    let _leaked = pool.acquire().await.unwrap();
    eventually("it is told", || pool.stats().leaks == 1).await;
    tokio::time::sleep(600 * MS).await;
    let told = leaks.0.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].place.file(), told[0].place.line()),
        (file!(), line)
    );
    assert_eq!(pool.leases_older(MS)[0].place, told[0].place);
}

/// Notes leaks.
#[derive(Clone, Default)]
struct Leaks(Arc<Mutex<Vec<Leak>>>);

impl Observer for Leaks {
    fn leaked(&self, leak: &Leak) {
        self.0.lock().unwrap().push(*leak);
    }
}

#[tokio::test]
async fn shadow_mode_pings_as_before_and_counts_where_a_look_would_have_done() {
    let server = Server::default();
    let pool = server.pool(Settings {
        shadow: true,
        ..settings(2)
    });
    for _ in 0..20 {
        drop(pool.acquire().await.unwrap());
    }
    let shadow = pool.stats().shadow;
    assert_eq!((shadow.needless, server.pings()), (20, 20));
    assert_eq!((shadow.missed, shadow.false_alarms), (0, 0));
    // A silent one is what a look misses, as long as it is young.
    server.swallow_all();
    drop(pool.acquire().await.unwrap());
    assert_eq!(pool.stats().shadow.missed, 1);
}

#[tokio::test]
async fn health_needs_no_connection_of_the_applications() {
    let server = Server::default();
    let pool = server.pool(Settings {
        evidence_max_age: 50 * MS,
        ..settings(2)
    });
    assert_eq!(pool.health().condition, Condition::Unknown);
    let health = pool.check_health(1_000 * MS).await;
    assert_eq!((health.condition, server.attempts()), (Condition::Fit, 1));
    assert_eq!(pool.health().condition, Condition::Fit);

    tokio::time::sleep(80 * MS).await;
    let (one, two) = tokio::join!(pool.check_health(1_000 * MS), pool.check_health(1_000 * MS));
    assert_eq!(
        (one.condition, two.condition),
        (Condition::Fit, Condition::Fit)
    );
    assert_eq!(server.pings(), 1, "shared by both");
}

#[tokio::test]
async fn a_full_pool_is_degraded_while_something_comes_back_and_silent_when_nothing_does() {
    let server = Server::default();
    let pool = server.pool(Settings {
        evidence_max_age: 200 * MS,
        ..settings(2)
    });
    let stays = pool.acquire().await.unwrap();
    let mut comes_back = pool.acquire().await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        let pool = pool.clone();
        waiting.spawn(async move {
            let lease = pool.acquire_within(5_000 * MS).await.unwrap();
            tokio::time::sleep(5_000 * MS).await;
            drop(lease);
        });
    }
    eventually("both wait", || pool.stats().waiting == 2).await;
    tokio::time::sleep(100 * MS).await;
    comes_back.run(async |it| it.query().await).await.unwrap();
    drop(comes_back);
    let health = pool.check_health(60 * MS).await;
    assert_eq!(
        (health.condition, health.waiting),
        (Condition::Saturated, 1)
    );
    assert!(health.is_fit());
    // Nothing is heard any more: a server that froze looks like this, too.
    tokio::time::sleep(300 * MS).await;
    let health = pool.check_health(60 * MS).await;
    assert_eq!(health.condition, Condition::Silent);
    assert!(!health.is_fit());
    drop(stays);
}

#[tokio::test]
async fn health_tells_a_dead_server_from_a_silent_one() {
    let server = Server::default();
    let pool = server.pool(Settings {
        evidence_max_age: 10 * MS,
        ..settings(2)
    });
    warm(&pool, 1).await;
    server.set_down(true);
    server.swallow_all();
    tokio::time::sleep(30 * MS).await;
    let health = pool.check_health(500 * MS).await;
    assert_eq!(health.condition, Condition::Unreachable);
    assert_eq!(health.failure.as_deref(), Some("Refused"));
    server.set_down(false);
    tokio::time::sleep(30 * MS).await;
    // Nobody has come meanwhile, and so nobody has tried.
    assert_eq!(pool.health().condition, Condition::Unreachable);
    assert_eq!(pool.check_health(500 * MS).await.condition, Condition::Fit);
    server.swallow_all();
    server.set_delay(10_000 * MS);
    tokio::time::sleep(30 * MS).await;
    let health = pool.check_health(150 * MS).await;
    assert_eq!(health.condition, Condition::Silent);
    pool.close(MS).await;
    assert_eq!(pool.health().condition, Condition::Closed);
}
