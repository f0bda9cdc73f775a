//! What to do about a MySQL or MariaDB server, by its error numbers.
//!
//! Sources: both products' error references and manuals; the grants were tried on MariaDB 10.11.

use dbvitals_verdict::{Cause, Phase};

use super::case::Case;

/// The remedy, where it is special to these products.
pub(super) fn remedy(cause: Cause, case: &Case<'_>) -> Option<String> {
    let account = account(case);
    Some(match cause {
        Cause::AccessDenied => return access_denied(case, &account),
        Cause::TooManyConnections => too_many_connections(case),
        Cause::HostBlocked => format!(
            "Run FLUSH HOSTS on the server at {} (or mariadb-admin flush-hosts; on MySQL 8.4 TRUNCATE TABLE performance_schema.host_cache), then find what on this host breaks off its logins: max_connect_errors of them in a row block it, and one good login in between starts the count anew.",
            case.address
        ),
        Cause::CheckUserLimit if case.number == 1203 => format!(
            "Find out who else logs in as {}, or raise the server's max_user_connections; dbvitals needs two sessions per server.",
            case.user
        ),
        Cause::CheckUserLimit => format!(
            "Raise the limit that the server names: ALTER USER {account} WITH MAX_USER_CONNECTIONS 4 (or MAX_CONNECTIONS_PER_HOUR 0), or find out who else uses the account; dbvitals needs two sessions per server."
        ),
        Cause::ReadOnly => "Send writes to the primary. Only if this server is to be the primary and no other one is: stop its replication, then SET GLOBAL read_only=0 (which ends MySQL's super_read_only, too).".to_owned(),
        Cause::DiskFull => format!(
            "Make room on the server's disk (`df -h`): PURGE BINARY LOGS BEFORE NOW() - INTERVAL 1 DAY, never `rm`, and only what all replicas have read{}.",
            match case.number {
                1114 => "; 1114 is also a table at its own limit: look at innodb_data_file_path, tmp_table_size and max_heap_table_size",
                _ => "; statements that wait for room go on by themselves",
            }
        ),
        Cause::RejectingQueries => return rejecting_queries(case),
        Cause::NotSynced => not_synced(case),
        Cause::Lagging => lagging(case),
        Cause::BadQuery => return bad_query(case, &account),
        Cause::WriteFailed => write_failed(case),
        Cause::NoGreeting => format!(
            "{} Before it greets, the server also asks DNS for this host's name: skip_name_resolve ends that.",
            super::general(cause, case)
        ),
        Cause::StartingUp
        | Cause::ShuttingDown
        | Cause::InRecovery
        | Cause::Refused
        | Cause::Unreachable
        | Cause::ConnectTimeout
        | Cause::Reset
        | Cause::Closed
        | Cause::Unresponsive
        | Cause::WrongProtocol
        | Cause::Malformed
        | Cause::NotPrimary
        | Cause::NotReplica
        | Cause::AssertionFailed
        | Cause::TlsUntrusted
        | Cause::TlsExpired
        | Cause::TlsWrongName
        | Cause::QueueFull
        | Cause::NotAccepting
        | Cause::OverBudget
        | Cause::DnsFailed
        | Cause::OutOfDescriptors
        | Cause::AgentStalled
        | Cause::SessionLost => return None,
    })
}

fn access_denied(case: &Case<'_>, account: &str) -> Option<String> {
    let user = case.user;
    Some(match case.number {
        // ER_ACCESS_DENIED, ER_ACCESS_DENIED_NO_PASSWORD
        1045 | 1698 => wrong_login(case, account),
        // ER_DBACCESS_DENIED, ER_BAD_DB
        1044 | 1049 => wrong_database(case, account),
        // ER_HOST_NOT_PRIVILEGED
        1130 => format!(
            "No account of the server at {} may come from this host: CREATE USER 'vitals'@'THIS HOST' IDENTIFIED BY '…' there, without privileges (the address it sees is in its message).",
            case.address
        ),
        // ER_NOT_SUPPORTED_AUTH_MODE, ER_PLUGIN_IS_NOT_LOADED, CR_AUTH_PLUGIN_CANNOT_LOAD
        1251 | 1524 | 2059 => format!(
            "The server wants a way to log in that does not work here: use tls=require if it asks for the password itself, or give {user} one of mysql_native_password, caching_sha2_password, ed25519."
        ),
        // ER_MUST_CHANGE_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN
        1820 | 1862 => format!(
            "The password of {user} has expired: ALTER USER {account} IDENTIFIED BY '…', then ALTER USER {account} PASSWORD EXPIRE NEVER, so that the check survives the next rotation."
        ),
        // ER_ACCOUNT_HAS_BEEN_LOCKED of MySQL and of MariaDB
        3118 | 4151 => format!(
            "The account of {user} is locked: ALTER USER {account} ACCOUNT UNLOCK, after you asked who locked it."
        ),
        // ER_SECURE_TRANSPORT_REQUIRED
        3159 => {
            "The server takes encrypted logins only (require_secure_transport): use tls=require."
                .to_owned()
        }
        _ => return None,
    })
}

/// MariaDB gives one number to a wrong password and to a login that should have used TLS.
fn wrong_login(case: &Case<'_>, account: &str) -> String {
    let user = case.user;
    if case.detail.contains("using password: NO") {
        return format!(
            "No password was sent for {user}: give it with --password-file, DBVITALS_PASSWORD or password_file; if the account has none, it may not come from this host."
        );
    }
    let password = format!(
        "Check the password of {user}, and that the account may come from this host (SELECT user, host FROM mysql.user; then ALTER USER {account} IDENTIFIED BY '…')."
    );
    match case.is_encrypted || case.is_unix {
        true => password,
        false => format!(
            "{password} This login was not encrypted, and a server with require_secure_transport or an account with REQUIRE SSL refuses that the same way: try tls=require."
        ),
    }
}

fn wrong_database(case: &Case<'_>, account: &str) -> String {
    let user = case.user;
    let Some(database) = case.database else {
        return format!("Give {user} access to its database, or log in without one.");
    };
    match case.number {
        1049 => format!(
            "There is no database {database} at {}: correct the URL, or leave the database out; a ping needs none.",
            case.address
        ),
        _ => format!(
            "The database {database} does not exist, or {user} has no privilege in it (the server says the same of both): leave it out of the URL, since a ping needs none, or GRANT SELECT ON {}.* TO {account}.",
            quoted_name(database)
        ),
    }
}

fn too_many_connections(case: &Case<'_>) -> String {
    let root = "then lower the pools' sizes, or for now SET GLOBAL max_connections=N";
    match case.phase {
        // An ordinary surplus is refused after its login, so that an administrator may have the
        // last place; in place of the greeting it means that this one is taken, too.
        Some(Phase::Greeting) => format!(
            "All max_connections are taken, an administrator's extra one too: come in by extra_port (MariaDB) or admin_port (MySQL), or stop one of the applications; find who holds them (SHOW PROCESSLIST, KILL ID), {root}."
        ),
        _ => format!(
            "All max_connections are taken: log in as an administrator, who has one place more, find who holds them (SHOW PROCESSLIST; KILL ID for those that sleep longest), {root}."
        ),
    }
}

fn rejecting_queries(case: &Case<'_>) -> Option<String> {
    Some(match case.number {
        // ER_UNKNOWN_COM_ERROR, as Galera uses it
        1047 => format!("This node is no part of its Galera cluster. {GALERA}"),
        // ER_SERVER_OFFLINE_MODE
        3032 => "The server was set offline: SET GLOBAL offline_mode=OFF, after you asked who did it.".to_owned(),
        // ER_LOCK_WAIT_TIMEOUT
        1205 => "The statement waited for a lock until its time was up: find its holder (SHOW FULL PROCESSLIST, information_schema.innodb_trx; FLUSH TABLES WITH READ LOCK of a backup).".to_owned(),
        // ER_QUERY_INTERRUPTED, ER_STATEMENT_TIMEOUT, ER_QUERY_TIMEOUT
        1317 | 1969 | 3024 => "The statement did not end within the probe's time: find what it waits for (SHOW FULL PROCESSLIST), make it cheaper, or give the probe a longer timeout.".to_owned(),
        _ if case.detail.contains("wsrep_reject_queries") => "Somebody told this Galera node to refuse work: SET GLOBAL wsrep_reject_queries=NONE, once the reason for it is gone.".to_owned(),
        _ => return None,
    })
}

/// How to look at a Galera node, and how to bring its cluster back.
const GALERA: &str = "Compare SHOW STATUS LIKE 'wsrep%' on all nodes: if some are Primary, repair the way to them and this one joins by itself; if none is, take the one with the highest wsrep_last_committed and there alone SET GLOBAL wsrep_provider_options='pc.bootstrap=YES' (if all are stopped: galera_new_cluster on the one whose grastate.dat says safe_to_bootstrap: 1).";

fn not_synced(case: &Case<'_>) -> String {
    if case.detail.contains("replication group") {
        return "Look at the group as this member and as another one sees it (SELECT * FROM performance_schema.replication_group_members): RECOVERING ends by itself, OFFLINE and ERROR need STOP GROUP_REPLICATION and START GROUP_REPLICATION once the log's reason is gone.".to_owned();
    }
    if case.detail.contains("not Primary") || case.detail.contains("wsrep_ready") {
        return format!("This node has no part in a quorum. {GALERA}");
    }
    "Wait while the node joins, catches up or gives its data to another (SHOW STATUS LIKE 'wsrep_local_state_comment'); if it stays so, look for a backup that keeps it desynced and at wsrep_local_recv_queue.".to_owned()
}

fn lagging(case: &Case<'_>) -> String {
    let show = match case.is_mariadb {
        Some(true) => "SHOW ALL SLAVES STATUS",
        Some(false) => "SHOW REPLICA STATUS",
        None => "SHOW REPLICA STATUS, SHOW ALL SLAVES STATUS",
    };
    let start = match case.is_mariadb {
        Some(true) => "START SLAVE",
        Some(false) | None => "START REPLICA",
    };
    if case.detail.contains("replication SQL thread") {
        return format!(
            "Replay is stopped ({show} has the statement and its error): find out why the data differ and repair them, then {start}; skipping what failed hides the next difference."
        );
    }
    if case.detail.contains("replication IO thread") {
        return format!(
            "Nothing is fetched from the primary ({show} has the error): repair the replication user, the address or the network, then {start}; after 1236 the primary has purged what is missing, and this replica must be made anew."
        );
    }
    if case.detail.contains("not connected") {
        return format!(
            "Look whether the primary lives and this host reaches it: the IO thread keeps trying, and {show} has its last error."
        );
    }
    format!(
        "It follows, too slowly: look for one long transaction or a table without a primary key ({show}, SHOW PROCESSLIST), then at its disk and its parallel workers; max_lag may also be too tight."
    )
}

fn bad_query(case: &Case<'_>, account: &str) -> Option<String> {
    let user = case.user;
    match (case.phase, case.number) {
        (Some(Phase::Lag | Phase::Role), 1044 | 1142 | 1227) => Some(format!(
            "{user} may not look at replication: {}.",
            match case.is_mariadb {
                Some(true) => format!(
                    "GRANT SLAVE MONITOR ON *.* TO {account} (before MariaDB 10.5: REPLICATION CLIENT)"
                ),
                Some(false) => format!("GRANT REPLICATION CLIENT ON *.* TO {account}"),
                None => format!(
                    "GRANT REPLICATION CLIENT ON *.* TO {account} (from MariaDB 10.5 on: SLAVE MONITOR)"
                ),
            }
        )),
        (Some(Phase::Write), _) => {
            let table = match case.database {
                Some(database) => format!("{}.dbvitals_heartbeat", quoted_name(database)),
                None => "dbvitals_heartbeat".to_owned(),
            };
            Some(format!(
                "{user} may not write its heartbeat: GRANT SELECT, INSERT, UPDATE ON {table} TO {account}, after CREATE TABLE {table} (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, beaten_at DATETIME(6) NOT NULL) ENGINE=InnoDB where it is missing."
            ))
        }
        // ER_NO_DB
        (_, 1046) => Some(
            "The statement names a table without its database: write DATABASE.TABLE, or the database into the URL.".to_owned(),
        ),
        (_, _) => None,
    }
}

fn write_failed(case: &Case<'_>) -> String {
    let lock = "Another session holds what the write waits for: SHOW FULL PROCESSLIST and information_schema.innodb_trx name it (KILL ID); a backup's FLUSH TABLES WITH READ LOCK does the same to all tables.";
    match case.number {
        1205 => lock.to_owned(),
        0 if case.detail.contains("lock") => lock.to_owned(),
        0 => "The commit does not end: look for a full disk, a global read lock, or a semi-synchronous primary that waits for its replicas (SHOW STATUS LIKE 'Rpl_semi_sync%').".to_owned(),
        _ => "Look into the server's log for the failed commit; the number and the words are the server's own.".to_owned(),
    }
}

/// The account as GRANT and ALTER USER take it; its host is % unless somebody chose another.
fn account(case: &Case<'_>) -> String {
    let user = case.account.unwrap_or("vitals");
    let user = user.replace('\\', "\\\\").replace('\'', "''");
    format!("'{user}'@'%'")
}

/// A name of a database as a statement takes it.
fn quoted_name(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    match name.chars().all(plain) && name.contains(|letter: char| !letter.is_ascii_digit()) {
        true => name.to_owned(),
        false => format!("`{}`", name.replace('`', "``")),
    }
}
