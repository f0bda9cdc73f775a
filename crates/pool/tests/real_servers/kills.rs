//! An administrator ends sessions at random while an application works: the only errors that reach
//! it are those of commands that were under way when their session died, and those that may be
//! repeated bring none at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbvitals_pool::{Driver, Fault, Opened, Pool, RunError, Settings, Stats};
use dbvitals_testkit::{RealServer as _, require_servers};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use tokio::time::Instant;

use crate::stage::{Ends, MS, OnMariaDb, OnPostgres, Stage, Talks, pool, settings};

const LASTS: Duration = Duration::from_secs(3);
const TASKS: usize = 8;

/// What the tasks and the killer know of the sessions.
#[derive(Default)]
struct Sessions {
    /// The server's name for each connection of the pool that ever was.
    named: Mutex<BTreeMap<u64, u64>>,
    /// When a session was gone for certain.
    deaths: Mutex<BTreeMap<u64, Instant>>,
}

impl Sessions {
    fn alive(&self) -> Vec<u64> {
        let deaths = self.deaths.lock().unwrap();
        let named = self.named.lock().unwrap();
        let alive = named.values().filter(|it| !deaths.contains_key(it));
        alive.copied().collect()
    }
}

/// What a task saw.
#[derive(Default)]
struct Seen {
    commands: usize,
    /// The connection of each command that failed, and when it was asked for.
    failed: Vec<(u64, Instant)>,
}

/// What came of it all.
#[derive(Debug)]
pub(crate) struct Report {
    commands: usize,
    deaths: usize,
    failed: usize,
    /// Failures on connections that were dead before they were asked for.
    stale: usize,
    /// Failures on connections that nobody killed, or on one for the second time.
    unexplained: usize,
    stats: Stats,
}

/// Works until told to stop; each lease is used for one command.
async fn work<D: Talks>(pool: Pool<D>, stop: Arc<AtomicBool>, sessions: Arc<Sessions>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let mut lease = pool.acquire().await.unwrap();
        let number = lease.number();
        match lease.run(async |it| D::ask(it).await).await {
            Ok(session) => {
                sessions.named.lock().unwrap().insert(number, session);
            }
            Err(_) => seen.failed.push((number, asked)),
        }
        seen.commands += 1;
        drop(lease);
        // Connections lie idle in between, some for longer than it takes to be killed.
        tokio::time::sleep(MS * fastrand::u32(0..20)).await;
    }
    seen
}

/// Kills one session after the other, until the time is up.
fn kill(server: &impl Ends, sessions: &Sessions) {
    let until = Instant::now() + LASTS;
    let mut random = fastrand::Rng::with_seed(7);
    while Instant::now() < until {
        if let Some(victim) = random.choice(&sessions.alive()) {
            server.kill_one(*victim);
            let gone = Instant::now();
            sessions.deaths.lock().unwrap().insert(*victim, gone);
        }
        std::thread::sleep(20 * MS);
    }
}

async fn watch_kills<D: Talks>(
    server: Arc<impl Ends + Send + Sync + 'static>,
    pool: Pool<D>,
) -> Report {
    let stop = Arc::new(AtomicBool::new(false));
    let sessions = Arc::new(Sessions::default());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(work(pool.clone(), Arc::clone(&stop), Arc::clone(&sessions)));
    }
    let killer = {
        let (server, sessions) = (Arc::clone(&server), Arc::clone(&sessions));
        tokio::task::spawn_blocking(move || kill(&*server, &sessions))
    };
    killer.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let seen = tasks.join_all().await;

    let named = sessions.named.lock().unwrap();
    let deaths = sessions.deaths.lock().unwrap();
    let failed: Vec<_> = seen.iter().flat_map(|it| &it.failed).collect();
    let mut explained = BTreeSet::new();
    let mut stale = 0;
    for (number, asked) in &failed {
        let Some((session, death)) = named
            .get(number)
            .and_then(|session| Some((session, deaths.get(session)?)))
        else {
            continue;
        };
        explained.insert(session);
        stale += usize::from(death < asked);
    }
    Report {
        commands: seen.iter().map(|it| it.commands).sum(),
        deaths: deaths.len(),
        failed: failed.len(),
        stale,
        unexplained: failed.len() - explained.len(),
        stats: pool.stats(),
    }
}

pub(crate) async fn kill_at_random<S: Stage>(settings: Settings) -> Stats
where
    S::Server: Send + Sync + 'static,
{
    let server = Arc::new(S::server());
    let pool = pool(S::driver("127.0.0.1", server.port()), settings);
    let report = watch_kills(server, pool).await;
    println!("{report:?}");
    assert!(report.deaths >= 10, "{report:?}");
    assert!(report.failed <= report.deaths, "{report:?}");
    assert!(report.commands > 10 * report.deaths, "{report:?}");
    assert_eq!((report.stale, report.unexplained), (0, 0), "{report:?}");
    report.stats
}

/// A pool's driver that shows nothing of its connections.
struct Blind(mysql_async::Opts);

impl Driver for Blind {
    type Connection = Conn;
    type Error = mysql_async::Error;

    async fn connect(&self) -> Result<Opened<Conn>, mysql_async::Error> {
        Ok(Opened::new(Conn::new(self.0.clone()).await?))
    }

    async fn ping(&self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        connection.ping().await
    }

    fn judge_error(&self, _: &mysql_async::Error) -> Fault {
        Fault::Lost
    }
}

impl Talks for Blind {
    async fn ask(session: &mut Conn) -> Result<u64, mysql_async::Error> {
        let number = session.query_first("SELECT CONNECTION_ID()").await?;
        Ok(number.expect("a row"))
    }

    async fn limit_idleness(_: &mut Conn) -> Result<(), mysql_async::Error> {
        Ok(())
    }
}

/// The check of the check: a pool that neither looks nor pings hands out dead connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_does_not_look_is_found_out() {
    require_servers!();
    let server = Arc::new(OnMariaDb::server());
    let opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.port())
        .user(Some("vitals"))
        .pass(Some("secret"))
        .prefer_socket(false);
    let trusting = Settings {
        trust_for: Duration::from_secs(3_600),
        ping_after: Duration::from_secs(3_600),
        ..settings()
    };
    let report = watch_kills(server, pool(Blind(opts.into()), trusting)).await;
    println!("{report:?}");
    assert!(report.stale > 0, "{report:?}");
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
