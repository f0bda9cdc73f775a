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
fn what_cannot_be_asked_is_misuse() {
    for (arguments, says) in [
        (&["mysql://127.0.0.1"][..], "needs a user"),
        (&["tcp://127.0.0.1:1"], "needs a database protocol"),
        (&["mysql://vitals@127.0.0.1", "--for", "hikari"], "hikaricp"),
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
