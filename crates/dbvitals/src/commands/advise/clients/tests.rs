//! What is advised for all clients, whatever the server's limits: values that make sense, and
//! reasons that are true of the values beside them.

use std::collections::BTreeSet;

use clap::ValueEnum as _;

use super::super::setting::Value;
use super::*;

fn limits(idle: Option<Duration>) -> Limits {
    Limits {
        product: Some("mariadb"),
        idle,
        idle_told: true,
        idle_setting: "wait_timeout",
        max_connections: Some(151),
        ..Limits::default()
    }
}

fn advise(limits: &Limits, instances: u32) -> Vec<Advice> {
    let share = Share::of(limits, instances);
    let shape = Shape::of(limits, &share);
    let clients = all();
    let advised = clients.iter().map(|it| it.advise(limits, &share, &shape));
    advised.collect()
}

fn of_seconds(idle_s: u64) -> Limits {
    limits(Some(Duration::from_secs(idle_s)))
}

#[track_caller]
fn advice_for(limits: &Limits, instances: u32, key: &str) -> Advice {
    let mut advice = advise(limits, instances);
    advice.retain(|it| it.key() == key);
    advice.remove(0)
}

fn setting<'a>(advice: &'a Advice, key: &str) -> Option<&'a Setting> {
    advice.settings.iter().find(|it| it.key == key)
}

fn lines(advice: &Advice) -> Vec<String> {
    let settings = advice.settings.iter();
    settings.map(|it| it.line(advice.syntax)).collect()
}

/// All limits that a server may have: fractions, each second to a hundred, those of quarter hours,
/// the usual eight hours, and none.
fn all_limits() -> impl Iterator<Item = Option<Duration>> {
    let milliseconds = [1, 2, 100, 500, 900, 1_500, 2_499];
    let milliseconds = milliseconds.into_iter().map(Duration::from_millis);
    let seconds = (1..=100).chain([600, 900, 2_400, 28_800, 31_536_000]);
    let seconds = seconds.map(Duration::from_secs);
    milliseconds.chain(seconds).map(Some).chain([None])
}

/// The longest that something lives or idles that is set to this.
fn amounts_to(advice: &Advice, setting: &Setting) -> Option<Duration> {
    let jitter = match setting.key {
        "MaxConnLifetime" => self::setting(advice, "MaxConnLifetimeJitter"),
        _ => None,
    };
    let jitter = jitter.and_then(|it| it.value.time());
    Some(setting.value.time()? + jitter.unwrap_or_default())
}

#[track_caller]
fn check_reason(advice: &Advice, setting: &Setting, limit: Option<Duration>) {
    let said = format!("{limit:?}, {:?}: {setting:?}", advice.title);
    let Some(time) = amounts_to(advice, setting) else {
        return;
    };
    assert!(!time.is_zero(), "{said}");
    let line = setting.line(advice.syntax);
    let digits = line.split(|c: char| !c.is_ascii_digit());
    let zero = digits.filter(|it| !it.is_empty()).any(|it| it == "0");
    assert!(!zero, "{line}");
    let (json, unit) = setting.value.json();
    assert!(json.as_f64() > Some(0.0) && unit.is_some(), "{said}");
    let reason = &setting.reason;
    if reason.contains("half of wait_timeout") {
        assert!(Some(time * 2) <= limit, "{said}");
    } else if reason.contains("not below wait_timeout") {
        assert!(Some(time) >= limit, "{said}");
    } else if reason.contains("below wait_timeout") {
        assert!(Some(time) < limit, "{said}");
    }
}

#[test]
fn every_name_of_the_command_line_has_its_advice() {
    let keys: BTreeSet<_> = advise(&limits(None), 1).iter().map(Advice::key).collect();
    let names = PoolClient::value_variants().iter();
    let names: BTreeSet<_> = names
        .map(|it| it.to_possible_value().unwrap().get_name().to_owned())
        .collect();
    assert_eq!(keys, names);
}

#[test]
fn every_setting_has_a_reason_that_is_true_of_it_and_no_name_comes_twice() {
    for product in ["mariadb", "postgresql", "pgbouncer"] {
        for limit in all_limits() {
            let limits = Limits {
                product: Some(product),
                ..limits(limit)
            };
            for advice in advise(&limits, 4) {
                let settings = &advice.settings;
                assert!(
                    settings.iter().all(|it| !it.reason.is_empty()),
                    "{advice:?}"
                );
                let keys: BTreeSet<_> = settings.iter().map(|it| it.key).collect();
                assert_eq!(keys.len(), settings.len(), "{advice:?}");
                for setting in settings {
                    check_reason(&advice, setting, limit);
                }
            }
        }
    }
}

/// A client that knows times below a second stays below any limit; the others where they can.
#[test]
fn what_bounds_the_age_of_connections_stays_below_the_limit_where_it_can() {
    let lifetimes = [
        ("go", "SetConnMaxLifetime", 2),
        ("pgx", "MaxConnLifetime", 2),
        ("hikaricp", "maxLifetime", 30_001),
        ("sqlalchemy", "pool_recycle", 1_001),
        ("pg", "maxLifetimeSeconds", 1_001),
        ("mysql2", "idleTimeout", 2),
        ("sqlx", "max_lifetime", 2),
        ("bb8", "max_lifetime", 2),
        ("pgbouncer", "server_lifetime", 1_001),
    ];
    for (client, key, from_ms) in lifetimes {
        for limit in all_limits().flatten() {
            let advice = advice_for(&limits(Some(limit)), 4, client);
            let setting = setting(&advice, key).expect("it has one");
            let time = amounts_to(&advice, setting).expect("it is a time");
            let is_below = limit >= Duration::from_millis(from_ms);
            assert_eq!(time < limit, is_below, "{limit:?}: {client} {setting:?}");
        }
    }
}

#[test]
fn no_time_of_deadpools_code_is_nothing() {
    for limit in all_limits() {
        let advice = advice_for(&limits(limit), 1, "deadpool");
        let Some(Value::Code(code)) = setting(&advice, "retain").map(|it| &it.value) else {
            panic!("{advice:?}");
        };
        assert!(!code.contains("< 0"), "{limit:?}: {code}");
        if limit == Some(Duration::from_millis(500)) {
            assert_eq!(
                code,
                "pool.retain(|_, it| it.last_used().as_millis() < 250 && it.age().as_millis() < 400)"
            );
        }
    }
}

#[test]
fn pgx_has_a_jitter_where_there_is_room_for_one() {
    let lines = |idle_s| lines(&advice_for(&of_seconds(idle_s), 1, "pgx"));
    let short = lines(20);
    assert!(
        short.contains(&"config.MaxConnLifetime = 16 * time.Second".to_owned()),
        "{short:?}"
    );
    assert!(
        !short.iter().any(|it| it.contains("Jitter")),
        "of less than two seconds pgx makes none: {short:?}"
    );
    let long = lines(600);
    let advice = advice_for(&of_seconds(600), 1, "pgx");
    let ping = setting(&advice, "PingTimeout").unwrap();
    assert!(ping.reason.starts_with("since pgx 5.8"), "{ping:?}");
    for line in [
        "config.MaxConnLifetime = 432 * time.Second",
        "config.MaxConnLifetimeJitter = 48 * time.Second",
    ] {
        assert!(long.contains(&line.to_owned()), "{long:?}");
    }
}

#[test]
fn hikaricp_is_told_what_it_takes() {
    let advice = |idle_s| advice_for(&of_seconds(idle_s), 1, "hikaricp");
    let warns = |it: &Advice| it.notes.iter().any(|it| it.contains("no lifetime below"));
    let above = advice(20);
    let lifetime = setting(&above, "maxLifetime").unwrap();
    assert_eq!(lifetime.line(Syntax::Properties), "maxLifetime=30000");
    assert_eq!(
        lifetime.reason,
        "as low as it goes; not below wait_timeout (20 s)"
    );
    assert!(warns(&above) && warns(&advice(30)));
    assert!(!warns(&advice(31)), "30 s are below 31 s");
}

#[test]
fn rails_is_given_one_name_for_its_size_and_no_limit_that_its_sessions_do_not_have() {
    for product in ["mysql", "mariadb"] {
        let limits = Limits {
            product: Some(product),
            ..of_seconds(60)
        };
        let mysql = advice_for(&limits, 1, "rails");
        assert_eq!(
            lines(&mysql),
            [
                "max_connections: 20",
                "checkout_timeout: 5",
                "idle_timeout: 300",
                "max_age: 1800"
            ]
        );
        let reasons: String = mysql.settings.iter().map(|it| &*it.reason).collect();
        assert!(!reasons.contains("wait_timeout"), "{reasons}");
    }
    let postgres = |idle_s| {
        let limits = Limits {
            product: Some("postgresql"),
            ..of_seconds(idle_s)
        };
        lines(&advice_for(&limits, 1, "rails"))
    };
    assert_eq!(
        postgres(60)[2..],
        ["idle_timeout: 30", "reaping_frequency: 15", "max_age: 48"]
    );
    assert!(postgres(120).contains(&"reaping_frequency: 20".to_owned()));
    assert_eq!(postgres(900)[2..], ["idle_timeout: 300", "max_age: 720"]);
    assert!(!postgres(60).iter().any(|it| it.starts_with("pool:")));
}

#[test]
fn sqlalchemy_pings_where_it_cannot_stay_below() {
    let pre_ping = |idle_s| lines(&advice_for(&of_seconds(idle_s), 1, "sqlalchemy")).remove(4);
    assert_eq!(pre_ping(1), "pool_pre_ping=True,");
    assert_eq!(pre_ping(2), "pool_pre_ping=False,");
}

#[test]
fn pgbouncers_own_limit_for_clients_is_told() {
    let notes = advice_for(&limits(None), 1, "pgbouncer").notes;
    assert!(
        notes.iter().any(|it| it.starts_with("max_client_conn")),
        "{notes:?}"
    );
}

#[test]
fn defaults_are_held_against_the_server() {
    let told =
        |idle_s, instances, key: &str| advice_for(&of_seconds(idle_s), instances, key).by_default;
    let stale =
        "a connection may idle for longer than wait_timeout, 60 s: the query that gets it fails";
    assert_eq!(told(60, 1, "sqlalchemy"), [stale]);
    let many = told(28_800, 20, "bb8");
    assert!(
        many[1].starts_with("20 instances with 10 connections"),
        "{many:?}"
    );
    assert_eq!(told(28_800, 1, "rails"), [""; 0]);
}

#[test]
fn a_default_that_follows_the_processors_is_not_multiplied() {
    let told = |key: &str| advice_for(&of_seconds(28_800), 12, key).by_default;
    assert_eq!(
        told("deadpool"),
        [
            "each checkout pings: a round trip for every use",
            "each instance opens twice the number of processors; the server admits 151 to all of them"
        ]
    );
    assert_eq!(
        told("pgx"),
        [
            "each instance opens as many as there are processors, and at least 4; the server admits 151 to all of them"
        ]
    );
}
