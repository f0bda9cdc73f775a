//! The configuration: the embedded defaults are those of the code, and wrong files are refused
//! with the place and the remedy.

use std::time::Duration;

use dbvitals_verdict::{Cause, Class, Course, Depth, Plan, Want};

use super::*;

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
    check_refused(&add("depth = \"listening\""), "3:9", &["not there yet"]);
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
