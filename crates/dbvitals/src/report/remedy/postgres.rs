//! What to do about a PostgreSQL server, by its SQLSTATEs.
//!
//! Sources: the manual's appendix "Error Codes" and its chapters on client authentication and
//! monitoring; the grants were tried on PostgreSQL 15.

use dbvitals_verdict::{Cause, Phase};

use super::case::Case;

/// The remedy, where it is special to PostgreSQL.
pub(super) fn remedy(cause: Cause, case: &Case<'_>) -> Option<String> {
    let role = quoted_name(case.account.unwrap_or("vitals"));
    Some(match cause {
        Cause::AccessDenied => return access_denied(case, &role),
        Cause::TooManyConnections => too_many_connections(case),
        Cause::CheckUserLimit => format!(
            "ALTER ROLE {role} CONNECTION LIMIT 4, or find out who else uses it (SELECT * FROM pg_stat_activity WHERE usename = '{}'); dbvitals needs two sessions per server.",
            case.account.unwrap_or("vitals").replace('\'', "''")
        ),
        Cause::StartingUp => "Wait: the server is replaying its log; `dbvitals wait` does that for you. Its log says how far it is (redo); a standby with hot_standby = off answers so for ever.".to_owned(),
        Cause::ShuttingDown => "Find out in the server's log who ordered the stop. A smart shutdown waits for the last session: pg_ctl stop -m fast ends them.".to_owned(),
        Cause::InRecovery if case.sqlstate == "57P03" => "Wait: a server process crashed, and all start again from the log, most often within seconds; then read in the server's log which one and why (out of memory?).".to_owned(),
        Cause::InRecovery => "Send writes to the primary. Only if this standby is to be the primary and the old one is known to be gone: SELECT pg_promote().".to_owned(),
        Cause::ReadOnly => "Find who set default_transaction_read_only (SELECT * FROM pg_db_role_setting; SHOW default_transaction_read_only), and why: some providers do it when the disk is nearly full. ALTER SYSTEM, DATABASE or ROLE … RESET it, only if this server is to take writes.".to_owned(),
        Cause::DiskFull => "Make room on the server's disk (`df -h`), never by deleting in pg_wal: look for what keeps WAL (SELECT slot_name, active, wal_status FROM pg_replication_slots; a failing archive_command), drop a slot that nobody needs, then CHECKPOINT.".to_owned(),
        Cause::NotPrimary => "Send this traffic to the primary (SELECT sender_host FROM pg_stat_wal_receiver names it); SELECT pg_promote() here only if that one is known to be gone.".to_owned(),
        Cause::Lagging => lagging(case),
        Cause::RejectingQueries => return rejecting_queries(case),
        Cause::BadQuery => return bad_query(case, &role),
        Cause::WriteFailed => write_failed(case),
        Cause::Refused
        | Cause::Unreachable
        | Cause::ConnectTimeout
        | Cause::Reset
        | Cause::Closed
        | Cause::NoGreeting
        | Cause::Unresponsive
        | Cause::WrongProtocol
        | Cause::Malformed
        | Cause::NotReplica
        | Cause::NotSynced
        | Cause::AssertionFailed
        | Cause::TlsUntrusted
        | Cause::TlsExpired
        | Cause::TlsWrongName
        | Cause::QueueFull
        | Cause::NotAccepting
        | Cause::OverBudget
        | Cause::HostBlocked
        | Cause::DnsFailed
        | Cause::OutOfDescriptors
        | Cause::AgentStalled
        | Cause::SessionLost => return None,
    })
}

fn access_denied(case: &Case<'_>, role: &str) -> Option<String> {
    let user = case.user;
    Some(match case.sqlstate {
        "28P01" if case.detail.contains("none is configured") => format!(
            "The server asks for the password of {user}: give it with --password-file, DBVITALS_PASSWORD or password_file."
        ),
        // invalid_password
        "28P01" => format!(
            "Check the password of {user}. The server says the same of a role that does not exist or whose password has expired (SELECT rolname, rolcanlogin, rolvaliduntil FROM pg_roles); its log says which, ALTER ROLE {role} PASSWORD '…' VALID UNTIL 'infinity' repairs both."
        ),
        // invalid_authorization_specification
        "28000" => not_admitted(case, role),
        // invalid_catalog_name
        "3D000" => match case.database {
            Some(database) => format!(
                "There is no database {database} at {}: correct the URL; `psql -l` lists what there is.",
                case.address
            ),
            None => format!(
                "Name a database in the URL: without one, PostgreSQL takes the user's name ({user}), and there is no such database; postgres nearly always exists."
            ),
        },
        // insufficient_privilege
        "42501" => {
            let database = quoted_name(case.database.unwrap_or(user));
            format!("GRANT CONNECT ON DATABASE {database} TO {role}, or name another database.")
        }
        // protocol_violation, feature_not_supported
        "08P01" | "0A000" => format!(
            "Look at what answers at {}: a pooler that knows fewer settings, or a way to log in that does not work here; the words are its own.",
            case.address
        ),
        _ => return None,
    })
}

/// What pg_hba.conf, or the role itself, does not admit.
fn not_admitted(case: &Case<'_>, role: &str) -> String {
    if !case.detail.contains("pg_hba.conf") {
        return format!(
            "Look at the role: ALTER ROLE {role} LOGIN if it may not log in, CREATE ROLE {role} LOGIN PASSWORD '…' if it is missing; if the server wants a certificate, have pg_hba.conf ask for scram-sha-256 instead."
        );
    }
    let database = quoted_name(case.database.unwrap_or(case.user));
    let kind = match (case.is_unix, case.is_encrypted) {
        (true, _) => "local",
        (false, true) => "hostssl",
        (false, false) => "host",
    };
    let from = match (case.is_unix, case.quoted_after("host ")) {
        (true, _) => String::new(),
        (false, Some(address)) if address.contains(':') => format!(" {address}/128"),
        (false, Some(address)) => format!(" {address}/32"),
        (false, None) => " THIS-HOST/32".to_owned(),
    };
    let tls = match case.is_unix || case.is_encrypted {
        true => "",
        false => "; if there is a hostssl line for it, use tls=require",
    };
    format!(
        "Have the server admit this host: the line `{kind} {database} {role}{from} scram-sha-256` in pg_hba.conf, before any that rejects it, then SELECT pg_reload_conf(){tls}."
    )
}

fn too_many_connections(case: &Case<'_>) -> String {
    if case.detail.contains("for database") {
        let database = quoted_name(case.database.unwrap_or(case.user));
        return format!(
            "This database has a limit of its own: ALTER DATABASE {database} CONNECTION LIMIT -1, or find who holds its connections (SELECT usename, application_name, state FROM pg_stat_activity)."
        );
    }
    "All max_connections are taken: log in as a superuser, who has places of his own (superuser_reserved_connections), find who holds them (SELECT pid, usename, application_name, state, state_change FROM pg_stat_activity ORDER BY state_change), end idle ones with pg_terminate_backend(pid), then lower the pools' sizes; max_connections itself needs a restart.".to_owned()
}

fn lagging(case: &Case<'_>) -> String {
    if case.detail.contains("paused") {
        return "Somebody paused the replay: SELECT pg_wal_replay_resume(), unless a backup or a comparison needs the pause; after a changed setting of the primary, the server's log names what to raise here first.".to_owned();
    }
    if case.detail.contains("not connected") {
        return "Look whether the primary lives and this host reaches it (primary_conninfo, the replication slot); the standby's log says why its receiver ends. \"WAL segment has already been removed\" means it must be made anew, or fed from the archive.".to_owned();
    }
    "It follows, too slowly: look whether it does not receive or does not replay (pg_last_wal_receive_lsn() against pg_last_wal_replay_lsn()), for long queries here that hold replay up (max_standby_streaming_delay), and at its disk.".to_owned()
}

fn rejecting_queries(case: &Case<'_>) -> Option<String> {
    Some(match case.sqlstate {
        // query_canceled, lock_not_available
        "57014" | "55P03" => "The statement did not end within its time: find what it waits for (SELECT pid, wait_event, pg_blocking_pids(pid), query FROM pg_stat_activity), or give the probe a longer timeout.".to_owned(),
        // object_not_in_prerequisite_state
        "55000" => format!(
            "The database takes no sessions now (ALLOW_CONNECTIONS, or a restore under way): ALTER DATABASE {} ALLOW_CONNECTIONS true, from another database.",
            quoted_name(case.database.unwrap_or(case.user))
        ),
        // insufficient_resources, out_of_memory
        "53000" | "53200" => "The server is out of memory: look at its biggest processes and at work_mem times its sessions, before the kernel ends one of them.".to_owned(),
        _ => return None,
    })
}

fn bad_query(case: &Case<'_>, role: &str) -> Option<String> {
    if case.phase != Some(Phase::Write) {
        return None;
    }
    let user = case.user;
    Some(format!(
        "{user} may not write its heartbeat: CREATE TABLE dbvitals_heartbeat (id smallint PRIMARY KEY, beaten_at timestamptz NOT NULL) WITH (fillfactor=10) where it is missing, then GRANT SELECT, INSERT, UPDATE ON dbvitals_heartbeat TO {role}."
    ))
}

fn write_failed(case: &Case<'_>) -> String {
    match case.sqlstate {
        "" if case.detail.contains("SyncRep") => "The commit waits for a standby that does not answer: bring it back (SELECT * FROM pg_stat_replication), or take it out of synchronous_standby_names and SELECT pg_reload_conf(), knowing that one copy is left.".to_owned(),
        "57014" | "55P03" | "" => "The commit does not end: look for locks on dbvitals_heartbeat (SELECT pid, wait_event, pg_blocking_pids(pid), query FROM pg_stat_activity); wait_event SyncRep means that a standby named in synchronous_standby_names is gone.".to_owned(),
        _ => "Look into the server's log for the failed commit; the code and the words are the server's own.".to_owned(),
    }
}

/// A name of a role or database as a statement takes it.
fn quoted_name(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let follows = |letter: char| plain(letter) || letter.is_ascii_digit();
    match name.starts_with(plain) && name.chars().all(follows) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
