//! `advise` on real servers with odd settings, and what it advises, done to the letter in real
//! clients: the stale connections that their defaults show are gone.

#[path = "real_advise/clients.rs"]
mod clients;
#[path = "real_advise/pgbouncer.rs"]
mod pgbouncer;
#[path = "support/program.rs"]
mod program;
#[expect(dead_code, reason = "the state in it is for other tests")]
#[path = "support/state_dir.rs"]
mod state_dir;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, TestAuthority, Validity,
    require_servers,
};
use serde_json::{Value, json};

use crate::program::{Run, dbvitals};

/// What is advised for a server.
fn advise(url: &str, arguments: &[&str]) -> (i32, Value) {
    let arguments = [&["advise", "--json", url], arguments].concat();
    let run = Run::of(dbvitals(&arguments).env("DBVITALS_PASSWORD", "secret"));
    let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    assert_eq!(document["schema"], "dbvitals.advise.v1");
    (run.code, document)
}

/// The settings of one client, by their names.
fn settings(document: &Value, client: &str) -> Value {
    let clients = document["clients"].as_array().expect("a list");
    let client = clients.iter().find(|it| it["client"] == client);
    let settings = client.expect("it is advised")["settings"].as_array();
    let settings = settings.expect("a list").iter();
    settings
        .map(|it| {
            (
                it["key"].as_str().expect("a name").to_owned(),
                it["value"].clone(),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn kinds(document: &Value) -> Vec<&str> {
    let warnings = document["warnings"].as_array().expect("a list").iter();
    warnings
        .map(|it| it["kind"].as_str().expect("a name"))
        .collect()
}

fn odd_mariadb() -> MariaDb {
    MariaDb::start(MariaDbOptions {
        arguments: [
            "--wait-timeout=90",
            "--interactive-timeout=45",
            "--max-connections=60",
            "--back-log=20",
            "--idle-transaction-timeout=30",
        ]
        .map(str::to_owned)
        .into(),
        ..MariaDbOptions::default()
    })
}

#[test]
fn a_mariadb_with_odd_settings_is_read_by_a_user_without_privileges() {
    require_servers!();
    let server = odd_mariadb();
    let url = format!("mysql://vitals@{}", server.address());
    let (code, document) = advise(&url, &["--instances", "3"]);
    assert_eq!(code, 0, "{document}");
    assert_eq!(document["server"]["product"], "mariadb");
    let limits = &document["limits"];
    for (key, expected) in [
        ("idle_s", json!(90.0)),
        ("idle_setting", json!("wait_timeout")),
        ("interactive_s", json!(45.0)),
        ("idle_transaction_s", json!(30.0)),
        ("max_connections", json!(60)),
        ("backlog", json!(20)),
        ("user", Value::Null),
        ("between", Value::Null),
    ] {
        assert_eq!(limits[key], expected, "{key} of {limits}");
    }
    assert_eq!(
        document["share"],
        json!({"instances": 3, "admitted": 60, "kept_back": 6, "each": 18})
    );
    assert_eq!(
        kinds(&document),
        ["interactive_differs", "reconnects_above_backlog"]
    );
    assert_eq!(
        settings(&document, "go"),
        json!({"SetMaxOpenConns": 18, "SetMaxIdleConns": 18, "SetConnMaxIdleTime": 45, "SetConnMaxLifetime": 72})
    );
    assert_eq!(settings(&document, "hikaricp")["maxLifetime"], 72_000);
    assert_eq!(settings(&document, "bb8")["reaper_rate"], 22);
    let has = |client: &str| {
        document["clients"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["client"] == client))
    };
    assert!(
        has("mysql2") && !has("pgx"),
        "clients are those that speak MySQL"
    );
}

#[test]
fn what_is_set_now_is_held_against_an_odd_mariadb() {
    require_servers!();
    let server = odd_mariadb();
    let url = format!("mysql://vitals@{}", server.address());
    let present = [
        "--instances",
        "3",
        "--max-open",
        "30",
        "--max-lifetime",
        "30m",
    ];
    let (code, document) = advise(&url, &present);
    assert_eq!(code, 1);
    assert_eq!(
        kinds(&document),
        [
            "interactive_differs",
            "lifetime_above_idle_limit",
            "above_max_connections",
            "reconnects_above_backlog",
            "reconnects_above_backlog"
        ]
    );
}

#[test]
fn an_accounts_own_limit_and_its_own_timeout_count() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions {
        arguments: vec!["--init-connect=SET SESSION wait_timeout=20".to_owned()],
        first_sql: "CREATE USER app@'%' IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS 12"
            .to_owned(),
        ..MariaDbOptions::default()
    });
    let url = format!("mysql://app@{}", server.address());
    let (code, document) = advise(&url, &["--instances", "2", "--for", "sqlalchemy"]);
    assert_eq!(
        (code, &document["limits"]["user"]),
        (1, &json!(12)),
        "{document}"
    );
    assert_eq!(document["limits"]["idle_s"], 20.0);
    assert_eq!(kinds(&document), ["idle_limit_short"]);
    let set = settings(&document, "sqlalchemy");
    assert_eq!(
        (&set["pool_size"], &set["pool_recycle"]),
        (&json!(6), &json!(16))
    );
    assert_eq!(document["clients"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_postgres_with_odd_settings_is_read_by_a_role_without_privileges() {
    require_servers!();
    let options = [
        ("idle_session_timeout", "2min"),
        ("max_connections", "50"),
        ("superuser_reserved_connections", "7"),
        ("idle_in_transaction_session_timeout", "1500ms"),
    ];
    let server = Postgres::start(PostgresOptions {
        settings: options
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        first_sql: "CREATE ROLE app LOGIN PASSWORD 'secret' CONNECTION LIMIT 9".to_owned(),
        ..PostgresOptions::default()
    });
    let url = format!("postgres://vitals@{}/vitals", server.address());
    let (code, document) = advise(&url, &["--instances", "2"]);
    let limits = &document["limits"];
    assert_eq!((code, &limits["idle_s"]), (0, &json!(120.0)), "{document}");
    assert_eq!(limits["idle_transaction_s"], 1.5);
    assert_eq!(
        (&limits["max_connections"], &limits["reserved"]),
        (&json!(50), &json!(7))
    );
    assert_eq!(
        document["share"],
        json!({"instances": 2, "admitted": 43, "kept_back": 5, "each": 19})
    );
    assert_eq!(settings(&document, "pgx")["HealthCheckPeriod"], 30);
    assert_eq!(settings(&document, "pgbouncer")["server_lifetime"], 96);
    assert_eq!(
        document["check_user"][0]["sql"],
        "CREATE ROLE vitals LOGIN PASSWORD '…'"
    );

    assert_eq!(limits["between"], Value::Null);
    let at_socket = format!(
        "postgres://vitals@localhost:{}/vitals?socket={}",
        server.port(),
        server.socket_directory().display()
    );
    let (_, document) = advise(&at_socket, &["--instances", "2"]);
    assert_eq!(document["limits"]["idle_s"], 120.0, "{document}");
    assert_eq!(document["limits"]["between"], Value::Null);

    let url = format!("postgres://app@{}/vitals", server.address());
    let (_, document) = advise(&url, &[]);
    assert_eq!(
        (&document["limits"]["user"], &document["share"]["each"]),
        (&json!(9), &json!(9))
    );
    server.sql("ALTER DATABASE vitals CONNECTION LIMIT 8");
    let (_, document) = advise(&url, &[]);
    assert_eq!(document["limits"]["database"], 8, "{document}");
    assert_eq!(
        document["share"],
        json!({"instances": 1, "admitted": 8, "kept_back": 3, "each": 5})
    );
}

#[test]
fn a_limit_of_a_second_is_stayed_below_by_clients_that_can() {
    require_servers!();
    let server = MariaDb::start(MariaDbOptions {
        arguments: vec!["--wait-timeout=1".to_owned()],
        ..MariaDbOptions::default()
    });
    let url = format!("mysql://vitals@{}", server.address());
    let (code, document) = advise(&url, &[]);
    assert_eq!((code, kinds(&document)), (1, vec!["idle_limit_short"]));
    let go = settings(&document, "go");
    assert_eq!(
        (&go["SetConnMaxLifetime"], &go["SetConnMaxIdleTime"]),
        (&json!(0.8), &json!(0.5))
    );
    let lifetime = json!({
        "key": "pool_recycle", "value": 1, "unit": "s", "line": "pool_recycle=1,",
        "reason": "as low as it goes; not below wait_timeout (1 s)"
    });
    let clients = document["clients"].as_array().expect("a list");
    let python = clients.iter().find(|it| it["client"] == "sqlalchemy");
    let python = &python.expect("it speaks MySQL")["settings"];
    assert!(python.as_array().is_some_and(|it| it.contains(&lifetime)));
    let (code, document) = advise(&url, &["--max-lifetime", "800ms"]);
    assert_eq!((code, kinds(&document)), (0, vec!["idle_limit_short"]));
}

#[test]
fn more_instances_than_connections_are_told() {
    require_servers!();
    let settings_of = |max: &str| {
        [
            ("max_connections", max),
            ("superuser_reserved_connections", "2"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    };
    let server = Postgres::start(PostgresOptions {
        settings: settings_of("5"),
        ..PostgresOptions::default()
    });
    let url = format!("postgres://vitals@{}/vitals", server.address());
    let (code, document) = advise(&url, &["--instances", "10"]);
    assert_eq!((code, kinds(&document)), (1, vec!["too_few_connections"]));
    let told = &document["warnings"][0]["sentence"];
    let told = told.as_str().expect("a sentence");
    assert!(told.starts_with("10 instances cannot"), "{told}");
    assert!(told.contains("less the 2 that are reserved"), "{told}");
    assert_eq!(settings(&document, "pgx")["MaxConns"], 1);
    let reason = &document["clients"][0]["settings"][0]["reason"];
    assert_eq!(reason, "no pool can have less, and still not all get one");
    let (code, document) = advise(&url, &["--instances", "3"]);
    assert_eq!((code, kinds(&document)), (0, vec!["little_kept_back"]));
}

#[test]
fn a_full_server_does_not_let_us_ask() {
    require_servers!();
    let settings = [
        ("max_connections", "4"),
        ("superuser_reserved_connections", "2"),
    ];
    let server = Postgres::start(PostgresOptions {
        settings: settings
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..PostgresOptions::default()
    });
    let _held = [server.hold("SELECT 1"), server.hold("SELECT 1")];
    let url = format!("postgres://vitals@{}/vitals", server.address());
    let (code, document) = advise(&url, &[]);
    assert_eq!(code, 3, "{document}");
    assert_eq!(document["cause"], "too_many_connections", "{document}");
    assert_eq!(document["class"], "full", "{document}");
}

#[test]
fn a_server_is_asked_over_tls_and_whatever_is_wanted_of_it() {
    require_servers!();
    let authority = TestAuthority::new();
    let server = MariaDb::start(MariaDbOptions {
        tls: Some(authority.issue(&["127.0.0.1"], Validity::Current)),
        ..MariaDbOptions::default()
    });
    let url = format!(
        "mysql://vitals@{}?want=replica&max_lag=1s&tls=verify&ca={}",
        server.address(),
        authority.certificate().display()
    );
    let (code, document) = advise(&url, &["--for", "go"]);
    assert_eq!((code, &document["cause"]), (0, &Value::Null), "{document}");
}

#[test]
fn the_user_for_checks_that_it_prints_can_check() {
    require_servers!();
    let mariadb = MariaDb::start(MariaDbOptions {
        first_sql: "CREATE DATABASE app; GRANT SELECT ON app.* TO vitals@'%'".to_owned(),
        ..MariaDbOptions::default()
    });
    let postgres = Postgres::start(PostgresOptions::default());
    let url = |user: &str| {
        [
            format!("mysql://{user}@{}/app", mariadb.address()),
            format!("postgres://{user}@{}/vitals", postgres.address()),
        ]
    };
    // The table for writes is the one; the user is another than the testkit's.
    let statement = |grant: &Value| {
        let sql = grant["sql"].as_str().expect("a statement");
        let parts = sql.split("dbvitals_heartbeat");
        let parts = parts.map(|it| it.replace("vitals", "checker").replace('…', "secret"));
        parts.collect::<Vec<_>>().join("dbvitals_heartbeat")
    };
    let check = |url: &str, depth: &str| {
        let arguments = ["check", "--depth", depth, url];
        let run = Run::of(dbvitals(&arguments).env("DBVITALS_PASSWORD", "secret"));
        assert_eq!(run.code, 0, "{run:?}");
    };
    let [mysql, pgsql] = url("vitals").map(|url| advise(&url, &[]).1["check_user"].clone());
    let [mysql, pgsql] = [&mysql, &pgsql].map(|it| it.as_array().expect("a list"));
    let at = url("checker");
    // The first statement makes the user; each of the others does for a depth of its own.
    let anywhere = at[0].trim_end_matches("/app");
    mariadb.sql(&statement(&mysql[0]));
    check(anywhere, "role");
    mariadb.sql(&statement(&mysql[2]));
    check(&at[0], "write");
    mariadb.sql(&statement(&mysql[1]));
    check(anywhere, "lag");
    postgres.sql(&statement(&pgsql[0]));
    check(&at[1], "lag");
    for grant in &pgsql[1..] {
        postgres.sql(&statement(grant));
    }
    check(&at[1], "write");
}
