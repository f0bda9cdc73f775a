//! `advise` where no real server is needed: what it refuses, and servers that are not there.

#[path = "support/program.rs"]
mod program;

use dbvitals_testkit::Port;

use crate::program::{Run, dbvitals};

fn advise(arguments: &[&str]) -> Run {
    Run::of(&mut dbvitals(&[&["advise"], arguments].concat()))
}

#[test]
fn a_server_that_is_not_there_is_told_as_check_tells_it() {
    let port = Port::reserve();
    let run = advise(&[&format!(
        "postgres://vitals@127.0.0.1:{}/app",
        port.number()
    )]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    assert!(run.stderr.contains("down: refused (dead)"), "{run:?}");
}

#[test]
fn for_programs_too_a_server_that_is_not_there_is_told() {
    let port = Port::reserve();
    let url = format!("mysql://vitals@127.0.0.1:{}", port.number());
    let run = advise(&["--json", &url]);
    assert_eq!((run.code, run.stderr.as_str()), (2, ""), "{run:?}");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("a document");
    assert_eq!(document["schema"], "dbvitals.advise.v1");
    assert_eq!(document["target"], url);
    assert_eq!(document["cause"], "refused");
    assert_eq!(document["class"], "dead");
    assert!(document["remedy"].is_string(), "{document}");
}

#[test]
fn what_cannot_be_asked_is_misuse() {
    for (arguments, says) in [
        (&["mysql://127.0.0.1"][..], "needs a user"),
        (&["tcp://127.0.0.1:1"], "needs a database protocol"),
        (&["mysql://vitals@127.0.0.1", "--for", "hikari"], "hikaricp"),
        (
            &["mysql://vitals@127.0.0.1", "--for", "go,pgx"],
            "pgx does not speak the protocol of mysql://vitals@127.0.0.1, it speaks PostgreSQL",
        ),
        (
            &["postgres://vitals@127.0.0.1/app", "--for", "mysql2"],
            "it speaks MySQL",
        ),
        (
            &[
                "postgres://vitals@127.0.0.1/pgbouncer",
                "--for",
                "pgbouncer",
            ],
            "up to its server",
        ),
        (
            &["mysql://vitals@127.0.0.1", "--instances", "0"],
            "--instances",
        ),
        (&[], "URL"),
    ] {
        let run = advise(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        assert!(run.stderr.contains(says), "{run:?}");
    }
}
