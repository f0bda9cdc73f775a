//! MySQL's and MariaDB's side of a survey.
//!
//! SHOW names what it shows, so one text serves all versions: variables and counters that a server
//! does not have are missing from the answer rather than an error. It is dear, though: showing
//! variables takes MariaDB 10.11 about 0.3 ms, counters 0.15 ms, against 15 us for naming the
//! variables in a SELECT. So a session's first question learns what there is, and later ones name
//! it. Galera answers SHOW on a
//! node that is not ready, where it refuses to look into tables (error 1047). Replication's state
//! comes last, because it alone needs a privilege: SLAVE MONITOR (MariaDB 10.5 and later) or
//! REPLICATION CLIENT. A member of MySQL's group replication is then asked for its place in the
//! group, which needs SELECT on performance_schema.replication_group_members. Without them the
//! depth role goes by read_only, lag says what is missing, and so does write on MySQL.
//!
//! Sources: the reference manuals' pages on SHOW REPLICA STATUS (MySQL 8.0.22 renamed the statement
//! and its columns, 8.4 dropped the old names), SHOW ALL SLAVES STATUS (MariaDB), the status
//! variables of Galera, and performance_schema.replication_group_members. Tried on MariaDB 10.11.19
//! and on MySQL 9.7.4 (replicas by GTID, stopped and cut off; groups of one and two, joining, thrown
//! out, without a majority); what is said to older MySQL is by the manuals alone.

use std::time::Duration;

use dbvitals_verdict::{Cause, Connections, Depth, Role};
use dbvitals_wire::{Answer, Product, Refusal, Row, Table};

use super::{Replication, State, Step};
use crate::failure::Failure;
use crate::learned::{Learned, Settings};

/// ER_UNKNOWN_SYSTEM_VARIABLE.
pub(super) const UNKNOWN_VARIABLE: u16 = 1193;

/// ER_NO_SUCH_THREAD.
pub(super) const NO_SUCH_THREAD: u16 = 1094;

const VARIABLES: [&str; 6] = [
    "read_only",
    "super_read_only",
    "max_connections",
    "wsrep_on",
    "wsrep_reject_queries",
    "group_replication_group_name",
];
const COUNTERS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected',\
    'Slaves_running','Slave_running','wsrep_ready','wsrep_cluster_status','wsrep_local_state',\
    'wsrep_local_state_comment')";
/// Before a server has ever joined, MySQL up to 8.0 shows it without a name.
const MEMBERS: &str = "SELECT *,MEMBER_ID IN (@@server_uuid,'') AS is_this \
    FROM performance_schema.replication_group_members";
/// One row, written over each time.
const WRITE: &str = "INSERT INTO dbvitals_heartbeat (id,beaten_at) VALUES (1,UTC_TIMESTAMP(6)) \
    ON DUPLICATE KEY UPDATE beaten_at=UTC_TIMESTAMP(6)";
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS dbvitals_heartbeat \
    (id TINYINT UNSIGNED NOT NULL PRIMARY KEY,beaten_at DATETIME(6) NOT NULL) ENGINE=InnoDB";

/// Galera's word for a node that has everything.
const SYNCED: &str = "4";

/// What a server of this product and version understands.
pub(super) struct Dialect<'a> {
    learned: &'a Learned,
    is_mariadb: bool,
}

impl<'a> Dialect<'a> {
    pub(super) fn new(learned: &'a Learned) -> Self {
        Self {
            learned,
            is_mariadb: learned.product == Some(Product::MariaDb),
        }
    }

    pub(super) fn statement(&self, step: Step, patience: Duration) -> String {
        let settings = self.settings(patience);
        match step {
            Step::State | Step::SecondLook { .. } => {
                let variables = self.variables();
                let counters = wants_counters(self.learned).then_some(COUNTERS);
                let replication = (!self.learned.hides_replication).then(|| self.replication());
                let parts: Vec<_> = [Some(&*variables), counters, replication]
                    .into_iter()
                    .flatten()
                    .collect();
                format!("{settings}{}", parts.join(";"))
            }
            Step::Members => format!("{settings}{MEMBERS}"),
            // The session may have been made with autocommit off.
            Step::Write | Step::WriteAgain => format!("{settings}SET autocommit=1;{WRITE}"),
            Step::CreateTable => format!("{settings}{CREATE_TABLE}"),
            // Everybody may see and end sessions of their own.
            Step::LookAfter { session, .. } => format!(
                "{settings}SELECT STATE AS waits FROM information_schema.PROCESSLIST \
                 WHERE ID={session};KILL {session}"
            ),
        }
    }

    /// What keeps a statement out of queues: a limit for its execution (where there is one for
    /// it), one for its waiting for metadata locks, whose default is a day or a year, and no
    /// waiting until the node has applied what its cluster has committed.
    pub(super) fn settings(&self, patience: Duration) -> String {
        let limit = match self.is_mariadb {
            true => format!(
                "max_statement_time={:.3}",
                patience.as_secs_f64().max(0.001)
            ),
            false => format!("max_execution_time={}", patience.as_millis().max(1)),
        };
        let locks = "lock_wait_timeout=1,innodb_lock_wait_timeout=1";
        match (self.learned.settings, self.is_mariadb) {
            (Settings::All, true) => format!("SET {limit},{locks},wsrep_sync_wait=0;"),
            (Settings::All, false) | (Settings::WithoutCluster, _) => {
                format!("SET {limit},{locks};")
            }
            (Settings::None, _) => format!("SET {locks};"),
        }
    }

    /// SHOW looks through all variables a server has, so it is asked once, for which of them there
    /// are; from then on they are named.
    fn variables(&self) -> String {
        if self.learned.variables.is_empty() {
            let names = VARIABLES.map(|name| format!("'{name}'")).join(",");
            return format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})");
        }
        let known = self.learned.variables.iter();
        let columns: Vec<_> = known
            .map(|name| format!("@@global.{name} AS {name}"))
            .collect();
        format!("SELECT {}", columns.join(","))
    }

    fn replication(&self) -> &'static str {
        match self.is_mariadb {
            true => "SHOW ALL SLAVES STATUS",
            false if self.version() >= [8, 0, 22] => "SHOW REPLICA STATUS",
            false => "SHOW SLAVE STATUS",
        }
    }

    fn version(&self) -> [u32; 3] {
        let text = self.learned.version.as_deref().unwrap_or_default();
        let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
        [(); 3].map(|()| numbers.next().unwrap_or(0))
    }
}

/// Whether a probe of this depth can do without a look at replication. A lag cannot be told then,
/// and a write has to know that the server follows nobody: MariaDB's counters tell that to everybody,
/// MySQL's have not done so since 5.7.
pub(super) fn can_guess(depth: Depth, learned: &Learned) -> bool {
    depth == Depth::Role || depth == Depth::Write && learned.product == Some(Product::MariaDb)
}

/// Whether the user lacks the privilege for the question: ER_SPECIFIC_ACCESS_DENIED,
/// ER_TABLEACCESS_DENIED, ER_DBACCESS_DENIED.
pub(super) fn hides(refusal: &Refusal) -> bool {
    matches!(refusal.number, 1227 | 1142 | 1044)
}

/// Whether the counters have to tell something: all of it the first time, later what replication or
/// the cluster does not tell otherwise. To show them a server looks through all of its sessions.
fn wants_counters(learned: &Learned) -> bool {
    learned.variables.is_empty() || learned.is_galera || learned.hides_replication
}

/// Reads the answer to the question for the state, and whether the server belongs to a replication
/// group, of which there is more to ask.
pub(super) fn state(answer: &Answer, learned: &mut Learned) -> (Option<State>, bool) {
    let (variables, counters, channels) = match (answer.tables(), wants_counters(learned)) {
        ([variables, counters, channels @ ..], true) => (variables, Some(counters), channels),
        ([variables, channels @ ..], false) => (variables, None, channels),
        _ => return (None, false),
    };
    let (variables, counters) = (Shown(Some(variables)), Shown(counters));
    let is_galera = variables.is_on("wsrep_on");
    learned.is_galera = is_galera;
    learned.variables = VARIABLES.to_vec();
    learned
        .variables
        .retain(|name| variables.value(name).is_some());
    let hidden = channels.is_empty();
    let channels: Vec<_> = channels.iter().flat_map(Table::rows).collect();
    let running_count = counters.value("Slaves_running");
    let counted = running_count.is_some() || counters.value("Slave_running").is_some();
    let running =
        running_count.is_some_and(|count| count != "0") || counters.is_on("Slave_running");
    let read_only = variables.is_on("read_only") || variables.is_on("super_read_only");
    // Where replication cannot be seen, and nothing counts its threads either (MySQL since 5.7),
    // read_only is all there is to go by.
    let seems_to_follow = hidden && read_only && !counted;
    let follows = !is_galera && (running || !channels.is_empty() || seems_to_follow);
    let state = State {
        role: match follows {
            true => Some(Role::Replica),
            // A primary that was made read-only, or a replica whose threads are stopped.
            false if hidden && read_only && !is_galera => None,
            false => Some(Role::Primary),
        },
        read_only: Some(read_only),
        shares_writes: is_galera,
        in_recovery: false,
        apart: is_galera.then(|| apart(&variables, &counters)).flatten(),
        replication: (follows && !channels.is_empty()).then(|| replication(&channels)),
        connections: connections(&variables, &counters),
        lag: None,
    };
    let in_group = variables
        .value("group_replication_group_name")
        .is_some_and(|name| !name.is_empty());
    (Some(state), in_group)
}

/// Takes in what performance_schema says of this member of a replication group, and of the others.
/// Not in the group at all, a server is alone and its own master.
pub(super) fn note_membership(answer: &Answer, state: &mut State) {
    let Some(members) = answer.tables().first() else {
        return;
    };
    let Some(this) = members.rows().find(|row| row.value("is_this") == Some("1")) else {
        return;
    };
    match this.value("MEMBER_ROLE") {
        Some("SECONDARY") => state.role = Some(Role::Replica),
        Some("PRIMARY") => state.role = Some(Role::Primary),
        Some(_) | None => {}
    }
    let is_primary = |row: &Row<'_>| row.value("MEMBER_ROLE") == Some("PRIMARY");
    state.shares_writes = members.rows().filter(is_primary).count() > 1;
    let in_state = |row: &Row<'_>, state| row.value("MEMBER_STATE") == Some(state);
    let unreachable = members
        .rows()
        .filter(|row| in_state(row, "UNREACHABLE"))
        .count();
    let detail = match this.value("MEMBER_STATE") {
        Some(state) if state != "ONLINE" => {
            format!("this member of the replication group is {state}")
        }
        // It still calls itself ONLINE, and no write of its own ends any more.
        _ if unreachable * 2 >= members.rows().len() => format!(
            "this part of the replication group has no majority: {unreachable} of {} members are \
             unreachable",
            members.rows().len()
        ),
        _ => return,
    };
    state.apart = Some(Failure::new(Cause::NotSynced, detail));
}

/// What keeps a Galera node from being a full part of its cluster.
fn apart(variables: &Shown<'_>, counters: &Shown<'_>) -> Option<Failure> {
    let cluster = counters.value("wsrep_cluster_status").unwrap_or("unknown");
    if !cluster.eq_ignore_ascii_case("primary") {
        let detail = format!("this node's part of the cluster is {cluster}, not Primary");
        return Some(Failure::new(Cause::NotSynced, detail));
    }
    if !counters.is_on("wsrep_ready") {
        return Some(Failure::new(
            Cause::NotSynced,
            "this node is not ready for queries (wsrep_ready is OFF)",
        ));
    }
    if let Some(rejects) = variables
        .value("wsrep_reject_queries")
        .filter(|it| !it.eq_ignore_ascii_case("none"))
    {
        let detail =
            format!("this node was told to reject queries (wsrep_reject_queries is {rejects})");
        return Some(Failure::new(Cause::RejectingQueries, detail));
    }
    if counters.value("wsrep_local_state") != Some(SYNCED) {
        let state = counters.value("wsrep_local_state_comment");
        let detail = format!("this node is {}, not Synced", state.unwrap_or("unknown"));
        return Some(Failure::new(Cause::NotSynced, detail));
    }
    None
}

fn connections(variables: &Shown<'_>, counters: &Shown<'_>) -> Option<Connections> {
    Some(Connections {
        used: counters.value("Threads_connected")?.parse().ok()?,
        max: variables.value("max_connections")?.parse().ok()?,
    })
}

/// The state of all channels: the worst of each.
fn replication(channels: &[Row<'_>]) -> Replication {
    let mut whole = Replication {
        connected: true,
        ..Replication::default()
    };
    let mut known = true;
    for channel in channels {
        let io = either(*channel, "Slave_IO_Running", "Replica_IO_Running").unwrap_or("No");
        let sql = either(*channel, "Slave_SQL_Running", "Replica_SQL_Running").unwrap_or("No");
        whole.connected &= io == "Yes";
        whole.stopped = whole.stopped.or_else(|| stopped(*channel, io, sql));
        let seconds = either(*channel, "Seconds_Behind_Master", "Seconds_Behind_Source");
        match seconds.and_then(|text| text.parse().ok()) {
            Some(seconds) => whole.behind = whole.behind.max(Some(Duration::from_secs(seconds))),
            None => known = false,
        }
    }
    whole.behind = whole.behind.filter(|_| known);
    whole
}

/// Says why a channel does not follow. An IO thread that is connecting is left to the lag.
fn stopped(channel: Row<'_>, io: &str, sql: &str) -> Option<String> {
    let name = either(channel, "Connection_name", "Channel_Name").filter(|it| !it.is_empty());
    let (thread, number, words) = match (io, sql) {
        (_, "No") => ("SQL", "Last_SQL_Errno", "Last_SQL_Error"),
        ("No", _) => ("IO", "Last_IO_Errno", "Last_IO_Error"),
        _ => return None,
    };
    let which = name.map_or(String::new(), |name| format!(" of channel {name:?}"));
    let why = match (channel.value(number), channel.value(words)) {
        (Some(number), Some(words)) if number != "0" => format!(": {number}: {words}"),
        _ => String::new(),
    };
    Some(format!(
        "the replication {thread} thread{which} is stopped{why}"
    ))
}

fn either<'a>(row: Row<'a>, old: &str, new: &str) -> Option<&'a str> {
    row.value(old).or_else(|| row.value(new))
}

/// The rows of a SHOW VARIABLES or SHOW STATUS, or a row with a column for each name.
struct Shown<'a>(Option<&'a Table>);

impl<'a> Shown<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        let mut rows = self.0?.rows();
        let is_it = |row: &Row<'_>| {
            row.value("Variable_name")
                .is_some_and(|it| it.eq_ignore_ascii_case(name))
        };
        match rows.find(is_it) {
            Some(row) => row.value("Value"),
            None => self.0?.rows().next()?.value(name),
        }
    }

    /// Whether it is neither missing nor off; MariaDB 12's read_only has more than one "on".
    fn is_on(&self, name: &str) -> bool {
        self.value(name)
            .is_some_and(|value| !matches!(value, "0" | "" | "OFF"))
    }
}
