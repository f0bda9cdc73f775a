//! Ten idle connections of real servers, through real drivers, ended in every way there is: no
//! error reaches the application in the two hundred checkouts that follow, and no ping is sent.

use dbvitals_pool::{Ending, Pool};
use dbvitals_testkit::{RealServer as _, require_servers};

use crate::stage::{
    Ends, MS, OnMariaDb, OnPostgres, Stage, Talks, eventually, pool, settings, two_hundred, warm,
};

/// Who has ten idle connections ended, how, and what follows.
pub(crate) async fn end_all<S: Stage>(
    end: impl AsyncFn(&S::Server, &Pool<S::Driver>),
    endings: &[Ending],
) {
    let server = S::server();
    let driver = S::driver("127.0.0.1", server.port());
    end_all_on(&server, driver, end, endings).await;
}

/// The same on a server that runs.
pub(crate) async fn end_all_on<R, D: Talks>(
    server: &R,
    driver: D,
    end: impl AsyncFn(&R, &Pool<D>),
    endings: &[Ending],
) {
    let pool = pool(driver, settings());
    warm(&pool).await;
    end(server, &pool).await;
    let errors = two_hundred(&pool).await;
    let stats = pool.stats();
    assert_eq!(errors, [""; 0], "{stats:?}");
    assert_eq!(stats.pings, 0, "{stats:?}");
    let ended: u64 = endings.iter().map(|it| stats.ended(*it)).sum();
    assert_eq!(ended, 10, "{stats:?}");
    assert_eq!(pool.close(5_000 * MS).await, 0);
}

/// The server's own limit, of which the pool was not told.
pub(crate) async fn wait_for_the_limit<D: Talks>(pool: &Pool<D>) {
    let mut leases = Vec::new();
    for _ in 0..10 {
        let mut lease = pool.acquire().await.unwrap();
        lease
            .run(async |it| D::limit_idleness(it).await)
            .await
            .unwrap();
        leases.push(lease);
    }
    drop(leases);
    eventually("the server has ended them", || pool.stats().open == 0).await;
}

#[tokio::test]
async fn mariadb_ends_the_idle_by_its_own_limit() {
    require_servers!();
    end_all::<OnMariaDb>(
        async |_, pool| wait_for_the_limit(pool).await,
        &[Ending::HungUp, Ending::Reset],
    )
    .await;
}

#[tokio::test]
async fn postgres_ends_the_idle_by_its_own_limit() {
    require_servers!();
    end_all::<OnPostgres>(
        async |_, pool| wait_for_the_limit(pool).await,
        &[Ending::IdleLimit],
    )
    .await;
}

#[tokio::test]
async fn mariadb_kills_them() {
    require_servers!();
    end_all::<OnMariaDb>(async |server, _| server.kill_all(), &[Ending::HungUp]).await;
}

#[tokio::test]
async fn postgres_kills_them() {
    require_servers!();
    end_all::<OnPostgres>(
        async |server, _| server.kill_all(),
        &[Ending::Killed, Ending::HungUp],
    )
    .await;
}

#[tokio::test]
async fn mariadb_restarts() {
    require_servers!();
    let restart = async |server: &dbvitals_testkit::MariaDb, _: &Pool<_>| {
        server.stop_gracefully();
        server.start_again();
    };
    end_all::<OnMariaDb>(restart, &[Ending::HungUp]).await;
}

#[tokio::test]
async fn postgres_restarts() {
    require_servers!();
    let restart = async |server: &dbvitals_testkit::Postgres, _: &Pool<_>| {
        server.stop_gracefully();
        server.start_again();
    };
    end_all::<OnPostgres>(restart, &[Ending::Killed, Ending::HungUp]).await;
}

#[tokio::test]
async fn mariadb_is_killed() {
    require_servers!();
    let crash = async |server: &dbvitals_testkit::MariaDb, _: &Pool<_>| {
        server.kill();
        server.start_again();
    };
    end_all::<OnMariaDb>(crash, &[Ending::HungUp, Ending::Reset]).await;
}

#[tokio::test]
async fn postgres_is_killed() {
    require_servers!();
    let crash = async |server: &dbvitals_testkit::Postgres, _: &Pool<_>| {
        server.kill();
        server.start_again();
    };
    end_all::<OnPostgres>(crash, &[Ending::Killed, Ending::HungUp, Ending::Reset]).await;
}

/// The pool is told of the limit, and ends what idles before the server does.
pub(crate) async fn keep_within<S: Stage>() {
    let server = <S::Server as Ends>::start(Some(1));
    let pool = pool(S::driver("127.0.0.1", server.port()), settings());
    warm(&pool).await;
    eventually("none is left", || pool.stats().open == 0).await;
    assert_eq!(
        pool.stats().ended(Ending::IdleTime),
        10,
        "{:?}",
        pool.stats()
    );
    assert_eq!(two_hundred(&pool).await, [""; 0]);
    assert_eq!(pool.stats().pings, 0);
}

#[tokio::test]
async fn the_wait_timeout_of_mariadb_is_kept() {
    require_servers!();
    keep_within::<OnMariaDb>().await;
}

#[tokio::test]
async fn the_idle_session_timeout_of_postgres_is_kept() {
    require_servers!();
    keep_within::<OnPostgres>().await;
}
