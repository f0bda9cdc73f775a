//! The depths role, lag and write on real servers: primaries, replicas, clusters, locks, full disks.
//!
//! What `check` says is tested fault by fault in the catalogue; here is what needs two servers, a
//! story, or a look at what a probe leaves behind.

#[path = "support/agent.rs"]
#[expect(dead_code, reason = "the tests of serve use more of it")]
mod agent;
#[path = "support/finding.rs"]
mod finding;
#[path = "support/http.rs"]
#[expect(dead_code, reason = "the tests of serve use more of it")]
mod http;
#[path = "support/program.rs"]
mod program;

use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{
    GaleraNode, MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, SmallDisk,
    eventually, require_galera, require_namespaces, require_servers,
};

use crate::agent::{Agent, ConfigFile};
use crate::finding::Finding;

const PATIENCE: Duration = Duration::from_secs(20);
const SEE_REPLICATION: &str = "GRANT SLAVE MONITOR ON *.* TO vitals@'%'";

fn mysql(server: &MariaDb) -> String {
    format!("mysql://vitals@{}", server.address())
}

fn postgres(server: &Postgres) -> String {
    format!("postgres://vitals@{}/vitals", server.address())
}

fn mariadb_pair() -> (MariaDb, MariaDb) {
    let primary = MariaDb::start(MariaDbOptions {
        first_sql: format!(
            "CREATE DATABASE shop; CREATE TABLE shop.t (i INT PRIMARY KEY); {SEE_REPLICATION}"
        ),
        ..MariaDbOptions::primary()
    });
    let replica = MariaDb::start_replica_of(
        &primary,
        MariaDbOptions {
            arguments: vec!["--read-only=1".to_owned()],
            ..MariaDbOptions::default()
        },
    );
    let granted = || {
        replica
            .sql("SHOW GRANTS FOR vitals@'%'")
            .contains("SLAVE MONITOR")
    };
    assert!(eventually(PATIENCE, granted));
    (primary, replica)
}

fn postgres_pair() -> (Postgres, Postgres) {
    let primary = Postgres::start(PostgresOptions {
        first_sql: "CREATE TABLE t (i int)".to_owned(),
        ..Default::default()
    });
    let standby = Postgres::start_standby_of(&primary, PostgresOptions::default());
    // A standby takes sessions before it hears from its primary.
    let receiving = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    assert!(eventually(PATIENCE, || standby.sql(receiving) == "1"));
    (primary, standby)
}

#[track_caller]
fn check(url: &str, options: &[&str], expected: &str) -> Finding {
    let finding = Finding::of(url, options);
    finding.assert_told(expected);
    finding
}

const UP: &str = "up, exit 0";
const NOT_PRIMARY: &str = "down, not_primary (unfit), exit 2";
const NOT_REPLICA: &str = "down, not_replica (unfit), exit 2";
const READ_ONLY: &str = "down, read_only (unfit), exit 2";
const LAGGING: &str = "down, lagging (unfit), exit 2";

#[test]
fn a_mariadb_pair_tells_its_roles() {
    require_servers!();
    let (primary, replica) = mariadb_pair();
    let (first, second) = (mysql(&primary), mysql(&replica));
    let of_primary = check(&first, &["--depth", "role"], UP);
    assert_eq!(of_primary.result["server"]["role"], "primary");
    assert_eq!(of_primary.result["server"]["read_only"], false);
    assert_eq!(of_primary.phases(), "connect greeting login role");
    let connections = &of_primary.result["server"]["connections"];
    assert_eq!(connections["max"], 151, "{connections}");
    let of_replica = check(&second, &["--depth", "lag"], UP);
    assert_eq!(of_replica.result["server"]["role"], "replica");
    assert_eq!(of_replica.result["server"]["read_only"], true);
    assert_eq!(of_replica.phases(), "connect greeting login lag");
    check(&first, &["--expect", "primary"], UP);
    check(&first, &["--expect", "writable"], UP);
    check(&first, &["--expect", "replica"], NOT_REPLICA);
    check(&second, &["--expect", "primary"], NOT_PRIMARY);
    check(&second, &["--expect", "writable"], READ_ONLY);
    check(&second, &["--expect", "replica", "--max-lag", "10s"], UP);
    check(&format!("{second}?want=primary"), &[], NOT_PRIMARY);
    primary.sql("SET GLOBAL read_only = 1");
    check(&first, &["--expect", "primary"], READ_ONLY);
}

#[test]
fn a_replica_s_role_needs_no_privilege_and_its_lag_says_which() {
    require_servers!();
    let (primary, replica) = mariadb_pair();
    primary.sql("REVOKE SLAVE MONITOR ON *.* FROM vitals@'%'");
    let revoked = || {
        !replica
            .sql("SHOW GRANTS FOR vitals@'%'")
            .contains("SLAVE MONITOR")
    };
    assert!(eventually(PATIENCE, revoked));
    check(&mysql(&replica), &["--expect", "replica"], UP);
    check(&mysql(&replica), &["--expect", "primary"], NOT_PRIMARY);
    let blind = check(
        &mysql(&replica),
        &["--max-lag", "10s"],
        "degraded, bad_query (ours), exit 3",
    );
    assert!(blind.text("detail").contains("1227"), "{blind:?}");
}

#[test]
fn a_mariadb_replica_is_fresh_stale_or_stopped() {
    require_servers!();
    let (primary, replica) = mariadb_pair();
    let url = mysql(&replica);
    let lag = ["--max-lag", "1s"];
    check(&url, &lag, UP);
    // What it cannot apply grows old.
    let lock = replica.hold("LOCK TABLES shop.t READ");
    primary.sql("INSERT INTO shop.t VALUES (1)");
    let stale = || Finding::of(&url, &lag).told() == LAGGING;
    assert!(eventually(PATIENCE, stale));
    check(&url, &["--depth", "lag"], UP);
    drop(lock);
    assert!(eventually(PATIENCE, || Finding::of(&url, &lag).told() == UP));

    replica.sql("STOP SLAVE SQL_THREAD");
    let stopped = check(&url, &["--depth", "lag"], LAGGING);
    assert!(stopped.text("detail").contains("SQL thread"), "{stopped:?}");
    replica.sql("START SLAVE SQL_THREAD; STOP SLAVE IO_THREAD");
    let stopped = check(&url, &lag, LAGGING);
    assert!(stopped.text("detail").contains("IO thread"), "{stopped:?}");
    replica.sql("START SLAVE");
    assert!(eventually(PATIENCE, || Finding::of(&url, &lag).told() == UP));

    primary.kill();
    let cut_off = || replica.replication("", "Slave_IO_Running") == "Connecting";
    assert!(eventually(PATIENCE, cut_off));
    let cut_off = check(&url, &lag, LAGGING);
    assert!(
        cut_off.text("detail").contains("not connected"),
        "{cut_off:?}"
    );
}

#[test]
fn a_postgresql_pair_tells_its_roles_and_a_quiet_primary_is_no_lag() {
    require_servers!();
    let (primary, standby) = postgres_pair();
    let (first, second) = (postgres(&primary), postgres(&standby));
    check(&first, &["--expect", "primary", "--max-lag", "1s"], UP);
    check(&first, &["--expect", "replica"], NOT_REPLICA);
    check(&second, &["--expect", "primary"], NOT_PRIMARY);
    check(
        &second,
        &["--expect", "writable"],
        "down, in_recovery (unfit), exit 2",
    );
    // Nothing is committed for longer than the lag that is allowed.
    primary.sql("INSERT INTO t VALUES (1)");
    let quiet = "SELECT clock_timestamp() - pg_last_xact_replay_timestamp() > interval '1 s'";
    assert!(eventually(PATIENCE, || standby.sql(quiet) == "t"));
    let fresh = check(&second, &["--expect", "replica", "--max-lag", "500ms"], UP);
    let lag = &fresh.result["server"]["lag"];
    assert_eq!((&lag["seconds"], &lag["bytes"]), (&0.0.into(), &0.into()));
    primary.sql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()");
    let read_only = || Finding::of(&first, &["--expect", "primary"]).told() == READ_ONLY;
    assert!(eventually(PATIENCE, read_only));
}

#[test]
fn a_postgresql_standby_is_fresh_paused_or_cut_off() {
    require_servers!();
    let (primary, standby) = postgres_pair();
    let url = postgres(&standby);
    let lag = ["--max-lag", "1s"];
    check(&url, &lag, UP);
    standby.sql("SELECT pg_wal_replay_pause()");
    let paused = || standby.sql("SELECT pg_get_wal_replay_pause_state()") == "paused";
    assert!(eventually(PATIENCE, paused));
    let paused = check(&url, &["--depth", "lag"], LAGGING);
    assert!(paused.text("detail").contains("paused"), "{paused:?}");
    standby.sql("SELECT pg_wal_replay_resume()");
    assert!(eventually(PATIENCE, || Finding::of(&url, &lag).told() == UP));
    primary.kill();
    assert!(eventually(PATIENCE, || Finding::of(&url, &lag).told() == LAGGING));
    let cut_off = Finding::of(&url, &lag);
    assert!(
        cut_off.text("detail").contains("not connected"),
        "{cut_off:?}"
    );
}

#[test]
fn a_pair_answers_to_patroni_s_names() {
    require_servers!();
    let (primary, standby) = postgres_pair();
    let config = ConfigFile::new(&format!(
        "[backend.first]\nurl = \"{}\"\ndepth = \"lag\"\n\
         [backend.second]\nurl = \"{}\"\ndepth = \"lag\"\n",
        postgres(&primary),
        postgres(&standby)
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("first", "up");
    agent.wait_for_verdict("second", "up");
    for (path, of_first, of_second) in [
        ("/health?", 200, 200),
        ("/primary?", 200, 503),
        ("/read-write?", 200, 503),
        ("/replica?", 503, 200),
        ("/replica?lag=1MB&", 503, 200),
        ("/replica?max_lag=10s&", 503, 200),
        ("/read-only?", 200, 200),
        ("/read-only?lag=1MB&max_lag=10s&", 200, 200),
    ] {
        for (name, expected) in [("first", of_first), ("second", of_second)] {
            let answer = agent.request("GET", &format!("{path}of={name}"));
            assert_eq!(answer.status, expected, "{path}of={name}: {}", answer.body);
        }
    }
}

#[test]
fn a_promotion_is_told_with_the_next_question() {
    require_servers!();
    let (primary, standby) = postgres_pair();
    let config = ConfigFile::new(&format!(
        "[backend.db]\nurl = \"{}\"\ndepth = \"role\"\n",
        postgres(&standby)
    ));
    let agent = Agent::start(config.serve());
    assert_eq!(agent.wait_for_verdict("db", "up").1["role"], "replica");
    primary.kill();
    standby.sql("SELECT pg_promote()");
    assert!(eventually(PATIENCE, || agent.health("db").1["role"] == "primary"));
    let change = || {
        let mut changes = agent.transitions().into_iter();
        changes.find(|line| line["change"] == "role")
    };
    // Standard output is told a moment later than HTTP.
    assert!(eventually(PATIENCE, || change().is_some()));
    let role = change().expect("a change of role");
    assert_eq!(
        (&role["from"], &role["to"]),
        (&"replica".into(), &"primary".into())
    );
}

#[test]
fn a_primary_restart_does_not_make_its_replica_lag_at_once() {
    require_servers!();
    let (primary, replica) = mariadb_pair();
    let config = ConfigFile::new(&format!(
        "[backend.db]\nurl = \"{}\"\nwant = \"replica\"\nmax_lag = \"3s\"\n",
        mysql(&replica)
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    primary.kill();
    let (_, health) = agent.wait_for_verdict("db", "down");
    assert_eq!(health["cause"], "lagging");
    let detail = health["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("are allowed"), "{health}");
    primary.start_again();
    agent.wait_for_verdict("db", "up");
}

#[test]
fn a_write_is_one_row_that_is_written_over() {
    require_servers!();
    let grant = "CREATE DATABASE vitals; GRANT ALL ON vitals.* TO vitals@'%'";
    let mariadb = MariaDb::start(MariaDbOptions {
        first_sql: grant.to_owned(),
        ..Default::default()
    });
    let other = Postgres::start(PostgresOptions {
        first_sql: "GRANT CREATE ON SCHEMA public TO vitals".to_owned(),
        ..Default::default()
    });
    let first = format!("{}/vitals", mysql(&mariadb));
    for _ in 0..3 {
        let finding = check(&first, &["--depth", "write"], UP);
        assert_eq!(finding.phases(), "connect greeting login role write");
        assert_eq!(finding.text("depth_reached"), "write");
    }
    let rows = "SELECT COUNT(*), MAX(beaten_at) > UTC_TIMESTAMP() - INTERVAL 5 SECOND
                FROM vitals.dbvitals_heartbeat";
    assert_eq!(mariadb.sql(rows), "1\t1");
    mariadb.sql("SET GLOBAL read_only = 1");
    let refused = check(&first, &["--depth", "write"], READ_ONLY);
    assert_eq!(refused.phases(), "connect greeting login role!");

    let second = postgres(&other);
    for _ in 0..3 {
        check(&second, &["--depth", "write"], UP);
    }
    let rows = "SELECT count(*), max(beaten_at) > now() - interval '5 s' FROM dbvitals_heartbeat";
    assert_eq!(other.sql(rows), "1|t");
    other.sql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()");
    let read_only = || Finding::of(&second, &["--depth", "write"]).told() == READ_ONLY;
    assert!(eventually(PATIENCE, read_only));
}

#[test]
fn a_write_that_is_not_allowed_is_the_check_s_own_fault() {
    require_servers!();
    let mariadb = MariaDb::start(MariaDbOptions {
        first_sql: "CREATE DATABASE vitals; GRANT SELECT ON vitals.* TO vitals@'%'".to_owned(),
        ..Default::default()
    });
    let told = "degraded, bad_query (ours), exit 3";
    let finding = check(
        &format!("{}/vitals", mysql(&mariadb)),
        &["--depth", "write"],
        told,
    );
    assert!(finding.text("detail").contains("1142"), "{finding:?}");
}

#[test]
fn a_server_wide_lock_on_writes_is_told_and_leaves_no_session() {
    require_servers!();
    let mariadb = MariaDb::start(MariaDbOptions {
        first_sql: "CREATE DATABASE vitals; GRANT ALL ON vitals.* TO vitals@'%'".to_owned(),
        ..Default::default()
    });
    let url = format!("{}/vitals", mysql(&mariadb));
    check(&url, &["--depth", "write"], UP);
    let lock = mariadb.block_writes();
    let finding = check(
        &url,
        &["--depth", "write", "--timeout", "1s"],
        "down, write_failed (unfit), exit 2",
    );
    finding.assert_within(Duration::from_secs(1));
    println!("{}", finding.text("detail"));
    check(
        &url,
        &["--depth", "lag", "--timeout", "1s"],
        "degraded, bad_query (ours), exit 3",
    );
    check(&url, &["--depth", "role", "--timeout", "1s"], UP);
    assert!(eventually(PATIENCE, || sessions(&mariadb) == 0));
    drop(lock);
    check(&url, &["--depth", "write"], UP);
}

/// How many sessions of the check's user there are.
fn sessions(server: &MariaDb) -> usize {
    let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'vitals'";
    server.sql(count).parse().expect("a number")
}

#[test]
fn a_full_disk_under_the_binary_log_is_told_and_leaves_no_session() {
    require_namespaces!();
    let server = MariaDb::start(MariaDbOptions {
        arguments: vec!["--log-bin=../binlog/bin".to_owned()],
        disk: Some(SmallDisk {
            directory: "binlog".into(),
            size_mib: 1,
        }),
        first_sql: "CREATE DATABASE vitals; GRANT ALL ON vitals.* TO vitals@'%'".to_owned(),
        ..Default::default()
    });
    let url = format!("{}/vitals", mysql(&server));
    check(&url, &["--depth", "write"], UP);
    server.fill_disk();
    // The last page of the log has room for some writes.
    let write = ["--depth", "write", "--timeout", "1s"];
    let told = || Finding::of(&url, &write).told() != UP;
    assert!(eventually(PATIENCE, told));
    let finding = check(&url, &write, "down, disk_full (unfit), exit 2");
    finding.assert_within(Duration::from_secs(1));
    check(&url, &["--depth", "role"], UP);
    assert!(eventually(PATIENCE, || sessions(&server) == 0));
}

#[test]
fn a_commit_that_waits_for_a_standby_is_told_and_leaves_no_session() {
    require_servers!();
    let server = Postgres::start(PostgresOptions {
        first_sql: "GRANT CREATE ON SCHEMA public TO vitals".to_owned(),
        ..Default::default()
    });
    let url = postgres(&server);
    check(&url, &["--depth", "write"], UP);
    let block = server.block_commits();
    let finding = check(
        &url,
        &["--depth", "write", "--timeout", "1s"],
        "down, write_failed (unfit), exit 2",
    );
    finding.assert_within(Duration::from_secs(1));
    assert!(finding.text("detail").contains("SyncRep"), "{finding:?}");
    check(&url, &["--depth", "role"], UP);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'vitals'";
    assert!(eventually(PATIENCE, || server.sql(sessions) == "0"));
    drop(block);
    check(&url, &["--depth", "write"], UP);
    let rows = "SELECT count(*) FROM dbvitals_heartbeat";
    assert_eq!(server.sql(rows), "1");
}

#[test]
fn a_galera_node_is_fit_while_it_is_in_sync() {
    require_galera!();
    let first = GaleraNode::start(MariaDbOptions::default());
    let second = GaleraNode::join(&first, MariaDbOptions::default());
    let synced = || second.status("wsrep_local_state") == "4";
    // It has joined a moment before it is in sync.
    assert!(eventually(PATIENCE, synced));
    let url = mysql(second.server());
    let role = |expected| check(&url, &["--depth", "role", "--timeout", "1s"], expected);
    assert_eq!(role(UP).result["server"]["role"], "primary");
    second.server().sql("SET GLOBAL wsrep_desync = ON");
    let desynced = role("down, not_synced (unfit), exit 2");
    assert!(
        desynced.text("detail").contains("Donor/Desynced"),
        "{desynced:?}"
    );
    second
        .server()
        .sql("SET GLOBAL wsrep_desync = OFF; SET GLOBAL wsrep_reject_queries = ALL");
    assert!(eventually(PATIENCE, synced));
    role("down, rejecting_queries (unfit), exit 2");
    second
        .server()
        .sql("SET GLOBAL wsrep_reject_queries = NONE; SET GLOBAL wsrep_sync_wait = 31");
    role(UP);
    first.server().kill();
    assert!(eventually(PATIENCE, || second.status("wsrep_ready") == "OFF"));
    let apart = role("down, not_synced (unfit), exit 2");
    assert!(apart.text("detail").contains("non-Primary"), "{apart:?}");
    // Shallower depths see nothing of it.
    check(&url, &["--depth", "query", "--timeout", "1s"], UP);
}

#[test]
fn writes_that_hang_for_long_take_a_server_out_and_do_not_pile_up() {
    require_servers!();
    let mariadb = MariaDb::start(MariaDbOptions {
        first_sql: "CREATE DATABASE vitals; GRANT ALL ON vitals.* TO vitals@'%'".to_owned(),
        ..Default::default()
    });
    let other = Postgres::start(PostgresOptions {
        first_sql: "GRANT CREATE ON SCHEMA public TO vitals".to_owned(),
        ..Default::default()
    });
    let config = ConfigFile::new(&format!(
        "[backend.m]\nurl = \"{}/vitals\"\ndepth = \"write\"\n\
         [backend.p]\nurl = \"{}\"\ndepth = \"write\"\n",
        mysql(&mariadb),
        postgres(&other)
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("m", "up");
    agent.wait_for_verdict("p", "up");
    let lock = mariadb.block_writes();
    let block = other.block_commits();
    for name in ["m", "p"] {
        let (_, health) = agent.wait_for_verdict(name, "down");
        assert_eq!(health["cause"], "write_failed", "{health}");
        assert_eq!(health["class"], "unfit", "{health}");
    }
    let of_postgres = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'vitals'";
    let clock = Clock::start();
    let until = clock.now() + Duration::from_secs(6);
    let mut most = (0, 0);
    while clock.now() < until {
        let now: usize = other.sql(of_postgres).parse().expect("a number");
        most = (most.0.max(sessions(&mariadb)), most.1.max(now));
    }
    // The held one, the fresh one whose write hangs, and the one that ends it.
    assert!(most.0 <= 3 && most.1 <= 3, "{most:?}");
    drop((lock, block));
    agent.wait_for_verdict("m", "up");
    agent.wait_for_verdict("p", "up");
}
