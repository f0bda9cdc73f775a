//! `dbvitals config`: what it finds wrong, what it shows, and that what it prints can be used.

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use program::{Run, dbvitals};
use serde_json::Value;

/// A file in a place of this test's own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}"));
    fs::write(&path, text).expect("the target directory can be written");
    path
}

fn run(question: &str, path: &Path, options: &[&str]) -> Run {
    let path = path.to_str().expect("paths of tests are UTF-8");
    Run::of(dbvitals(&["config", question, path]).args(options))
}

/// Runs a question with the file on standard input.
fn run_piped(question: &str, text: &str) -> Run {
    let mut command = dbvitals(&["config", question, "-c", "-"]);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("dbvitals can be started");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    stdin.write_all(text.as_bytes()).expect("dbvitals reads");
    drop(stdin);
    Run::ended(child.wait_with_output().expect("it ends"))
}

/// Two backends and a gate; the password is in a file, and in a URL.
fn good(password_file: &Path) -> String {
    format!(
        "[defaults]\n\
         interval = \"2s\"\n\
         [backend.one]\n\
         url = \"mysql://u@h1?want=primary\"\n\
         password_file = {password_file:?}\n\
         fall = 3\n\
         [backend.two]\n\
         url = \"postgres://u:hunter2@h2/shop?tls=require\"\n\
         [gate.one]\n\
         listen = \"127.0.0.1:13306\"\n\
         of = \"one\"\n"
    )
}

#[test]
fn a_file_without_faults_is_fine() {
    let password = file("fine-password", "secret\n");
    let path = file("fine.toml", &good(&password));
    let checked = run("check", &path, &[]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let name = path.display();
    assert_eq!(
        checked.stdout,
        format!("{name}: fine: 2 backends, 1 gate\n")
    );
    let notice = "dbvitals: the password in the url of two can be seen";
    assert!(checked.stderr.starts_with(notice), "{checked:?}");
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let text = "[agent]\nhtpp = \"off\"\n[backend.a]\nurl = \"mysql://u@h\"\nfall = 0\n\
                password_file = \"/nonexistent/password\"\n";
    let path = file("faults.toml", text);
    let checked = run("check", &path, &[]);
    assert_eq!((checked.code, checked.stdout.as_str()), (3, ""));
    let name = path.display();
    let lines: Vec<_> = checked.stderr.lines().collect();
    let expected = [
        (2, 1, "\"http\""),
        (5, 8, "fall"),
        (6, 17, "/nonexistent/password"),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (row, column, part)) in lines.into_iter().zip(expected) {
        assert!(
            line.starts_with(&format!("dbvitals: {name}:{row}:{column}: ")),
            "{line}"
        );
        assert!(line.contains(part), "{line}");
    }

    let checked = run("check", &path, &["--json"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (3, ""));
    let document: Value = serde_json::from_str(&checked.stdout).expect("one document");
    assert_eq!(document["schema"], "dbvitals.config_check.v1");
    assert_eq!(document["ok"], false);
    assert_eq!(document["errors"].as_array().map(Vec::len), Some(3));
    assert_eq!(document["errors"][1]["line"], 5);
}

#[test]
fn a_file_that_is_not_there_and_a_token_that_is_not_there_are_misuse() {
    let missing = run("check", Path::new("/nonexistent/dbvitals.toml"), &[]);
    assert_eq!(missing.code, 3);
    assert!(
        missing.stderr.contains("/nonexistent/dbvitals.toml"),
        "{missing:?}"
    );

    let text = "[agent]\ntoken_file = \"/nonexistent/token\"\n[backend.a]\nurl = \"tcp://h:1\"\n";
    let checked = run_piped("check", text);
    assert_eq!(checked.code, 3);
    let told = "dbvitals: standard input:2:14: token_file: cannot read /nonexistent/token";
    assert!(checked.stderr.starts_with(told), "{checked:?}");
}

#[test]
fn every_value_in_force_is_shown_with_its_source_and_no_secret() {
    let password = file("show-password", "secret\n");
    let path = file("show.toml", &good(&password));
    // `Run` looks for the passwords in all that is printed.
    let shown = run("show", &path, &[]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    let lines: Vec<_> = shown.stdout.lines().map(words).collect();
    for expected in [
        "[backend.one]",
        "password (hidden) password_file, line 5",
        "interval 2s [defaults], line 2",
        "fall 3 fall, line 6",
        "rise 2 default",
        "depth role url, line 4",
        "tls require url, line 8",
        "url postgres://u@h2/shop?tls=require url, line 8",
        "listen 127.0.0.1:13306 listen, line 10",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected}: {shown:?}"
        );
    }

    let shown = run("show", &path, &["--json"]);
    let document: Value = serde_json::from_str(&shown.stdout).expect("one document");
    assert_eq!(document["schema"], "dbvitals.config.v1");
    let names: Vec<_> = document["sections"]
        .as_array()
        .expect("sections")
        .iter()
        .map(|section| section["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["agent", "backend.one", "backend.two", "gate.one"]);
}

/// A line without the space between its columns.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_password_from_the_environment_is_named_by_its_variable() {
    let path = file("environment.toml", "[backend.a]\nurl = \"mysql://u@h\"\n");
    let path = path.to_str().expect("paths of tests are UTF-8");
    let shown = Run::of(dbvitals(&["config", "show", path]).env("DBVITALS_PASSWORD", "secret"));
    let told = "password (hidden) environment, DBVITALS_PASSWORD";
    assert!(
        shown.stdout.lines().any(|line| words(line) == told),
        "{shown:?}"
    );
}

#[test]
fn the_default_file_can_be_used_once_it_has_a_backend() {
    let default = Run::of(&mut dbvitals(&["config", "default"]));
    assert_eq!(default.code, 0);
    let text = format!("{}\n[backend.a]\nurl = \"tcp://h:1\"\n", default.stdout);
    let checked = run_piped("check", &text);
    assert_eq!(checked.stdout, "standard input: fine: 1 backend, 0 gates\n");
}

#[test]
fn services_are_counted_where_there_are_some() {
    let service = "[backend.a]\nurl = \"tcp://h:1\"\n[service.s]\nbackends = [\"a\"]\n";
    let checked = run_piped("check", service);
    let told = "standard input: fine: 1 backend, 1 service, 0 gates\n";
    assert_eq!(checked.stdout, told);
}

#[test]
fn the_schema_is_a_json_schema() {
    let schema = Run::of(&mut dbvitals(&["config", "schema"]));
    let document: Value = serde_json::from_str(&schema.stdout).expect("one document");
    assert_eq!(
        document["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(document["type"], "object");
}
