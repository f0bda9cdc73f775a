//! What a server can be asked about the probes of a row, whichever product it is.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use dbvitals_probe::{Address, Protocol, Target, TlsConfig, TlsPolicy};
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, TlsFiles, eventually,
};
use dbvitals_verdict::Path;
use dbvitals_wire::Credentials;

use crate::document::Way;

/// How long a server may take to see off its last client, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(10);
/// The unit of processor time in `/proc/PID/stat`; Linux tells user space 100 a second everywhere.
const TICK_NANOS: u64 = 10_000_000;

/// What a server has counted and logged so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    pub(crate) sessions: u64,
    pub(crate) log_lines: u64,
    /// What the last column is about.
    pub(crate) besides: u64,
}

/// A server that is measured.
pub(crate) trait Measured: RealServer {
    const PROTOCOL: Protocol;
    /// The heading of its table.
    const HEADING: &str;

    fn start(tls: Option<TlsFiles>) -> Self;

    /// A second server that logs each connection, where the first does not count them.
    fn start_talkative(tls: Option<TlsFiles>) -> Option<Self>
    where
        Self: Sized;

    /// The path of the unix socket.
    fn socket(&self) -> Address;

    /// What was counted and logged, once there are no more than so many sessions of probes. What
    /// comes of the asking itself is left out of an account `since` another one.
    fn account(&self, others: u64, since: Account) -> Account;

    /// What a talkative server has logged. Nobody asks it anything, since it would log that.
    fn account_of_log(&self) -> Account;

    /// What is to be probed in this way.
    fn target(&self, way: Way) -> Target {
        let host = Ipv4Addr::LOCALHOST.to_string();
        let port = self.port();
        let address = match way {
            Way::Socket => self.socket(),
            Way::Tcp | Way::Stranger | Way::Unprivileged | Way::Tls => Address::Tcp { host, port },
        };
        let mut target = Target::new(Self::PROTOCOL, address);
        if way != Way::Stranger {
            let user = match way {
                Way::Unprivileged => "unprivileged",
                Way::Tcp | Way::Stranger | Way::Tls | Way::Socket => "vitals",
            };
            let credentials = Credentials::new(user).with_password("secret");
            let credentials = match way {
                // Without privileges there is no database to use.
                Way::Unprivileged => credentials,
                Way::Tcp | Way::Stranger | Way::Tls | Way::Socket => {
                    credentials.with_database("vitals")
                }
            };
            target.credentials = Some(credentials.into());
        }
        if way == Way::Tls {
            let config = TlsConfig::encrypt_only().expect("sound defaults");
            target.tls = TlsPolicy::Require(config);
        }
        target
    }

    /// The processor time of the server so far, in nanoseconds, and the unit in which it moves.
    /// Sessions of this path are over when their probes are, or go on.
    fn cpu_nanos(&self, path: Path) -> (u64, u64);
}

/// The processor time of a process and of the children it has buried.
fn cpu_nanos_past(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.expect("a server that runs has a stat");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    // utime, stime, cutime, cstime: the fields 14 to 17, counted with the two before.
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks: u64 = ticks.map(|it| it.parse::<u64>().expect("a number")).sum();
    ticks * TICK_NANOS
}

/// The processor time of all threads of a process; none where it is gone.
fn cpu_nanos_alive(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

impl Measured for MariaDb {
    const PROTOCOL: Protocol = Protocol::MySql;
    const HEADING: &str = "MariaDB 10.11";

    fn start(tls: Option<TlsFiles>) -> Self {
        Self::start(MariaDbOptions {
            tls,
            first_sql: "CREATE DATABASE vitals;
                CREATE USER unprivileged@'%' IDENTIFIED BY 'secret';
                GRANT SLAVE MONITOR ON *.* TO vitals@'%';
                GRANT CREATE, SELECT, INSERT, UPDATE ON vitals.dbvitals_heartbeat TO vitals@'%';"
                .to_owned(),
            ..Default::default()
        })
    }

    fn start_talkative(_: Option<TlsFiles>) -> Option<Self> {
        None
    }

    fn socket(&self) -> Address {
        Address::Unix(self.socket_path())
    }

    fn account(&self, others: u64, since: Account) -> Account {
        let mut asked = 0;
        let mut counters = BTreeMap::new();
        let alone = eventually(PATIENCE, || {
            asked += 1;
            counters = status(self);
            counters["Threads_connected"] == others + 1
        });
        assert!(alone, "a session stays open: {counters:?}");
        // The last question of the account before is counted in it already.
        let own = if since.sessions == 0 { 0 } else { asked };
        let errors = [
            "Aborted_connects",
            "Aborted_clients",
            "Access_denied_errors",
        ];
        Account {
            sessions: counters["Connections"] - own,
            log_lines: self.log_text().lines().count() as u64,
            besides: errors.iter().map(|name| counters[*name]).sum(),
        }
    }

    fn account_of_log(&self) -> Account {
        Account::default()
    }

    /// The thread of a session that is over is kept for the next one.
    fn cpu_nanos(&self, _: Path) -> (u64, u64) {
        (cpu_nanos_alive(self.pid()), 1)
    }
}

/// The counters of MariaDB that are of interest.
fn status(server: &MariaDb) -> BTreeMap<String, u64> {
    let rows = server.sql(
        "SHOW GLOBAL STATUS WHERE Variable_name IN ('Connections','Threads_connected',
         'Aborted_connects','Aborted_clients','Access_denied_errors')",
    );
    let counter = |row: &str| {
        let (name, value) = row.split_once('\t')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    rows.lines().filter_map(counter).collect()
}

impl Measured for Postgres {
    const PROTOCOL: Protocol = Protocol::Postgres;
    const HEADING: &str = "PostgreSQL 15";

    fn start(tls: Option<TlsFiles>) -> Self {
        start_postgres(tls, "off")
    }

    fn start_talkative(tls: Option<TlsFiles>) -> Option<Self> {
        Some(start_postgres(tls, "on"))
    }

    fn socket(&self) -> Address {
        Address::Unix(self.socket_path())
    }

    fn account(&self, others: u64, _: Account) -> Account {
        let sessions = "SELECT count(*) FROM pg_stat_activity
                        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let alone = eventually(PATIENCE, || self.sql(sessions) == others.to_string());
        assert!(alone, "a session stays open");
        Account {
            log_lines: self.log_text().lines().count() as u64,
            ..Account::default()
        }
    }

    fn account_of_log(&self) -> Account {
        let log = self.log_text();
        Account {
            sessions: log.matches("connection received").count() as u64,
            log_lines: 0,
            besides: log.lines().count() as u64,
        }
    }

    /// The process of a session that is over is gone, and counted in ticks by its parent.
    fn cpu_nanos(&self, path: Path) -> (u64, u64) {
        if path == Path::Fresh {
            return (cpu_nanos_past(self.pid()), TICK_NANOS);
        }
        let file = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = fs::read_to_string(file).expect("a server that runs has children");
        let children = children.split_whitespace().filter_map(|it| it.parse().ok());
        (children.chain([self.pid()]).map(cpu_nanos_alive).sum(), 1)
    }
}

fn start_postgres(tls: Option<TlsFiles>, log_connections: &str) -> Postgres {
    Postgres::start(PostgresOptions {
        settings: vec![("log_connections".to_owned(), log_connections.to_owned())],
        tls,
        first_sql: "GRANT CREATE ON SCHEMA public TO vitals".to_owned(),
        ..Default::default()
    })
}
