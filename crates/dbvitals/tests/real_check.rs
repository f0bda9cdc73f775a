//! `check` against real servers in good health: every depth, every kind of address, every output,
//! every way to log in.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/finding.rs"]
mod finding;
#[path = "support/program.rs"]
mod program;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, left_out, require_servers,
};
use serde_json::{Value, json};

use crate::databases::{Database, databases};
use crate::finding::Finding;
use crate::program::{Run, dbvitals};

const V4: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
const TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn a_healthy_server_is_up_at_every_depth() {
    require_servers!();
    for server in databases(&V4, None) {
        for (depth, phases) in [
            ("connect", "connect"),
            ("greeting", "connect greeting"),
            ("login", "connect greeting login"),
            ("ping", "connect greeting login ping"),
            ("query", "connect greeting login query"),
        ] {
            let finding = Finding::of(&server.url(), &["--depth", depth]);
            finding.assert_told("up, exit 0");
            assert_eq!(finding.phases(), phases, "{finding:?}");
            assert_eq!(finding.text("depth_asked"), depth);
            assert_eq!(finding.text("depth_reached"), depth);
            finding.assert_within(TIMEOUT);
        }
    }
}

#[test]
fn a_server_is_reached_over_every_kind_of_address() {
    require_servers!();
    let everywhere = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for server in databases(&everywhere, None) {
        let port = server.port();
        let socket = server.socket.display().to_string();
        let over_tcp = |host: &str| (format!("{host}:{port}"), format!("{host}:{port}"));
        let over_socket = (format!("localhost?socket={socket}"), socket);
        for ((place, name), way) in [
            (over_tcp("127.0.0.1"), "connect"),
            (over_tcp("[::1]"), "connect"),
            (over_tcp("localhost"), "resolve connect"),
            (over_socket, "connect"),
        ] {
            let url = format!("{}://vitals@{place}", server.scheme);
            let finding = Finding::of(&url, &[]);
            finding.assert_told("up, exit 0");
            assert_eq!(finding.text("target"), url);
            assert_eq!(finding.text("name"), name);
            assert_eq!(finding.phases(), format!("{way} greeting login ping"));
        }
    }
}

#[test]
fn postgresqls_socket_is_also_known_by_its_directory() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    let (port, directory) = (server.port(), server.socket_directory().display());
    let url = format!("postgres://vitals@localhost:{port}?socket={directory}");
    let finding = Finding::of(&url, &[]);
    finding.assert_told("up, exit 0");
    assert_eq!(
        finding.text("name"),
        server.socket_path().display().to_string()
    );
}

#[test]
fn any_service_can_be_connected_to() {
    require_servers!();
    for server in databases(&V4, None) {
        for url in [
            format!("tcp://{}", server.address()),
            format!("unix://{}", server.socket.display()),
        ] {
            let finding = Finding::of(&url, &[]);
            finding.assert_told("up, exit 0");
            assert_eq!(finding.phases(), "connect");
            assert_eq!(finding.result["server"], Value::Null);
        }
    }
}

#[test]
fn a_document_holds_what_the_contract_says() {
    require_servers!();
    for server in databases(&V4, None) {
        let finding = Finding::of(&server.url(), &[]);
        let Value::Object(fields) = &finding.result else {
            panic!("a result is an object: {finding:?}");
        };
        for nothing in ["cause", "class", "remedy"] {
            assert_eq!(fields[nothing], Value::Null, "{nothing}");
        }
        let (product, version) = match server.scheme {
            "mysql" => ("mariadb", server.sql("SELECT VERSION()")),
            _ => ("postgresql", server.sql("SHOW server_version")),
        };
        let told = finding.result["server"]["version"]
            .as_str()
            .expect("a version");
        assert_eq!(finding.result["server"]["product"], json!(product));
        assert!(version.starts_with(told), "{told} is not {version}");
        let role = finding.result["server"]["role"].as_str();
        assert_eq!(role, (product == "postgresql").then_some("primary"));
        assert!(
            finding.text("detail").starts_with("ping in "),
            "{finding:?}"
        );
    }
}

#[test]
fn a_statement_is_run_and_its_answer_compared() {
    require_servers!();
    for server in databases(&V4, None) {
        let check =
            |sql, expected| Finding::of(&server.url(), &["--query", sql, "--equals", expected]);
        let right = check("SELECT 40 + 2", "42");
        right.assert_told("up, exit 0");
        assert_eq!(right.text("depth_reached"), "query");

        let wrong = check("SELECT 40 + 2", "43");
        wrong.assert_told("down, assertion_failed (unfit), exit 2");
        assert_eq!(wrong.phases(), "connect greeting login query!");
        assert!(
            wrong
                .text("detail")
                .contains(r#"answered "42" instead of "43""#)
        );

        let null = check("SELECT NULL", "42");
        null.assert_told("down, assertion_failed (unfit), exit 2");
        assert!(null.text("detail").contains("answered NULL"));

        let broken = Finding::of(&server.url(), &["--query", "SELECT 1 FROM nowhere.at_all"]);
        broken.assert_told("degraded, bad_query (ours), exit 3");
        assert_eq!(broken.phases(), "connect greeting login query!");
    }
}

#[test]
fn people_see_a_ladder() {
    require_servers!();
    for server in databases(&V4, None) {
        let run = Run::of(dbvitals(&["check", &server.url()]).env("DBVITALS_PASSWORD", "secret"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        let lines: Vec<&str> = run.stdout.lines().collect();
        let headline = format!("{}  up: ping in ", server.address());
        assert!(lines[0].starts_with(&headline), "{run:?}");
        let words = lines[1..]
            .iter()
            .map(|line| line.split_whitespace().collect());
        let words: Vec<Vec<&str>> = words.collect();
        for (rung, phase) in words.iter().zip(["connect", "greeting", "login", "ping"]) {
            assert!(
                matches!(rung[..], [name, _, "ms"] if name == phase),
                "{run:?}"
            );
        }
        // PostgreSQL says in its login what it is.
        let rest: Vec<_> = words[4..].iter().map(|words| words.join(" ")).collect();
        let expected: &[&str] = match server.scheme {
            "mysql" => &[],
            _ => &["server primary, takes writes"],
        };
        assert_eq!(rest, expected, "{run:?}");
        assert!(
            !run.stdout.contains('\u{1b}'),
            "no colours in a pipe: {run:?}"
        );
    }
}

#[test]
fn a_ladder_ends_with_the_reason_and_what_to_do() {
    require_servers!();
    let server: Database = MariaDb::start(MariaDbOptions::default()).into();
    let run = Run::of(dbvitals(&["check", &server.url()]).env("DBVITALS_PASSWORD", "hunter2"));
    assert_eq!((run.code, run.stderr.as_str()), (3, ""));
    for words in [
        "degraded: access_denied (ours)",
        "failed  1045 (28000): Access denied for user 'vitals'",
        "meaning   The server is alive",
        "remedy    Check the password of vitals",
    ] {
        assert!(run.stdout.contains(words), "no {words:?} in {}", run.stdout);
    }
}

#[test]
fn monitoring_plugins_get_their_line() {
    require_servers!();
    let [mariadb, postgres] = databases(&V4, None);
    let check = |targets: &[&str]| {
        let arguments = [&["check", "--nagios"], targets].concat();
        Run::of(dbvitals(&arguments).env("DBVITALS_PASSWORD", "secret"))
    };
    let orders = format!("orders={}", mariadb.url());
    let run = check(&[&orders]);
    // DBVITALS OK - orders: up, ping in 1.9 ms | 'orders'=0.0019s;;;0
    let (text, data) = run.stdout.split_once(" | ").expect("performance data");
    let took = text.strip_prefix("DBVITALS OK - orders: up, ping in ");
    assert!(took.is_some_and(|took| took.ends_with(" ms")), "{run:?}");
    let seconds = data
        .strip_prefix("'orders'=")
        .and_then(|data| data.strip_suffix("s;;;0\n"));
    assert!(
        seconds.is_some_and(|number| number.parse::<f64>().is_ok()),
        "{run:?}"
    );
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));

    postgres.kill();
    let run = check(&[&orders, &format!("bills={}", postgres.url())]);
    assert!(
        run.stdout
            .starts_with("DBVITALS CRITICAL - orders: up, ping in "),
        "{run:?}"
    );
    assert!(
        run.stdout.contains(", bills: down, refused after "),
        "{run:?}"
    );
    assert!(run.stdout.contains("s;;;0 'bills'="), "{run:?}");
    assert_eq!((run.code, run.stdout.lines().count()), (2, 1));
}

#[test]
fn each_round_is_a_document_on_a_line_of_its_own() {
    require_servers!();
    let server = Database::from(MariaDb::start(MariaDbOptions::default()));
    let url = server.url();
    let arguments = [
        "check",
        "--json",
        "--count",
        "3",
        "--interval",
        "50ms",
        &url,
    ];
    let run = Run::of(dbvitals(&arguments).env("DBVITALS_PASSWORD", "secret"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{run:?}");
    for line in lines {
        let document: Value = serde_json::from_str(line).expect("a document");
        assert_eq!(document["schema"], json!("dbvitals.check.v1"));
        assert_eq!(document["results"][0]["verdict"], json!("up"));
    }
}

#[test]
fn with_several_targets_the_worst_decides() {
    require_servers!();
    let [fine, stopped] = databases(&V4, None);
    stopped.kill();
    let (fine, stopped) = (fine.url(), stopped.url());
    // No such user: the server proves its life by refusing it, which is 3.
    let denied = fine.replace("vitals@", "stranger@");
    for (targets, code) in [
        (vec![&fine, &fine], 0),
        (vec![&fine, &denied], 3),
        (vec![&stopped, &fine], 2),
        (vec![&fine, &denied, &stopped], 2),
    ] {
        let mut command = dbvitals(&["check", "--json"]);
        let run = Run::of(command.args(&targets).env("DBVITALS_PASSWORD", "secret"));
        assert_eq!(run.code, code, "{run:?}");
        let document: Value = serde_json::from_str(&run.stdout).expect("one document");
        let results = document["results"].as_array().expect("a list of results");
        let told: Vec<_> = results
            .iter()
            .map(|result| result["target"].as_str())
            .collect();
        let asked: Vec<_> = targets.iter().map(|target| Some(target.as_str())).collect();
        assert_eq!(told, asked, "results come in the order of the targets");
    }
}

#[test]
fn a_refused_password_proves_a_living_server() {
    require_servers!();
    for server in databases(&V4, None) {
        let finding = Finding::with_password("hunter2", &server.url(), &[]);
        finding.assert_told("degraded, access_denied (ours), exit 3");
        assert_eq!(finding.phases(), "connect greeting login!");
        assert_eq!(finding.text("depth_reached"), "greeting");
        assert!(
            finding.text("remedy").contains("password of vitals"),
            "{finding:?}"
        );
    }
}

#[test]
fn postgresql_lets_each_role_in_by_its_own_method() {
    require_servers!();
    let server = Postgres::start(PostgresOptions::default());
    let places = [
        format!("{}/vitals", server.address()),
        format!("localhost/vitals?socket={}", server.socket_path().display()),
    ];
    let denied = "degraded, access_denied (ours), exit 3";
    for place in places {
        for (user, told_of_a_wrong_password) in [
            ("vitals", denied),
            ("vitals_md5", denied),
            ("vitals_clear", denied),
            ("vitals_trust", "up, exit 0"),
        ] {
            let url = format!("postgres://{user}@{place}");
            Finding::of(&url, &[]).assert_told("up, exit 0");
            let wrong = Finding::with_password("hunter2", &url, &[]);
            wrong.assert_told(told_of_a_wrong_password);
        }
    }
}

#[test]
fn mariadb_lets_ed25519_users_in() {
    require_servers!();
    let server = Database::from(MariaDb::start(MariaDbOptions::default()));
    let plugin = format!("{}/auth_ed25519.so", server.sql("SELECT @@plugin_dir"));
    if !fs::exists(&plugin).expect("the server's plugins can be looked at") {
        left_out("mariadb_lets_ed25519_users_in", &format!("needs {plugin}"));
        return;
    }
    server.sql(
        "INSTALL SONAME 'auth_ed25519';
         CREATE USER edward@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret')",
    );
    let url = server.url().replace("vitals@", "edward@");
    Finding::of(&url, &[]).assert_told("up, exit 0");
    let wrong = Finding::with_password("hunter2", &url, &[]);
    wrong.assert_told("degraded, access_denied (ours), exit 3");
}

#[test]
fn a_password_file_wins_over_the_environment_and_the_url() {
    require_servers!();
    let server = Database::from(MariaDb::start(MariaDbOptions::default()));
    let file = server.directory().join("password");
    fs::write(&file, "secret\n").expect("the server's directory can be written");
    let file = file.display().to_string();
    let typed = server.url().replace("vitals@", "vitals:hunter2@");
    let run = Run::of(
        dbvitals(&["check", "--json", "--password-file", &file, &typed])
            .env("DBVITALS_PASSWORD", "hunter2"),
    );
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn a_password_in_the_url_is_used_with_a_warning_and_never_shown() {
    require_servers!();
    for server in databases(&V4, None) {
        let typed = server.url().replace("vitals@", "vitals:secret@");
        let run = Run::of(&mut dbvitals(&["check", "--json", &typed]));
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.contains(&server.url()), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert!(
            run.stderr.contains("can be seen in the process list"),
            "{run:?}"
        );
    }
}
