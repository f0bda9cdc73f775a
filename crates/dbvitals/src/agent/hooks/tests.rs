//! The order in which hooks run, and one run of a real program: fed, heard, and ended with all
//! that it started.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{Address, Clock, Protocol, Target};
use dbvitals_verdict::{
    BackendId, Cause, Change, Course, Depth, Evidence, Moment, Plan, Transition, Verdict,
};
use serde_json::Value;
use tokio::sync::watch;

use super::program::run;
use super::queue::{Queue, RUNNING_MAX, WAITING_MAX};
use super::*;
use crate::agent::board::Board;
use crate::agent::plan::{BackendPlan, Origin};

fn told(backend: &str, at: u64) -> Arc<Told> {
    let address = Address::Tcp {
        host: "h".to_owned(),
        port: 3306,
    };
    let plan = BackendPlan {
        name: backend.into(),
        target: Arc::new(Target::new(Protocol::MySql, address)),
        plan: Arc::new(Plan::new(Course::Session { depth: Depth::Ping })),
        origin: Origin::default(),
    };
    Arc::new(Told {
        backend: Board::new(Clock::start()).entry(&plan, dbvitals_verdict::Admin::Ready),
        transition: Transition {
            backend: BackendId(0),
            at: Moment::from_nanos(at),
            change: Change::Verdict {
                from: Verdict::Up,
                to: Verdict::Down,
            },
            evidence: Evidence {
                cause: Some(Cause::Refused),
                ..Evidence::default()
            },
        },
    })
}

fn hook(name: &str, run: &[&str]) -> Arc<HookPlan> {
    Arc::new(HookPlan {
        name: name.to_owned(),
        on: vec![Occasion::Verdict(Verdict::Down)],
        of: None,
        run: run.iter().map(|it| Template::parse(it).unwrap()).collect(),
        timeout: Duration::from_secs(20),
        mode: Mode::Act,
    })
}

fn order(hook: &Arc<HookPlan>, told: &Told) -> Order {
    let plan = HooksPlan {
        agent: "db-a".to_owned(),
        hooks: vec![Arc::clone(hook)],
        addresses: BTreeMap::from([(
            Arc::clone(&told.backend.name),
            Address::Tcp {
                host: "10.0.0.1".to_owned(),
                port: 3306,
            },
        )]),
    };
    Order::new(&Happening {
        hook,
        plan: &plan,
        told,
        standing: &told.backend.standing(),
        clock: Clock::start(),
    })
}

fn waiting(hook_name: &str, backend: &str, at: u64) -> Waiting {
    let (hook, told) = (hook(hook_name, &["true"]), told(backend, at));
    let order = order(&hook, &told);
    Waiting { hook, told, order }
}

/// What was started, as `hook backend moment`.
fn started(queue: &mut Queue) -> Option<String> {
    let next = queue.start_next()?;
    let at = next.told.transition.at.as_nanos();
    Some(format!(
        "{} {} {at}",
        next.hook.name, next.told.backend.name
    ))
}

#[test]
fn one_backend_s_hooks_run_in_order_and_one_at_a_time_whichever_they_are() {
    let mut queue = Queue::default();
    for (hook, backend, at) in [("h", "a", 1), ("i", "a", 1), ("h", "b", 2), ("h", "a", 3)] {
        assert!(queue.push(waiting(hook, backend, at)).is_none());
    }
    assert_eq!(started(&mut queue).as_deref(), Some("h a 1"));
    assert_eq!(started(&mut queue).as_deref(), Some("h b 2"));
    assert_eq!(started(&mut queue), None);
    queue.done("a");
    assert_eq!(started(&mut queue).as_deref(), Some("i a 1"));
    queue.done("b");
    assert_eq!(started(&mut queue), None);
    queue.done("a");
    assert_eq!(started(&mut queue).as_deref(), Some("h a 3"));
}

#[test]
fn only_so_many_run_at_a_time_over_all_backends() {
    let mut queue = Queue::default();
    for index in 0..=RUNNING_MAX {
        let _ = queue.push(waiting("h", &format!("b{index}"), 0));
    }
    let running = (0..).map_while(|_| started(&mut queue)).count();
    assert_eq!(running, RUNNING_MAX);
    queue.done("b0");
    assert_eq!(started(&mut queue), Some(format!("h b{RUNNING_MAX} 0")));
}

#[test]
fn a_hook_that_is_too_far_behind_loses_its_oldest_and_no_other_hook_does() {
    let mut queue = Queue::default();
    let _ = queue.push(waiting("other", "a", 0));
    for at in 1..=WAITING_MAX as u64 {
        assert!(queue.push(waiting("h", "a", at)).is_none());
    }
    let lost = |queue: &mut Queue, at| {
        let lost = queue
            .push(waiting("h", "a", at))
            .map(|it| it.told.transition.at);
        lost.map(Moment::as_nanos)
    };
    assert_eq!(lost(&mut queue, 100), Some(1));
    assert_eq!(lost(&mut queue, 101), Some(2));
    assert_eq!(started(&mut queue).as_deref(), Some("other a 0"));
    queue.done("a");
    assert_eq!(started(&mut queue).as_deref(), Some("h a 3"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Runs a shell script as a hook would; its arguments are the placeholders given.
fn run_script(script: &str, arguments: &[&str]) -> (Ending, Talk) {
    let command = [&["/bin/sh", "-c", script, "hook"], arguments].concat();
    let order = order(&hook("h", &command), &told("orders", 7));
    let ending = watch::Sender::new(false);
    runtime().block_on(run(order, ending.subscribe()))
}

#[test]
fn a_program_gets_values_as_arguments_variables_and_evidence_and_nothing_else() {
    let (ending, talk) = run_script(
        "printf '%s\\n' \"$@\"; env | sort; pwd; cat",
        &[
            "{name}",
            "{verdict}<{from}",
            "{cause} {class}",
            "{host} {port}",
            "{address}",
        ],
    );
    assert!(
        matches!(&ending, Ending::Exited(status) if status.success()),
        "{ending}"
    );
    let text = talk.text();
    let lines: Vec<_> = text.lines().collect();
    let arguments = [
        "orders",
        "down<up",
        "refused ",
        "10.0.0.1 3306",
        "10.0.0.1:3306",
    ];
    assert_eq!(&lines[..5], arguments, "{text}");
    let ours = |line: &&&str| line.starts_with("DBVITALS_") || line.starts_with("PATH=");
    // What every shell adds by itself.
    let shell = |line: &&&str| {
        ["PWD=", "SHLVL=", "_=", "OLDPWD="]
            .iter()
            .any(|it| line.starts_with(it))
    };
    let environment: Vec<_> = lines[5..lines.len() - 2].iter().collect();
    let strange: Vec<_> = environment
        .iter()
        .filter(|it| !ours(it) && !shell(it))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(environment.contains(&&"DBVITALS_VERDICT=down"), "{text}");
    assert!(!text.contains("PASSWORD"), "{text}");
    assert_eq!(lines[lines.len() - 2], "/");
    let document: Value = serde_json::from_str(lines[lines.len() - 1]).unwrap();
    assert_eq!(document["schema"], "dbvitals.hook.v1");
    for (key, value) in [
        ("name", "orders"),
        ("to", "down"),
        ("cause", "refused"),
        ("agent", "db-a"),
    ] {
        assert_eq!(document[key], value, "{document}");
    }
    assert!(document["held"].is_null() && document["fresh"].is_null());
}

#[test]
fn a_program_s_end_is_told_as_it_was() {
    let (ending, talk) = run_script("echo out; echo err >&2; exit 3", &[]);
    assert!(
        matches!(&ending, Ending::Exited(status) if status.code() == Some(3)),
        "{ending}"
    );
    assert_eq!(talk.text(), "out\nerr");
    assert_eq!(talk.thrown_away(), 0);
}

#[test]
fn more_evidence_than_a_pipe_holds_waits_for_who_reads_and_for_nobody_else() {
    let size = 1 << 20;
    for (script, expected) in [("wc -c", size.to_string()), ("exit 0", String::new())] {
        let mut order = order(&hook("h", &["/bin/sh", "-c", script]), &told("orders", 7));
        order.document = "x".repeat(size);
        let ending = watch::Sender::new(false);
        let (ending, talk) = runtime().block_on(run(order, ending.subscribe()));
        let is_fine = matches!(&ending, Ending::Exited(status) if status.success());
        assert!(is_fine, "{script}: {ending}");
        assert_eq!(talk.text(), expected);
    }
}

#[test]
fn what_cannot_be_run_is_missing() {
    for program in [
        "/nonexistent/page",
        "no-such-program-anywhere",
        "/etc/passwd",
        "/etc",
    ] {
        assert!(!program::is_there(program), "{program}");
        let order = order(&hook("h", &[program]), &told("orders", 7));
        let ending = watch::Sender::new(false);
        let (ending, _) = runtime().block_on(run(order, ending.subscribe()));
        assert!(ending.is_missing(), "{program}: {ending}");
    }
    assert!(program::is_there("/bin/sh") && program::is_there("sh"));
}

#[test]
fn what_a_program_leaves_behind_in_its_group_is_ended_with_it() {
    // The child holds the pipes, so that its end can be seen by reading on.
    let (ending, talk) = run_script("sleep 600 & echo $!", &[]);
    assert!(
        matches!(&ending, Ending::Exited(status) if status.success()),
        "{ending}"
    );
    let left: i32 = talk.text().parse().unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{left}/cwd")).exists());
}

#[test]
fn new_hooks_take_the_place_of_old_ones() {
    let clock = Clock::start();
    let plan = |name: &str| HooksPlan {
        hooks: vec![hook(name, &["true"])],
        ..HooksPlan::default()
    };
    let records: Arc<HookRecords> = Arc::default();
    let ran = |hook: &str| {
        let all = records.all();
        let runs = all.get(hook).map(|it| it.counts().next().unwrap().1);
        runs.unwrap_or_default()
    };
    runtime().block_on(async {
        let sender = crate::agent::transitions::channel();
        let hooks = Hooks::start(plan("old"), Arc::clone(&records), clock, sender.subscribe());
        sender.send(told("orders", 1)).unwrap();
        while ran("old") == 0 {
            tokio::task::yield_now().await;
        }
        hooks.handle_plan(plan("new"));
        sender.send(told("orders", 2)).unwrap();
        while ran("new") == 0 {
            tokio::task::yield_now().await;
        }
        hooks.close().await;
    });
    assert_eq!((ran("old"), ran("new")), (1, 1));
}
