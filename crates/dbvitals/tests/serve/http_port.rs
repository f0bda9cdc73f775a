//! The HTTP port: `/health`, the agent's own state, `/metrics`, and no port at all.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dbvitals_testkit::{Port, eventually};

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::{QUICK, Service, exposition};

/// The fields of a health answer, in the order of the documentation.
const FIELDS: [&str; 11] = [
    "schema",
    "name",
    "verdict",
    "class",
    "cause",
    "since",
    "evidence_age_ms",
    "role",
    "admin",
    "detail",
    "warning",
];

fn target(service: &Service) -> String {
    format!("web={}", service.url())
}

#[test]
fn health_is_asked_with_get_head_or_options() {
    let service = Service::start();
    let agent = Agent::start(serve([target(&service)]));
    agent.wait_for_verdict("web", "up");
    for method in ["GET", "HEAD", "OPTIONS"] {
        let answer = agent.request(method, "/health/web");
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("X-Admin-State"), Some("ready"), "{method}");
        assert_eq!(
            answer.header("Content-Type"),
            Some("application/json"),
            "{method}"
        );
        let age = answer.header("X-Evidence-Age-Ms").expect(method);
        assert!(age.parse::<u64>().unwrap() < 5000, "{method}: {age}");
        assert_eq!(
            answer.body.is_empty(),
            method == "HEAD",
            "{method}: {}",
            answer.body
        );
    }
}

#[test]
fn health_tells_its_fields_in_their_order_whatever_the_status() {
    let mut service = Service::start();
    let agent = Agent::start(serve([target(&service)]));
    agent.wait_for_verdict("web", "up");
    let healthy = agent.request("GET", "/health/web");
    service.stop();
    agent.wait_for_verdict("web", "down");
    let dead = agent.request("GET", "/health/web");
    assert_eq!((healthy.status, dead.status), (200, 503));
    for body in [&healthy.body, &dead.body] {
        let places = FIELDS.map(|field| body.find(&format!("\"{field}\":")).expect(field));
        assert!(places.is_sorted(), "{body}");
    }
    let dead: serde_json::Value = serde_json::from_str(&dead.body).unwrap();
    assert_eq!(dead["class"], "dead");
    assert_eq!(dead["cause"], "refused");
    assert_eq!(dead["detail"], "Connection refused");
    let since = dead["since"].as_str().unwrap();
    assert!(since.starts_with("20") && since.ends_with('Z'), "{since}");
}

#[test]
fn the_api_tells_what_each_path_saw() {
    let mut service = Service::start();
    let agent = Agent::start(serve([target(&service)]));
    agent.wait_for_verdict("web", "up");
    let ask = |path: &str| -> serde_json::Value {
        let answer = agent.request("GET", path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("an answer is JSON")
    };
    let all = ask("/api/v1/backends");
    assert_eq!(all["schema"], "dbvitals.backends.v1");
    assert_eq!(all["backends"].as_array().map(Vec::len), Some(1));
    let one = ask("/api/v1/backends/web");
    let web = &one["backends"][0];
    assert_eq!(
        (&web["name"], &web["verdict"]),
        (&"web".into(), &"up".into())
    );
    assert_eq!(web["fresh"]["outcome"], "pass");
    assert_eq!(web["fresh"]["phases"][0]["phase"], "connect");
    assert!(web["held"].is_null() && web["warning"].is_null(), "{web}");
    service.stop();
    agent.wait_for_verdict("web", "down");
    let web = &ask("/api/v1/backends/web")["backends"][0];
    assert_eq!(web["fresh"]["cause"], "refused");
    assert_eq!(web["fresh"]["class"], "dead");
    assert_eq!(agent.request("GET", "/api/v1/backends/wbe").status, 404);
}

#[test]
fn before_any_evidence_health_is_unavailable_and_has_no_age() {
    // A server that never speaks: the first probe ends by its timeout, a second from the start.
    let silent = dbvitals_testkit::ScriptedServer::start(dbvitals_testkit::Script::Silent);
    let agent = Agent::start(serve([format!("db=postgres://u@{}", silent.address())]));
    let answer = agent.request("GET", "/health/db");
    let ready = agent.request("GET", "/readiness");
    let health: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &health["verdict"]),
        (503, &"unknown".into())
    );
    assert!(health["evidence_age_ms"].is_null(), "{health}");
    assert_eq!(answer.header("X-Evidence-Age-Ms"), None);
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert!(eventually(PATIENCE, || agent
        .request("GET", "/readiness")
        .status
        == 200));
    assert_eq!(
        agent.wait_for_verdict("db", "down").1["cause"],
        "no_greeting"
    );
}

#[test]
fn what_is_not_known_is_not_answered_as_if_it_were_fit() {
    let service = Service::start();
    let agent = Agent::start(serve([target(&service)]));
    agent.wait_for_verdict("web", "up");
    let check = |path: &str, status: u16, part: &str| {
        let answer = agent.request("GET", path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
    };
    check("/health/wbe", 404, "known are web");
    check("/health/web?fresch=true", 400, "fresch");
    check("/health/web?want=primary&want=any", 400, "given twice");
    check("/health?of=web&of=other", 400, "given twice");
    check("/api/v1/transitions?max=1&max=2", 400, "given twice");
    check("/nowhere", 404, "/health/NAME");
    check("/dashboard", 404, "/metrics");
    assert_eq!(agent.request("POST", "/health/web").status, 405);
}

#[test]
fn the_agent_tells_of_its_own_life_and_readiness() {
    let service = Service::start();
    let agent = Agent::start(serve([target(&service)]));
    agent.wait_for_verdict("web", "up");
    for path in ["/liveness", "/readiness"] {
        assert_eq!(agent.request("GET", path).status, 200, "{path}");
        assert_eq!(agent.request("HEAD", path).status, 200, "{path}");
        assert_eq!(agent.request("OPTIONS", path).status, 200, "{path}");
    }
}

/// What comes back for these bytes, as far as the agent says it and closes.
fn converse(agent: &Agent, words: &str) -> String {
    let mut stream = TcpStream::connect(agent.http()).expect("the HTTP port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(words.as_bytes())
        .expect("the kernel takes it");
    let mut heard = String::new();
    stream
        .read_to_string(&mut heard)
        .expect("an answer and an end");
    heard
}

#[test]
fn the_checks_of_balancers_are_answered_as_they_ask() {
    let service = Service::start();
    let agent = Agent::start(serve([target(&service)]));
    agent.wait_for_verdict("web", "up");
    // HAProxy's `option httpchk`: HTTP/1.0, no field at all, and the end is that of the connection.
    for method in ["OPTIONS", "GET", "HEAD"] {
        let heard = converse(&agent, &format!("{method} /health/web HTTP/1.0\r\n\r\n"));
        assert!(heard.starts_with("HTTP/1.0 200 OK\r\n"), "{heard}");
        assert!(heard.contains("content-length: "), "{heard}");
    }
    // The same connection for three questions, sent at once.
    let field = "Host: db-a\r\n";
    let heard = converse(
        &agent,
        &format!(
            "GET /health/web HTTP/1.1\r\n{field}\r\nHEAD /health/nobody HTTP/1.1\r\n{field}\r\n\
             GET /liveness HTTP/1.1\r\n{field}Connection: close\r\n\r\n"
        ),
    );
    let codes: Vec<_> = heard
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|it| &it[..3])
        .collect();
    assert_eq!(codes, ["200", "404", "200"], "{heard}");
    assert!(heard.ends_with("alive\n"), "{heard}");
    // A proxy's form of a path, and a client that knows of no carriage returns.
    let heard = converse(
        &agent,
        "GET http://db-a/health/web HTTP/1.1\nHost: a\nConnection: close\n\n",
    );
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
}

#[test]
fn what_is_no_http_is_refused() {
    let service = Service::start();
    let agent = Agent::start(serve([target(&service)]));
    for words in [
        "rubbish\r\n\r\n",
        "GET /liveness\r\n\r\n",
        "GET /liveness HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST /api/v1/reload HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /api/v1/reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01",
    ] {
        let heard = converse(&agent, words);
        assert!(heard.starts_with("HTTP/1.1 400 "), "{words:?}: {heard}");
        assert!(heard.contains("connection: close"), "{words:?}: {heard}");
    }
    assert_eq!(agent.request("GET", "/liveness").status, 200);
}

#[test]
fn a_name_may_have_any_character() {
    let service = Service::start();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.'a/b c%?ä']\nurl = \"{}\"\n",
        service.url()
    ));
    let agent = Agent::start(config.serve());
    let coded = "a%2Fb%20c%25%3F%C3%A4";
    agent.wait_for_verdict(coded, "up");
    for path in [
        format!("/health?of={coded}"),
        "/health?of=a/b+c%25?%c3%a4".to_owned(),
        format!("/api/v1/backends/{coded}"),
        format!("/api/v1/transitions?of={coded}"),
    ] {
        let answer = agent.request("GET", &path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(
            answer.body.contains("\"a/b c%?ä\""),
            "{path}: {}",
            answer.body
        );
    }
    for path in [
        "/health/%ff",
        "/health/%zz",
        "/health/%",
        "/health/a%00b",
        "/health?of=%ff",
    ] {
        let status = agent.request("GET", path).status;
        assert!(status == 400 || status == 404, "{path}: {status}");
    }
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let (up, down) = (Service::start(), Service::absent());
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.up]\nurl = \"{}\"\n[backend.'a \"b\" \\']\nurl = \"{}\"\n",
        up.url(),
        down.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("up", "up");
    agent.wait_for_verdict("a%20%22b%22%20%5C", "down");
    let answer = agent.request("GET", "/metrics");
    assert_eq!(
        answer.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );

    let samples = exposition::read(&answer.body);
    for (backend, holds) in [("up", "up"), (r#"a \"b\" \\"#, "down")] {
        for verdict in ["unknown", "up", "degraded", "down"] {
            let sample =
                format!("dbvitals_backend_verdict{{backend=\"{backend}\",verdict=\"{verdict}\"}}");
            let expected = f64::from(u8::from(verdict == holds));
            assert_eq!(samples.get(&sample), Some(&expected), "{sample}");
        }
        let age = format!("dbvitals_evidence_age_seconds{{backend=\"{backend}\"}}");
        assert!(samples[&age] < 5.0, "{age}");
        let changes = format!("dbvitals_transitions_total{{backend=\"{backend}\",to=\"{holds}\"}}");
        assert_eq!(samples[&changes], 1.0, "{changes}");
    }
    let passes = r#"dbvitals_probe_total{backend="up",outcome="pass",cause=""}"#;
    assert!(samples[passes] >= 2.0);
    let failures = r#"dbvitals_probe_total{backend="a \"b\" \\",outcome="fail",cause="refused"}"#;
    assert!(samples[failures] >= 2.0);
    let durations = r#"dbvitals_backend_probe_duration_seconds_count{backend="up"}"#;
    assert!(samples[durations] >= 2.0);
    assert!(samples["dbvitals_agent_loop_lag_seconds"] < 5.0);
}

#[test]
fn counters_never_go_down() {
    let service = Service::start();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.web]\nurl = \"{}\"\n",
        service.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let read = || exposition::read(&agent.request("GET", "/metrics").body);
    let mut last = read();
    let passes = r#"dbvitals_probe_total{backend="web",outcome="pass",cause=""}"#;
    let enough = last[passes] + 10.0;
    assert!(eventually(PATIENCE, || {
        let next = read();
        for (sample, value) in last.iter().filter(|(sample, _)| sample.contains("_total")) {
            assert!(next[sample] >= *value, "{sample}");
        }
        last = next;
        last[passes] >= enough
    }));
}

#[test]
fn without_http_nothing_listens() {
    let service = Service::start();
    let mut command = serve([target(&service)]);
    command.args(["--json", "--http", "off"]);
    let agent = Agent::spawn(command, Port::reserve());
    agent.expect_verdicts(&["up"]);
    assert_eq!(listening_inodes(&agent), 0);
}

/// How many sockets a process listens on.
fn listening_inodes(agent: &Agent) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs");
    let sockets: Vec<String> = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|target| {
            let target = target.to_str()?.strip_prefix("socket:[")?;
            target.strip_suffix(']').map(str::to_owned)
        })
        .collect();
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/net/{name}")));
    tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines().skip(1))
        .filter(|line| {
            let mut fields = line.split_whitespace().skip(3);
            let listens = fields.next() == Some("0A");
            listens
                && fields
                    .nth(5)
                    .is_some_and(|inode| sockets.iter().any(|it| it == inode))
        })
        .count()
}

#[test]
fn many_ask_at_once_and_none_waits_for_a_probe() {
    // The database takes a second to say nothing; the answers come from memory.
    let silent = dbvitals_testkit::ScriptedServer::start(dbvitals_testkit::Script::Silent);
    let agent = Agent::start(serve([format!("db=postgres://u@{}", silent.address())]));
    let clock = dbvitals_probe::Clock::start();
    let started = clock.now();
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..30)
            .map(|_| scope.spawn(|| (0..10).all(|_| agent.health("db").0 == 503)))
            .collect();
        assert!(askers.into_iter().all(|asker| asker.join().unwrap()));
    });
    // Thirty probes one after the other would have taken half a minute.
    assert!(clock.now().since(started) < Duration::from_secs(10));
    assert!(silent.accepted() <= 20, "{} probes", silent.accepted());
}
