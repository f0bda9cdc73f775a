//! The catalogue of faults: what can be wrong with a database server, staged, with the truth
//! beside it.
//!
//! Each [`Fault`] is one entry: its name, what is done, on which servers, how it is staged, and
//! what is right to say of it, at each depth of `check` and step by step of `serve`. The entries
//! are in `faults/`, grouped by what they have in common; [`fault_catalogue`] has them all, and
//! [`FaultReport`] runs a program against them. To add a fault: add an entry.
//!
//! A scene is staged twice, once for `check` and once for `serve`: all well at first where the
//! fault can strike later, then act by act. What a scene starts ends with it. A column of the
//! report is a depth of `check`, an expectation (`primary` is `--expect primary`, `max_lag` is
//! `--max-lag 2s`), or `serve`.

mod absent;
mod agent;
mod cluster;
mod crowd;
mod database;
mod disk;
mod full;
mod lag;
mod locks;
mod login;
mod names;
mod pair;
mod report;
mod resolution;
mod roles;
mod scene;
mod silent;
mod slow;
mod strange;
mod tls;
mod transit;
mod truth;
mod writes;

use std::fmt;
use std::net::SocketAddr;

use self::names::names_available;
pub use self::report::{Column, FaultReport};
use self::scene::Scene;
pub use self::truth::{Check, Step, Truth, Watch};
use crate::requirements::{galera_ready_for, left_out, namespaces_ready_for, servers_ready_for};
use crate::scripted::Dialect;

/// What a fault is staged on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stand {
    /// A real MariaDB.
    MariaDb,
    /// A real PostgreSQL.
    PostgreSql,
    /// A script that answers at a `mysql://` URL.
    ScriptedMySql,
    /// A script that answers at a `postgres://` URL.
    ScriptedPostgres,
}

const REAL: &[Stand] = &[Stand::MariaDb, Stand::PostgreSql];
const SCRIPTED: &[Stand] = &[Stand::ScriptedMySql, Stand::ScriptedPostgres];

impl Stand {
    /// The URL at which `vitals` is to be probed.
    fn url(self, address: SocketAddr) -> String {
        self.url_of(&address.to_string())
    }

    /// The same, with a database in which `vitals` may write.
    fn url_to_write(self, address: SocketAddr) -> String {
        match self {
            Self::MariaDb | Self::ScriptedMySql => format!("{}/vitals", self.url(address)),
            Self::PostgreSql | Self::ScriptedPostgres => self.url(address),
        }
    }

    /// The same as [`url`](Self::url), of a host with its port.
    fn url_of(self, place: &str) -> String {
        match self {
            Self::MariaDb | Self::ScriptedMySql => format!("mysql://vitals@{place}"),
            Self::PostgreSql | Self::ScriptedPostgres => {
                format!("postgres://vitals@{place}/vitals")
            }
        }
    }

    fn dialect(self) -> Dialect {
        match self {
            Self::MariaDb | Self::ScriptedMySql => Dialect::MySql,
            Self::PostgreSql | Self::ScriptedPostgres => Dialect::Postgres,
        }
    }

    fn is_real(self) -> bool {
        matches!(self, Self::MariaDb | Self::PostgreSql)
    }
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::PostgreSql => "PostgreSQL",
            Self::ScriptedMySql => "scripted MySQL",
            Self::ScriptedPostgres => "scripted PostgreSQL",
        })
    }
}

/// One fault, and the truth about it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its stable name; one name may stand for several entries, each on servers of its own.
    pub name: &'static str,
    /// What is done, in one sentence.
    pub what: &'static str,
    /// What it is staged on.
    pub on: &'static [Stand],
    stage: fn(Stand) -> Scene,
    /// What `check` has to say, if it has a say.
    pub checks: &'static [Check],
    /// What `serve` has to conclude, if it is asked.
    pub watch: Option<Watch>,
    /// What it has in common with its neighbours: a heading of the documentation.
    pub group: &'static str,
    /// Whether nothing may run beside it, because its bounds are tight.
    alone: bool,
    needs: Need,
}

/// What a scene cannot do without, beside the servers it is staged on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    Nothing,
    /// A name service.
    Names,
    /// Namespaces, for a network or a disk of a server's own.
    Namespaces,
    /// Galera's library.
    Galera,
}

impl Fault {
    /// What an entry leaves out.
    const BLANK: Self = Self {
        name: "",
        what: "",
        on: &[],
        stage: |_| unreachable!("an entry says how it is staged"),
        checks: &[],
        watch: None,
        group: "",
        alone: false,
        needs: Need::Nothing,
    };

    /// The truth in a column of `check`, if there is one.
    #[must_use]
    pub fn check(&self, column: &str) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| check.columns.contains(&column))
    }

    /// Says whether the fault can be staged here, and if not, tells why on standard error.
    fn is_available(&self, stand: Stand) -> bool {
        let name = format!("the fault {} on {stand}", self.name);
        if stand.is_real() && !servers_ready_for(&name) {
            return false;
        }
        match self.needs {
            Need::Nothing => true,
            Need::Names => names_available()
                .map_err(|why| left_out(&name, &why))
                .is_ok(),
            Need::Namespaces => namespaces_ready_for(&name),
            Need::Galera => galera_ready_for(&name),
        }
    }
}

/// The kinds of faults, in the order of the documentation.
const GROUPS: [(&str, &[Fault]); 16] = [
    ("Servers that are gone", absent::FAULTS),
    ("Servers that do not answer", silent::FAULTS),
    ("Strangers", strange::FAULTS),
    ("Servers that answer late", slow::FAULTS),
    ("Servers without room for one more", full::FAULTS),
    ("Logins that are refused", login::FAULTS),
    ("Servers on their way up or down", transit::FAULTS),
    ("Roles", roles::FAULTS),
    ("Replicas that follow, and that do not", lag::FAULTS),
    ("Galera", cluster::FAULTS),
    ("Writes that are not allowed", writes::FAULTS),
    ("Locks", locks::FAULTS),
    ("Full disks", disk::FAULTS),
    ("TLS", tls::FAULTS),
    ("Names", resolution::FAULTS),
    ("The checker itself", agent::FAULTS),
];

/// All faults, in the order of the documentation.
#[must_use]
pub fn fault_catalogue() -> Vec<Fault> {
    let groups = GROUPS.iter();
    let faults = groups.flat_map(|(group, faults)| {
        let faults = faults.iter().cloned();
        faults.map(|fault| Fault { group, ..fault })
    });
    faults.collect()
}
