//! Probes do not wait in a server's queues, and nothing of theirs is left there.
//!
//! Locks are held by sessions of the superuser's; what hangs is a statement of the check's own.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{Statement, Target};
use dbvitals_testkit::{MariaDb, Postgres, eventually, require_servers};
use dbvitals_verdict::{Cause, Depth, Path};
use dbvitals_wire::Credentials;

use crate::asker::Asker;
use crate::document::Way;
use crate::server::Measured;

const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server may take to see that somebody waits for a lock.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the document says: how long after its deadline a probe's session may outlive it.
const OUTLIVES_MAX: Duration = Duration::from_secs(1);
const PROBES: u32 = 50;

/// What the tests here have to say to a server of either product.
trait Lockable: Measured {
    const SUPERUSER: &str;
    /// The statement that keeps others from altering the heartbeat's table.
    const USE_TABLE: &str;
    const ALTER_TABLE: &str;
    /// Counts the sessions that wait for a lock.
    const WAITING: &str;
    /// Counts the sessions of `vitals`.
    const SESSIONS: &str;
    const SLEEP: &str;
    /// Counts the sessions of `vitals` that sleep.
    const SLEEPING: &str;
    /// How many lines of log come of a statement that is ended.
    const HANG_LOG_LINES: RangeInclusive<u64>;

    /// A session of the superuser's that this statement has been run on.
    fn superuser(&self, sql: &str) -> Asker {
        let mut asker = Asker::new(self.saying(Self::SUPERUSER, sql));
        asker.hold(Depth::Query);
        asker
    }

    /// A session of the superuser's that waits for a lock.
    fn superuser_waiting(&self, sql: &str) -> Asker {
        let mut asker = Asker::new(self.saying(Self::SUPERUSER, sql));
        asker.hold(Depth::Ping);
        asker.begin_held(Depth::Query);
        assert!(
            eventually(PATIENCE, || self.sql(Self::WAITING) == "1"),
            "nobody waits for a lock"
        );
        asker
    }

    fn saying(&self, user: &str, sql: &str) -> Target {
        let mut target = self.target(Way::Socket);
        let credentials = Credentials::new(user).with_database("vitals");
        let credentials = match user {
            "vitals" => credentials.with_password("secret"),
            _ => credentials,
        };
        target.credentials = Some(credentials.into());
        target.statement = Some(Arc::new(Statement {
            sql: sql.to_owned(),
            equals: None,
        }));
        target
    }
}

impl Lockable for MariaDb {
    const SUPERUSER: &str = "root";
    const USE_TABLE: &str = "BEGIN; SELECT * FROM dbvitals_heartbeat";
    const ALTER_TABLE: &str =
        "SET lock_wait_timeout=60; ALTER TABLE dbvitals_heartbeat ADD COLUMN more INT";
    const WAITING: &str = "SELECT count(*) FROM information_schema.processlist
        WHERE user = 'root' AND state = 'Waiting for table metadata lock'";
    const SESSIONS: &str =
        "SELECT count(*) FROM information_schema.processlist WHERE user = 'vitals'";
    const SLEEP: &str = "SELECT SLEEP(60)";
    const SLEEPING: &str = "SELECT count(*) FROM information_schema.processlist
        WHERE user = 'vitals' AND info LIKE '%SLEEP%'";
    const HANG_LOG_LINES: RangeInclusive<u64> = 0..=0;
}

impl Lockable for Postgres {
    const SUPERUSER: &str = "postgres";
    const USE_TABLE: &str = "BEGIN; SELECT * FROM dbvitals_heartbeat";
    const ALTER_TABLE: &str = "ALTER TABLE dbvitals_heartbeat ADD COLUMN more int";
    const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'vitals'";
    const SLEEP: &str = "SELECT pg_sleep(60)";
    const SLEEPING: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'vitals' AND state = 'active'";
    // The error and the statement.
    const HANG_LOG_LINES: RangeInclusive<u64> = 2..=2;
}

/// A server on which one write was made, by one who holds its session.
fn written<S: Lockable>() -> (S, Asker) {
    let server = S::start(None);
    let mut asker = Asker::new(server.target(Way::Tcp));
    asker.hold(Depth::Write);
    (server, asker)
}

fn pass_many(asker: &mut Asker) {
    for _ in 0..PROBES {
        for depth in [Depth::Role, Depth::Lag] {
            asker.pass(depth, Path::Held);
            asker.pass(depth, Path::Fresh);
        }
    }
}

#[test]
fn role_and_lag_do_not_wait_for_a_lock_on_all_tables() {
    require_servers!();
    let (server, mut asker) = written::<MariaDb>();
    let locker = server.superuser("FLUSH TABLES WITH READ LOCK");
    pass_many(&mut asker);
    // Only a write can see such a lock; it does not wait for its end.
    let cause = asker.fail(Depth::Write, Path::Held, TIMEOUT);
    assert_eq!(cause, Cause::WriteFailed);
    locker.leave();
    asker.pass(Depth::Write, Path::Fresh);
    asker.leave();
}

#[test]
fn role_and_lag_do_not_queue_behind_a_pending_alter() {
    fn check<S: Lockable>() {
        let (server, mut asker) = written::<S>();
        let user = server.superuser(S::USE_TABLE);
        let waiter = server.superuser_waiting(S::ALTER_TABLE);
        pass_many(&mut asker);
        let cause = asker.fail(Depth::Write, Path::Held, TIMEOUT);
        assert_eq!(cause, Cause::WriteFailed);
        // The other one still waits, and not for us.
        assert_eq!(server.sql(S::WAITING), "1");
        waiter.leave();
        user.leave();
        asker.leave();
    }
    require_servers!();
    check::<MariaDb>();
    check::<Postgres>();
}

#[test]
fn a_statement_that_hangs_does_not_outlive_its_probe_by_more_than_a_second() {
    fn check<S: Lockable>() {
        let server = S::start(None);
        let mut asker = Asker::new(server.saying("vitals", S::SLEEP));
        let lines = || server.log_text().lines().count() as u64;
        let before = lines();
        asker.fail(Depth::Query, Path::Fresh, TIMEOUT);
        let gone = || server.sql(S::SESSIONS) == "0";
        assert!(eventually(OUTLIVES_MAX, gone), "a session is left");
        let left = lines() - before;
        assert!(S::HANG_LOG_LINES.contains(&left), "{}", server.log_text());
        asker.hold(Depth::Ping);
        asker.fail(Depth::Query, Path::Held, TIMEOUT);
        // MariaDB ends the statement by itself, and its session goes on.
        let gone = || server.sql(S::SLEEPING) == "0";
        assert!(eventually(OUTLIVES_MAX, gone), "the statement goes on");
        asker.leave();
        assert_eq!(server.sql(S::SESSIONS), "0");
    }
    require_servers!();
    check::<MariaDb>();
    check::<Postgres>();
}
