//! Replicas of MariaDB and standbys of PostgreSQL: rows arrive, and each way to stop them shows.

use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, eventually, require_servers,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a server comes to answer a query in that way.
fn comes_to(server: &impl RealServer, query: &str, answer: &str) -> bool {
    eventually(PATIENCE, || server.sql(query) == answer)
}

fn mariadb_pair() -> (MariaDb, MariaDb) {
    let primary = MariaDb::start(MariaDbOptions {
        first_sql:
            "CREATE DATABASE shop; CREATE TABLE shop.t (i INT); INSERT INTO shop.t VALUES (1)"
                .to_owned(),
        ..MariaDbOptions::primary()
    });
    let replica = MariaDb::start_replica_of(&primary, MariaDbOptions::default());
    assert!(comes_to(&replica, "SELECT COUNT(*) FROM shop.t", "1"));
    (primary, replica)
}

fn postgres_pair() -> (Postgres, Postgres) {
    let primary = Postgres::start(PostgresOptions {
        first_sql: "CREATE TABLE t (i int); INSERT INTO t VALUES (1)".to_owned(),
        ..Default::default()
    });
    let standby = Postgres::start_standby_of(&primary, PostgresOptions::default());
    assert!(comes_to(&standby, "SELECT count(*) FROM t", "1"));
    (primary, standby)
}

#[test]
fn a_mariadb_replica_shows_each_of_its_threads_stopped() {
    require_servers!();
    let (primary, replica) = mariadb_pair();
    let threads = || {
        [
            "Slave_IO_Running",
            "Slave_SQL_Running",
            "Seconds_Behind_Master",
        ]
        .map(|column| replica.replication("", column))
    };
    assert_eq!(threads(), ["Yes", "Yes", "0"]);
    replica.sql("STOP SLAVE SQL_THREAD");
    assert_eq!(threads(), ["Yes", "No", "NULL"]);
    primary.sql("INSERT INTO shop.t VALUES (2)");
    replica.sql("START SLAVE SQL_THREAD; STOP SLAVE IO_THREAD");
    assert_eq!(threads(), ["No", "Yes", "NULL"]);
    replica.sql("START SLAVE IO_THREAD");
    assert!(comes_to(&replica, "SELECT COUNT(*) FROM shop.t", "2"));
}

#[test]
fn a_mariadb_replica_connects_again_and_again_to_a_killed_primary() {
    require_servers!();
    let (primary, replica) = mariadb_pair();
    let receiver = || replica.replication("", "Slave_IO_Running");
    primary.kill();
    assert!(eventually(PATIENCE, || receiver() == "Connecting"));
    assert_eq!(replica.replication("", "Slave_SQL_Running"), "Yes");
    assert_eq!(replica.replication("", "Seconds_Behind_Master"), "NULL");
    primary.start_again();
    assert!(eventually(PATIENCE, || receiver() == "Yes"));
    primary.sql("INSERT INTO shop.t VALUES (2)");
    assert!(comes_to(&replica, "SELECT COUNT(*) FROM shop.t", "2"));
}

#[test]
fn a_mariadb_replica_that_cannot_apply_falls_behind() {
    require_servers!();
    let (primary, replica) = mariadb_pair();
    let lag = || {
        replica
            .replication("", "Seconds_Behind_Master")
            .parse::<u32>()
    };
    let lock = replica.hold("LOCK TABLES shop.t WRITE");
    primary.sql("INSERT INTO shop.t VALUES (2)");
    assert!(eventually(PATIENCE, || lag().is_ok_and(|seconds| seconds >= 2)));
    assert_eq!(replica.replication("", "Slave_SQL_Running"), "Yes");
    drop(lock);
    assert!(eventually(PATIENCE, || lag() == Ok(0)));
}

#[test]
fn a_mariadb_replica_follows_several_primaries() {
    require_servers!();
    let (_first, replica) = mariadb_pair();
    let second = MariaDb::start(MariaDbOptions::primary());
    replica.follow(&second, "other");
    second.sql("CREATE DATABASE depot; CREATE TABLE depot.t (i INT)");
    let both = "SELECT COUNT(*) FROM information_schema.tables
                WHERE table_schema IN ('shop', 'depot')";
    assert!(comes_to(&replica, both, "2"));
    replica.sql("STOP SLAVE 'other' SQL_THREAD");
    assert_eq!(replica.replication("other", "Slave_SQL_Running"), "No");
    assert_eq!(replica.replication("", "Slave_SQL_Running"), "Yes");
}

#[test]
fn a_postgres_standby_can_pause_its_replay() {
    require_servers!();
    let (primary, standby) = postgres_pair();
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    standby.sql("SELECT pg_wal_replay_pause()");
    assert!(comes_to(
        &standby,
        "SELECT pg_get_wal_replay_pause_state()",
        "paused"
    ));
    primary.sql("INSERT INTO t VALUES (2)");
    let waiting = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()";
    assert!(comes_to(&standby, waiting, "t"));
    assert_eq!(standby.sql("SELECT count(*) FROM t"), "1");
    standby.sql("SELECT pg_wal_replay_resume()");
    assert!(comes_to(&standby, "SELECT count(*) FROM t", "2"));
}

#[test]
fn a_postgres_standby_outlives_its_primary_and_finds_it_again() {
    require_servers!();
    let (primary, standby) = postgres_pair();
    let receivers = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    assert!(comes_to(&standby, receivers, "1"));
    primary.kill();
    assert!(comes_to(&standby, receivers, "0"));
    primary.start_again();
    primary.sql("INSERT INTO t VALUES (2)");
    assert!(comes_to(&standby, "SELECT count(*) FROM t", "2"));
}

#[test]
fn a_promoted_standby_writes_and_stays_promoted() {
    require_servers!();
    let (primary, standby) = postgres_pair();
    primary.kill();
    assert_eq!(standby.sql("SELECT pg_promote()"), "t");
    standby.sql("INSERT INTO t VALUES (2)");
    standby.stop_gracefully();
    standby.start_again();
    assert_eq!(
        standby.sql("SELECT pg_is_in_recovery(), count(*) FROM t"),
        "f|2"
    );
}
