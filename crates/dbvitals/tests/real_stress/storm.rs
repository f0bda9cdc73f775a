//! A fleet fails within one second and comes back within one: every verdict in time, no storm of
//! logins, and HTTP answered throughout.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use dbvitals_testkit::ScriptedFleet;
use dbvitals_verdict::{Course, Depth, Plan};
use jiff::Timestamp;

use crate::number;
use crate::site::{Asker, FLEETS, Reached, Site};

const BACKENDS: u64 = 1000;
/// What a verdict may take beyond its bound when everything fails at once.
const GRACE: Duration = Duration::from_secs(1);
/// What a time that is told to the millisecond, and a thread that looks now and then, may add.
const SLACK: Duration = Duration::from_millis(50);

fn plan() -> Plan {
    Plan::new(Course::Session { depth: Depth::Ping })
}

fn site() -> Site {
    let backends = number("DBVITALS_STRESS_BACKENDS").unwrap_or(BACKENDS);
    Site::start(backends as usize, "")
}

#[test]
fn a_fleet_that_crashes_and_returns_is_told_in_time_without_a_storm() {
    let mut site = site();
    let asker = Asker::start(&site.agent);
    let failed = site.within_a_second(ScriptedFleet::crash);
    thread::sleep(Duration::from_secs(3));
    let down = site.wait_for_all("down");
    expect_in_time("crash", &failed, &down, plan().crash_bound() + GRACE);
    expect_a_quiet_return(&mut site, ScriptedFleet::come_back);
    expect_answers(asker);
}

#[test]
fn a_fleet_that_freezes_and_thaws_is_told_in_time_without_a_storm() {
    let mut site = site();
    let asker = Asker::start(&site.agent);
    let failed = site.within_a_second(|fleet| fleet.freeze());
    thread::sleep(Duration::from_secs(4));
    let down = site.wait_for_all("down");
    expect_in_time("freeze", &failed, &down, plan().freeze_bound() + GRACE);
    expect_a_quiet_return(&mut site, |fleet| fleet.thaw());
    expect_answers(asker);
}

/// The fleet comes back, and nobody is logged in to more often than is promised.
fn expect_a_quiet_return(site: &mut Site, come_back: impl Fn(&mut ScriptedFleet)) {
    let before: Vec<_> = site.fleets.iter().map(ScriptedFleet::logins).collect();
    let begun = site.now();
    let returned = site.within_a_second(come_back);
    site.count_logins_for(Duration::from_secs(3));
    let busiest = site.busiest_second();
    let up = site.wait_for_all("up");
    let plan = plan();
    expect_in_time("return", &returned, &up, plan.recovery_bound() + GRACE);
    let backends = site.backends as f64;
    // One to tell that it is down, those of `down_interval`, and those of every day.
    let while_down = 1.0 / (plan.down_interval.as_secs_f64() * 0.95);
    let each = 1.0 + while_down + plan.logins_per_second();
    let per_second = (backends * each).max(2.0 * 1000.0);
    println!("  {busiest} logins in the busiest second, {per_second:.0} allowed");
    assert!(
        busiest as f64 <= per_second * 1.2 + 2.0,
        "a storm of {busiest} logins"
    );
    let seconds = site.now().duration_since(begun).as_secs_f64();
    let each = f64::from(plan.logins_at_once()) + seconds / plan.login_spacing().as_secs_f64();
    for (fleet, before) in site.fleets.iter().zip(before) {
        for (now, before) in fleet.logins().into_iter().zip(before) {
            assert!(
                f64::from(now - before) <= each,
                "{} logins of one",
                now - before
            );
        }
    }
}

/// Each server's verdict came within `bound` of what happened to its fleet.
fn expect_in_time(
    what: &str,
    happened: &[Timestamp],
    reached: &BTreeMap<String, Reached>,
    bound: Duration,
) {
    let mut took: Vec<_> = (0..FLEETS)
        .flat_map(|fleet| {
            let prefix = format!("f{fleet}-");
            let own = reached
                .iter()
                .filter(move |(name, _)| name.starts_with(&prefix));
            own.map(move |(_, (_, since))| since.duration_since(happened[fleet]).as_secs_f64())
        })
        .collect();
    took.sort_by(f64::total_cmp);
    let (median, last) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{what} of {}: median {median:.3} s, last {last:.3} s, promised {:.3} s",
        took.len(),
        bound.as_secs_f64()
    );
    assert!(last <= (bound + SLACK).as_secs_f64(), "{what}: {last} s");
}

/// HTTP was answered all the time, within what a client waits.
fn expect_answers(asker: Asker) {
    let took = asker.end();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    println!(
        "  /health {} times: p50 {:?}, p99 {:?}, max {:?}",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(
        at(100) < Duration::from_secs(2),
        "/health took {:?}",
        at(100)
    );
}
