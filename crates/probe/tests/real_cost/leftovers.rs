//! What a write leaves: one row, a table that does not grow, and so many bytes in the log.
//!
//! The table and the privileges are those that the document's own statements make.

use dbvitals_testkit::{MariaDb, MariaDbOptions, Postgres, PostgresOptions, require_servers};
use dbvitals_verdict::{Depth, Path};

use crate::asker::Asker;
use crate::document;
use crate::document::Way;
use crate::server::Measured;

const WRITES: u64 = 1000;
/// The log's bytes differ in a few digits, and PostgreSQL's in what else it logs meanwhile.
const TOLERANCE: f64 = 0.25;

/// What the writes are seen by.
struct Evidence {
    /// Counts the rows.
    rows: &'static str,
    /// The table's size, in bytes.
    size: &'static str,
    /// How many bytes the binary log, or the WAL, has.
    log: &'static str,
}

fn check<S: Measured>(server: &S, evidence: &Evidence) {
    let mut asker = Asker::new(server.target(Way::Tcp));
    asker.prepare(Depth::Write, Path::Held);
    let number = |sql: &str| -> u64 {
        let answer = server.sql(sql);
        let number = answer
            .split_whitespace()
            .next()
            .and_then(|it| it.parse().ok());
        number.unwrap_or_else(|| panic!("no number: {answer:?}"))
    };
    let size = number(evidence.size);
    let before = number(evidence.log);
    for _ in 0..WRITES {
        asker.pass(Depth::Write, Path::Held);
    }
    let logged = (number(evidence.log) - before) as f64 / WRITES as f64;
    assert_eq!(number(evidence.rows), 1);
    assert_eq!(number(evidence.size), size, "the table grows");
    let said = document::log_bytes(S::HEADING) as f64;
    assert!(
        (logged - said).abs() <= said * TOLERANCE,
        "{logged} bytes of log for each write, but the document says {said}"
    );
    asker.leave();
}

#[test]
fn a_thousand_writes_leave_one_row_in_mariadb() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions {
        arguments: ["--log-bin", "--server-id=1"].map(str::to_owned).to_vec(),
        first_sql: format!(
            "CREATE DATABASE vitals; USE vitals; {}",
            document::table_sql("-- MariaDB, MySQL")
        ),
        ..Default::default()
    });
    let evidence = Evidence {
        rows: "SELECT count(*) FROM vitals.dbvitals_heartbeat",
        size: "SELECT data_length FROM information_schema.tables
               WHERE table_name = 'dbvitals_heartbeat'",
        log: "SELECT variable_value FROM information_schema.global_status
              WHERE variable_name = 'binlog_bytes_written'",
    };
    check(&server, &evidence);
}

#[test]
fn a_thousand_writes_leave_one_row_in_postgresql() {
    require_servers!();
    let server = Postgres::start(PostgresOptions {
        first_sql: document::table_sql("-- PostgreSQL"),
        ..Default::default()
    });
    let evidence = Evidence {
        rows: "SELECT count(*) FROM dbvitals_heartbeat",
        size: "SELECT pg_relation_size('dbvitals_heartbeat')
               + pg_indexes_size('dbvitals_heartbeat')",
        log: "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')",
    };
    check(&server, &evidence);
}
