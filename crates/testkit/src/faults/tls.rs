//! What can be wrong with a server's TLS, and what is only asked of it.

use super::database::Database;
use super::scene::Scene;
use super::truth::{
    ALL, CONNECT, FROM_GREETING, FROM_LOGIN, START, TO_GREETING, Truth, UP, at, by_ping, degraded,
    down, turns,
};
use super::{Fault, REAL, Stand};
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::postgres::{Postgres, PostgresOptions};
use crate::tls::{TestAuthority, TlsFiles, Validity};

const HERE: &[&str] = &["127.0.0.1"];
/// MySQL and MariaDB greet in the clear, before TLS.
const MARIADB: &[Stand] = &[Stand::MariaDb];
/// PostgreSQL greets after TLS.
const POSTGRESQL: &[Stand] = &[Stand::PostgreSql];
const DENIED: Truth = degraded(&["access_denied"]);
const UNTRUSTED: Truth = down(&["tls_untrusted"]);
const EXPIRED: Truth = down(&["tls_expired"]);
const WRONG_NAME: Truth = down(&["tls_wrong_name"]);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "tls_required",
        what: "The server insists on TLS, and the check speaks none (tls=off).",
        on: &[Stand::MariaDb],
        stage: |stand| insisting(stand, "tls=off"),
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, DENIED)],
        watch: by_ping(&[turns(DENIED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_required",
        what: "The server insists on TLS, and the check speaks none (tls=off).",
        on: &[Stand::PostgreSql],
        stage: |stand| insisting(stand, "tls=off"),
        // It refuses in its answer to the first words.
        checks: &[at(CONNECT, UP), at(FROM_GREETING, DENIED)],
        watch: by_ping(&[turns(DENIED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_required_and_spoken",
        what: "The server insists on TLS, and the check prefers it, as by default.",
        on: REAL,
        stage: |stand| insisting(stand, "tls=prefer"),
        checks: &[at(ALL, UP)],
        watch: by_ping(&[turns(UP, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_not_asked",
        what: "The certificate is expired, and nobody asks (tls=prefer).",
        on: REAL,
        stage: |stand| {
            let authority = TestAuthority::new();
            let tls = authority.issue(HERE, Validity::Expired);
            Scene::of(&Database::with_tls(stand, &tls))
        },
        checks: &[at(ALL, UP)],
        watch: by_ping(&[turns(UP, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_expired",
        what: "The certificate has expired (tls=verify).",
        on: MARIADB,
        stage: |stand| verified(stand, |authority| authority.issue(HERE, Validity::Expired)),
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, EXPIRED)],
        watch: by_ping(&[turns(EXPIRED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_expired",
        what: "The certificate has expired (tls=verify).",
        on: POSTGRESQL,
        stage: |stand| verified(stand, |authority| authority.issue(HERE, Validity::Expired)),
        checks: &[at(CONNECT, UP), at(FROM_GREETING, EXPIRED)],
        watch: by_ping(&[turns(EXPIRED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_self_signed",
        what: "The certificate is signed with its own key (tls=verify).",
        on: MARIADB,
        stage: |stand| {
            verified(stand, |authority| {
                authority.self_signed(HERE, Validity::Current)
            })
        },
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, UNTRUSTED)],
        watch: by_ping(&[turns(UNTRUSTED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_self_signed",
        what: "The certificate is signed with its own key (tls=verify).",
        on: POSTGRESQL,
        stage: |stand| {
            verified(stand, |authority| {
                authority.self_signed(HERE, Validity::Current)
            })
        },
        checks: &[at(CONNECT, UP), at(FROM_GREETING, UNTRUSTED)],
        watch: by_ping(&[turns(UNTRUSTED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_wrong_name",
        what: "The certificate names another host (tls=verify).",
        on: MARIADB,
        stage: |stand| {
            verified(stand, |authority| {
                authority.issue(&["elsewhere.test"], Validity::Current)
            })
        },
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, WRONG_NAME)],
        watch: by_ping(&[turns(WRONG_NAME, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_wrong_name",
        what: "The certificate names another host (tls=verify).",
        on: POSTGRESQL,
        stage: |stand| {
            verified(stand, |authority| {
                authority.issue(&["elsewhere.test"], Validity::Current)
            })
        },
        checks: &[at(CONNECT, UP), at(FROM_GREETING, WRONG_NAME)],
        watch: by_ping(&[turns(WRONG_NAME, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_x509_v1",
        what: "The certificate is of X.509's first version, which names no host (tls=verify).",
        on: MARIADB,
        stage: |stand| verified(stand, |authority| authority.issue_v1(HERE)),
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, UNTRUSTED)],
        watch: by_ping(&[turns(UNTRUSTED, START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "tls_x509_v1",
        what: "The certificate is of X.509's first version, which names no host (tls=verify).",
        on: POSTGRESQL,
        stage: |stand| verified(stand, |authority| authority.issue_v1(HERE)),
        checks: &[at(CONNECT, UP), at(FROM_GREETING, UNTRUSTED)],
        watch: by_ping(&[turns(UNTRUSTED, START)]),
        ..Fault::BLANK
    },
];

/// A server with this certificate, probed by who trusts the authority and verifies.
fn verified(stand: Stand, certificate: fn(&TestAuthority) -> TlsFiles) -> Scene {
    let authority = TestAuthority::new();
    let database = Database::with_tls(stand, &certificate(&authority));
    let ca = authority.certificate();
    let url = format!("{}?tls=verify&ca={}", database.url(), ca.display());
    Scene::at(url).with(authority).with(database)
}

/// A server that admits nobody without TLS.
fn insisting(stand: Stand, policy: &str) -> Scene {
    let authority = TestAuthority::new();
    let tls = Some(authority.issue(HERE, Validity::Current));
    let database: Database = match stand {
        Stand::MariaDb | Stand::ScriptedMySql => MariaDb::start(MariaDbOptions {
            arguments: vec!["--require-secure-transport=on".to_owned()],
            tls,
            ..Default::default()
        })
        .into(),
        Stand::PostgreSql | Stand::ScriptedPostgres => Postgres::start(PostgresOptions {
            hba: vec!["hostnossl all all all reject".to_owned()],
            tls,
            ..Default::default()
        })
        .into(),
    };
    Scene::at(format!("{}?{policy}", database.url())).with(database)
}
