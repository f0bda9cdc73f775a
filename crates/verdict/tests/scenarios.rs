//! Small stories about one server, each with its times, for people to read.
//!
//! `scenarios/stage.rs` plays the prober and the loop. Jitter shortens a pace by a twentieth at
//! most, so times are compared as bounds unless a probe's own start is known.

#[path = "scenarios/stage.rs"]
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Admin, Cause, Change, Class, Course, Depth, Moment, Outcome, Path, Plan, Role, Verdict,
};

use crate::stage::{FROZEN, MS, Reply, SECOND, SERVER, Stage, observe};

fn ping() -> Plan {
    Plan::new(Course::Session { depth: Depth::Ping })
}

fn connect_and_greet() -> Plan {
    Plan::new(Course::Sessionless {
        depth: Depth::Connect,
        deeper: Some(Depth::Greeting),
    })
}

// --- From the start ----------------------------------------------------------------------------

#[test]
fn nothing_is_up_before_rise_passes() {
    let mut stage = Stage::new(Plan { rise: 3, ..ping() });
    stage.play(SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Up]);
    let third = stage.starts[2].at + MS;
    assert_eq!(stage.announced(Verdict::Up), Some(third));
}

#[test]
fn a_password_rotated_before_the_start_leaves_a_server_degraded() {
    let mut stage = Stage::new(ping());
    stage.fresh = Reply::Fail(Cause::AccessDenied);
    stage.play(120 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    assert_eq!(stage.standing().evidence.class, Some(Class::Ours));
}

#[test]
fn a_way_that_this_machine_bars_proves_no_server() {
    let mut stage = Stage::new(ping());
    let start = stage.now;
    stage.play(Duration::ZERO);
    let outcome = Outcome::Fail(Cause::AccessDenied);
    let probe = Some(stage.starts[0].probe);
    stage.in_flight.clear();
    stage.hear(observe(Path::Fresh, probe, (start, start), outcome));
    assert_eq!(stage.verdicts(), []);
}

#[test]
fn a_name_that_cannot_be_resolved_leaves_a_server_unknown() {
    let mut stage = Stage::new(ping());
    stage.fresh = Reply::Fail(Cause::DnsFailed);
    stage.play(120 * SECOND);
    assert_eq!(stage.verdicts(), []);
    assert_eq!(stage.standing().evidence.cause, Some(Cause::DnsFailed));
}

// --- Crash and restart -------------------------------------------------------------------------

#[test]
fn a_crash_is_noticed_at_once_whatever_the_interval() {
    let mut stage = Stage::up(Plan {
        interval: 5 * SECOND,
        ..ping()
    });
    let crash = stage.now;
    stage.crash();
    stage.play(SECOND);
    assert_eq!(stage.announced(Verdict::Down), Some(crash + MS));
    assert_eq!(stage.standing().evidence.cause, Some(Cause::Refused));
}

#[test]
fn with_a_fall_of_five_a_crash_takes_three_confirming_probes_more() {
    let plan = Plan { fall: 5, ..ping() };
    assert_eq!(plan.crash_bound(), 15 * MS);
    let mut stage = Stage::up(plan.clone());
    let crash = stage.now;
    stage.crash();
    stage.play(SECOND);
    let down = stage.announced(Verdict::Down).unwrap();
    assert!(down <= crash + plan.crash_bound() + MS, "{down}");
    assert!(down > crash + plan.crash_bound() - 2 * MS, "{down}");
}

#[test]
fn a_restart_is_noticed_and_so_is_its_end() {
    let plan = ping();
    let mut stage = Stage::up(plan.clone());
    stage.crash();
    stage.play(3 * SECOND);
    stage.both(Reply::Pass);
    let back = stage.now;
    stage.play(5 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Down, Verdict::Up]);
    let up = stage.announced(Verdict::Up).unwrap();
    assert!(up <= back + plan.recovery_bound() + 2 * MS, "{up}");
}

#[test]
fn down_stays_explained_by_what_took_it_down() {
    let mut stage = Stage::up(ping());
    stage.crash();
    stage.play(SECOND);
    stage.fresh = Reply::Fail(Cause::DnsFailed);
    stage.play(5 * SECOND);
    let standing = stage.standing();
    assert_eq!(standing.verdict, Verdict::Down);
    assert_eq!(standing.evidence.cause, Some(Cause::Refused));
    assert_eq!(standing.evidence.class, Some(Class::Dead));
}

// --- Freeze ------------------------------------------------------------------------------------

#[test]
fn a_freeze_is_noticed_when_the_first_unanswered_ping_ends() {
    let mut stage = Stage::up(ping());
    let freeze = stage.now;
    stage.both(FROZEN);
    stage.play(10 * SECOND);
    let ping = stage.starts_on(Path::Held)[0];
    let beside = stage.starts_on(Path::Fresh)[0];
    assert_eq!(beside.at, ping.at + 20 * MS);
    assert_eq!(beside.deadline, ping.deadline);
    assert_eq!(stage.announced(Verdict::Down), Some(ping.at + SECOND));
    assert!(ping.at <= freeze + SECOND);
}

#[test]
fn with_a_fall_of_three_a_freeze_takes_one_timeout_more() {
    let plan = Plan { fall: 3, ..ping() };
    let mut stage = Stage::up(plan.clone());
    let freeze = stage.now;
    stage.both(FROZEN);
    stage.play(10 * SECOND);
    let ping = stage.starts_on(Path::Held)[0];
    assert_eq!(stage.announced(Verdict::Down), Some(ping.at + 2 * SECOND));
    assert!(ping.at + 2 * SECOND <= freeze + plan.freeze_bound());
}

#[test]
fn an_interval_shorter_than_the_timeout_notices_a_freeze_sooner() {
    let plan = Plan {
        interval: 100 * MS,
        ..ping()
    };
    let mut stage = Stage::up(plan.clone());
    let freeze = stage.now;
    stage.both(FROZEN);
    stage.play(10 * SECOND);
    let down = stage.announced(Verdict::Down).unwrap();
    assert!(down <= freeze + 1100 * MS, "{down}");
}

#[test]
fn a_ping_answered_late_is_no_failure_even_with_a_fall_of_one() {
    let mut stage = Stage::up(Plan { fall: 1, ..ping() });
    stage.held = Reply::Late(900 * MS);
    stage.fresh = FROZEN;
    stage.play(SECOND);
    let ping = stage.starts_on(Path::Held)[0];
    let beside = stage.starts_on(Path::Fresh)[0];
    assert_eq!(beside.deadline, ping.deadline);
    stage.play(ping.deadline.since(stage.now));
    // The fresh probe had less than its time; it is asked again, with all of it.
    stage.fresh = Reply::Pass;
    stage.play(SECOND);
    assert_eq!(stage.verdicts(), []);
    let again = stage.starts_on(Path::Fresh)[1];
    assert_eq!(again.deadline, again.at + SECOND);
}

#[test]
fn an_unanswered_ping_brings_one_fresh_probe_and_no_more() {
    let mut stage = Stage::up(ping());
    stage.held = Reply::Silent(Cause::Unresponsive);
    stage.play(SECOND);
    let ping = stage.starts_on(Path::Held)[0];
    stage.play(ping.deadline.since(stage.now) - MS);
    assert_eq!(stage.starts_on(Path::Fresh).len(), 1);
}

#[test]
fn a_role_gone_wrong_is_noticed_on_the_held_session() {
    let plan = Plan::new(Course::Session { depth: Depth::Role });
    let mut stage = Stage::up(plan.clone());
    stage.both(Reply::FailOn(Cause::NotPrimary));
    let turned = stage.now;
    stage.play(3 * SECOND);
    let down = stage.announced(Verdict::Down).unwrap();
    let bound = plan.unfit_bound(Depth::Role).unwrap();
    assert!(down <= turned + bound + 2 * MS, "{down}");
    assert_eq!(stage.standing().evidence.class, Some(Class::Unfit));
}

// --- Sessions ----------------------------------------------------------------------------------

#[test]
fn a_killed_session_is_replaced_and_counted_but_no_failure() {
    let mut stage = Stage::up(Plan { fall: 1, ..ping() });
    stage.kill_session();
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), []);
    assert_eq!(stage.standing().sessions_lost, 1);
    assert!(stage.session);
}

#[test]
fn a_login_that_is_cut_off_with_the_held_session_is_the_same_loss() {
    let mut stage = Stage::up(ping());
    stage.fresh = Reply::CutOff;
    stage.kill_session();
    stage.play(3 * MS);
    stage.fresh = Reply::Pass;
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), []);
    assert_eq!(stage.standing().sessions_lost, 1);
}

#[test]
fn a_server_that_cuts_off_every_login_is_down_all_the_same() {
    let mut stage = Stage::up(ping());
    stage.fresh = Reply::CutOff;
    stage.kill_session();
    stage.play(10 * MS);
    assert_eq!(stage.verdicts(), [Verdict::Down]);
}

#[test]
fn sessions_that_are_cut_off_at_once_are_not_replaced_at_once_for_ever() {
    let mut stage = Stage::up(ping());
    for _ in 0..1000 {
        if stage.session {
            stage.kill_session();
        }
        stage.play(MS);
    }
    let logins = stage.starts_on(Path::Fresh).len();
    assert!((5..=8).contains(&logins), "{logins} logins in a second");
    assert_eq!(stage.verdicts(), []);
}

#[test]
fn connects_that_nobody_answers_beside_a_session_that_is_answered_are_a_full_queue() {
    let mut stage = Stage::up(Plan {
        fresh_interval: SECOND,
        ..ping()
    });
    stage.fresh = Reply::Silent(Cause::ConnectTimeout);
    stage.play(20 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    let evidence = stage.standing().evidence;
    assert_eq!(
        (evidence.cause, evidence.class),
        (Some(Cause::QueueFull), Some(Class::Full))
    );
    stage.fresh = Reply::Pass;
    stage.play(10 * SECOND);
    assert_eq!(stage.verdict(), Verdict::Up);
}

#[test]
fn a_dead_fresh_path_is_down_although_the_held_session_answers() {
    let mut stage = Stage::up(Plan {
        fresh_interval: SECOND,
        ..ping()
    });
    stage.fresh = Reply::Fail(Cause::Refused);
    stage.play(5 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Down]);
    stage.fresh = Reply::Pass;
    stage.play(5 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Down, Verdict::Up]);
}

// --- Full, slow, refused -----------------------------------------------------------------------

#[test]
fn a_full_server_is_degraded_and_clean_again_after() {
    let mut stage = Stage::up(Plan {
        fresh_interval: SECOND,
        ..ping()
    });
    stage.fresh = Reply::Fail(Cause::TooManyConnections);
    stage.play(60 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    assert_eq!(stage.standing().evidence.class, Some(Class::Full));
    stage.fresh = Reply::Pass;
    stage.play(5 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded, Verdict::Up]);
}

#[test]
fn a_full_queue_before_a_silent_server_is_dead_not_full() {
    let mut stage = Stage::up(ping());
    stage.held = Reply::Silent(Cause::Unresponsive);
    stage.fresh = Reply::Silent(Cause::QueueFull);
    stage.play(10 * SECOND);
    let ping = stage.starts_on(Path::Held)[0];
    assert_eq!(stage.announced(Verdict::Down), Some(ping.deadline));
    let evidence = stage.standing().evidence;
    assert_eq!(evidence.cause, Some(Cause::QueueFull));
    assert_eq!(evidence.class, Some(Class::Dead));
}

#[test]
fn a_slow_server_is_degraded_after_fall_and_does_not_flap() {
    let mut stage = Stage::up(ping());
    stage.held = Reply::Fail(Cause::OverBudget);
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    stage.held = Reply::Pass;
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded, Verdict::Up]);
}

#[test]
fn answers_over_the_budget_degrade_a_server_until_they_are_quick_again() {
    let mut stage = Stage::up(Plan {
        slow_over: Some(100 * MS),
        ..ping()
    });
    stage.both(Reply::Late(100 * MS));
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), []);
    stage.both(Reply::Late(101 * MS));
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    assert_eq!(stage.standing().evidence.class, Some(Class::Slow));
    stage.both(Reply::Pass);
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded, Verdict::Up]);
}

#[test]
fn the_loss_of_the_name_takes_out_nothing_and_without_a_session_ends_unknown() {
    let mut stage = Stage::up(Plan {
        fresh_interval: SECOND,
        ..ping()
    });
    stage.fresh = Reply::Fail(Cause::DnsFailed);
    stage.play(120 * SECOND);
    assert_eq!(stage.verdicts(), []);
    let lost = stage.now;
    stage.kill_session();
    stage.play(120 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Unknown]);
    let unknown = stage.announced(Verdict::Unknown).unwrap();
    assert_eq!(unknown, lost + 30 * SECOND);
    // What was lost before that counts no more.
    stage.fresh = Reply::Fail(Cause::Refused);
    stage.starts.clear();
    while stage.starts.is_empty() {
        stage.play(MS);
    }
    stage.play(MS);
    assert_eq!(stage.verdict(), Verdict::Unknown);
}

// --- Without sessions --------------------------------------------------------------------------

#[test]
fn a_shallow_answer_does_not_outweigh_the_deeper_question() {
    let mut stage = Stage::up(connect_and_greet());
    stage.at_depth = Some((Depth::Greeting, FROZEN));
    let freeze = stage.now;
    stage.play(60 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Down]);
    let down = stage.announced(Verdict::Down).unwrap();
    assert!(down <= freeze + connect_and_greet().freeze_bound());
}

#[test]
fn a_refused_deeper_question_leaves_the_shallow_one_its_pace() {
    let plan = connect_and_greet();
    let mut stage = Stage::up(plan.clone());
    stage.at_depth = Some((Depth::Greeting, Reply::Fail(Cause::HostBlocked)));
    stage.play(120 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    assert_eq!(stage.standing().evidence.cause, Some(Cause::HostBlocked));
    let crash = stage.now;
    stage.at_depth = None;
    stage.fresh = Reply::Fail(Cause::Refused);
    stage.play(60 * SECOND);
    let down = stage.announced(Verdict::Down).unwrap();
    assert!(down <= crash + plan.crash_bound() + 2 * MS, "{down}");
}

#[test]
fn a_session_on_a_sessionless_course_is_not_believed() {
    let mut stage = Stage::new(connect_and_greet());
    stage.monitor.handle_timeout(stage.now);
    stage.drain();
    let start = stage.in_flight.remove(0);
    let mut seen = observe(
        Path::Fresh,
        Some(start.probe),
        (start.at, start.at),
        Outcome::Pass,
    );
    seen.session = true;
    stage.hear(seen);
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Up]);
    assert!(stage.starts_on(Path::Held).is_empty());
}

// --- The agent itself --------------------------------------------------------------------------

#[test]
fn timeouts_of_a_suspended_machine_are_no_evidence() {
    let mut stage = Stage::up(Plan {
        fall: 1,
        stale_after: 3600 * SECOND,
        ..ping()
    });
    stage.both(FROZEN);
    stage.play(SECOND);
    assert!(!stage.in_flight.is_empty());
    // The machine sleeps, wakes up, and finds all deadlines gone by.
    stage.now = stage.now + 600 * SECOND;
    stage.play(Duration::ZERO);
    stage.both(Reply::Pass);
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), []);
    assert_eq!(stage.monitor.stalls(), 1);
}

#[test]
fn a_reload_is_not_taken_for_lateness() {
    let mut stage = Stage::up(ping());
    stage.fresh = Reply::Fail(Cause::DnsFailed);
    stage.kill_session();
    stage.play(5 * SECOND);
    stage.plan = Arc::new(Plan {
        stale_after: 2 * SECOND,
        ..ping()
    });
    stage.reload();
    stage.play(SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Unknown]);
    assert_eq!(stage.monitor.stalls(), 0);
}

// --- Orders and reloads ------------------------------------------------------------------------

#[test]
fn a_reload_of_the_same_course_keeps_verdict_and_session() {
    let mut stage = Stage::up(ping());
    stage.plan = Arc::new(Plan {
        interval: 100 * MS,
        rise: 5,
        fall: 5,
        ..ping()
    });
    stage.reload();
    stage.play(250 * MS);
    assert_eq!(stage.verdicts(), []);
    assert_eq!(stage.cancelled, []);
    // The shorter pace holds from the reload on.
    assert!(stage.starts_on(Path::Held).len() >= 2);
}

#[test]
fn a_reload_with_another_course_starts_anew_and_hears_no_old_answers() {
    let mut stage = Stage::up(ping());
    stage.both(FROZEN);
    let in_vain = (0..2000).take_while(|_| {
        stage.play(MS);
        stage.in_flight.len() < 2
    });
    assert!(in_vain.count() < 2000);
    let old = stage.in_flight.clone();
    let query = Course::Session {
        depth: Depth::Query,
    };
    stage.plan = Arc::new(Plan::new(query));
    stage.reload();
    assert_eq!(stage.cancelled, [Path::Held, Path::Fresh]);
    assert_eq!(stage.verdict(), Verdict::Unknown);
    stage.play(MS);
    for start in old {
        stage.hear(observe(
            start.path,
            Some(start.probe),
            (start.at, stage.now),
            Outcome::Pass,
        ));
    }
    assert_eq!(stage.standing().evidence.pass_at, None);
}

#[test]
fn a_backend_that_is_no_longer_named_gives_up_its_session() {
    let mut stage = Stage::up(ping());
    stage.monitor.handle_plan(&BTreeMap::new(), stage.now);
    stage.drain();
    assert_eq!(stage.cancelled, [Path::Held]);
    assert_eq!(stage.monitor.standing(SERVER), None);
    assert_eq!(stage.monitor.poll_timeout(), None);
}

#[test]
fn an_order_changes_what_is_said_and_nothing_else() {
    let mut stage = Stage::up(ping());
    stage.monitor.handle_admin(SERVER, Admin::Maint, stage.now);
    stage.monitor.handle_admin(SERVER, Admin::Maint, stage.now);
    stage.drain();
    let changes: Vec<_> = stage.transitions.iter().map(|it| it.change).collect();
    let (from, to) = (Admin::Ready, Admin::Maint);
    assert_eq!(changes, [Change::Admin { from, to }]);
    assert_eq!(stage.verdict(), Verdict::Up);
}

#[test]
fn the_role_is_told_before_the_verdict_that_comes_with_it() {
    let mut stage = Stage::new(Plan {
        rise: 1,
        fall: 1,
        ..ping()
    });
    stage.role = Some(Role::Replica);
    stage.play(SECOND);
    stage.crash();
    stage.play(SECOND);
    stage.role = Some(Role::Primary);
    stage.both(Reply::Pass);
    stage.transitions.clear();
    stage.play(2 * SECOND);
    let changes: Vec<_> = stage.transitions.iter().map(|it| it.change).collect();
    let role = Change::Role {
        from: Some(Role::Replica),
        to: Role::Primary,
    };
    let verdict = Change::Verdict {
        from: Verdict::Down,
        to: Verdict::Up,
    };
    assert_eq!(changes, [role, verdict]);
}

// --- Logins --------------------------------------------------------------------------------------

#[test]
fn whoever_asks_for_fresh_probes_all_the_time_is_held_to_the_ration() {
    for plan in [ping(), connect_and_greet()] {
        let mut stage = Stage::up(plan);
        for _ in 0..10_000 {
            stage.monitor.handle_refresh(SERVER, stage.now);
            stage.drain();
            stage.play(MS);
        }
        let probes = stage.starts_on(Path::Fresh).len() as u32;
        let paced = (10 * SECOND).div_duration_f64(stage.plan.login_spacing()) as u32;
        let most = stage.plan.logins_at_once() + paced;
        assert!((paced..=most).contains(&probes), "{probes}, not {most}");
        assert_eq!(stage.verdict(), Verdict::Up);
    }
}

#[test]
fn whoever_asks_all_the_time_delays_no_verdict() {
    let mut stage = Stage::up(Plan { fall: 4, ..ping() });
    let ask = |stage: &mut Stage| {
        for _ in 0..3000 {
            stage.monitor.handle_refresh(SERVER, stage.now);
            stage.drain();
            stage.play(MS);
        }
    };
    ask(&mut stage);
    let crashed = stage.now;
    stage.crash();
    ask(&mut stage);
    let down = stage.announced(Verdict::Down).unwrap();
    let took = down.since(crashed);
    assert!(took <= stage.plan.crash_bound() + 3 * MS, "{took:?}");
    let returned = stage.now;
    stage.both(Reply::Pass);
    ask(&mut stage);
    let up = stage.announced(Verdict::Up).unwrap();
    let took = up.since(returned);
    assert!(took <= stage.plan.recovery_bound() + 3 * MS, "{took:?}");
}

#[test]
fn a_connect_is_no_login_and_waits_for_no_ration() {
    let mut stage = Stage::up(connect_and_greet());
    stage.monitor.limit_logins(Some(1e-6));
    stage.reload();
    // Its greeting has a turn, and the next a day after it.
    stage.play(60 * SECOND);
    assert_eq!(stage.monitor.logins_deferred(), 1);
    stage.starts.clear();
    stage.play(60 * SECOND);
    let starts = stage.starts_on(Path::Fresh);
    assert!(starts.len() >= 60, "{}", starts.len());
    assert!(starts.iter().all(|start| start.depth == Depth::Connect));
    assert_eq!(stage.verdict(), Verdict::Up);
}

#[test]
fn a_limit_that_is_lifted_by_a_reload_holds_nobody_up() {
    let mut stage = Stage::up(ping());
    stage.monitor.limit_logins(Some(1e-6));
    stage.reload();
    // This one has what is there at once.
    stage.monitor.handle_refresh(SERVER, stage.now);
    stage.drain();
    stage.play(SECOND);
    stage.crash();
    stage.play(10 * SECOND);
    assert_eq!(stage.verdict(), Verdict::Up, "it waits for its turn");
    stage.monitor.limit_logins(None);
    stage.reload();
    stage.play(10 * MS);
    assert_eq!(stage.verdict(), Verdict::Down);
}

#[test]
fn who_asked_for_a_fresh_probe_is_forgotten_with_who_waited_for_it() {
    let mut stage = Stage::up(ping());
    stage.monitor.limit_logins(Some(1e-6));
    stage.reload();
    stage.starts.clear();
    // The first has what is there at once, the second waits in vain.
    for _ in 0..2 {
        stage.monitor.handle_refresh(SERVER, stage.now);
        stage.drain();
        stage.play(2 * SECOND);
    }
    let asked = stage.starts_on(Path::Fresh).len();
    stage.monitor.limit_logins(None);
    stage.reload();
    stage.play(SECOND);
    assert_eq!(stage.starts_on(Path::Fresh).len(), asked);
}

// --- The accept queue --------------------------------------------------------------------------

fn listening() -> Plan {
    Plan::new(Course::Sessionless {
        depth: Depth::Listening,
        deeper: None,
    })
}

/// From one look at the queue to the next.
const LOOK: Duration = Duration::from_millis(200);

#[test]
fn a_full_queue_degrades_a_server_whose_session_is_answered_before_any_connect_is_refused() {
    let mut stage = Stage::up(ping());
    let logins = stage.starts_on(Path::Fresh).len();
    for _ in 0..2 {
        stage.look(Some(Cause::QueueFull));
        stage.play(LOOK);
    }
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    let evidence = stage.standing().evidence;
    assert_eq!(evidence.cause, Some(Cause::QueueFull));
    assert_eq!(evidence.class, Some(Class::Full));
    let shown = evidence.decisive().map(|seen| seen.path);
    assert_eq!(shown, Some(Path::Queue));
    assert_eq!(stage.starts_on(Path::Fresh).len(), logins);
    stage.play(5 * SECOND);
    assert_eq!(stage.verdict(), Verdict::Degraded);
    stage.look(None);
    stage.play(SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded, Verdict::Up]);
}

#[test]
fn a_queue_that_nobody_leaves_has_both_paths_asked_long_before_their_turn() {
    let mut stage = Stage::up(Plan {
        interval: 10 * SECOND,
        ..ping()
    });
    stage.play(5 * SECOND);
    stage.starts.clear();
    stage.both(FROZEN);
    let suspected = stage.now;
    stage.look(Some(Cause::NotAccepting));
    assert_eq!(stage.starts_on(Path::Held).len(), 1);
    assert_eq!(stage.starts_on(Path::Fresh).len(), 0, "no login before it");
    stage.play(2 * SECOND);
    let down = stage.announced(Verdict::Down).unwrap();
    assert!(down <= suspected + stage.plan.timeout, "{down}");
    assert_eq!(stage.standing().evidence.cause, Some(Cause::NoGreeting));
}

#[test]
fn a_server_that_answers_its_session_and_accepts_nobody_is_asked_for_a_fresh_one_at_once() {
    let mut stage = Stage::up(ping());
    stage.fresh = FROZEN;
    let suspected = stage.now;
    stage.look(Some(Cause::NotAccepting));
    stage.play(5 * SECOND);
    let down = stage.announced(Verdict::Down).unwrap();
    assert!(down < suspected + 4 * SECOND, "{down}");
}

#[test]
fn one_look_at_a_queue_changes_no_verdict_and_neither_does_a_thousand_by_itself_take_down() {
    // Nobody is let in meanwhile, which would take it back.
    let mut stage = Stage::up(Plan {
        fresh_interval: 3600 * SECOND,
        ..ping()
    });
    stage.look(Some(Cause::NotAccepting));
    stage.play(LOOK);
    stage.look(None);
    stage.play(10 * SECOND);
    assert_eq!(stage.verdicts(), []);
    for _ in 0..1000 {
        stage.look(Some(Cause::NotAccepting));
        stage.play(LOOK);
    }
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
}

#[test]
fn room_in_a_queue_brings_nobody_up_and_keeps_no_evidence_young() {
    let mut stage = Stage::new(ping());
    stage.fresh = Reply::Fail(Cause::DnsFailed);
    for _ in 0..10 {
        stage.look(None);
        stage.play(LOOK);
    }
    assert_eq!(stage.verdict(), Verdict::Unknown);
    assert_eq!(stage.standing().evidence.proof_at, None);
}

#[test]
fn behind_a_full_queue_that_nobody_is_asked_about_a_server_is_full_while_the_queue_moves() {
    let mut stage = Stage::up(listening());
    stage.fresh = Reply::Fail(Cause::QueueFull);
    stage.play(3 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    // Slow as it is, nobody was accepted between two looks now and then.
    for _ in 0..10 {
        let looked = stage.now;
        stage.play(LOOK);
        stage.look_since(looked, Some(Cause::NotAccepting));
        stage.play(LOOK);
        stage.look(Some(Cause::QueueFull));
    }
    assert_eq!(stage.verdicts(), [Verdict::Degraded]);
    let stopped = stage.now;
    for _ in 0..15 {
        stage.play(LOOK);
        stage.look_since(stopped, Some(Cause::NotAccepting));
    }
    assert_eq!(stage.verdicts(), [Verdict::Degraded, Verdict::Down]);
    assert_eq!(stage.standing().evidence.class, Some(Class::Dead));
    let down = stage.announced(Verdict::Down).unwrap();
    assert!(down >= stopped + stage.plan.timeout, "{down}");
}

#[test]
fn looks_that_follow_each_other_faster_than_answers_count_no_faster() {
    let mut stage = Stage::up(ping());
    let began = stage.now;
    while stage.verdict() == Verdict::Up {
        stage.look(Some(Cause::QueueFull));
        stage.play(LOOK / 10);
        assert!(stage.now <= began + 2 * SECOND);
    }
    let degraded = stage.announced(Verdict::Degraded).unwrap();
    assert!(degraded >= began + stage.plan.fast_interval, "{degraded}");
}

#[test]
fn an_unanswered_connect_before_a_queue_that_had_room_all_the_while_met_something_else() {
    let unanswered = |since: fn(&Stage) -> Moment| {
        let mut stage = Stage::up(Plan {
            fresh_interval: SECOND,
            ..ping()
        });
        stage.fresh = Reply::Silent(Cause::ConnectTimeout);
        for _ in 0..20 {
            stage.play(LOOK);
            stage.look_since(since(&stage), None);
        }
        stage.standing().evidence.fresh.unwrap().outcome.cause()
    };
    let always = |_: &Stage| Moment::ORIGIN;
    assert_eq!(unanswered(always), Some(Cause::ConnectTimeout));
    // Nobody knows how it was between two looks.
    assert_eq!(unanswered(|stage| stage.now), Some(Cause::QueueFull));
}

#[test]
fn an_operator_may_have_a_queue_take_a_server_down() {
    let mut plan = listening();
    plan.classes.set(Cause::NotAccepting, Class::Dead);
    let mut stage = Stage::up(plan);
    for _ in 0..2 {
        stage.look(Some(Cause::NotAccepting));
        stage.play(LOOK);
    }
    stage.play(5 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Down]);
    stage.look(None);
    stage.play(3 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Down, Verdict::Up]);
}

#[test]
fn an_unanswered_connect_before_a_queue_that_is_seen_full_met_that() {
    let mut stage = Stage::up(connect_and_greet());
    stage.look(Some(Cause::QueueFull));
    stage.both(Reply::Silent(Cause::ConnectTimeout));
    stage.play(5 * SECOND);
    assert_eq!(stage.verdict(), Verdict::Down);
    assert_eq!(stage.standing().evidence.cause, Some(Cause::QueueFull));
}

#[test]
fn whoever_is_let_in_takes_back_that_nobody_is_accepted() {
    let mut stage = Stage::up(ping());
    stage.both(FROZEN);
    for _ in 0..3 {
        stage.look(Some(Cause::NotAccepting));
        stage.play(LOOK);
    }
    stage.play(2 * SECOND);
    assert_eq!(stage.verdict(), Verdict::Down);
    // Before anybody looks again.
    stage.both(Reply::Pass);
    stage.play(3 * SECOND);
    assert_eq!(
        stage.verdicts(),
        [Verdict::Degraded, Verdict::Down, Verdict::Up]
    );
}

/// A frozen server that is down, whose queue was seen to stand still until now, just before it thaws.
/// Answers when it stopped.
fn frozen_until_now(stage: &mut Stage) -> Moment {
    stage.both(FROZEN);
    let stopped = stage.now;
    for _ in 0..12 {
        stage.play(LOOK);
        stage.look_since(stopped, Some(Cause::NotAccepting));
    }
    assert_eq!(stage.verdict(), Verdict::Down);
    stage.transitions.clear();
    stopped
}

#[test]
fn whoever_waited_and_is_let_in_after_the_last_look_takes_it_back() {
    let mut stage = Stage::up(ping());
    frozen_until_now(&mut stage);
    let waits = stage.in_flight.iter().find(|it| it.path == Path::Fresh);
    let waited = stage.now.since(waits.expect("a probe that waits").at);
    stage.held = Reply::Pass;
    stage.fresh = Reply::Late(waited + MS);
    stage.play(2 * MS);
    stage.fresh = Reply::Pass;
    stage.play(3 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Up]);
}

#[test]
fn a_look_that_is_told_after_somebody_was_let_in_since_is_no_news() {
    let mut stage = Stage::up(ping());
    let stopped = frozen_until_now(&mut stage);
    let looked = stage.now;
    stage.play(MS);
    stage.both(Reply::Pass);
    while !stage.session {
        stage.play(MS);
    }
    stage.look_between((stopped, looked), Some(Cause::NotAccepting));
    stage.play(3 * SECOND);
    assert_eq!(stage.verdicts(), [Verdict::Up]);
}
