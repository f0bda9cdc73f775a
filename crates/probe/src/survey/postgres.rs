//! PostgreSQL's side of a survey.
//!
//! All functions used here may be called by every role. Of the WAL receiver a role without
//! pg_read_all_stats learns only that there is one, so the newest position that the primary is known
//! to have is then the newest one received. The limits are set for the transaction that the
//! statements of one query share, so nothing of them is left on the session, which may be a pooler's.
//!
//! Sources: the manual's chapters "System Administration Functions" (recovery), "The Cumulative
//! Statistics System" (pg_stat_wal_receiver) and "Client Connection Defaults".

use std::time::Duration;

use dbvitals_verdict::{Connections, Depth, Role};
use dbvitals_wire::{Answer, Row};

use super::{Replication, State, Step};

const ROLE: &str = "SELECT pg_is_in_recovery() AS in_recovery,\
    current_setting('default_transaction_read_only') AS read_only,\
    current_setting('max_connections') AS connections_max,\
    (SELECT sum(pg_stat_get_db_numbackends(oid)) FROM pg_database) AS connections";

/// Positions are given in bytes from the log's beginning.
const REPLICATION: &str = ",CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS paused,\
    (SELECT count(*) FROM pg_stat_wal_receiver WHERE pid IS NOT NULL) AS receivers,\
    pg_wal_lsn_diff(GREATEST((SELECT latest_end_lsn FROM pg_stat_wal_receiver),\
    pg_last_wal_receive_lsn()),'0/0') AS received,\
    pg_wal_lsn_diff(pg_last_wal_replay_lsn(),'0/0') AS replayed,\
    extract(epoch FROM clock_timestamp()-pg_last_xact_replay_timestamp()) AS newest_age";

/// One row, written over each time.
const WRITE: &str = "INSERT INTO dbvitals_heartbeat (id,beaten_at) VALUES (1,now()) \
    ON CONFLICT (id) DO UPDATE SET beaten_at=excluded.beaten_at";
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS dbvitals_heartbeat \
    (id smallint PRIMARY KEY,beaten_at timestamptz NOT NULL) WITH (fillfactor=10)";

pub(super) fn statement(step: Step, depth: Depth, patience: Duration) -> String {
    let limit = patience.as_millis().max(1);
    let limits = format!(
        "SELECT set_config('statement_timeout','{limit}',true),set_config('lock_timeout','{limit}',true)"
    );
    let replication = match depth == Depth::Lag {
        true => REPLICATION,
        false => "",
    };
    match step {
        Step::State | Step::Members => format!("{limits};{ROLE}{replication}"),
        Step::SecondLook { .. } => format!("{limits},pg_sleep(0.1);{ROLE}{replication}"),
        Step::Write | Step::WriteAgain => format!("{limits};{WRITE}"),
        Step::CreateTable => format!("{limits};{CREATE_TABLE}"),
        // Every role may see and end sessions of its own. Alone in the query: its row is the first.
        Step::LookAfter { session, .. } => format!(
            "SELECT wait_event_type||' '||wait_event AS waits,pg_terminate_backend(pid) \
             FROM pg_stat_activity WHERE pid={session}"
        ),
    }
}

/// Reads the answer to the question for the state.
pub(super) fn state(answer: &Answer) -> Option<State> {
    let row = answer.tables().last()?.rows().next()?;
    let in_recovery = row.value("in_recovery")? == "t";
    Some(State {
        role: Some(match in_recovery {
            true => Role::Replica,
            false => Role::Primary,
        }),
        read_only: Some(in_recovery || row.value("read_only") == Some("on")),
        shares_writes: false,
        in_recovery,
        apart: None,
        replication: in_recovery.then(|| replication(row)).flatten(),
        connections: connections(row),
        lag: None,
    })
}

fn replication(row: Row<'_>) -> Option<Replication> {
    let position = |name| row.value(name)?.parse::<u64>().ok();
    // Missing where only the role was asked for.
    let paused = row.value("paused")? == "t";
    let (received, replayed) = (position("received"), position("replayed"));
    let age = row.value("newest_age").and_then(|it| it.parse().ok());
    Some(Replication {
        stopped: paused.then(|| "the replay of the log is paused".to_owned()),
        connected: row.value("receivers").is_some_and(|count| count != "0"),
        behind: None,
        newest_age: age.and_then(|age: f64| Duration::try_from_secs_f64(age.max(0.0)).ok()),
        received,
        replayed,
        pending_bytes: received
            .zip(replayed)
            .map(|(received, replayed)| received.saturating_sub(replayed)),
    })
}

fn connections(row: Row<'_>) -> Option<Connections> {
    Some(Connections {
        used: row.value("connections")?.parse().ok()?,
        max: row.value("connections_max")?.parse().ok()?,
    })
}
