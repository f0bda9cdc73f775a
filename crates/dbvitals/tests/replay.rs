//! `serve --record` and `replay`, from a real outage of a scripted server to what another
//! configuration makes of it.

#[expect(dead_code, reason = "other tests look at the process")]
#[path = "support/agent.rs"]
mod agent;
#[path = "support/http.rs"]
#[expect(dead_code, reason = "headers are for other tests")]
mod http;
#[path = "support/program.rs"]
mod program;

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dbvitals_testkit::{Dialect, Moment, Mood, Port, ScriptedDatabase, eventually};
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::program::{Run, dbvitals};

/// A pace at which an outage takes no time, and yet each probe after it is far from the last.
const PACE: &str = "interval = \"200ms\"\nfast_interval = \"100ms\"\ndown_interval = \"1s\"\n\
                    timeout = \"300ms\"\n";
/// How far apart the same conclusion may be: one pace and one timeout of those above.
const GRANULARITY_MS: f64 = 1300.0;

/// A server at one port, which may go away and come back.
struct Scene {
    port: Arc<Port>,
    config: ConfigFile,
    record: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let port = Arc::new(Port::reserve());
        let record = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("record-{name}"));
        for old in [record.clone(), record.with_extension("1")] {
            let _ = fs::remove_file(old);
        }
        let number = port.number();
        let config = ConfigFile::new(&format!(
            "[defaults]\n{PACE}[backend.orders]\nurl = \"mysql://vitals@127.0.0.1:{number}\"\n"
        ));
        Self {
            port,
            config,
            record,
        }
    }

    fn server(&self) -> ScriptedDatabase {
        let host = [127, 0, 0, 1].into();
        ScriptedDatabase::start_at(Dialect::MySql, host, &self.port)
    }

    fn agent(&self) -> Agent {
        let mut command = self.config.serve();
        command.arg("--record").arg(&self.record);
        Agent::start(command)
    }

    fn replay(&self, arguments: &[&str]) -> Run {
        let record = self.record.to_str().expect("a path of ours");
        Run::of(
            dbvitals(&[&["replay", record], arguments].concat()).env("DBVITALS_PASSWORD", "secret"),
        )
    }

    /// The one backend of `replay --json`.
    fn replayed(&self, arguments: &[&str], code: i32) -> Value {
        let run = self.replay(&[&["--json"], arguments].concat());
        assert_eq!((run.code, run.stderr.as_str()), (code, ""), "{run:?}");
        let mut document: Value = serde_json::from_str(&run.stdout).expect("one document");
        assert_eq!(document["schema"], "dbvitals.replay.v1");
        assert_eq!(document["same"], code == 0);
        document["backends"][0].take()
    }
}

fn end(mut agent: Agent) {
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
}

/// What one side of a replay concluded: the verdicts it reached.
fn verdicts<'a>(backend: &'a Value, side: &str) -> Vec<&'a str> {
    let rows = backend["transitions"].as_array().expect("rows").iter();
    rows.filter_map(|row| row[side]["to"].as_str()).collect()
}

/// Waits until a verdict has been confirmed for longer than any pace.
fn wait_for_passes(agent: &Agent) {
    let passes = "dbvitals_probe_total{backend=\"orders\",outcome=\"pass\",cause=\"\"}";
    let before = agent.metric(passes);
    let confirmed = || agent.metric(passes) >= before + 8.0;
    assert!(eventually(PATIENCE, confirmed), "the probes do not go on");
}

/// A silence just long enough for fall = 2.
fn record_a_freeze(scene: &Scene) {
    let server = scene.server();
    let agent = scene.agent();
    agent.wait_for_verdict("orders", "up");
    wait_for_passes(&agent);
    // At its commands: a login that hangs would be waited for, and this server never takes one up again.
    server.switch(Mood::SilentFrom(Moment::Command));
    agent.wait_for_verdict("orders", "down");
    server.switch(Mood::Fine);
    agent.wait_for_verdict("orders", "up");
    wait_for_passes(&agent);
    agent.expect_verdicts(&["up", "down", "up"]);
    end(agent);
}

#[test]
fn a_freeze_replayed_is_the_same_under_the_same_pace_and_gone_with_fall_three() {
    let scene = Scene::new("freeze");
    record_a_freeze(&scene);

    let same = scene.replayed(&[], 0);
    assert_eq!(verdicts(&same, "recorded"), ["up", "down", "up"]);
    assert_eq!(verdicts(&same, "other"), ["up", "down", "up"]);
    for key in ["down_later_ms", "up_later_ms"] {
        let later = same[key].as_f64().expect("both went down and up");
        assert!(later.abs() <= GRANULARITY_MS, "{same:#}");
    }
    assert_eq!(
        (&same["recorded"]["flaps"], &same["other"]["flaps"]),
        (&1.into(), &1.into())
    );

    let spared = scene.replayed(&["--fall", "3"], 1);
    assert_eq!(verdicts(&spared, "recorded"), ["up", "down", "up"]);
    assert_eq!(verdicts(&spared, "other"), ["up"]);
    assert_eq!(spared["other"]["flaps"], 0);
    assert!(spared["recorded"]["down_ms"].as_f64() > Some(0.0));

    let number = scene.port.number();
    let other = ConfigFile::new(&format!(
        "[defaults]\nfall = 3\n{PACE}[backend.orders]\nurl = \"mysql://vitals@127.0.0.1:{number}\"\n"
    ));
    let file = other.path.to_str().expect("a path of ours");
    assert_eq!(verdicts(&scene.replayed(&["-c", file], 1), "other"), ["up"]);

    let page = scene.replay(&["--fall", "3"]);
    assert_eq!(page.code, 1);
    for words in [
        "fall 2 → 3",
        "as recorded",
        "down (unresponsive)",
        "never down",
        "down once",
    ] {
        assert!(page.stdout.contains(words), "{words:?} in\n{}", page.stdout);
    }
}

#[test]
fn crashes_and_returns_replayed_are_the_same_under_the_same_pace() {
    let scene = Scene::new("crash");
    let mut server = scene.server();
    let agent = scene.agent();
    agent.wait_for_verdict("orders", "up");
    for round in 1..=3 {
        // What happens within a pace of a change is more than a record can tell.
        wait_for_passes(&agent);
        drop(server);
        agent.wait_for_verdict("orders", "down");
        server = scene.server();
        agent.wait_for_verdict("orders", "up");
        wait_for_passes(&agent);
        // A session that is ended while a fresh one works is no outage.
        server.end_sessions();
        let is_told = || agent.log().matches("a held session was lost").count() >= round;
        assert!(eventually(PATIENCE, is_told), "{}", agent.log());
    }
    end(agent);
    let same = scene.replayed(&[], 0);
    let expected = ["up", "down", "up", "down", "up", "down", "up"];
    assert_eq!(verdicts(&same, "other"), expected, "{same:#}");
    assert_eq!(same["transitions"][1]["other"]["cause"], "refused");
}

#[test]
fn reloads_under_way_are_replayed_too_backend_by_backend() {
    let scene = Scene::new("reloads");
    let server = scene.server();
    let passing = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = passing.local_addr().expect("a listener has an address");
    let text = fs::read_to_string(&scene.config.path).expect("it is there");
    let strict = text.replace("[defaults]\n", "[defaults]\nfall = 3\n");
    // In the order of names, lest each place is somebody else's after the reload.
    let with = |text: &str| format!("{text}[backend.a]\nurl = \"tcp://{address}\"\n");

    scene.config.write(&with(&text));
    let agent = scene.agent();
    for name in ["orders", "a"] {
        agent.wait_for_verdict(name, "up");
    }
    wait_for_passes(&agent);
    scene.config.write(&strict);
    agent.signal(Signal::HUP);
    agent.wait_for_log("1 backends kept, 0 changed, 0 added, 1 removed");
    wait_for_passes(&agent);
    drop(server);
    agent.wait_for_verdict("orders", "down");
    let _server = scene.server();
    agent.wait_for_verdict("orders", "up");
    scene.config.write(&with(&strict));
    agent.signal(Signal::HUP);
    agent.wait_for_log("1 backends kept, 0 changed, 1 added, 0 removed");
    agent.wait_for_verdict("a", "up");
    wait_for_passes(&agent);
    end(agent);

    let run = scene.replay(&["--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let document: Value = serde_json::from_str(&run.stdout).expect("one document");
    let backends = document["backends"].as_array().expect("a list");
    let seen = |name: &str| {
        let named = backends.iter().filter(move |it| it["name"] == name);
        let reloads = |it: &Value| it["reloads"].as_array().map(Vec::len);
        let told = named.map(|it| (verdicts(it, "recorded"), verdicts(it, "other"), reloads(it)));
        told.collect::<Vec<_>>()
    };
    let course = vec!["up", "down", "up"];
    assert_eq!(seen("orders"), [(course.clone(), course, Some(1))]);
    // Who went and came back was seen twice, for a while each.
    let up = (vec!["up"], vec!["up"], Some(0));
    assert_eq!(seen("a"), [up.clone(), up]);

    // The file that is in force now knows both by their names.
    let file = scene.config.path.to_str().expect("a path of ours");
    let run = scene.replay(&["-c", file]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("reloaded: "), "{}", run.stdout);
    scene.config.write(&text);
    let run = scene.replay(&["-c", file]);
    assert_eq!(run.code, 0, "{run:?}");
    let left_out = "\"a\" was recorded, and is not in the other configuration";
    assert!(run.stderr.contains(left_out), "{}", run.stderr);
}

#[test]
fn an_agent_that_was_stopped_is_no_outage_in_its_replay_either() {
    let scene = Scene::new("stopped");
    let _server = scene.server();
    let agent = scene.agent();
    agent.wait_for_verdict("orders", "up");
    for _ in 0..3 {
        agent.signal(Signal::STOP);
        // The scenario itself, nothing that is waited for.
        std::thread::sleep(Duration::from_millis(900));
        agent.signal(Signal::CONT);
        wait_for_passes(&agent);
    }
    end(agent);
    let text = fs::read_to_string(&scene.record).expect("the record is there");
    assert!(text.contains("\"n\":0,\"l\":"), "no lateness in {text}");
    let same = scene.replayed(&[], 0);
    assert_eq!(verdicts(&same, "other"), ["up"], "{same:#}");
}

#[test]
fn a_torn_last_line_is_told_and_the_rest_counts() {
    let scene = Scene::new("torn");
    record_a_freeze(&scene);
    let mut file = File::options()
        .append(true)
        .open(&scene.record)
        .expect("the record is there");
    file.write_all(b"{\"t\":99,\"b\":0,\"p\"")
        .expect("it can be written");
    let run = scene.replay(&["--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stderr.contains("the last line is torn"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_is_no_record_or_of_another_schema_is_refused() {
    let scene = Scene::new("refused");
    for (text, words) in [
        (None, "cannot read the record"),
        (Some(""), "is empty"),
        (Some("hello\n"), "is no record"),
        (
            Some("{\"schema\":\"dbvitals.record.v9\"}\n"),
            "replay it with the version that wrote it",
        ),
        (
            Some("{\"schema\":\"dbvitals.record.v1\"}\n"),
            "missing field",
        ),
    ] {
        if let Some(text) = text {
            fs::write(&scene.record, text).expect("it can be written");
        }
        let run = scene.replay(&[]);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        assert!(run.stderr.contains(words), "{words:?} in {}", run.stderr);
    }
}

#[test]
fn a_disk_that_is_full_is_said_once_and_survived() {
    let scene = Scene::new("full");
    let _server = scene.server();
    let mut command = scene.config.serve();
    command.args(["--record", "/dev/full"]);
    let agent = Agent::start(command);
    agent.wait_for_verdict("orders", "up");
    agent.wait_for_log("the record cannot be written");
    wait_for_passes(&agent);
    assert_eq!(
        agent.log().matches("the record cannot be written;").count(),
        1
    );
    end(agent);
}

#[test]
fn a_record_that_cannot_be_made_is_refused_at_the_start() {
    let run = Run::of(&mut dbvitals(&[
        "serve",
        "--http",
        "off",
        "--record",
        "/nowhere/record",
        "tcp://127.0.0.1:9",
    ]));
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.stderr.contains("cannot record into /nowhere/record"),
        "{}",
        run.stderr
    );
}
