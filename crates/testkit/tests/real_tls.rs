//! The certificates do what their names say, judged by libpq and by MariaDB's client.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, TestAuthority, TlsFiles,
    Validity, eventually, require_servers,
};

/// Starts PostgreSQL with a certificate and returns what a strict client says about it.
fn judged_by_libpq(tls: &TlsFiles, trusted: &Path) -> Result<String, String> {
    let options = PostgresOptions {
        tls: Some(tls.clone()),
        ..Default::default()
    };
    let server = Postgres::start(options);
    let connection = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=vitals_trust dbname=vitals \
         sslmode=verify-full sslrootcert={}",
        server.port(),
        trusted.display()
    );
    let statement = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let output = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--command",
            statement,
            &connection,
        ])
        .env("LC_ALL", "C")
        // libpq looks there for a certificate of its own.
        .env("HOME", "/nonexistent")
        .output()
        .expect("psql can be started");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        // The reason for a distrust is in the alert that the server received, and logged.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        eventually(Duration::from_secs(1), || {
            server.log_text().contains("alert")
        });
        Err(said + &server.log_text())
    }
}

#[test]
fn a_sound_certificate_is_trusted() {
    require_servers!();
    let authority = TestAuthority::new();
    let tls = authority.issue(&["localhost", "127.0.0.1"], Validity::Current);
    assert_eq!(
        judged_by_libpq(&tls, &tls.authority),
        Ok("TLSv1.3".to_owned())
    );
}

#[test]
fn unsound_certificates_are_refused_each_for_its_reason() {
    require_servers!();
    let authority = TestAuthority::new();
    let trusted = authority.certificate();
    for (tls, reason) in [
        (
            authority.issue(&["localhost"], Validity::Expired),
            "alert certificate expired",
        ),
        (
            authority.issue(&["localhost"], Validity::Future),
            "alert bad certificate",
        ),
        (
            authority.issue(&["elsewhere.test"], Validity::Current),
            "does not match host name",
        ),
        (
            authority.self_signed(&["localhost"], Validity::Current),
            "alert unknown ca",
        ),
    ] {
        let refusal = judged_by_libpq(&tls, &trusted).expect_err(reason);
        assert!(refusal.contains(reason), "no {reason:?} in {refusal}");
    }
}

#[test]
fn mariadb_offers_the_same_certificate() {
    require_servers!();
    let authority = TestAuthority::new();
    let tls = authority.issue(&["localhost", "127.0.0.1"], Validity::Current);
    let trusted = format!("--ssl-ca={}", tls.authority.display());
    let server = MariaDb::start(MariaDbOptions {
        tls: Some(tls),
        ..Default::default()
    });
    let output = Command::new("mariadb")
        .args([
            "--no-defaults",
            "--host=127.0.0.1",
            "--user=vitals",
            "--password=secret",
        ])
        .args([
            &format!("--port={}", server.port()),
            &trusted,
            "--ssl-verify-server-cert",
        ])
        .args([
            "--batch",
            "--skip-column-names",
            "--execute",
            "SHOW STATUS LIKE 'Ssl_version'",
        ])
        .output()
        .expect("the client can be started");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(answer.trim(), "Ssl_version\tTLSv1.3", "{output:?}");
}
