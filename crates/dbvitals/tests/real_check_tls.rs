//! `check` over TLS: what each policy asks of a server, and how a bad certificate is told.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/finding.rs"]
mod finding;
#[path = "support/program.rs"]
mod program;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use dbvitals_testkit::{TestAuthority, TlsFiles, Validity, require_servers};

use crate::databases::{Database, databases};
use crate::finding::Finding;

const V4: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
const TIMEOUT: Duration = Duration::from_secs(2);

/// Checks a server with the options of a URL.
fn check(server: &Database, options: &str) -> Finding {
    let finding = Finding::of(&format!("{}?{options}", server.url()), &[]);
    finding.assert_within(TIMEOUT);
    finding
}

/// Checks servers of both products that have this certificate against an authority.
fn check_verified(tls: &TlsFiles, authority: &TestAuthority) -> [(Database, Finding); 2] {
    let options = format!("tls=verify&ca={}", authority.certificate().display());
    databases(&V4, Some(tls)).map(|server| {
        let finding = check(&server, &options);
        (server, finding)
    })
}

/// The phases of a ping over TLS: MySQL greets in the clear, PostgreSQL does not.
fn phases_over_tls(server: &Database) -> &'static str {
    match server.scheme {
        "mysql" => "connect greeting tls login ping",
        _ => "connect tls greeting login ping",
    }
}

#[test]
fn a_certificate_of_a_private_authority_is_verified() {
    require_servers!();
    let authority = TestAuthority::new();
    let tls = authority.issue(&["127.0.0.1", "localhost"], Validity::Current);
    for (server, finding) in check_verified(&tls, &authority) {
        finding.assert_told("up, exit 0");
        assert_eq!(finding.phases(), phases_over_tls(&server));

        let by_name = format!("{}://vitals@localhost:{}", server.scheme, server.port());
        let ca = authority.certificate();
        let url = format!("{by_name}?tls=verify&ca={}", ca.display());
        Finding::of(&url, &[]).assert_told("up, exit 0");

        let denied = Finding::with_password("hunter2", &server.url(), &[]);
        denied.assert_told("degraded, access_denied (ours), exit 3");
        let phases = phases_over_tls(&server).replace(" ping", "!");
        assert_eq!(denied.phases(), phases);
    }
}

#[test]
fn unsound_certificates_are_told_by_what_is_wrong_with_them() {
    require_servers!();
    let authority = TestAuthority::new();
    let here = ["127.0.0.1"];
    for (tls, cause) in [
        (
            TestAuthority::new().issue(&here, Validity::Current),
            "tls_untrusted",
        ),
        (
            authority.self_signed(&here, Validity::Current),
            "tls_untrusted",
        ),
        (authority.issue(&here, Validity::Expired), "tls_expired"),
        (authority.issue(&here, Validity::Future), "tls_expired"),
        (
            authority.issue(&["elsewhere.test"], Validity::Current),
            "tls_wrong_name",
        ),
    ] {
        for (server, finding) in check_verified(&tls, &authority) {
            finding.assert_told(&format!("down, {cause} (unfit), exit 2"));
            let (phases, _) = phases_over_tls(&server)
                .split_once("tls")
                .expect("a tls phase");
            assert_eq!(finding.phases(), format!("{phases}tls!"), "{finding:?}");
            // Who only wants encryption does not mind.
            for lenient in ["tls=require", "tls=prefer", "depth=ping"] {
                let finding = check(&server, lenient);
                finding.assert_told("up, exit 0");
                assert_eq!(finding.phases(), phases_over_tls(&server), "{lenient}");
            }
            let plain = check(&server, "tls=off");
            plain.assert_told("up, exit 0");
            assert_eq!(plain.phases(), "connect greeting login ping");
        }
    }
}

#[test]
fn a_server_without_tls_suits_only_those_who_do_not_insist() {
    require_servers!();
    let authority = TestAuthority::new();
    let verify = format!("tls=verify&ca={}", authority.certificate().display());
    for server in databases(&V4, None) {
        for strict in ["tls=require", &verify] {
            let finding = check(&server, strict);
            finding.assert_told("down, tls_untrusted (unfit), exit 2");
            let detail = finding.text("detail");
            assert!(detail.contains("the server does not offer it"), "{detail}");
            assert!(
                finding.text("remedy").contains("enable TLS on the server"),
                "{finding:?}"
            );
        }
        let finding = check(&server, "tls=prefer");
        finding.assert_told("up, exit 0");
        assert_eq!(finding.phases(), "connect greeting login ping");
    }
}

#[test]
fn a_unix_socket_needs_no_tls() {
    require_servers!();
    let authority = TestAuthority::new();
    let tls = authority.issue(&["elsewhere.test"], Validity::Expired);
    for server in databases(&V4, Some(&tls)) {
        let socket = server.socket.display().to_string();
        for policy in ["require", "prefer", "off"] {
            let finding = check(&server, &format!("socket={socket}&tls={policy}"));
            finding.assert_told("up, exit 0");
            assert_eq!(finding.phases(), "connect greeting login ping");
        }
    }
}
