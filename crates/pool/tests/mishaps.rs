//! What goes wrong around a pool: drivers and hooks that panic, attempts that hang, users who leave
//! things behind. Whatever it is, it costs no place, and nobody waits for ever.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(dead_code, reason = "the server can do more than is asked of it here")]

#[path = "support/fake.rs"]
mod fake;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbvitals_pool::{
    AcquireError, Condition, ConnectError, Ended, Ending, Leak, Observer, Pool, Returned, Settings,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{MS, Server, eventually, settings};

/// Checks out all there may be, at once, and gives it back; returns their numbers.
async fn check_out_all(pool: &Pool<Server>, count: usize) -> Vec<u64> {
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.push(pool.acquire_within(2_000 * MS).await.unwrap());
    }
    leases.iter().map(|lease| lease.number).collect()
}

#[tokio::test]
async fn a_return_without_an_answer_proves_nothing() {
    let server = Server::default();
    server.hide_sockets();
    let pool = server.pool(Settings {
        ping_after: 100 * MS,
        ..settings(1)
    });
    let numbers = check_out_all(&pool, 1).await;
    server.kill_all();
    // Nobody tells the pool how it went, and it is asked for all the time.
    let healed = async {
        loop {
            let mut lease = pool.acquire().await.unwrap();
            if lease.query().await.is_ok() {
                return lease.number;
            }
            drop(lease);
            tokio::time::sleep(10 * MS).await;
        }
    };
    let number = tokio::time::timeout(5_000 * MS, healed).await.unwrap();
    assert_ne!(number, numbers[0]);
}

/// Panics whatever it is told.
struct Panics;

impl Observer for Panics {
    fn opened(&self, _: u64, _: Duration) {
        panic!("on order");
    }

    fn attempt_failed(&self, _: &str) {
        panic!("on order");
    }

    fn ended(&self, _: &Ended) {
        panic!("on order");
    }

    fn leaked(&self, _: &Leak) {
        panic!("on order");
    }
}

#[tokio::test]
async fn hooks_that_panic_cost_no_place() {
    let server = Server::default();
    server.set_down(true);
    let told = Settings {
        leak_after: Some(10 * MS),
        max_lifetime: Some(300 * MS),
        ..settings(2)
    };
    let pool = server.watched_pool(told, Panics);
    assert!(pool.acquire_within(20 * MS).await.is_err());
    server.set_down(false);
    let lease = pool.acquire().await.unwrap();
    eventually("a leak is told", || pool.stats().leaks == 1).await;
    drop(lease);
    check_out_all(&pool, 2).await;
    server.kill_all();
    eventually("both are gone", || pool.stats().ended(Ending::HungUp) == 2).await;
    check_out_all(&pool, 2).await;
    eventually("both are too old", || {
        pool.stats().ended(Ending::Lifetime) >= 2
    })
    .await;
    check_out_all(&pool, 2).await;
}

#[tokio::test]
async fn a_driver_that_panics_when_it_is_asked_costs_no_place() {
    let server = Server::default();
    let pool = server.pool(settings(2));
    check_out_all(&pool, 2).await;
    let lease = pool.acquire().await.unwrap();
    server.panic_when_asked(true);
    drop(lease);
    // Nothing it opens is of any use by then, so it opens less and less.
    let refusal = pool.acquire_within(300 * MS).await.unwrap_err();
    let words = "no connection could be opened: it ended before it was used once (broken)";
    assert!(refusal.to_string().ends_with(words), "{refusal}");
    assert!(server.attempts() < 20, "{} attempts", server.attempts());
    server.panic_when_asked(false);
    check_out_all(&pool, 2).await;
    assert_eq!((pool.stats().leased, pool.stats().on_trial), (0, 0));
}

#[test]
fn a_pool_whose_runtime_is_gone_lets_nobody_wait() {
    let home = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = Server::default();
    let pool = home.block_on(async { server.pool(settings(1)) });
    let elsewhere = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let lease = elsewhere.block_on(pool.acquire()).unwrap();
    let waiter = {
        let pool = pool.clone();
        elsewhere.spawn(async move { pool.acquire().await.map(drop) })
    };
    elsewhere.block_on(eventually("one waits", || pool.stats().waiting == 1));
    home.shutdown_timeout(2_000 * MS);
    let told = elsewhere.block_on(async { tokio::time::timeout(4_000 * MS, waiter).await });
    assert!(matches!(told.unwrap().unwrap(), Err(AcquireError::Closed)));
    drop(lease);
    assert_eq!(server.open(), 0);
}

#[tokio::test]
async fn an_attempt_that_hangs_is_told_of() {
    let server = Server::default();
    server.set_delay(60_000 * MS);
    let failures = Failures::default();
    let told = Settings {
        connect_timeout: 30 * MS,
        ..settings(1)
    };
    let pool = server.watched_pool(told, failures.clone());
    let refusal = pool.acquire_within(200 * MS).await.unwrap_err();
    let AcquireError::Unreachable { error, .. } = &refusal else {
        panic!("{refusal}");
    };
    assert!(matches!(**error, ConnectError::TimedOut(_)), "{error}");
    let words = "nothing came of it within 30ms (connect_timeout)";
    assert!(refusal.to_string().ends_with(words), "{refusal}");
    assert_eq!(failures.0.lock().unwrap()[0], words);
    assert_eq!(pool.health().failure.as_deref(), Some(words));
}

/// Notes what it is told of attempts.
#[derive(Clone, Default)]
struct Failures(Arc<Mutex<Vec<String>>>);

impl Observer for Failures {
    fn attempt_failed(&self, error: &str) {
        self.0.lock().unwrap().push(error.to_owned());
    }
}

#[tokio::test]
async fn who_is_let_in_by_nobody_is_told_at_once_and_the_server_is_left_alone() {
    let server = Server::default();
    server.reject_all(true);
    let pool = server.pool(settings(4));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for _ in 0..16 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.acquire().await.map(drop) });
    }
    for outcome in tasks.join_all().await {
        let refusal = outcome.unwrap_err();
        assert!(
            matches!(refusal, AcquireError::Rejected { .. }),
            "{refusal}"
        );
        let words = "check out a connection: the server refuses the login: Rejected";
        assert_eq!(refusal.to_string(), words);
    }
    assert!(
        started.elapsed() < 2_500 * MS,
        "half of what they would wait"
    );
    assert!(server.attempts() <= 4, "{} attempts", server.attempts());
    // The password is set right.
    server.reject_all(false);
    check_out_all(&pool, 4).await;
}

#[tokio::test]
async fn who_waits_for_what_is_in_use_is_not_sent_home_by_a_login_that_is_refused() {
    let server = Server::default();
    let pool = server.pool(settings(2));
    let lease = pool.acquire().await.unwrap();
    server.reject_all(true);
    let gives_back = async {
        eventually("an attempt failed", || pool.stats().failed_attempts > 0).await;
        drop(lease);
    };
    let (served, ()) = tokio::join!(pool.acquire(), gives_back);
    assert_eq!(served.unwrap().number, 0);
}

#[tokio::test]
async fn an_end_is_believed_however_lately_the_server_answered() {
    let server = Server::default();
    let pool = server.pool(Settings {
        trust_for: 60_000 * MS,
        ..settings(2)
    });
    let numbers = check_out_all(&pool, 2).await;
    server.kill_all();
    eventually("none idle", || pool.stats().idle == 0).await;
    let next = check_out_all(&pool, 2).await;
    assert!(next.iter().all(|it| !numbers.contains(it)), "{next:?}");
}

#[tokio::test]
async fn what_is_used_past_run_is_no_idle_connection() {
    let server = Server::default();
    server.set_idle_limit(300 * MS);
    let pool = server.pool(settings(2));
    let until = Instant::now() + 1_000 * MS;
    while Instant::now() < until {
        // Nobody tells the pool that it was answered.
        let mut lease = pool.acquire().await.unwrap();
        lease.query().await.unwrap();
        drop(lease);
        tokio::time::sleep(5 * MS).await;
    }
    assert_eq!((server.attempts(), pool.stats().open), (1, 1));
    assert!(server.pings() > 0, "it is asked for a sign of life");
}

#[tokio::test]
async fn a_blip_long_ago_makes_no_outage_long() {
    let server = Server::default();
    server.set_down(true);
    let pool = server.pool(Settings {
        fail_fast_after: Some(100 * MS),
        connect_pause_max: 20 * MS,
        connect_timeout: 30 * MS,
        ..settings(1)
    });
    assert!(pool.acquire_within(20 * MS).await.is_err());
    server.set_down(false);
    tokio::time::sleep(300 * MS).await;
    // Nobody has tried since: whether it is still away, nobody knows.
    assert!(pool.acquire().await.is_ok());
}

#[tokio::test]
async fn commands_that_are_answered_are_evidence_while_their_leases_are_out() {
    let server = Server::default();
    let pool = server.pool(Settings {
        evidence_max_age: 100 * MS,
        ..settings(1)
    });
    let mut lease = pool.acquire().await.unwrap();
    tokio::time::sleep(200 * MS).await;
    let health = pool.check_health(60 * MS).await;
    assert_eq!(health.condition, Condition::Silent);
    lease.run(async |it| it.query().await).await.unwrap();
    assert_eq!(pool.health().condition, Condition::Fit);
}

#[tokio::test]
async fn what_hangs_while_others_are_at_hand_is_no_outage() {
    let server = Server::default();
    let pool = server.pool(Settings {
        evidence_max_age: 20 * MS,
        ..settings(3)
    });
    check_out_all(&pool, 2).await;
    server.set_delay(60_000 * MS);
    pool.resize(3, 3).unwrap();
    eventually("one is being opened", || pool.stats().opening == 1).await;
    tokio::time::sleep(40 * MS).await;
    let health = pool.check_health(1_000 * MS).await;
    assert_eq!(health.condition, Condition::Fit);
}

#[tokio::test]
async fn a_pool_that_nobody_uses_shrinks_however_short_its_lifetimes() {
    let server = Server::default();
    let pool = server.pool(Settings {
        max_lifetime: Some(100 * MS),
        ..settings(4)
    });
    check_out_all(&pool, 4).await;
    eventually("none is left", || pool.stats().open == 0).await;
    tokio::time::sleep(300 * MS).await;
    assert_eq!(server.attempts(), 4, "nobody was to take their place");
}

#[tokio::test]
async fn what_a_user_leaves_behind_tells_nothing_of_the_others() {
    let server = Server::default();
    let pool = server.pool(Settings {
        trust_for: 60_000 * MS,
        ..settings(3)
    });
    check_out_all(&pool, 3).await;
    let mut lease = pool.acquire().await.unwrap();
    let number = lease.number;
    lease.returned = Returned::Unsettled;
    server.swallow(number);
    drop(lease);
    eventually("it is given up", || {
        pool.stats().ended(Ending::Cancelled) == 1
    })
    .await;
    check_out_all(&pool, 2).await;
    assert_eq!(server.pings(), 1, "the others are as good as before");
}

#[tokio::test]
async fn what_was_done_past_run_by_a_driver_that_sees_nothing_is_settled() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let mut lease = pool.acquire().await.unwrap();
    let number = lease.number;
    lease.returned = Returned::Unseen;
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!((lease.number, server.pings()), (number, 1));
    lease.run(async |it| it.query().await).await.unwrap();
    drop(lease);
    assert_eq!(pool.acquire().await.unwrap().number, number);
    assert_eq!(server.pings(), 1, "it saw all that was run");
    // A command that is given up past it ends as one that is given up within.
    server.swallow(number);
    let mut lease = pool.acquire().await.unwrap();
    let command = tokio::time::timeout(10 * MS, lease.query());
    assert!(command.await.is_err());
    drop(lease);
    assert_ne!(pool.acquire().await.unwrap().number, number);
    assert_eq!(pool.stats().ended(Ending::Cancelled), 1);
}

#[tokio::test]
async fn the_server_sees_an_end_though_the_driver_takes_its_time() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    server.cling();
    let mut lease = pool.acquire().await.unwrap();
    let number = lease.number;
    lease.condemn();
    assert!(!server.sees_end_of(number));
    drop(lease);
    assert!(server.sees_end_of(number));
}

#[tokio::test]
async fn one_that_was_taken_out_is_not_waited_for() {
    let server = Server::default();
    let pool = server.pool(settings(1));
    let lease = pool.acquire().await.unwrap();
    let closing = tokio::time::timeout(5_000 * MS, pool.close(60_000 * MS));
    let taking = async {
        tokio::task::yield_now().await;
        lease.detach()
    };
    let (left, connection) = tokio::join!(closing, taking);
    assert_eq!(left.unwrap(), 0);
    assert_eq!(pool.stats().ended(Ending::Detached), 1);
    assert!(!server.sees_end_of(connection.number), "it is its user's");
}

#[tokio::test]
async fn every_connection_is_prepared_and_one_that_cannot_be_is_none() {
    let server = Server::default();
    let pool = Pool::builder(server.clone())
        .settings(settings(2))
        .after_connect(|connection| {
            Box::pin(async move {
                match connection.number {
                    0 => Err(fake::Failure::Lost),
                    _ => connection.query().await.map(drop),
                }
            })
        })
        .build()
        .unwrap();
    assert_eq!(check_out_all(&pool, 2).await, [1, 2]);
    assert_eq!((pool.stats().failed_attempts, server.open()), (1, 2));
}
