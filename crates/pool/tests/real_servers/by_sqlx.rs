//! sqlx's connections in the pool: the same promises where they depend on the adapter.

use dbvitals_pool::{Ending, Pool};
use dbvitals_testkit::{RealServer as _, require_servers};
use sqlx_core::connection::Connection as _;
use sqlx_core::executor::Executor as _;
use sqlx_core::transaction::Transaction;

use crate::ends::{end_all, keep_within, wait_for_the_limit};
use crate::kills::{kill_at_random, repeat};
use crate::router::{count_packets, is_here, notice_by_keepalive};
use crate::stage::{Ends as _, OnMariaDbBySqlx, OnPostgresBySqlx, Stage, pool, settings};

/// An end that the server told before it hung up is one of these to who reads no words.
const HUNG_UP: &[Ending] = &[Ending::HungUp, Ending::Reset];

async fn kill_idle<S: Stage>() {
    end_all::<S>(async |server, _| server.kill_all(), HUNG_UP).await;
}

async fn crash<S: Stage>() {
    let crash = async |server: &S::Server, _: &Pool<S::Driver>| {
        server.kill();
        server.start_again();
    };
    end_all::<S>(crash, HUNG_UP).await;
}

async fn restart<S: Stage>() {
    let restart = async |server: &S::Server, _: &Pool<S::Driver>| {
        server.stop_gracefully();
        server.start_again();
    };
    end_all::<S>(restart, HUNG_UP).await;
}

#[tokio::test]
async fn idle_ones_that_mariadb_ends_are_not_met() {
    require_servers!();
    end_all::<OnMariaDbBySqlx>(async |_, pool| wait_for_the_limit(pool).await, HUNG_UP).await;
    kill_idle::<OnMariaDbBySqlx>().await;
    restart::<OnMariaDbBySqlx>().await;
    crash::<OnMariaDbBySqlx>().await;
}

#[tokio::test]
async fn idle_ones_that_postgres_ends_are_not_met() {
    require_servers!();
    end_all::<OnPostgresBySqlx>(async |_, pool| wait_for_the_limit(pool).await, HUNG_UP).await;
    kill_idle::<OnPostgresBySqlx>().await;
    restart::<OnPostgresBySqlx>().await;
    crash::<OnPostgresBySqlx>().await;
}

#[tokio::test]
async fn the_servers_idle_limits_are_kept() {
    require_servers!();
    keep_within::<OnMariaDbBySqlx>().await;
    keep_within::<OnPostgresBySqlx>().await;
}

#[tokio::test]
async fn a_checkout_sends_no_packet() {
    require_servers!();
    if is_here("by_sqlx::a_checkout_sends_no_packet") {
        count_packets::<OnMariaDbBySqlx>().await;
        count_packets::<OnPostgresBySqlx>().await;
    }
}

#[tokio::test]
async fn the_kernel_notices_a_lost_way_to_mariadb() {
    require_servers!();
    if is_here("by_sqlx::the_kernel_notices_a_lost_way_to_mariadb") {
        notice_by_keepalive::<OnMariaDbBySqlx>().await;
    }
}

#[tokio::test]
async fn the_kernel_notices_a_lost_way_to_postgres() {
    require_servers!();
    if is_here("by_sqlx::the_kernel_notices_a_lost_way_to_postgres") {
        notice_by_keepalive::<OnPostgresBySqlx>().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_only_what_was_under_way_fails() {
    require_servers!();
    let stats = kill_at_random::<OnMariaDbBySqlx>(settings()).await;
    assert_eq!(stats.pings, 0);
    // PostgreSQL says a word before it hangs up, which sqlx does not read to us: who looks between
    // the two finds bytes, and a ping decides. It goes to dead sessions alone.
    let stats = kill_at_random::<OnPostgresBySqlx>(settings()).await;
    assert_eq!(stats.pings, stats.pings_unanswered);
}

#[tokio::test]
async fn what_is_repeatable_survives_kills() {
    require_servers!();
    repeat::<OnMariaDbBySqlx>().await;
    repeat::<OnPostgresBySqlx>().await;
}

#[tokio::test]
async fn a_transaction_that_was_dropped_is_rolled_back_before_the_next_checkout() {
    require_servers!();
    let server = OnPostgresBySqlx::server();
    let pool = pool(
        OnPostgresBySqlx::driver("127.0.0.1", server.port()),
        settings(),
    );
    let mut lease = pool.acquire().await.unwrap();
    let transaction: Transaction<'_, _> = lease.begin().await.unwrap();
    drop(transaction);
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    assert!(!lease.is_in_transaction());
    lease.execute("SELECT 1").await.unwrap();
    let stats = pool.stats();
    assert_eq!(
        (stats.pings, stats.attempts),
        (1, 1),
        "settled once: {stats:?}"
    );
}
