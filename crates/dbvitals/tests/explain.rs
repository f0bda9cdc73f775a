//! `explain` as people run it: what it promises, draws and refuses. Nothing is probed.
//!
//! That its promises hold is shown by the simulator (`bounds.rs` of the verdict crate) and on real
//! servers (`real_explain.rs`).

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{Run, dbvitals};

fn explain(arguments: &[&str]) -> Run {
    Run::of(&mut dbvitals(&[&["explain"], arguments].concat()))
}

/// The one backend of `explain --json`.
fn backend(arguments: &[&str]) -> Value {
    let run = explain(&[&["--json"], arguments].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let mut document: Value = serde_json::from_str(&run.stdout).expect("one document");
    assert_eq!(document["schema"], "dbvitals.explain.v1");
    assert_eq!(document["backends"].as_array().map(Vec::len), Some(1));
    document["backends"][0].take()
}

#[test]
fn the_defaults_promise_a_freeze_within_two_seconds_and_a_crash_at_once() {
    let it = backend(&[]);
    let noticed = &it["noticed_ms"];
    assert_eq!(noticed["crash"], 0.0);
    assert_eq!(noticed["freeze"], 2000.0);
    assert_eq!(noticed["black_hole"], 2000.0);
    assert_eq!(noticed["full"], 30_200.0);
    assert!(noticed["slow"].is_null() && noticed["unfit"].is_null());
    assert_eq!(it["recovered_ms"]["down"], 1200.0);
    assert_eq!(it["per_day"]["pings"], 86_400);
    assert_eq!(it["per_day"]["sessions"], 2880);
    let freeze = &it["freeze"];
    let moments = [
        "asked_ms",
        "suspected_ms",
        "down_ms",
        "thaw_ms",
        "answered_ms",
        "up_ms",
    ];
    let moments = moments.map(|key| freeze[key].as_f64().expect("a moment"));
    assert!(moments.is_sorted(), "{freeze}");
    assert!(moments[2] <= 2010.0 && moments[2] > 1800.0, "{freeze}");
}

#[test]
fn a_limit_on_logins_is_told_with_what_it_may_cost() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain-limit.toml");
    let backends = (0..40).map(|id| format!("[backend.b{id}]\nurl = \"mysql://u@h{id}\"\n"));
    let backends: String = backends.collect();
    let limit = "[agent]\nlogins_per_second_max = 10\n";
    let shallow = "[backend.port]\nurl = \"tcp://h:1\"\n";
    fs::write(&file, format!("{limit}{backends}{shallow}")).expect("it can be written");
    let file = file.to_str().expect("a path of ours");
    let run = explain(&["-c", file]);
    assert_eq!(run.code, 0, "{run:?}");
    let told = "and up to 3.9 s where all backends fail at once: logins take turns";
    assert_eq!(run.stdout.matches(told).count(), 40, "{}", run.stdout);
    let run = explain(&["--json", "-c", file]);
    let document: Value = serde_json::from_str(&run.stdout).expect("one document");
    let backends = document["backends"].as_array().expect("backends");
    let waits: Vec<_> = backends.iter().map(|it| &it["logins_wait_ms"]).collect();
    assert_eq!(waits.iter().filter(|it| ***it == 3900.0).count(), 40);
    assert_eq!(waits.iter().filter(|it| it.is_null()).count(), 1);
    assert!(!explain(&[]).stdout.contains("logins take turns"));
}

#[test]
fn flags_urls_and_files_are_explained_at_their_own_pace() {
    let it = backend(&["--interval", "500ms", "--timeout", "2s", "--fall", "3"]);
    assert_eq!(it["noticed_ms"]["freeze"], 4500.0);
    assert_eq!(it["noticed_ms"]["crash"], 5.0);

    let it = backend(&[
        "orders=mysql://vitals@10.0.0.11?depth=role",
        "--slow-over",
        "100ms",
    ]);
    assert_eq!(
        (&it["name"], &it["depth"]),
        (&"orders".into(), &"role".into())
    );
    assert_eq!(it["noticed_ms"]["unfit"], 1200.0);
    assert_eq!(it["noticed_ms"]["slow"], 3000.0);

    let it = backend(&["mysql://10.0.0.11"]);
    assert_eq!(
        (&it["depth"], &it["deeper"]),
        (&"connect".into(), &"greeting".into())
    );
    assert_eq!(it["noticed_ms"]["freeze"], 33_000.0);
    assert!(it["noticed_ms"]["full"].is_null());
    assert_eq!(it["per_day"]["log_lines"], 2880);

    let it = backend(&["tcp://10.0.0.11:80"]);
    assert!(it["noticed_ms"]["freeze"].is_null() && it["freeze"].is_null());
    assert_eq!(it["per_day"]["sessions"], 0);

    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain.toml");
    let text = "[defaults]\ninterval = \"2s\"\n[backend.users]\nurl = \"postgres://vitals@db\"\n";
    fs::write(&file, text).expect("the target directory can be written");
    let file = file.display().to_string();
    let it = backend(&["-c", &file]);
    assert_eq!(
        (&it["name"], &it["noticed_ms"]["freeze"]),
        (&"users".into(), &3000.0.into())
    );
    let it = backend(&["-c", &file, "--timeout", "3s"]);
    assert_eq!(it["noticed_ms"]["freeze"], 5000.0);
}

#[test]
fn people_get_promises_costs_two_sentences_and_a_picture_of_80_columns() {
    let run = explain(&["--interval", "500ms"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    for words in [
        "noticed after, at most",
        "costs the server a day",
        "The interval (500 ms) is how long",
        "you know after\n1.5 s at most",
        "a freeze at the worst moment",
        " frozen ",
        "suspicion",
        "down (no_greeting), the gate closes",
        "up, the gate opens",
    ] {
        assert!(run.stdout.contains(words), "{words:?} in\n{}", run.stdout);
    }
    let picture = run.stdout.split("worst moment").nth(1).expect("a picture");
    for line in picture.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn contradictions_are_refused_as_serve_refuses_them() {
    for (arguments, words) in [
        (&["--fall", "0"][..], "any server: fall must be above zero"),
        (
            &["--interval", "60s"],
            "stale_after must be at least interval plus timeout",
        ),
        (
            &["--slow-over", "1s"],
            "slow_over must be shorter than timeout",
        ),
        (&["mysql://db?depth=ping"], "needs a user"),
        (
            &["tcp://db:80", "--depth", "greeting"],
            "needs a database protocol",
        ),
        (&["--timeout", "2"], "is no duration"),
        (&["-c", "/nowhere.toml"], "cannot read the configuration"),
    ] {
        let run = explain(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        assert!(run.stderr.contains(words), "{words:?} in {}", run.stderr);
    }
}

#[test]
fn a_server_of_this_machine_is_seen_to_freeze_sooner_while_clients_come() {
    let it = backend(&["mysql://vitals@127.0.0.1:3306", "--interval", "10s"]);
    assert_eq!(it["noticed_ms"]["freeze"], 11_000.0);
    assert_eq!(it["noticed_ms"]["freeze_with_clients"], 1600.0);
    let elsewhere = backend(&["mysql://vitals@192.0.2.1:3306"]);
    assert!(elsewhere["noticed_ms"]["freeze_with_clients"].is_null());
}

#[test]
fn depth_listening_costs_a_server_nothing_and_says_what_it_does_not_see() {
    let target = "mysql://127.0.0.1:3306?depth=listening";
    let it = backend(&[target]);
    let (noticed, cost) = (&it["noticed_ms"], &it["per_day"]);
    assert!(noticed["freeze"].is_null() && noticed["black_hole"].is_null());
    assert_eq!(noticed["freeze_with_clients"], 600.0);
    assert_eq!(noticed["crash"], 1200.0);
    for nothing in ["connections", "sessions", "packets", "bytes", "log_lines"] {
        assert_eq!(cost[nothing], 0, "{nothing}: {cost}");
    }
    let page = explain(&[target]).stdout;
    assert!(page.contains("no connection"), "{page}");
}
