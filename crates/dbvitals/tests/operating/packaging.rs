//! The files of `packaging/` speak of metrics that `/metrics` has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::agent::{Agent, ConfigFile};

fn packaged(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("packaging").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metrics that an agent has, with those that a summary and a histogram are made of.
fn metrics() -> BTreeSet<String> {
    // With a service, so that those of services are there.
    let config = ConfigFile::new(
        "[backend.db]\nurl = \"tcp://127.0.0.1:1\"\n[service.all]\nbackends = [\"db\"]\n",
    );
    let agent = Agent::start(config.serve());
    let text = agent.request("GET", "/metrics").body;
    let mut names = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect(line);
        names.insert(name.to_owned());
        if ["summary", "histogram"].contains(&kind) {
            names.extend(["_sum", "_count"].map(|part| format!("{name}{part}")));
        }
        if kind == "histogram" {
            names.insert(format!("{name}_bucket"));
        }
    }
    names
}

/// The words of a text that are metrics of ours.
fn spoken_of(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("dbvitals_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboards_speak_of_metrics_that_there_are() {
    let known = metrics();
    for name in [
        "prometheus/dbvitals.rules.yml",
        "prometheus/dbvitals.rules.test.yml",
        "grafana/dbvitals.json",
    ] {
        let spoken_of = spoken_of(&packaged(name));
        let wrong: Vec<_> = spoken_of.difference(&known).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}, known are {known:?}");
        assert!(spoken_of.len() >= 5, "{name} says little: {spoken_of:?}");
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_ask_something() {
    let dashboard: Value = serde_json::from_str(&packaged("grafana/dbvitals.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let asked = target["expr"].as_str().expect("an expression");
            assert!(!spoken_of(asked).is_empty(), "{asked}");
        }
    }
}
