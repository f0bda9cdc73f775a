//! What a client's pings look like: the habit of a pool that causes them, and how to change it.
//!
//! Told by what comes after pings and how regularly they come; a guess, and said to be one.

use super::tally::Tally;

/// Fewer pings than this are no habit.
const PINGS_MIN: u64 = 10;
/// Fewer connections than this are no health check.
const CONNECTIONS_MIN: u64 = 5;
/// How far apart the shortest and the longest tenth of a timer's intervals are, in percent.
const TIMER_SPREAD_MAX: u64 = 150;

/// A habit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Habit {
    /// A ping whenever a connection is taken out of the pool.
    VerifyAtCheckout,
    /// A ping before every statement.
    PingPerStatement,
    /// A ping at regular intervals, whatever else happens.
    Timer,
    /// Connections for a check each, as balancers make them.
    HealthCheck,
    /// None of these.
    Mixed,
}

impl Habit {
    /// The habit of whoever caused these counts; `None` where there are too few pings to tell.
    pub(crate) fn of(tally: &Tally) -> Option<Self> {
        let pings = tally.pings();
        let connections = &tally.connections;
        let short = connections.used_once + connections.unused;
        let work = tally.commands - pings;
        if connections.closed >= CONNECTIONS_MIN
            && is_most(short, connections.closed)
            && (work == 0 || is_most(pings, tally.commands))
        {
            return Some(Self::HealthCheck);
        }
        if pings < PINGS_MIN {
            return None;
        }
        if is_most(tally.work_after_ping, pings) && is_most(tally.work_after_ping, work) {
            return Some(Self::PingPerStatement);
        }
        if tally.followed * 10 >= pings * 6 {
            return Some(Self::VerifyAtCheckout);
        }
        let tenths = (
            tally.intervals.percentile(10),
            tally.intervals.percentile(90),
        );
        if let (Some(short), Some(long)) = tenths
            && tally.intervals.count() * 2 >= pings
            && long <= short.saturating_mul(TIMER_SPREAD_MAX) / 100
        {
            return Some(Self::Timer);
        }
        Some(Self::Mixed)
    }

    /// The habit's name, as the JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::VerifyAtCheckout => "verify_at_checkout",
            Self::PingPerStatement => "ping_per_statement",
            Self::Timer => "timer",
            Self::HealthCheck => "health_check",
            Self::Mixed => "mixed",
        }
    }

    /// What it looks like, and why.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::VerifyAtCheckout => {
                "a pool that verifies at every checkout: most pings are followed by another command at once"
            }
            Self::PingPerStatement => {
                "a ping before every statement, or every cursor: nearly all work comes right behind one"
            }
            Self::Timer => "a timer: pings come at regular intervals and nothing comes of them",
            Self::HealthCheck => {
                "health checks, as balancers make them: connections opened for one question, or none"
            }
            Self::Mixed => "several habits at once, or none that is known",
        }
    }

    /// What to change, in the pools and drivers that people use.
    pub(crate) fn settings(self) -> &'static [&'static str] {
        match self {
            Self::VerifyAtCheckout => &[
                "HikariCP: com.zaxxer.hikari.aliveBypassWindowMs (500 ms): no check of a connection used so recently",
                "Tomcat JDBC, DBCP: testOnBorrow=false, or validationInterval; testWhileIdle=true instead",
                "SQLAlchemy: pool_pre_ping=False, with pool_recycle below the server's wait_timeout",
                "sqlx: test_before_acquire(false); deadpool: RecyclingMethod::Fast; bb8, r2d2: test_on_check_out(false)",
                "Rails: a larger verify_timeout (2 s): no check of a connection used so recently",
                "pgx: pgxpool pings what was idle for over a second; ShouldPing changes that",
                "Django: CONN_HEALTH_CHECKS=False, or CONN_MAX_AGE",
            ],
            Self::PingPerStatement => &[
                "mysql-connector-python: cursor() pings each time (is_connected()): keep a cursor for several statements, or use the C extension",
                "PyMySQL, mysqlclient: no connection.ping() before each statement; reconnect on error 2006 or 2013",
                "Perl DBI: connect_cached pings on every call: keep the handle; Apache::DBI: setPingTimeOut",
                "psycopg, JDBC: no SELECT 1 or isValid() in front of each statement; retry on a broken connection instead",
            ],
            Self::Timer => &[
                "HikariCP: keepaliveTime; DBCP, Tomcat JDBC: timeBetweenEvictionRunsMillis",
                "pgxpool: HealthCheckPeriod; c3p0: idleConnectionTestPeriod",
                "ProxySQL: mysql-ping_interval_server_msec, mysql-monitor_ping_interval",
                "The right interval is just below the shortest idle timeout on the way, the server's or a firewall's",
            ],
            Self::HealthCheck => &[
                "HAProxy: option mysql-check, pgsql-check: a longer inter, or agent-check",
                "ProxySQL: mysql-monitor_connect_interval",
                "dbvitals serve: one held session for all who ask; balancers probe its gate or /health instead",
            ],
            Self::Mixed => &[],
        }
    }
}

/// Four out of five.
fn is_most(part: u64, whole: u64) -> bool {
    whole > 0 && part * 5 >= whole * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(pings: u64, work: u64, followed: u64, work_after_ping: u64) -> Tally {
        let mut tally = Tally {
            commands: pings + work,
            followed,
            work_after_ping,
            ..Tally::default()
        };
        tally.pings[0] = pings;
        tally
    }

    #[test]
    fn pools_are_told_by_what_follows_their_pings() {
        assert_eq!(Habit::of(&tally(9, 9, 9, 9)), None);
        let per_statement = tally(100, 100, 99, 99);
        assert_eq!(Habit::of(&per_statement), Some(Habit::PingPerStatement));
        let checkout = tally(100, 500, 95, 95);
        assert_eq!(Habit::of(&checkout), Some(Habit::VerifyAtCheckout));
        assert_eq!(Habit::of(&tally(100, 500, 30, 30)), Some(Habit::Mixed));
    }

    #[test]
    fn a_timer_is_told_by_its_regularity() {
        let mut timer = tally(100, 500, 3, 3);
        (0..90).for_each(|index| timer.intervals.add(30_000_000_000 + index));
        assert_eq!(Habit::of(&timer), Some(Habit::Timer));
        (0..90).for_each(|index| timer.intervals.add(index * 1_000_000_000));
        assert_eq!(Habit::of(&timer), Some(Habit::Mixed));
    }

    #[test]
    fn connections_for_one_question_each_are_a_health_check() {
        let mut check = tally(0, 0, 0, 0);
        check.connections.closed = 20;
        check.connections.unused = 20;
        assert_eq!(Habit::of(&check), Some(Habit::HealthCheck));
        let mut churn = tally(0, 20, 0, 0);
        churn.connections.closed = 20;
        churn.connections.used_once = 20;
        assert_eq!(Habit::of(&churn), None);
    }
}
