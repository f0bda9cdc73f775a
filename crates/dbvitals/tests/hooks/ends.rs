//! Programs that do not behave: each is ended with all that it started, and no probe is late.

use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::process::Signal;

use crate::service::Service;
use crate::{Desk, PATIENCE, agent_with, children, descriptors, hook, is_running, probes, told_of};

/// How late the event loops may be while a program misbehaves, on a busy machine too: half of what
/// would make a probe's timeout count for nothing.
const LAG_MAX: f64 = 0.5;

/// Runs a misbehaving program to its end, and expects that probes went on meanwhile.
fn expect_no_harm(script: &str, more: &str, outcome: &str) -> (Desk, String) {
    let desk = Desk::new();
    let program = desk.script("program", script);
    let mut service = Service::start();
    let agent = agent_with(&service, &hook("bad", "\"down\"", &[&program], more));
    let before = (descriptors(&agent), children(&agent));
    assert_eq!(before.1, 0, "no child before the first hook");
    service.stop();
    let mut lag_max = 0.0_f64;
    let (mut probed, mut stood_still) = (probes(&agent), 0);
    let ended = eventually(PATIENCE, || {
        // Ten intervals without a probe are no matter of a busy machine any more.
        std::thread::sleep(Duration::from_millis(500));
        let now = probes(&agent);
        stood_still += u32::from(now <= probed);
        probed = now;
        lag_max = lag_max.max(agent.metric("dbvitals_agent_loop_lag_seconds"));
        !told_of(&agent, "bad")["last"].is_null()
    });
    assert!(ended, "{}", agent.log());
    let last = told_of(&agent, "bad")["last"].clone();
    assert_eq!(last["outcome"], outcome, "{last}");
    assert_eq!(stood_still, 0, "probes stood still");
    assert!(lag_max < LAG_MAX, "an event loop was {lag_max} s late");
    assert_eq!(agent.metric("dbvitals_agent_stalls_total"), 0.0);

    service.start_again();
    agent.wait_for_verdict("web", "up");
    agent.expect_verdicts(&["up", "down", "up"]);
    let cleared = eventually(PATIENCE, || {
        (descriptors(&agent), children(&agent)) <= before
    });
    assert!(
        cleared,
        "{} and {} left",
        descriptors(&agent),
        children(&agent)
    );
    let log = agent.log();
    assert_eq!(log.matches("the hook ").count(), 1, "{log}");
    assert!(log.len() < 64 * 1024, "{} bytes of log", log.len());
    (desk, log)
}

#[test]
fn a_program_that_hangs_and_hears_no_signal_is_killed_with_its_children() {
    let script = "trap '' TERM\n\
        sh -c 'trap \"\" TERM; echo $$ >>@/pids; while :; do sleep 1; done' &\n\
        (trap '' TERM; sleep 600 & echo $! >>@/pids; wait) &\n\
        echo $$ >>@/pids\n\
        while :; do sleep 1; done";
    let (desk, log) = expect_no_harm(script, "timeout = \"300ms\"", "timeout");
    let pids = desk.pids("pids");
    assert_eq!(pids.len(), 3, "{pids:?}");
    let gone = eventually(PATIENCE, || !pids.iter().any(|pid| is_running(*pid)));
    assert!(gone, "{pids:?}");
    assert!(log.contains("it took too long and was ended"), "{log}");
}

#[test]
fn a_program_that_hears_term_can_clean_up() {
    let script = "trap 'echo cleaned up; exit 0' TERM\nwhile :; do sleep 0.05; done";
    let (_, log) = expect_no_harm(script, "timeout = \"300ms\"", "timeout");
    assert!(log.contains("cleaned up"), "{log}");
}

#[test]
fn children_that_a_program_leaves_behind_are_ended_with_it() {
    let script =
        "sleep 600 &\necho $! >>@/pids\n(sleep 600 >/dev/null 2>&1 </dev/null & echo $! >>@/pids)";
    let (desk, _) = expect_no_harm(script, "", "ok");
    let pids = desk.pids("pids");
    assert_eq!(pids.len(), 2, "{pids:?}");
    let gone = eventually(PATIENCE, || !pids.iter().any(|pid| is_running(*pid)));
    assert!(gone, "{pids:?}");
}

#[test]
fn a_program_that_leaves_its_group_holds_nobody_up() {
    let script = "setsid sleep 600 &\necho $! >>@/pids";
    let (desk, _) = expect_no_harm(script, "", "ok");
    for pid in desk.pids("pids") {
        // It was meant to stay, and setsid may have made another process of it.
        let pid = i32::try_from(pid).expect("a number of a process");
        let pid = rustix::process::Pid::from_raw(pid).expect("a number of a process");
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[test]
fn a_program_that_prints_a_gibibyte_is_read_to_its_end_and_hardly_logged() {
    let script = "head -c 536870912 /dev/zero\nhead -c 536870912 /dev/zero >&2";
    let (_, log) = expect_no_harm(script, "", "ok");
    let thrown_away = (1_u64 << 30) - 2 * 4096;
    assert!(
        log.contains(&format!("thrown_away={thrown_away}")),
        "no {thrown_away} in the log"
    );
}

#[test]
fn a_program_that_does_not_read_or_closes_everything_is_not_waited_for() {
    expect_no_harm("exec sleep 0.2 <&- >&- 2>&-", "", "ok");
    expect_no_harm("exec sleep 0.2", "", "ok");
}

#[test]
fn a_stopped_program_is_ended_too() {
    expect_no_harm("kill -STOP $$", "timeout = \"300ms\"", "timeout");
}
