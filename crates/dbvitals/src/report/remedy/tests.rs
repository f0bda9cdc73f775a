//! Remedies by table: what was seen, and the parts that the sentence must have.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Cause, Moment, Observation, Outcome, Path, Phase, Phases, ServerFacts};

use super::remedy;
use crate::target_url::TargetUrl;

const MYSQL: &str = "mysql://vitals@db.example:3306/shop";
const POSTGRES: &str = "postgres://vitals@db.example:5432/shop";

/// What a probe saw that ended short in the last of these phases.
fn observation(cause: Cause, phases: &[Phase], detail: &str) -> Observation {
    let mut account = Phases::default();
    if let Some((last, before)) = phases.split_last() {
        before
            .iter()
            .for_each(|phase| account.push(*phase, Duration::ZERO));
        account.push_failed(*last, Duration::ZERO);
    }
    Observation {
        path: Path::Fresh,
        probe: None,
        started: Moment::ORIGIN,
        ended: Moment::ORIGIN,
        depth: None,
        outcome: Outcome::Fail(cause),
        phases: account,
        session: false,
        server: None,
        detail: Some(detail.into()),
    }
}

fn told(url: &str, cause: Cause, phases: &[Phase], detail: &str) -> String {
    let target = TargetUrl::parse(url).expect("the URL is right");
    remedy(cause, &target, &observation(cause, phases, detail))
}

#[track_caller]
fn check(url: &str, cause: Cause, phases: &[Phase], detail: &str, parts: &[&str]) {
    let told = told(url, cause, phases, detail);
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in: {told}");
    }
}

#[test]
fn a_refused_mysql_login_names_what_the_number_says() {
    let login = |detail, parts: &[&str]| {
        check(MYSQL, Cause::AccessDenied, &[Phase::Login], detail, parts);
    };
    login(
        "1045 (28000): Access denied for user 'vitals'@'x' (using password: YES)",
        &[
            "password of vitals",
            "require_secure_transport",
            "tls=require",
        ],
    );
    login(
        "1045 (28000): Access denied for user 'vitals'@'x' (using password: NO)",
        &["No password was sent for vitals", "--password-file"],
    );
    login(
        "1044 (42000): Access denied for user 'vitals'@'%' to database 'shop'",
        &["shop", "GRANT SELECT ON shop.* TO 'vitals'@'%'"],
    );
    login(
        "1049 (42000): Unknown database 'shop'",
        &["no database shop", "correct the URL"],
    );
    for detail in ["1820 (HY000): You must", "1862 (HY000): Your password has"] {
        login(
            detail,
            &["expired", "ALTER USER 'vitals'@'%' IDENTIFIED BY"],
        );
    }
    login("4151 (HY000): Access denied", &["ACCOUNT UNLOCK"]);
    login("3159 (HY000): Connections using", &["tls=require"]);
    login("2059 (HY000): unusable", &["mysql_native_password"]);
    check(
        MYSQL,
        Cause::AccessDenied,
        &[Phase::Greeting],
        "1130: Host '10.0.0.9' is not allowed to connect",
        &["CREATE USER", "db.example:3306"],
    );
}

#[test]
fn a_login_over_tls_is_not_told_to_use_tls() {
    let phases = [Phase::Greeting, Phase::Tls, Phase::Login];
    let detail = "1045 (28000): Access denied for user 'vitals'@'x' (using password: YES)";
    let over_tls = told(MYSQL, Cause::AccessDenied, &phases, detail);
    assert!(!over_tls.contains("tls="), "{over_tls}");
    let url = "mysql://vitals@localhost?socket=/run/mysqld.sock";
    let over_unix = told(url, Cause::AccessDenied, &[Phase::Login], detail);
    assert!(!over_unix.contains("tls="), "{over_unix}");
}

#[test]
fn a_refused_postgres_login_names_what_the_sqlstate_says() {
    let login = |detail, parts: &[&str]| {
        check(
            POSTGRES,
            Cause::AccessDenied,
            &[Phase::Login],
            detail,
            parts,
        );
    };
    login(
        "28P01: password authentication failed for user \"vitals\"",
        &["password of vitals", "rolvaliduntil", "its log"],
    );
    login(
        "28P01: the server asks for a password and none is configured",
        &["--password-file"],
    );
    login(
        "28000: no pg_hba.conf entry for host \"10.0.0.9\", user \"vitals\", no encryption",
        &[
            "`host shop vitals 10.0.0.9/32 scram-sha-256`",
            "pg_reload_conf()",
            "tls=require",
        ],
    );
    login(
        "28000: role \"vitals\" is not permitted to log in",
        &["ALTER ROLE vitals LOGIN"],
    );
    login(
        "3D000: database \"shop\" does not exist",
        &["no database shop", "psql -l"],
    );
    login(
        "42501: permission denied for database \"shop\"",
        &["GRANT CONNECT ON DATABASE shop TO vitals"],
    );
    check(
        "postgres://vitals@db.example",
        Cause::AccessDenied,
        &[Phase::Login],
        "3D000: database \"vitals\" does not exist",
        &["Name a database in the URL"],
    );
}

#[test]
fn a_denied_connect_is_no_matter_of_passwords() {
    for url in [
        "unix:///run/db.sock",
        "mysql://vitals@localhost?socket=/run/db.sock",
    ] {
        check(
            url,
            Cause::AccessDenied,
            &[Phase::Connect],
            "Permission denied",
            &["may not open the socket /run/db.sock"],
        );
    }
    let told = told(
        POSTGRES,
        Cause::AccessDenied,
        &[Phase::Connect],
        "Permission denied",
    );
    assert!(!told.contains("password"), "{told}");
}

#[test]
fn a_full_server_says_how_to_get_in() {
    let full = Cause::TooManyConnections;
    let mysql = "1040: Too many connections";
    check(
        MYSQL,
        full,
        &[Phase::Greeting],
        mysql,
        &[
            "extra_port",
            "admin_port",
            "SHOW PROCESSLIST",
            "max_connections",
        ],
    );
    check(
        MYSQL,
        full,
        &[Phase::Login],
        "1040 (08004): Too many connections",
        &["administrator", "one place more", "KILL ID", "pools"],
    );
    check(
        POSTGRES,
        full,
        &[Phase::Login],
        "53300: sorry, too many clients already",
        &[
            "superuser_reserved_connections",
            "pg_terminate_backend",
            "needs a restart",
        ],
    );
    check(
        POSTGRES,
        full,
        &[Phase::Login],
        "53300: too many connections for database \"shop\"",
        &["ALTER DATABASE shop CONNECTION LIMIT"],
    );
}

#[test]
fn a_limit_of_the_user_is_told_with_the_statement_that_raises_it() {
    let limit = Cause::CheckUserLimit;
    let login = [Phase::Login];
    check(
        MYSQL,
        limit,
        &login,
        "1203 (42000): User vitals already has more",
        &["max_user_connections"],
    );
    check(
        MYSQL,
        limit,
        &login,
        "1226 (42000): User 'vitals' has exceeded",
        &["ALTER USER 'vitals'@'%' WITH MAX_USER_CONNECTIONS"],
    );
    check(
        POSTGRES,
        limit,
        &login,
        "53300: too many connections for role \"vitals\"",
        &["ALTER ROLE vitals CONNECTION LIMIT", "two sessions"],
    );
}

#[test]
fn what_the_server_says_of_itself_has_a_remedy_of_its_own() {
    let any = [Phase::Greeting];
    check(
        MYSQL,
        Cause::HostBlocked,
        &any,
        "1129: Host '10.0.0.9' is blocked",
        &[
            "FLUSH HOSTS",
            "mariadb-admin flush-hosts",
            "host_cache",
            "max_connect_errors",
        ],
    );
    check(
        POSTGRES,
        Cause::StartingUp,
        &any,
        "57P03: the database system is starting up",
        &["Wait", "dbvitals wait", "hot_standby"],
    );
    check(
        POSTGRES,
        Cause::InRecovery,
        &any,
        "57P03: the database system is in recovery mode",
        &["Wait", "crashed"],
    );
    check(
        POSTGRES,
        Cause::InRecovery,
        &[Phase::Role],
        "this server replays the log of another",
        &["pg_promote()", "known to be gone"],
    );
    check(
        MYSQL,
        Cause::RejectingQueries,
        &[Phase::Query],
        "1047 (08S01): WSREP has not yet prepared node for application use",
        &["wsrep%", "pc.bootstrap=YES", "safe_to_bootstrap: 1"],
    );
    check(
        MYSQL,
        Cause::NotSynced,
        &[Phase::Role],
        "this node's part of the cluster is non-Primary, not Primary",
        &["quorum", "wsrep_last_committed"],
    );
    check(
        MYSQL,
        Cause::NotSynced,
        &[Phase::Role],
        "this node is Donor/Desynced, not Synced",
        &["Wait"],
    );
    check(
        MYSQL,
        Cause::NotSynced,
        &[Phase::Role],
        "this member of the replication group is ERROR",
        &["START GROUP_REPLICATION"],
    );
}

#[test]
fn a_server_that_takes_no_writes_is_not_to_be_changed_lightly() {
    check(
        MYSQL,
        Cause::ReadOnly,
        &[Phase::Role],
        "this server is set to take no writes",
        &["SET GLOBAL read_only=0", "Only if", "no other one"],
    );
    check(
        POSTGRES,
        Cause::ReadOnly,
        &[Phase::Role],
        "this server is set to take no writes",
        &[
            "default_transaction_read_only",
            "pg_db_role_setting",
            "only if",
        ],
    );
    check(
        MYSQL,
        Cause::DiskFull,
        &[Phase::Write],
        "1021 (HY000): Disk full",
        &["df -h", "PURGE BINARY LOGS", "never `rm`"],
    );
    check(
        MYSQL,
        Cause::DiskFull,
        &[Phase::Write],
        "1114 (HY000): The table 'dbvitals_heartbeat' is full",
        &["PURGE BINARY LOGS", "innodb_data_file_path"],
    );
    check(
        POSTGRES,
        Cause::DiskFull,
        &[Phase::Write],
        "53100: could not extend file",
        &["never by deleting in pg_wal", "pg_replication_slots"],
    );
}

#[test]
fn a_write_that_does_not_end_is_told_by_what_it_waits_for() {
    let write = |url, detail, parts: &[&str]| {
        check(url, Cause::WriteFailed, &[Phase::Write], detail, parts);
    };
    let lock = "the write does not end, the server says of it: Waiting for global read lock";
    let standby = "the write does not end, the server says of it: IPC SyncRep";
    write(MYSQL, lock, &["KILL ID", "READ LOCK"]);
    write(MYSQL, "1205 (HY000): Lock wait timeout", &["innodb_trx"]);
    write(
        MYSQL,
        "the write was not committed in time",
        &["full disk", "Rpl_semi_sync%"],
    );
    write(
        POSTGRES,
        standby,
        &["synchronous_standby_names", "one copy is left"],
    );
    write(
        POSTGRES,
        "57014: canceling statement",
        &["pg_blocking_pids"],
    );
}

#[test]
fn a_certificate_is_told_with_the_command_that_shows_it() {
    let refused = "the server's certificate is refused: invalid peer certificate: UnknownIssuer";
    check(
        MYSQL,
        Cause::TlsUntrusted,
        &[Phase::Tls],
        refused,
        &[
            "ca=FILE",
            "openssl s_client -starttls mysql -connect db.example:3306 -showcerts",
        ],
    );
    check(
        POSTGRES,
        Cause::TlsUntrusted,
        &[Phase::Tls],
        "TLS is required, and the server does not offer it",
        &["enable TLS on the server", "ssl = on", "tls=prefer"],
    );
    check(
        POSTGRES,
        Cause::TlsUntrusted,
        &[Phase::Tls],
        "the TLS handshake failed: received fatal alert: ProtocolVersion",
        &["TLS 1.0 or 1.1", "-starttls postgres"],
    );
    check(
        MYSQL,
        Cause::TlsExpired,
        &[Phase::Tls],
        "certificate expired",
        &[
            "Renew",
            "clocks",
            "-dates",
            "FLUSH SSL",
            "ALTER INSTANCE RELOAD TLS",
        ],
    );
    check(
        "postgres://vitals@[::1]:5433",
        Cause::TlsWrongName,
        &[Phase::Tls],
        "certificate not valid for name",
        &["-connect [::1]:5433", "subjectAltName", "names ::1"],
    );
}

#[test]
fn silence_is_told_by_what_was_asked_last() {
    check(
        MYSQL,
        Cause::Refused,
        &[Phase::Connect],
        "Connection refused",
        &[
            "Start the server",
            "db.example:3306",
            "ss -ltn",
            "bind_address",
        ],
    );
    check(
        "unix:///run/db.sock",
        Cause::Refused,
        &[Phase::Connect],
        "No such file or directory",
        &["Start the server", "/run/db.sock"],
    );
    check(
        MYSQL,
        Cause::NoGreeting,
        &[Phase::Greeting],
        "the deadline ended",
        &[
            "stopped, swapping, or out of threads",
            "ps -C mysqld,mariadbd",
            "skip_name_resolve",
        ],
    );
    check(
        POSTGRES,
        Cause::NoGreeting,
        &[Phase::Greeting],
        "the deadline ended",
        &["ps -C postgres", "kill -CONT"],
    );
    let full = Cause::QueueFull;
    check(
        MYSQL,
        full,
        &[Phase::Connect],
        "",
        &["dbvitals queues 3306"],
    );
    let socket = "unix:///run/db.sock";
    check(
        socket,
        full,
        &[Phase::Connect],
        "",
        &["dbvitals queues /run/db.sock"],
    );
    check(
        socket,
        Cause::NotAccepting,
        &[],
        "",
        &["dbvitals queues /run/db.sock", "stopped"],
    );
    let unresponsive = |phase, parts: &[&str]| {
        check(
            POSTGRES,
            Cause::Unresponsive,
            &[phase],
            "the deadline ended",
            parts,
        );
    };
    unresponsive(Phase::Tls, &["TLS"]);
    unresponsive(Phase::Ping, &["hangs", "before you restart it"]);
    unresponsive(Phase::Query, &["the statement hangs", "pg_blocking_pids"]);
}

#[test]
fn a_replica_is_stopped_cut_off_or_slow() {
    let lag = |url, detail, parts: &[&str]| {
        check(url, Cause::Lagging, &[Phase::Lag], detail, parts);
    };
    lag(
        MYSQL,
        "the replication SQL thread is stopped: 1062: Duplicate entry",
        &["data differ", "START REPLICA"],
    );
    lag(
        MYSQL,
        "the replication IO thread is stopped: 1045: error connecting",
        &["replication user", "1236"],
    );
    lag(
        MYSQL,
        "it is not connected to its primary",
        &["primary lives"],
    );
    lag(
        MYSQL,
        "it is 9.0 s behind, 1.0 s are allowed",
        &["too slowly", "max_lag"],
    );
    lag(
        POSTGRES,
        "the replay of the log is paused",
        &["pg_wal_replay_resume()"],
    );
    lag(
        POSTGRES,
        "it is not connected to its primary",
        &["primary_conninfo"],
    );
    lag(
        POSTGRES,
        "it is 9.0 s behind, 1.0 s are allowed",
        &["max_standby_streaming_delay"],
    );
}

#[test]
fn a_missing_privilege_is_told_as_the_statement_that_grants_it() {
    let bad = Cause::BadQuery;
    let denied = "1227 (42000): Access denied; you need SUPER, SLAVE MONITOR";
    check(
        MYSQL,
        bad,
        &[Phase::Lag],
        denied,
        &["GRANT REPLICATION CLIENT ON *.*", "SLAVE MONITOR"],
    );
    let target = TargetUrl::parse(MYSQL).expect("the URL is right");
    let mariadb = Observation {
        server: Some(Arc::new(ServerFacts {
            product: Some("mariadb"),
            ..ServerFacts::default()
        })),
        ..observation(bad, &[Phase::Lag], denied)
    };
    let told = remedy(bad, &target, &mariadb);
    let grant = "GRANT SLAVE MONITOR ON *.* TO 'vitals'@'%'";
    assert!(told.contains(grant), "{told}");
    for detail in [
        "1142 (42000): INSERT, UPDATE command denied",
        "the table dbvitals_heartbeat is missing and cannot be made: 1142 (42000): CREATE",
    ] {
        let parts = [
            "GRANT SELECT, INSERT, UPDATE ON shop.dbvitals_heartbeat TO 'vitals'@'%'",
            "CREATE TABLE shop.dbvitals_heartbeat",
        ];
        check(MYSQL, bad, &[Phase::Write], detail, &parts);
    }
    check(
        POSTGRES,
        bad,
        &[Phase::Write],
        "42501: permission denied for table dbvitals_heartbeat",
        &[
            "GRANT SELECT, INSERT, UPDATE ON dbvitals_heartbeat TO vitals",
            "CREATE TABLE",
        ],
    );
}

#[test]
fn names_are_quoted_where_a_statement_needs_it() {
    check(
        "mysql://o%27brien@db.example/my-shop",
        Cause::AccessDenied,
        &[Phase::Login],
        "1044 (42000): Access denied",
        &["GRANT SELECT ON `my-shop`.* TO 'o''brien'@'%'"],
    );
    check(
        "postgres://Vitals@db.example/my-shop",
        Cause::AccessDenied,
        &[Phase::Login],
        "42501: permission denied",
        &["ON DATABASE \"my-shop\" TO \"Vitals\""],
    );
}

/// The list of causes and the tables above are not the same; this is the floor for all of them.
#[test]
fn every_cause_has_a_remedy_for_every_product_and_no_password_in_it() {
    for cause in Cause::ALL {
        for url in [
            "mysql://vitals:hush@db.example",
            "postgres://vitals:hush@db.example",
            "tcp://db.example:80",
            "unix:///run/db.sock",
        ] {
            for phase in Phase::ALL {
                let told = told(url, cause, &[phase], "");
                assert!(told.ends_with('.'), "{cause}: {told}");
                assert!(!told.contains("hush"), "{cause}: {told}");
            }
        }
    }
}
