//! An administrator ends sessions at random while an application works: the only errors that reach
//! it are those of commands that were under way when their session died, and those that may be
//! repeated bring none at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbvitals_pool::{Pool, RunError, Settings, Stats};
use dbvitals_testkit::{RealServer as _, require_servers};
use tokio::time::Instant;

use crate::stage::{Ends as _, MS, OnMariaDb, OnPostgres, Stage, Talks, pool, settings};

const LASTS: Duration = Duration::from_secs(3);
const TASKS: usize = 8;

/// When each session was ended: it was dead from this moment on.
type Deaths = Arc<Mutex<BTreeMap<u64, Instant>>>;

/// What tasks saw.
#[derive(Default)]
struct Seen {
    commands: usize,
    /// The session of each command that failed, and when the command began.
    failed: Vec<(Option<u64>, Instant)>,
}

/// Works until told to stop; each lease is used for one command.
async fn work<D: Talks>(
    pool: Pool<D>,
    stop: Arc<AtomicBool>,
    sessions: Arc<Mutex<BTreeMap<u64, u64>>>,
) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let mut lease = pool.acquire().await.unwrap();
        let number = lease.number();
        let begun = Instant::now();
        match lease.run(async |it| D::ask(it).await).await {
            Ok(session) => {
                sessions.lock().unwrap().insert(number, session);
            }
            Err(_) => {
                let session = sessions.lock().unwrap().get(&number).copied();
                seen.failed.push((session, begun));
            }
        }
        seen.commands += 1;
        drop(lease);
        // Now and then connections lie idle for a moment.
        tokio::time::sleep(MS).await;
    }
    seen
}

pub(crate) async fn kill_at_random<S: Stage>(settings: Settings) -> Stats
where
    S::Server: Send + Sync + 'static,
{
    let server = Arc::new(S::server());
    let pool = pool(S::driver("127.0.0.1", server.port()), settings);
    let stop = Arc::new(AtomicBool::new(false));
    let sessions = Arc::new(Mutex::new(BTreeMap::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(work(pool.clone(), Arc::clone(&stop), Arc::clone(&sessions)));
    }
    let deaths = Deaths::default();
    let killer = std::thread::spawn({
        let (server, deaths) = (Arc::clone(&server), Arc::clone(&deaths));
        move || {
            let until = Instant::now() + LASTS;
            let mut random = fastrand::Rng::with_seed(7);
            while Instant::now() < until {
                let known: Vec<u64> = sessions.lock().unwrap().values().copied().collect();
                if let Some(victim) = random.choice(&known) {
                    server.kill_one(*victim);
                    deaths
                        .lock()
                        .unwrap()
                        .entry(*victim)
                        .or_insert_with(Instant::now);
                    sessions.lock().unwrap().retain(|_, it| it != victim);
                }
                std::thread::sleep(5 * MS);
            }
        }
    });
    tokio::task::spawn_blocking(|| killer.join().unwrap())
        .await
        .unwrap();
    stop.store(true, Ordering::Relaxed);

    let seen = tasks.join_all().await;
    let deaths = deaths.lock().unwrap();
    let commands: usize = seen.iter().map(|it| it.commands).sum();
    let failed: Vec<_> = seen.iter().flat_map(|it| &it.failed).collect();
    // Dead by the time the command began: it should not have been handed out.
    let stale = failed.iter().filter(|(session, begun)| {
        session
            .and_then(|it| deaths.get(&it))
            .is_some_and(|death| death < begun)
    });
    let stale = stale.count();
    println!(
        "{commands} commands, {} sessions ended, {} commands were under way, {stale} stale, {:?}",
        deaths.len(),
        failed.len(),
        pool.stats()
    );
    assert!(
        deaths.len() >= 10,
        "only {} sessions were ended",
        deaths.len()
    );
    assert!(commands > 10 * deaths.len());
    assert_eq!(stale, 0);
    pool.stats()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_under_load_only_fails_what_was_under_way() {
    require_servers!();
    let stats = kill_at_random::<OnMariaDb>(settings()).await;
    assert_eq!(stats.pings, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_under_load_only_fails_what_was_under_way() {
    require_servers!();
    let stats = kill_at_random::<OnPostgres>(settings()).await;
    assert_eq!(stats.pings, 0);
}

/// Everything is repeatable here, and no error is left.
pub(crate) async fn repeat<S: Stage>() {
    let server = S::server();
    let pool = pool(S::driver("127.0.0.1", server.port()), settings());
    let mut errors = Vec::new();
    for round in 0..300 {
        let outcome = pool
            .run_repeatable(async |it| S::Driver::ask(it).await)
            .await;
        errors.extend(outcome.as_ref().err().map(RunError::to_string));
        if let (0, Ok(session)) = (round % 10, outcome) {
            // It dies between two checkouts, or in the next command: nobody waits.
            server.kill_one(session);
        }
    }
    assert_eq!(errors, [""; 0]);
}

#[tokio::test]
async fn what_is_repeatable_survives_kills_on_mariadb() {
    require_servers!();
    repeat::<OnMariaDb>().await;
}

#[tokio::test]
async fn what_is_repeatable_survives_kills_on_postgres() {
    require_servers!();
    repeat::<OnPostgres>().await;
}
