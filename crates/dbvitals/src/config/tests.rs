//! The configuration: the embedded defaults are those of the code, and wrong files are refused
//! with the place and the remedy.

use std::time::Duration;

use dbvitals_verdict::{Cause, Class, Course, Depth, Plan, ServiceNeeds, Want};

use super::*;
use crate::agent::plan::{BackendPlan, OnAlarm, OnDegraded, OnUnknown};

#[test]
fn the_default_file_says_what_the_code_does() {
    let text = format!("{DEFAULT_TOML}\n[backend.x]\nurl = \"mysql://u@h\"\n");
    let plan = file::plan(&text).unwrap();
    let expected = Plan::new(Course::Session { depth: Depth::Ping });
    assert_eq!(*plan.backends[0].plan, expected);
    assert_eq!(
        plan.http.map(|http| http.to_string()),
        Some("127.0.0.1:8306".to_owned())
    );
}

#[test]
fn a_limit_on_logins_must_not_let_a_server_that_is_down_become_unknown() {
    let check = |max: u32, pace: &str, is_fine: bool| {
        let backends = (0..200).map(|id| format!("[backend.b{id}]\nurl = \"mysql://u@h{id}\"\n"));
        let backends: String = backends.collect();
        let text =
            format!("[agent]\nlogins_per_second_max = {max}\n[defaults]\n{pace}\n{backends}");
        let read = file::plan(&text);
        assert_eq!(read.is_ok(), is_fine, "{max}, {pace}");
        if let Err(errors) = read {
            let message = &errors[0].message;
            assert!(
                message.contains("or their evidence goes stale"),
                "{message}"
            );
        }
    };
    // 200 logins, each within what evidence has left of its 30 s: the timeout and the pace of a server
    // that refuses the check, which is half of that at most, taken off.
    check(16, "", true);
    check(15, "", false);
    check(16, "fresh_interval = \"10m\"", true);
    check(15, "fresh_interval = \"10m\"", false);
    check(
        21,
        "fresh_interval = \"10m\"\ndown_interval = \"19s\"",
        false,
    );
    check(
        22,
        "fresh_interval = \"10m\"\ndown_interval = \"19s\"",
        true,
    );
    check(140, "stale_after = \"5s\"", false);
    check(141, "stale_after = \"5s\"", true);
    check(1, "stale_after = \"30m\"\nfresh_interval = \"10m\"", true);
}

#[test]
fn a_backend_s_own_keys_win_over_the_defaults() {
    let plan = file::plan(
        "[defaults]\ninterval = \"2s\"\nfall = 5\n\
         [backend.a]\nurl = \"postgres://u@h\"\ninterval = \"3s\"\n\
         [backend.b]\nurl = \"tcp://h:1\"\n\
         [gate.g]\nlisten = \"127.0.0.1:13306\"\nof = \"a\"\n",
    )
    .unwrap();
    let pace: Vec<_> = plan
        .backends
        .iter()
        .map(|it| (it.plan.interval, it.plan.fall))
        .collect();
    assert_eq!(
        pace,
        [(Duration::from_secs(3), 5), (Duration::from_secs(2), 5)]
    );
    assert_eq!(&*plan.gates[0].of, "a");
}

#[test]
fn a_backend_says_what_it_must_be_and_what_causes_mean() {
    let plan = file::plan(
        "[defaults]\nslow_over = \"200ms\"\n[classes]\naccess_denied = \"dead\"\n\
         [backend.a]\nurl = \"mysql://u@h\"\nwant = \"replica\"\nmax_lag = \"10s\"\n\
         [backend.b]\nurl = \"postgres://u@h/d?want=writable\"\nslow_over = \"20ms\"\n",
    )
    .unwrap();
    let [a, b] = &plan.backends[..] else {
        panic!("two backends")
    };
    let depth = |depth| Course::Session { depth };
    assert_eq!(a.target.want, Want::Replica);
    assert_eq!(a.target.max_lag, Some(Duration::from_secs(10)));
    assert_eq!(a.plan.course, depth(Depth::Lag));
    assert_eq!(a.plan.slow_over, Some(Duration::from_millis(200)));
    assert_eq!(a.plan.classes.of(Cause::AccessDenied), Class::Dead);
    assert_eq!(b.target.want, Want::Writable);
    assert_eq!(b.plan.course, depth(Depth::Role));
    assert_eq!(b.plan.slow_over, Some(Duration::from_millis(20)));
}

/// Two backends whose roles are known.
const PAIR: &str = "[backend.a]\nurl = \"mysql://u@a\"\ndepth = \"role\"\n\
     [backend.b]\nurl = \"mysql://u@b\"\nwant = \"replica\"\n";

#[test]
fn a_service_is_made_of_backends_and_stands_for_them() {
    let plan = file::plan(&format!(
        "{PAIR}[service.s]\nbackends = [\"b\", \"a\"]\nwant = \"replica\"\nenough = 2\n\
         multi_primary = false\n[service.t]\nbackends = [\"a\"]\n\
         [gate.g]\nlisten = \"127.0.0.1:13306\"\nof = \"s\"\nwant = \"writable\"\n\
         [agent_check.c]\nlisten = \"127.0.0.1:8307\"\nof = \"t\"\nwant = \"primary\"\n\
         on_unknown = \"closed\"\non_degraded = \"closed\"\non_alarm = \"closed\"\nweight = {{ degraded = 50 }}\n\
         [hook.h]\non = [\"down\"]\nof = [\"s\", \"a\"]\nrun = [\"true\"]\n"
    ))
    .unwrap();
    let [s, t] = &plan.services[..] else {
        panic!("two services")
    };
    let names = |names: &[std::sync::Arc<str>]| names.join(" ");
    assert_eq!(names(&s.backends), "b a");
    let needs = ServiceNeeds {
        want: Want::Replica,
        enough: 2,
        multi_primary: Some(false),
    };
    assert_eq!(s.needs, needs);
    assert_eq!(t.needs, ServiceNeeds::default());
    let gate = &plan.gates[0];
    assert_eq!((&*gate.of, gate.want), ("s", Want::Writable));
    let check = &plan.agent_checks[0];
    assert_eq!((&*check.of, check.want), ("t", Want::Primary));
    let strict = (OnUnknown::Closed, OnDegraded::Closed);
    assert_eq!((check.on_unknown, check.on_degraded), strict);
    let on_alarm = (gate.on_alarm, check.on_alarm);
    assert_eq!(on_alarm, (OnAlarm::Open, OnAlarm::Closed));
    assert_eq!(names(plan.hooks[0].of.as_ref().unwrap()), "a b");
}

#[test]
fn a_service_that_makes_no_sense_is_refused_with_its_place() {
    let service = |text: &str, place: &str, parts: &[&str]| {
        check_refused(&format!("{PAIR}[service.s]\n{text}\n"), place, parts);
    };
    service("", "7:10", &["[service.s] has no backends", "orders-2"]);
    service("backends = []", "8:12", &["has no backends"]);
    service("backends = \"a\"", "8:12", &["array of strings"]);
    let named = |names: &str| format!("backends = [{names}]");
    service(&named("\"a\", 1"), "8:18", &["takes strings alone"]);
    service(
        &named("\"backend\""),
        "8:13",
        &["no backend \"backend\"", "known are a, b"],
    );
    service(
        &named("\"a\", \"s\""),
        "8:18",
        &["that is a service; name its backends"],
    );
    service(&named("\"a\", \"a\""), "8:18", &["named twice"]);
    let add = |line: &str| format!("{}\n{line}", named("\"a\", \"b\""));
    service(&add("enough = 0"), "9:10", &["must be above zero"]);
    service(&add("enough = 3"), "9:10", &["number of its backends, 2"]);
    service(
        &add("want = \"primary\"\nenough = 2"),
        "10:10",
        &["must not be above 1", "(primary)"],
    );
    service(&add("enouhg = 1"), "9:1", &["did you mean \"enough\"?"]);
    service(&add("want = \"leader\""), "9:8", &["\"leader\"", "replica"]);
    service(&add("multi_primary = 1"), "9:17", &["true or false, not 1"]);
    service(
        &add("[service.s.failover]\nmode = \"act\""),
        "9:12",
        &["[service.s.failover] is planned and not there yet"],
    );
    check_refused(
        &format!("{PAIR}[service.a]\nbackends = [\"b\"]\n"),
        "7:10",
        &["\"a\" is the name of a backend already"],
    );
    check_refused(
        &format!("{PAIR}[service.s]\nbackends = [\"b\"]\nwant = \"primary\"\n"),
        "9:8",
        &[
            "no backend of it can ever be that",
            "its own want says, replica",
        ],
    );
    check_refused(
        &format!("{BACKEND}[service.s]\nbackends = [\"orders\"]\nwant = \"primary\"\n"),
        "5:8",
        &["orders is watched at the depth ping", "depth = \"role\""],
    );
}

#[test]
fn what_can_never_be_wanted_is_refused_before_it_stays_closed_for_ever() {
    let listening = |kind: &str, of: &str, more: &str| {
        format!(
            "{PAIR}{BACKEND}[service.s]\nbackends = [\"b\"]\n\
             [{kind}.x]\nlisten = \"127.0.0.1:13306\"\nof = \"{of}\"\n{more}\n"
        )
    };
    for kind in ["gate", "agent_check"] {
        let check = |of: &str, more: &str, place: &str, parts: &[&str]| {
            check_refused(&listening(kind, of, more), place, parts);
        };
        let of_s = "want = \"primary\"";
        check("s", of_s, "14:8", &["no backend of it", "b is fit only as"]);
        check("b", of_s, "14:8", &["its own want says, replica"]);
        let of_orders = "want = \"replica\"";
        check(
            "orders",
            of_orders,
            "14:8",
            &["depth ping", "knows no role"],
        );
        check("a", "want = \"leader\"", "14:8", &["\"leader\""]);
        let unknown = &["no backend or service \"order\"", "\"orders\""];
        check("order", "", "13:6", unknown);
        check("a", "on_unknown = \"ajar\"", "14:14", &["\"ajar\""]);
        check("a", "on_degraded = \"hold\"", "14:15", &["open or closed"]);
        check("s", "on_alarm = \"hold\"", "14:12", &["open or closed"]);
        let of_a = "on_alarm = \"closed\"";
        check("a", of_a, "14:12", &["on services alone", "a is a backend"]);
    }
    check_refused(
        &listening("agent_check", "s", "weight = \"lag\""),
        "14:10",
        &["lag is that of one server, and s is a service"],
    );
}

/// A good start to which each wrong line is added.
const BACKEND: &str = "[backend.orders]\nurl = \"mysql://u@h\"\n";

fn refusal(text: &str) -> String {
    let source = Source {
        name: "f.toml".to_owned(),
        text: text.to_owned(),
    };
    let complaints = source.plan().expect_err(text);
    source.refusal(&complaints).to_string()
}

fn check_refused(text: &str, place: &str, parts: &[&str]) {
    let message = refusal(text);
    assert!(
        message.starts_with(&format!("f.toml:{place}: ")),
        "{text}\n{message}"
    );
    for part in parts {
        assert!(message.contains(part), "{text}\n{message}");
    }
}

#[test]
fn wrong_files_are_refused_with_place_and_remedy() {
    let add = |line: &str| format!("{BACKEND}{line}\n");
    check_refused("[agent\n", "1:7", &["no TOML"]);
    check_refused("", "1:1", &["no backend to watch"]);
    check_refused(
        &add("intervall = \"1s\""),
        "3:1",
        &["unknown key \"intervall\"", "\"interval\""],
    );
    check_refused(&add("interval = 5"), "3:12", &["5 is no duration", "500ms"]);
    check_refused(&add("interval = \"5\""), "3:12", &["no duration"]);
    check_refused(&add("fall = 0"), "3:8", &["fall must be above zero"]);
    check_refused(&add("fall = -1"), "3:8", &["fall must be a whole number"]);
    check_refused(&add("rise = 5000"), "3:8", &["1000"]);
    check_refused(
        &add("stale_after = \"1s\""),
        "3:15",
        &["interval plus timeout"],
    );
    check_refused(&add("depth = \"deep\""), "3:9", &["\"deep\" is no depth"]);
    check_refused(&add("depth = \"listening\""), "3:9", &["this machine"]);
    check_refused(&add("depth = \"write\""), "3:9", &["needs a database"]);
    check_refused(&add("want = \"leader\""), "3:8", &["\"leader\"", "replica"]);
    check_refused(&add("max_lag = 10"), "3:11", &["10 is no duration"]);
    check_refused(
        &add("want = \"primary\"\ndepth = \"ping\""),
        "4:9",
        &["depth ping", "use depth role"],
    );
    check_refused(
        &add("max_lag = \"10s\"\ndepth = \"role\""),
        "4:9",
        &["use depth lag"],
    );
    check_refused(
        &add("slow_over = \"2s\""),
        "3:13",
        &["slow_over must be shorter than timeout"],
    );
    check_refused(
        &add("[classes]\nrefussed = \"ours\""),
        "4:1",
        &["refussed", "\"refused\""],
    );
    check_refused(
        &add("[classes]\nrefused = \"bad\""),
        "4:11",
        &["\"bad\" is unknown", "unfit"],
    );
    check_refused(
        &add("password_file = \"/nonexistent\""),
        "3:17",
        &["/nonexistent", "readable"],
    );
    check_refused(
        &add("password_env = \"DBVITALS_NO_SUCH\""),
        "3:16",
        &["DBVITALS_NO_SUCH"],
    );
    check_refused(&add("equals = \"1\""), "3:10", &["without a query"]);
    check_refused(
        &add("query = \"SELECT 1\"\ndepth = \"ping\""),
        "4:9",
        &["never runs"],
    );
    check_refused(
        &add("[backend.two]\nurl = \"mysql://v@h\""),
        "3:10",
        &["watched already", "orders"],
    );
    check_refused(&add("[backend.two]\n"), "3:10", &["has no url"]);
    check_refused(
        &add("[backend.two]\nurl = \"mysql://h2\"\ndepth = \"ping\""),
        "5:9",
        &["needs a user"],
    );
    check_refused(
        &add("[backend.two]\nurl = \"oracle://h2\""),
        "4:7",
        &["oracle://"],
    );
    check_refused(&add("[gate.g]\nlisten = \"1\""), "3:7", &["has no of"]);
    check_refused(
        &add("[gate.g]\nlisten = \"99999\"\nof = \"orders\""),
        "4:10",
        &["65535"],
    );
    check_refused(
        &add("[gate.g]\nlisten = \"13306\"\nof = \"order\""),
        "5:6",
        &["did you mean \"orders\""],
    );
    check_refused(
        &add("[gate.g]\nlisten = \"8306\"\nof = \"orders\""),
        "3:7",
        &["8306", "http of [agent]"],
    );
    check_refused(
        &add("[gate.g]\nlisten = \"/run/g\"\nof = \"orders\"\non_restart = \"hold\""),
        "6:14",
        &["on_restart", "a unix socket", "use closed, or a port"],
    );
    check_refused(
        &add("[gate.g]\nlisten = \"unix:run/g\"\nof = \"orders\""),
        "4:10",
        &["\"run/g\" is no path", "unix:/run/"],
    );
    check_refused(
        &add(&format!(
            "[gate.g]\nlisten = \"/{}\"\nof = \"orders\"",
            "g".repeat(107)
        )),
        "4:10",
        &["up to 107 bytes"],
    );
    check_refused(
        &add("[gate.g]\nlisten = \"unix:/run/g\"\nof = \"orders\"\n\
              [gate.h]\nlisten = \"/run//g\"\nof = \"orders\""),
        "6:7",
        &["unix:/run//g is used already", "gate \"g\""],
    );
    check_refused(
        &add("[agent]\nstate_dir = \"/run/d\"\n\
              [gate.g]\nlisten = \"/run/d/control.sock\"\nof = \"orders\""),
        "6:10",
        &["is used already, by control of [agent]"],
    );
    check_refused(
        &add("[backend.two]\nurl = \"unix:///run/db.sock\"\n\
              [agent_check.c]\nlisten = \"/run/db.sock\"\nof = \"orders\""),
        "6:10",
        &["is used already, by backend \"two\""],
    );
    check_refused(
        &add("[gate.g]\nlisten = \"13306\"\nof = \"orders\"\non_unknown = \"ajar\""),
        "6:14",
        &["\"ajar\" is unknown; use closed or hold"],
    );
    check_refused(
        &add("[agent]\nhttp = \"8306\""),
        "4:8",
        &["127.0.0.1:8306, or off"],
    );
    check_refused(&add("[route.r]\n"), "3:2", &["[route] is planned"]);
    let later = "[coordination] is planned and not there yet";
    check_refused(&add("[coordination.etcd]\n"), "3:2", &[later]);
    check_refused(&add("[bakend.x]\n"), "3:2", &["did you mean \"backend\""]);
}

#[test]
fn all_errors_of_a_file_are_told_at_once_in_its_order() {
    let text = format!("{BACKEND}fall = 0\n[defaults]\nintervall = \"1s\"\n[agent]\nhttp = 1\n");
    let message = refusal(&text);
    let places: Vec<_> = message
        .lines()
        .filter_map(|line| line.trim_start_matches("dbvitals: ").split(": ").next())
        .collect();
    assert_eq!(places, ["f.toml:3:8", "f.toml:5:1", "f.toml:7:8"]);
}

#[test]
fn a_certificate_and_its_key_come_together_and_can_be_read() {
    let check = |agent: &str, expected: &str| {
        let text = format!("[agent]\n{agent}\n[backend.a]\nurl = \"tcp://h:1\"\n");
        let errors = file::plan(&text).unwrap_err();
        assert_eq!(message(&text, errors), expected, "{agent}");
    };
    check(
        "http_certificate = \"a.pem\"",
        "2:20: http_certificate needs the file of its key; add http_key",
    );
    check(
        "http_key = \"a.pem\"",
        "2:12: http_key needs the file of its certificate; add http_certificate",
    );
    check(
        "http_key = 1\nhttp_certificate = \"a\"",
        "2:12: http_key must be a string, not 1",
    );
    check(
        "http_certificate = \"/nowhere/a.pem\"\nhttp_key = \"/nowhere/b.pem\"",
        "2:20: http_certificate: cannot read /nowhere/a.pem: No such file or directory; the file must exist and be readable by the user that runs dbvitals",
    );
    check(
        "http_certificate = \"/dev/null\"\nhttp_key = \"/dev/null\"",
        "2:20: http_certificate: no certificate found in /dev/null; it must hold PEM blocks that begin with -----BEGIN CERTIFICATE-----",
    );
    check(
        "http_certificat = \"a\"",
        "2:1: unknown key \"http_certificat\" in [agent]; did you mean \"http_certificate\"?",
    );
}

#[test]
fn a_file_that_is_read_in_pieces_makes_the_plan_of_the_whole() {
    let text = "[defaults]\nfall = 3\n[backend.b]\nurl = \"mysql://u@h1?want=replica\"\n\
                [service.s]\nbackends = [\n  \"a\",\n  \"b\",\n]\n\
                [backend.a]\nurl = \"mysql://u@h2\"\nmax_lag = \"3s\"\nfall = 5\n";
    let pieces = pieces::cut(text).expect("it has sections of backends");
    let in_pieces = file::read(&pieces.rest, &pieces.backends).unwrap();
    // What is in such quotes may look like a section, so this one is not cut.
    let whole = file::plan(&format!("{text}# \"\"\"\n")).unwrap();
    let told = |plan: &AgentPlan| {
        let told =
            |it: &BackendPlan| format!("{} {:?} {:?} {:?}", it.name, it.target, it.plan, it.origin);
        plan.backends.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(told(&in_pieces), told(&whole));
    assert_eq!(in_pieces.services, whole.services);
    assert_eq!(in_pieces.backends.len(), 2);
}

#[test]
fn what_is_wrong_with_a_piece_is_told_of_the_whole() {
    let one = "[backend.a]\nurl = \"tcp://h:1\"\n";
    let others = [
        "[backend.a]\nurl = \"tcp://h:2\"\n",
        "[backend.b]\nurl = \"tcp://h:1\"\n",
        "[backend.b]\nurl = \"tcp://h:2\"\nrise = 0\n",
        "[backend.b]\nurl = [\n[backend.c]\n]\n",
        "[backend.a.b]\nc = 1\n",
        "[[backend.a]]\nurl = \"tcp://h:2\"\n",
        "[backend]\na = 3\n",
        "[gate.a]\nlisten = 1\nof = \"nobody\"\n",
    ];
    for other in others {
        for text in [format!("{one}{other}"), format!("{other}{one}")] {
            // What is in such quotes may look like a section, so this one is not cut.
            let whole = file::plan(&format!("{text}# \"\"\"\n")).expect_err(&text);
            assert_eq!(file::plan(&text).expect_err(&text), whole, "{text}");
        }
    }
    // Each is sound alone, and the two are not.
    let inline = format!("backend = {{ b = {{ url = \"tcp://h:2\" }} }}\n{one}");
    assert!(file::plan(&inline).is_err());
}
