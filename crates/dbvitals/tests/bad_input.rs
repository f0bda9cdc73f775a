//! What people type wrong: exit code 3, nothing on standard output, and one sentence that names
//! the thing and the remedy. A password is never repeated, wherever it was typed.

#[path = "support/program.rs"]
mod program;

use crate::program::{Run, dbvitals};

/// Runs arguments that make no sense; the one sentence must contain all the words.
fn check(arguments: &[&str], words: &[&str]) {
    let run = refused(arguments);
    assert_eq!(run.stderr.lines().count(), 1, "{arguments:?}: {run:?}");
    assert!(
        run.stderr.starts_with("dbvitals: "),
        "{arguments:?}: {run:?}"
    );
    for word in words {
        assert!(
            run.stderr.contains(word),
            "no {word:?} for {arguments:?} in {}",
            run.stderr
        );
    }
}

/// The same for what the reader of arguments finds; it has a form of its own, in several lines.
fn check_usage(arguments: &[&str], words: &[&str]) {
    let run = refused(arguments);
    assert!(run.stderr.starts_with("error: "), "{arguments:?}: {run:?}");
    for word in words {
        assert!(
            run.stderr.contains(word),
            "no {word:?} for {arguments:?} in {}",
            run.stderr
        );
    }
}

fn refused(arguments: &[&str]) -> Run {
    let run = Run::of(dbvitals(arguments).env("DBVITALS_PASSWORD", "hunter2"));
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (3, ""),
        "{arguments:?}: {run:?}"
    );
    run
}

/// The same for both commands that probe.
fn check_target(target: &str, words: &[&str]) {
    for command in ["check", "wait"] {
        check(&[command, target], words);
        check(&[command, "--json", target], words);
    }
}

#[test]
fn a_target_that_is_no_url_is_told_how_to_write_one() {
    check_target("db:3306", &["db:3306", "mysql://user@host"]);
    check_target("", &["is no URL", "mysql://user@host"]);
    check_target(
        "oracle://db",
        &["oracle://", "known are mysql://", "postgres://"],
    );
    check_target("mysq://db", &["mysq://", "known are mysql://"]);
    check_target("a b=mysql://db", &["\"a b\"", "use letters"]);
    check_target("=mysql://db", &["is no name", "use letters"]);
}

#[test]
fn an_address_that_cannot_be_is_refused() {
    check_target("mysql://db:65536", &["mysql://db:65536", "from 1 to 65535"]);
    check_target("mysql://db:0", &["mysql://db:0", "from 1 to 65535"]);
    check_target("mysql://db:port", &["mysql://db:port", "from 1 to 65535"]);
    check_target("mysql://", &["mysql://", "names no host", "mysql://HOST"]);
    check_target("tcp://db", &["tcp://db", "names no port", "tcp://db:PORT"]);
    check_target("unix://relative", &["unix://relative", "absolute path"]);
    check_target("mysql://[::1", &["mysql://[::1"]);
}

#[test]
fn an_option_that_is_unknown_is_answered_with_the_known_ones() {
    check_target("mysql://db?tsl=off", &["\"tsl\"", "did you mean \"tls\""]);
    check_target(
        "mysql://db?compress=1",
        &[
            "\"compress\"",
            "known are socket, tls, ca, depth, want, max_lag",
        ],
    );
    check_target(
        "mysql://db?tls=maybe",
        &["tls=maybe", "off, prefer, require or verify"],
    );
    check_target(
        "mysql://db?depth=deep",
        &["\"deep\"", "ping, query, role, lag and write"],
    );
    check_target("mysql://db?depth=listening", &["listening", "this machine"]);
    check_target("mysql://u@db?want=leader", &["\"leader\"", "replica"]);
    check_target("mysql://db?ca=/etc/ca.pem", &["ca=", "without tls=verify"]);
}

#[test]
fn an_authority_that_cannot_be_read_is_named() {
    let missing = "mysql://db?tls=verify&ca=/nonexistent/ca.pem";
    check_target(
        missing,
        &["/nonexistent/ca.pem", "must exist and be readable"],
    );
    let no_certificate = "mysql://db?tls=verify&ca=/dev/null";
    check_target(no_certificate, &["no certificate", "/dev/null", "PEM"]);
}

#[test]
fn a_depth_that_needs_more_than_the_url_has_is_refused() {
    check(
        &["check", "--depth", "ping", "mysql://db"],
        &["ping needs a user", "mysql://USER@db"],
    );
    check(
        &["check", "--query", "SELECT 1", "mysql://db"],
        &["query needs a user", "USER@"],
    );
    check(
        &["check", "--depth", "greeting", "tcp://db:1"],
        &["tcp://db:1", "use mysql://"],
    );
    check(
        &["wait", "--depth", "ping", "postgres://db"],
        &["ping needs a user", "USER@"],
    );
    check_target(
        "mysql://db?depth=login",
        &["login needs a user", "mysql://USER@db"],
    );
}

#[test]
fn a_password_file_that_cannot_be_read_is_named() {
    let file = |path: &'static str| ["check", "--password-file", path, "mysql://u@db"];
    check(
        &file("/nonexistent/password"),
        &["/nonexistent/password", "No such file", "must exist"],
    );
    check(
        &file("/proc/self/mem"),
        &["/proc/self/mem", "must exist and be readable"],
    );
    check(&file("/"), &["directory", "must exist and be readable"]);
    check(&file("/dev/null"), &["/dev/null", "empty", "first line"]);
}

#[test]
fn one_wrong_target_among_several_stops_all() {
    check(
        &["check", "mysql://u@127.0.0.1:1", "oracle://db"],
        &["oracle://"],
    );
}

#[test]
fn arguments_that_make_no_sense_are_told_in_the_usual_form() {
    let target = "mysql://u@db";
    check_usage(&["check", target, "--dept", "ping"], &["--dept", "--depth"]);
    check_usage(
        &["check", target, "--depth", "deep"],
        &["\"deep\"", "greeting"],
    );
    check_usage(
        &["check", target, "--depth", "hearing"],
        &["\"hearing\"", "listening"],
    );
    check_usage(&["check", target, "--equals", "1"], &["--query"]);
    check_usage(
        &["check", target, "--expect", "leader"],
        &["\"leader\"", "primary, replica, writable"],
    );
    check_usage(
        &["check", target, "--max-lag", "soon"],
        &["\"soon\"", "500ms, 2s"],
    );
    check_usage(
        &["check", target, "--timeout", "5"],
        &["\"5\"", "500ms, 2s"],
    );
    check_usage(
        &["check", target, "--timeout", "0s"],
        &["--timeout", "above zero"],
    );
    check_usage(
        &["check", target, "--timeout=-1s"],
        &["--timeout", "500ms, 2s"],
    );
    check_usage(
        &["check", target, "--interval", "soon"],
        &["\"soon\"", "500ms, 2s"],
    );
    check_usage(&["check", target, "--count", "0"], &["--count", "0"]);
    check_usage(
        &["check", target, "--json", "--nagios"],
        &["--json", "--nagios"],
    );
    check_usage(&["check"], &["[NAME=]URL", "Usage"]);
    check_usage(&["wait"], &["[NAME=]URL", "Usage"]);
    check_usage(
        &["wait", target, "--for", "ever"],
        &["\"ever\"", "500ms, 2s"],
    );
    check_usage(&["chek", target], &["chek", "check"]);
}

#[test]
fn a_password_is_not_repeated_wherever_it_was_typed() {
    // Run::of looks for hunter2 in all that is printed.
    for target in [
        "u:hunter2@db:3306",
        "mysql:/u:hunter2@db",
        "oracle://u:hunter2@db",
        "u:hunter2@db?tls=off",
        "mysql://u:hunter2@db:99999",
        "mysql://u:hunter2@db:0",
        "mysql://u:hunter2@",
        "mysql://u:pass/hunter2@db",
        "mysql://u:hunter2/word@db",
        "mysql://u:hunter2?@db",
        "mysql://u:hunter2#@db",
        "mysql://u:hunter2@db?tsl=off",
        "mysql://u:hunter2@db?depth=deep",
        "mysql://u@db?password=hunter2",
        "mysql://u@db?depth=query&pasword=hunter2",
        "a b=mysql://u:hunter2@db",
        "tcp://u:hunter2@db",
        "unix://u:hunter2@db/socket",
    ] {
        for command in ["check", "wait"] {
            check(&[command, target], &[]);
        }
    }
}

#[test]
fn help_and_version_are_answers() {
    for arguments in [
        &["--help"][..],
        &["check", "--help"],
        &["wait", "-h"],
        &["--version"],
    ] {
        let run = Run::of(&mut dbvitals(arguments));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(run.stdout.contains("dbvitals"), "{run:?}");
    }
}
