//! `/metrics` beyond its form: histograms, the agent's own vitals, and what a scrape of many
//! backends costs.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[path = "support/exposition.rs"]
mod exposition;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/service.rs"]
mod service;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::eventually;

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::service::Service;

fn scrape(agent: &Agent) -> BTreeMap<String, f64> {
    exposition::read(&agent.request("GET", "/metrics").body)
}

/// The buckets of a histogram in their order, the last one without a bound.
fn buckets(samples: &BTreeMap<String, f64>, metric: &str, label: &str) -> Vec<f64> {
    let prefix = format!("{metric}_bucket{{{label},le=\"");
    let of_it = samples
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix(&prefix)?, count)));
    let bound = |rest: &str| rest.trim_end_matches("\"}").replace('+', "").parse::<f64>();
    let mut buckets: Vec<_> = of_it
        .map(|(rest, count)| (bound(rest).expect("a bound is a number"), *count))
        .collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert!(
        buckets.last().is_some_and(|(bound, _)| bound.is_infinite()),
        "{buckets:?}"
    );
    buckets.into_iter().map(|(_, count)| count).collect()
}

#[test]
fn latencies_are_a_histogram_of_all_and_of_each_backend_where_that_is_asked_for() {
    let (one, two) = (Service::start(), Service::start());
    let text = |more: &str| {
        format!(
            "{more}[defaults]\ninterval = \"50ms\"\n\
             [backend.one]\nurl = \"{}\"\n[backend.two]\nurl = \"{}\"\n",
            one.url(),
            two.url()
        )
    };
    let config = ConfigFile::new(&text(""));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("one", "up");
    agent.wait_for_verdict("two", "up");
    let (all, each) = (
        "dbvitals_probe_duration_seconds",
        "dbvitals_backend_probe_duration_seconds",
    );
    let samples = scrape(&agent);
    let buckets_of_all = buckets(&samples, all, "service=\"\"");
    assert_eq!(buckets_of_all.len(), 15);
    assert!(buckets_of_all.is_sorted(), "{buckets_of_all:?}");
    let count = samples[&format!("{all}_count{{service=\"\"}}")];
    assert_eq!(buckets_of_all.last(), Some(&count));
    assert!(count >= 4.0, "{count}");
    assert!(samples[&format!("{all}_sum{{service=\"\"}}")] > 0.0);
    assert!(samples[&format!("{each}_count{{backend=\"one\"}}")] >= 2.0);
    let of_backends = format!("{each}_bucket");
    assert!(!samples.keys().any(|name| name.starts_with(&of_backends)));

    // A reload changes what is told, and nothing that was counted.
    config.write(&text("[agent]\nhistograms = \"backend\"\n"));
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for_log("the configuration is reloaded");
    let samples = scrape(&agent);
    assert!(samples[&format!("{all}_count{{service=\"\"}}")] >= count);
    let of_one = buckets(&samples, each, "backend=\"one\"");
    assert_eq!(of_one.len(), 15);
    assert_eq!(
        of_one.last(),
        samples.get(&format!("{each}_count{{backend=\"one\"}}"))
    );
}

#[test]
fn each_service_has_the_probes_of_its_backends_whoever_shares_them() {
    let (one, two, three) = (Service::start(), Service::start(), Service::start());
    let backends = [("one", &one), ("two", &two), ("three", &three)]
        .map(|(name, service)| format!("[backend.{name}]\nurl = \"{}\"\n", service.url()));
    let text = |services: &str| {
        format!(
            "[defaults]\ninterval = \"20ms\"\n{}{services}",
            backends.concat()
        )
    };
    let config = ConfigFile::new(&text(
        "[service.a]\nbackends = [\"one\", \"two\"]\n[service.b]\nbackends = [\"two\"]\n",
    ));
    let agent = Agent::start(config.serve());
    let count = |samples: &BTreeMap<String, f64>, service: &str| {
        let name = format!("dbvitals_probe_duration_seconds_count{{service=\"{service}\"}}");
        samples.get(&name).copied()
    };
    let enough = |service: &str| count(&scrape(&agent), service).is_some_and(|it| it >= 10.0);
    for service in ["a", "b", ""] {
        assert!(eventually(PATIENCE, || enough(service)), "{service:?}");
    }
    let before = scrape(&agent);
    assert!(count(&before, "a") > count(&before, "b"));

    // Every backend has a service now, and b counts on although it has got another one.
    config.write(&text(
        "[service.a]\nbackends = [\"one\", \"three\"]\n[service.b]\nbackends = [\"three\"]\n[service.c]\nbackends = [\"two\"]\n",
    ));
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for_log("the configuration is reloaded");
    let after = scrape(&agent);
    assert_eq!(count(&after, ""), None);
    assert!(count(&after, "a") >= count(&before, "a"));
    assert!(count(&after, "b") >= count(&before, "b"));
    let counted_by_two = after["dbvitals_backend_probe_duration_seconds_count{backend=\"two\"}"];
    assert!(count(&after, "c").is_some_and(|it| it < counted_by_two));
}

#[test]
fn a_backend_that_is_removed_takes_nothing_away_from_what_was_counted() {
    let (stays, goes) = (Service::start(), Service::start());
    let stays = format!("[backend.stays]\nurl = \"{}\"\n", stays.url());
    let goes = format!("[backend.goes]\nurl = \"{}\"\n", goes.url());
    let quick = "[defaults]\ninterval = \"20ms\"\n";
    let config = ConfigFile::new(&format!("{quick}{stays}{goes}"));
    let agent = Agent::start(config.serve());
    let count = || scrape(&agent)["dbvitals_probe_duration_seconds_count{service=\"\"}"];
    assert!(eventually(PATIENCE, || count() >= 20.0));
    let before = count();
    config.write(&format!("{quick}{stays}"));
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for_log("1 removed");
    let after = count();
    assert!(after >= before, "{after} after {before}");
    assert!(eventually(PATIENCE, || count() > after));
}

#[test]
fn the_agent_tells_its_own_vitals() {
    let agent = Agent::start(serve(["db=tcp://127.0.0.1:1"]));
    let samples = scrape(&agent);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        samples[&format!("dbvitals_build_info{{version=\"{version}\"}}")],
        1.0
    );
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid()))
        .expect("it runs")
        .count();
    let told = samples["process_open_fds"];
    // The connection of this scrape is gone, or not yet.
    assert!(
        (told - open as f64).abs() <= 2.0,
        "{told}, and there are {open}"
    );
    assert!(samples["process_max_fds"] >= told);
    let memory = samples["process_resident_memory_bytes"];
    assert!((1e6..1e9).contains(&memory), "{memory}");
    assert!(samples["process_cpu_seconds_total"] > 0.0);
    let started = samples["process_start_time_seconds"];
    let now = Clock::start().wall(dbvitals_verdict::Moment::ORIGIN);
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is later than 1970");
    let now = now.as_secs_f64();
    assert!(
        (now - 60.0..=now + 1.0).contains(&started),
        "{started}, now {now}"
    );
}

/// What a scrape of a thousand backends may cost.
const SCRAPE_MAX: Duration = Duration::from_millis(50);
const BACKENDS: usize = 1000;
const SCRAPES: usize = 9;

#[test]
fn a_scrape_of_a_thousand_backends_costs_less_than_promised() {
    // Nobody listens there: every backend has a verdict, a cause, and failures by cause.
    let mut text = String::from(
        "[defaults]\ninterval = \"60s\"\ndown_interval = \"60s\"\nfast_interval = \"20ms\"\n\
         stale_after = \"300s\"\n",
    );
    for number in 0..BACKENDS {
        let (high, low) = (number / 250, number % 250 + 1);
        let _ = writeln!(
            text,
            "[backend.db-{number:04}]\nurl = \"tcp://127.1.{high}.{low}:1\""
        );
    }
    let config = ConfigFile::new(&text);
    let agent = Agent::start(config.serve());
    let down = || {
        let samples = agent.request("GET", "/metrics").body;
        samples.matches("verdict=\"down\"} 1").count()
    };
    assert!(
        eventually(PATIENCE, || down() == BACKENDS),
        "{} are down",
        down()
    );
    let clock = Clock::start();
    let mut costs = Vec::new();
    for _ in 0..SCRAPES {
        let (before, began) = (processor_time(&agent), clock.now());
        let body = agent.request("GET", "/metrics").body;
        let took = clock.now().since(began);
        let cost = processor_time(&agent).saturating_sub(before);
        costs.push((cost, took, body.len()));
    }
    costs.sort();
    let (cost, took, bytes) = costs[SCRAPES / 2];
    println!(
        "a scrape of {BACKENDS} backends: {cost:?} of processor time, {took:?} in all, {bytes} bytes"
    );
    // Processor time, because others may use the machine, too.
    assert!(cost > Duration::ZERO && cost <= SCRAPE_MAX, "{costs:?}");
}

/// What the agent's threads used so far, to the nanosecond.
fn processor_time(agent: &Agent) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).expect("it runs");
    let nanos = tasks.flatten().filter_map(|task| {
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
