//! Prometheus' own tool over what dbvitals gives it: the metrics, the alerts, and the stories that
//! the alerts are tested with.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;

use std::env;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent::{Agent, ConfigFile};
use dbvitals_testkit::left_out;
use serde_json::Value;

/// The tool, or that the test is left out; where servers are required, the tool is as well.
fn promtool(test: &str) -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join("promtool"))
        .find(|path| path.is_file());
    let required = env::var("DBVITALS_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(
        found.is_some() || !required,
        "DBVITALS_REQUIRE_SERVERS=1, but not installed: promtool; run scripts/servers"
    );
    if found.is_none() {
        left_out(test, "needs promtool; scripts/test installs it");
    }
    found.map(Command::new)
}

fn rules(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("packaging/prometheus").join(name)
}

/// Runs the tool over a text, and expects it to be content.
fn check(mut promtool: Command, input: &str) -> String {
    let mut child = promtool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be started");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // It does not read what it is not asked to read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    told
}

#[test]
fn the_metrics_have_nothing_that_prometheus_minds() {
    let Some(mut promtool) = promtool("the_metrics_have_nothing_that_prometheus_minds") else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let up = listener.local_addr().expect("an address");
    let config = ConfigFile::new(&format!(
        "[agent]\nhistograms = \"backend\"\n\
         [backend.up]\nurl = \"tcp://{up}\"\n[backend.down]\nurl = \"tcp://127.0.0.1:1\"\n\
         [service.both]\nbackends = [\"up\", \"down\"]\n"
    ));
    let agent = Agent::start(config.serve());
    // With a cause and both outcomes all metrics have samples.
    agent.wait_for_verdict("up", "up");
    agent.wait_for_verdict("down", "down");
    let metrics = agent.request("GET", "/metrics").body;
    for sample in ["cause=\"refused\"", "dbvitals_service_fit_backends{"] {
        assert!(metrics.contains(sample), "{metrics}");
    }
    promtool.args(["check", "metrics"]);
    assert_eq!(check(promtool, &metrics), "", "of\n{metrics}");
}

#[test]
fn the_alerts_can_be_loaded() {
    let Some(mut promtool) = promtool("the_alerts_can_be_loaded") else {
        return;
    };
    promtool
        .args(["check", "rules"])
        .arg(rules("dbvitals.rules.yml"));
    let told = check(promtool, "");
    assert!(told.contains("SUCCESS: 11 rules found"), "{told}");
}

#[test]
fn each_alert_fires_for_what_it_is_meant_for() {
    let Some(mut promtool) = promtool("each_alert_fires_for_what_it_is_meant_for") else {
        return;
    };
    promtool
        .args(["test", "rules"])
        .arg(rules("dbvitals.rules.test.yml"));
    let told = check(promtool, "");
    assert!(told.contains("SUCCESS"), "{told}");
}

#[test]
fn the_dashboard_asks_what_prometheus_can_answer() {
    let Some(mut promtool) = promtool("the_dashboard_asks_what_prometheus_can_answer") else {
        return;
    };
    let path = rules("../grafana/dbvitals.json");
    let text = std::fs::read_to_string(&path).expect("there is a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    // As rules, since the tool parses those; Grafana puts in its variables before it asks.
    let mut recorded = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let asked = target["expr"].as_str().expect("an expression");
            let asked = asked
                .replace("$__rate_interval", "1m")
                .replace("$backend", ".*");
            let asked = serde_json::to_string(&asked).expect("a text");
            let id = &panel["id"];
            recorded += &format!("      - record: panel_{id}\n        expr: {asked}\n");
        }
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard.rules.yml");
    std::fs::write(&file, recorded).expect("the target directory can be written");
    promtool.args(["check", "rules"]).arg(file);
    check(promtool, "");
}
