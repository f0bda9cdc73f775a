//! What the history tells over HTTP and to whoever opens the file, over restarts and reloads.

use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;

use crate::agent::{Agent, PATIENCE, serve};
use crate::service::Service;
use crate::{LATENCY, Scene, TRANSITIONS, ask, end, verdicts, wait_for};
use dbvitals_testkit::eventually;

#[test]
fn what_happened_is_told_after_a_restart_and_by_the_file_itself() {
    let mut scene = Scene::new("restart");
    let agent = scene.start();
    scene.service.stop();
    agent.wait_for_verdict("db", "down");
    let path = format!("{TRANSITIONS}?of=db");
    wait_for(&agent, &path, |told| verdicts(told) == ["up", "down"]);
    end(agent);

    scene.service.start_again();
    let agent = scene.start();
    let told = wait_for(&agent, &path, |told| verdicts(told).len() == 3);
    assert_eq!(verdicts(&told), ["up", "down", "up"]);
    assert_eq!(told["schema"], "dbvitals.history_transitions.v1");
    assert_eq!(told["transitions"][1]["cause"], "refused");
    assert_eq!(told["transitions"][1].get("evidence"), None);
    assert_eq!(told["runs"].as_array().map(Vec::len), Some(2));
    let since = told["transitions"][1]["at"].as_str().expect("a time");
    let told = ask(&agent, &format!("{path}&since={since}&evidence=true")).1;
    assert_eq!(
        (verdicts(&told), &told["complete"]),
        (vec!["down", "up"], &true.into())
    );
    let evidence = &told["transitions"][0]["evidence"];
    assert_eq!(evidence["fresh"]["cause"], "refused");
    assert!(evidence["remedy"].is_string(), "{evidence}");
    let told = ask(&agent, &format!("{path}&until={since}&max=1")).1;
    assert_eq!(
        (verdicts(&told), &told["complete"]),
        (vec!["down"], &false.into())
    );

    // The minute under way was written at the end of the first run.
    let told = wait_for(&agent, &format!("{LATENCY}?of=db"), |told| {
        told["points"]
            .as_array()
            .is_some_and(|points| !points.is_empty())
    });
    let point = &told["points"][0];
    assert_eq!(told["schema"], "dbvitals.history_latency.v1");
    assert_eq!(
        (&told["name"], &told["path"]),
        (&"db".into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&point["path"], &point["depth"], &point["phase"]),
        (&"fresh".into(), &"connect".into(), &"total".into())
    );
    let number = |key: &str| point[key].as_f64().expect("a number");
    assert!(number("count") >= 2.0, "{point}");
    assert!(number("p50_ms") <= number("p99_ms") && number("p99_ms") <= number("max_ms"));
    assert!(number("max_ms") > 0.0);
    let told = ask(&agent, &format!("{LATENCY}?of=db&path=held&step=1h")).1;
    assert_eq!(told["points"].as_array().map(Vec::len), Some(0), "{told}");

    // As a person does with sqlite3, while the agent writes.
    let file = Connection::open_with_flags(scene.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the file can be opened");
    let count = |sql: &str| -> i64 {
        let count = file.query_row(sql, [], |row| row.get(0));
        count.expect("the views are there")
    };
    let down = "SELECT count(*) FROM transitions WHERE backend = 'db' AND became = 'down'
                AND cause = 'refused' AND remedy IS NOT NULL";
    assert_eq!(count(down), 1);
    assert!(count("SELECT count(*) FROM latency WHERE backend = 'db' AND p50_ms > 0") >= 1);
    assert_eq!(count("SELECT count(*) FROM runs"), 2);
    assert!(agent.metric("dbvitals_history_written_total") >= 1.0);
    assert!(agent.metric("dbvitals_history_bytes") > 4096.0);
    assert_eq!(agent.metric("dbvitals_history_dropped_total"), 0.0);
    end(agent);
}

#[test]
fn who_is_gone_keeps_a_past_and_nobody_else_has_one() {
    let scene = Scene::new("gone");
    let other = Service::start();
    let section = format!("[backend.other]\nurl = \"{}\"\n", other.url());
    scene.configure("", &section);
    let agent = scene.start();
    agent.wait_for_verdict("other", "up");
    let path = format!("{TRANSITIONS}?of=other");
    wait_for(&agent, &path, |told| verdicts(told) == ["up"]);
    scene.configure("", "");
    agent.signal(Signal::HUP);
    agent.wait_for_log("1 removed");
    assert_eq!(agent.health("other").0, 404);
    assert_eq!(verdicts(&ask(&agent, &path).1), ["up"]);
    // Its last minute is written although it never ended.
    wait_for(&agent, &format!("{LATENCY}?of=other"), |told| {
        told["points"][0].is_object()
    });
    let (status, told) = ask(&agent, &format!("{TRANSITIONS}?of=nobody"));
    assert_eq!((status, &told["error"]), (404, &"unknown_backend".into()));
    end(agent);
}

#[test]
fn a_reload_switches_it_off_and_on_and_keeps_what_there_was() {
    let scene = Scene::new("switch");
    let agent = scene.start();
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up"]);
    scene.configure("history = \"off\"\n", "");
    agent.signal(Signal::HUP);
    let refused = eventually(PATIENCE, || {
        ask(&agent, TRANSITIONS).1["error"] == "no_history"
    });
    assert!(refused, "{:?}", ask(&agent, TRANSITIONS));
    assert!(scene.file().exists());
    scene.configure("", "");
    agent.signal(Signal::HUP);
    wait_for(&agent, TRANSITIONS, |told| verdicts(told) == ["up"]);
    end(agent);
}

#[test]
fn without_a_state_directory_there_is_none() {
    let service = Service::start();
    let agent = Agent::start(serve([&service.url()]));
    for path in [TRANSITIONS, "/api/v1/history/latency?of=x"] {
        let (status, told) = ask(&agent, path);
        assert_eq!(
            (status, &told["error"]),
            (404, &"no_history".into()),
            "{told}"
        );
    }
    let metrics = agent.request("GET", "/metrics").body;
    assert!(!metrics.contains("dbvitals_history"));
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let scene = Scene::new("refused");
    let agent = scene.start();
    for (asked, error) in [
        ("transitions?max=0", "wrong_parameter"),
        ("transitions?max=1001", "wrong_parameter"),
        ("transitions?since=yesterday", "wrong_parameter"),
        ("transitions?evidence=maybe", "wrong_parameter"),
        ("transitions?from=2026-01-01T00:00:00Z", "unknown_parameter"),
        ("transitions?of=a&of=b", "wrong_parameter"),
        ("latency", "which_backend"),
        ("latency?of=db&step=30s", "wrong_parameter"),
        ("latency?of=db&path=any", "wrong_parameter"),
    ] {
        let (status, told) = ask(&agent, &format!("/api/v1/history/{asked}"));
        assert_eq!(
            (status, &told["error"]),
            (400, &error.into()),
            "{asked}: {told}"
        );
    }
    // Any time that can be written is a question with an answer.
    for asked in [
        "latency?of=db&since=0001-01-01T00:00:00Z&until=9999-12-30T00:00:00Z",
        "transitions?since=9999-12-30T00:00:00Z&until=0001-01-01T00:00:00Z",
    ] {
        wait_for(&agent, &format!("/api/v1/history/{asked}"), |told| {
            told["complete"].is_boolean()
        });
    }
    end(agent);
}
