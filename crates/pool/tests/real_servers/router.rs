//! A router that swallows packets, and the packets themselves, in a network of the test's own.
//!
//! Connections go to one address of the machine; when it is taken away, what is sent there vanishes
//! without a word, while another address works: a router that lost its state. The tests start
//! themselves again inside `unshare --net`, with the server beside them.

use std::env;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dbvitals_pool::{Driver, Ending, Fault, Keepalive, Opened, Pool, Returned, Settings, Unread};
use dbvitals_testkit::{RealServer as _, left_out, loopback_packets, require_servers};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::stage::{
    MS, OnMariaDb, OnPostgres, Stage, Talks, eventually, pool, settings, two_hundred, warm,
};

/// Set for the run inside.
const INSIDE: &str = "DBVITALS_POOL_INSIDE";
/// The way that will be lost, and the one that stays.
const LOST: &str = "10.66.0.1";
const OTHER: &str = "10.66.0.2";

/// Whether the test `name` is to be run here and now; where not, it was run inside, or left out.
pub(crate) fn is_here(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let namespaces: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["--net"],
        false => &["--user", "--map-current-user", "--keep-caps", "--net"],
    };
    let set_up = format!(
        "ip link set lo up && ip addr add {LOST}/32 dev lo && ip addr add {OTHER}/32 dev lo"
    );
    let unshare = |then: &str| {
        let mut command = Command::new("unshare");
        command
            .args(namespaces)
            .args(["sh", "-c", then, "sh"])
            .stdin(Stdio::null());
        command
    };
    let tried = unshare(&set_up).output();
    if !tried.as_ref().is_ok_and(|it| it.status.success()) {
        left_out(name, &format!("needs a network namespace ({tried:?})"));
        return false;
    }
    let program = env::current_exe().expect("a running program has a path");
    let output = unshare(&format!("{set_up} && exec \"$@\""))
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success() && said.contains("1 passed"),
        "the test failed inside of its network:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// A driver that goes the other way once the first is lost, as clients of a router do.
struct TwoWays<D> {
    first: D,
    second: D,
    lost: Arc<AtomicBool>,
}

impl<D: Driver> Driver for TwoWays<D> {
    type Connection = D::Connection;
    type Error = D::Error;

    async fn connect(&self) -> Result<Opened<D::Connection>, D::Error> {
        match self.lost.load(Ordering::SeqCst) {
            false => self.first.connect().await,
            true => self.second.connect().await,
        }
    }

    async fn ping(&self, connection: &mut D::Connection) -> Result<(), D::Error> {
        self.first.ping(connection).await
    }

    async fn abandon(&self, connection: D::Connection) {
        self.first.abandon(connection).await;
    }

    fn at_return(&self, connection: &mut D::Connection) -> Returned {
        self.first.at_return(connection)
    }

    fn is_closed(&self, connection: &D::Connection) -> bool {
        self.first.is_closed(connection)
    }

    fn judge_unread(&self, connection: &mut D::Connection) -> Unread {
        self.first.judge_unread(connection)
    }

    fn ending(&self, connection: &D::Connection) -> Option<Ending> {
        self.first.ending(connection)
    }

    fn judge_error(&self, error: &D::Error) -> Fault {
        self.first.judge_error(error)
    }
}

impl<D: Talks> Talks for TwoWays<D> {
    async fn ask(session: &mut D::Connection) -> Result<u64, D::Error> {
        D::ask(session).await
    }

    async fn limit_idleness(session: &mut D::Connection) -> Result<(), D::Error> {
        D::limit_idleness(session).await
    }
}

fn two_ways<S: Stage>(server: &S::Server) -> (TwoWays<S::Driver>, Arc<AtomicBool>) {
    let lost = Arc::new(AtomicBool::new(false));
    let ways = TwoWays {
        first: S::driver(LOST, server.port()),
        second: S::driver(OTHER, server.port()),
        lost: Arc::clone(&lost),
    };
    (ways, lost)
}

/// Takes the first way away.
fn lose_the_way(lost: &AtomicBool) {
    let status = Command::new("ip")
        .args(["addr", "del", &format!("{LOST}/32"), "dev", "lo"])
        .status()
        .expect("ip can be started");
    assert!(status.success());
    lost.store(true, Ordering::SeqCst);
}

/// Ten idle connections are swallowed; age makes the pool ping, once for each at most.
async fn swallow<S: Stage>() {
    let server = S::server();
    let (ways, lost) = two_ways::<S>(&server);
    let pool = pool(
        ways,
        Settings {
            ping_after: 500 * MS,
            keepalive: None,
            ..settings()
        },
    );
    warm(&pool).await;
    lose_the_way(&lost);
    tokio::time::sleep(600 * MS).await;
    let begun = Instant::now();
    let errors = two_hundred(&pool).await;
    let stats = pool.stats();
    println!("two hundred checkouts in {:?}: {stats:?}", begun.elapsed());
    assert_eq!(errors, [""; 0], "{stats:?}");
    assert!(stats.pings <= 10, "{stats:?}");
    assert!(stats.ended(Ending::Silent) >= 1, "{stats:?}");
    // Those that were not needed are found out too, and there is room for all.
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut lease = pool.acquire().await.unwrap();
        lease
            .run(async |it| S::Driver::ask(it).await)
            .await
            .unwrap();
        held.push(lease);
    }
    assert!(pool.stats().pings <= 10, "{:?}", pool.stats());
}

#[tokio::test]
async fn what_a_router_swallows_of_mariadb_costs_a_ping_each() {
    require_servers!();
    if is_here("router::what_a_router_swallows_of_mariadb_costs_a_ping_each") {
        swallow::<OnMariaDb>().await;
    }
}

#[tokio::test]
async fn what_a_router_swallows_of_postgres_costs_a_ping_each() {
    require_servers!();
    if is_here("router::what_a_router_swallows_of_postgres_costs_a_ping_each") {
        swallow::<OnPostgres>().await;
    }
}

/// As a pool is without any setting, an application meets what was swallowed a moment ago, once for
/// each connection: neither a ping nor keepalive is due. Its own limit ends those commands.
async fn meet_what_was_just_swallowed<S: Stage>() {
    let server = S::server();
    let (ways, lost) = two_ways::<S>(&server);
    let pool = pool(ways, Settings::default());
    warm(&pool).await;
    lose_the_way(&lost);
    let begun = Instant::now();
    let all_out = Arc::new(Barrier::new(10));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(twenty_with_a_limit(pool.clone(), Arc::clone(&all_out)));
    }
    let failed: usize = tasks.join_all().await.into_iter().sum();
    let stats = pool.stats();
    println!(
        "{failed} of 200 commands met one of the 10 that were swallowed, {:?}: {stats:?}",
        begun.elapsed()
    );
    assert_eq!(failed, 10, "each is met once: {stats:?}");
    assert_eq!(stats.ended(Ending::Cancelled), 10, "{stats:?}");
    assert_eq!(stats.pings, 0, "{stats:?}");
}

/// Twenty commands, the first of them on a connection of its own; how many failed, or took too long.
async fn twenty_with_a_limit<D: Talks>(pool: Pool<D>, all_out: Arc<Barrier>) -> usize {
    let mut failed = 0;
    for round in 0..20 {
        let mut lease = pool.acquire().await.unwrap();
        if round == 0 {
            all_out.wait().await;
        }
        let command = lease.run(async |it| D::ask(it).await);
        let outcome = timeout(500 * MS, command).await;
        failed += usize::from(!matches!(outcome, Ok(Ok(_))));
    }
    failed
}

#[tokio::test]
async fn what_mariadb_lost_a_moment_ago_is_met_once_each() {
    require_servers!();
    if is_here("router::what_mariadb_lost_a_moment_ago_is_met_once_each") {
        meet_what_was_just_swallowed::<OnMariaDb>().await;
    }
}

#[tokio::test]
async fn what_postgres_lost_a_moment_ago_is_met_once_each() {
    require_servers!();
    if is_here("router::what_postgres_lost_a_moment_ago_is_met_once_each") {
        meet_what_was_just_swallowed::<OnPostgres>().await;
    }
}

/// With keepalive the kernel notices by itself: no ping at all, and nobody has to ask.
pub(crate) async fn notice_by_keepalive<S: Stage>() {
    let server = S::server();
    let (ways, lost) = two_ways::<S>(&server);
    let keepalive = Keepalive {
        idle: 1_000 * MS,
        interval: 1_000 * MS,
        probes: 2,
    };
    let pool = pool(
        ways,
        Settings {
            keepalive: Some(keepalive),
            ..settings()
        },
    );
    warm(&pool).await;
    lose_the_way(&lost);
    let begun = Instant::now();
    eventually("all are gone", || pool.stats().open == 0).await;
    println!("noticed after {:?}: {:?}", begun.elapsed(), pool.stats());
    assert_eq!(pool.stats().ended(Ending::Silent), 10, "{:?}", pool.stats());
    assert_eq!(two_hundred(&pool).await, [""; 0]);
    assert_eq!(pool.stats().pings, 0);
}

#[tokio::test]
async fn the_kernel_notices_a_lost_way_to_mariadb() {
    require_servers!();
    if is_here("router::the_kernel_notices_a_lost_way_to_mariadb") {
        notice_by_keepalive::<OnMariaDb>().await;
    }
}

/// The packets so far, in the network that the test has for itself.
fn packets() -> u64 {
    loopback_packets("self")
}

/// The same, once nothing has moved for a while: acknowledgements come late.
async fn settled_packets() -> u64 {
    let mut seen = packets();
    loop {
        tokio::time::sleep(250 * MS).await;
        match packets() {
            now if now == seen => return now,
            now => seen = now,
        }
    }
}

/// A checkout sends nothing: as many packets with it as without it.
pub(crate) async fn count_packets<S: Stage>() {
    const COMMANDS: usize = 1_000;
    let server = S::server();
    let pool = pool(S::driver(LOST, server.port()), settings());
    warm(&pool).await;

    let before = settled_packets().await;
    for _ in 0..10_000 {
        drop(pool.acquire().await.unwrap());
    }
    assert_eq!(packets() - before, 0, "packets of 10 000 checkouts");

    let mut lease = pool.acquire().await.unwrap();
    let before = packets();
    for _ in 0..COMMANDS {
        lease
            .run(async |it| S::Driver::ask(it).await)
            .await
            .unwrap();
    }
    let held = packets() - before;
    drop(lease);
    let before = packets();
    for _ in 0..COMMANDS {
        let mut lease = pool.acquire().await.unwrap();
        lease
            .run(async |it| S::Driver::ask(it).await)
            .await
            .unwrap();
    }
    let checked_out = packets() - before;
    println!("{COMMANDS} commands: {held} packets on one lease, {checked_out} on one each");
    // An acknowledgement may or may not ride on what comes back; a ping would double them all.
    assert!(checked_out <= held + held / 20, "{checked_out}, not {held}");
    assert_eq!(pool.stats().pings, 0);
}

#[tokio::test]
async fn a_checkout_sends_no_packet_to_mariadb() {
    require_servers!();
    if is_here("router::a_checkout_sends_no_packet_to_mariadb") {
        count_packets::<OnMariaDb>().await;
    }
}

#[tokio::test]
async fn a_checkout_sends_no_packet_to_postgres() {
    require_servers!();
    if is_here("router::a_checkout_sends_no_packet_to_postgres") {
        count_packets::<OnPostgres>().await;
    }
}
