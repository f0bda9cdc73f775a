//! What is told of settings and limits that do not go together, and what is not.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits {
        product: Some("mariadb"),
        idle: Some(MINUTE * 10),
        idle_setting: "wait_timeout",
        max_connections: Some(100),
        connections_setting: "max_connections",
        backlog: Some(70),
        backlog_setting: "back_log",
        ..Limits::default()
    }
}

fn times(lifetime: Option<Duration>, idle: Option<Duration>) -> Bounds {
    Bounds {
        max_open: None,
        max_lifetime: lifetime,
        max_idle_time: idle,
    }
}

#[track_caller]
fn check(bounds: Bounds, instances: u32, expected: &[&str]) {
    let share = Share::of(&limits(), instances);
    let found = of_bounds(&bounds, &limits(), &share);
    let kinds: Vec<_> = found.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, expected, "{found:?}");
}

#[test]
fn one_bound_below_the_idle_limit_is_enough() {
    let bounds = |lifetime: Option<u32>, idle: Option<u32>| {
        times(lifetime.map(|it| MINUTE * it), idle.map(|it| MINUTE * it))
    };
    check(bounds(Some(9), None), 1, &[]);
    check(bounds(Some(10), None), 1, &["lifetime_above_idle_limit"]);
    check(bounds(Some(30), Some(5)), 1, &[]);
    check(bounds(None, Some(30)), 1, &["idle_time_above_idle_limit"]);
    check(bounds(Some(9), Some(30)), 1, &["idle_time_without_effect"]);
}

#[test]
fn an_idle_time_that_a_pool_may_notice_too_late_is_told() {
    let second = Duration::from_secs(1);
    let idle = |seconds| times(Some(MINUTE * 30), Some(second * seconds));
    check(idle(599), 1, &["idle_time_near_idle_limit"]);
    check(idle(451), 1, &["idle_time_near_idle_limit"]);
    check(idle(450), 1, &[]);
    check(times(Some(second * 599), Some(second * 598)), 1, &[]);
    let both = ["lifetime_above_idle_limit", "idle_time_above_idle_limit"];
    check(idle(600), 1, &both);
}

#[test]
fn instances_are_multiplied() {
    let bounds = Bounds {
        max_open: Some(30),
        ..Bounds::default()
    };
    check(bounds, 3, &[]);
    check(bounds, 4, &["above_max_connections"]);
    let tight = Bounds {
        max_open: Some(95),
        ..Bounds::default()
    };
    check(tight, 1, &["nothing_kept_back"]);
}

#[test]
fn what_is_set_and_what_is_advised_are_held_against_the_accept_queue() {
    let share = Share::of(&limits(), 3);
    let told = |present, advised| {
        let found = of_reconnects(present, advised, &limits(), &share);
        let sentences = found.into_iter().map(|it| it.sentence);
        sentences.collect::<Vec<_>>()
    };
    assert_eq!(told(Some(20), 20), [""; 0]);
    assert_eq!(told(None, 23), [""; 0]);
    let advised = told(None, 24);
    assert_eq!(advised.len(), 1);
    for word in ["as is advised", "72 connects", "70 (back_log;", "somaxconn"] {
        assert!(advised[0].contains(word), "{advised:?}");
    }
    assert!(told(Some(30), 20)[0].contains("as they are set"));
    assert_eq!(told(Some(30), 24).len(), 2);
    assert_eq!(told(Some(24), 24).len(), 1);
}

fn kinds(found: &[Contradiction]) -> Vec<&'static str> {
    found.iter().map(|it| it.kind).collect()
}

#[test]
fn an_odd_server_is_told_of_by_itself() {
    let odd = Limits {
        idle: Some(MINUTE / 4),
        interactive: Some(MINUTE / 6),
        max_connections: Some(4),
        between: Some("a proxy".to_owned()),
        ..limits()
    };
    let found = of_server(&odd, &Share::of(&odd, 8), &Bounds::default());
    assert_eq!(
        kinds(&found),
        [
            "idle_limit_short",
            "interactive_differs",
            "too_few_connections",
            "something_between"
        ]
    );
    let share = Share::of(&limits(), 1);
    assert_eq!(of_server(&limits(), &share, &Bounds::default()), []);
}

#[test]
fn a_short_idle_limit_does_not_stop_those_who_are_below_it() {
    let short = Limits {
        idle: Some(MINUTE / 4),
        ..limits()
    };
    let weight = |bounds: &Bounds| {
        let found = of_server(&short, &Share::of(&short, 1), bounds);
        found[0].weight
    };
    let second = Duration::from_secs(1);
    assert_eq!(weight(&Bounds::default()), Weight::Warning);
    assert_eq!(weight(&times(Some(MINUTE), None)), Weight::Warning);
    assert_eq!(weight(&times(Some(second * 12), None)), Weight::Note);
    assert_eq!(weight(&times(None, Some(second * 7))), Weight::Note);
}

#[track_caller]
fn check_too_few(limits: Limits, instances: u32, kind: &str, words: &[&str]) {
    let share = Share::of(&limits, instances);
    let found = of_server(&limits, &share, &Bounds::default());
    assert_eq!(kinds(&found), [kind], "{found:?}");
    for word in words {
        assert!(found[0].sentence.contains(word), "{word}: {found:?}");
    }
}

#[test]
fn the_limit_that_binds_is_named_with_what_raises_it() {
    let with = |max, user, database| Limits {
        max_connections: max,
        user,
        database,
        ..limits()
    };
    let postgres = |limits| Limits {
        product: Some("postgresql"),
        ..limits
    };
    let few = "too_few_connections";
    check_too_few(
        with(Some(8), None, None),
        10,
        few,
        &[
            "10 instances cannot",
            "max_connections admits 8",
            "a pooler",
        ],
    );
    check_too_few(
        with(Some(100), Some(3), None),
        4,
        few,
        &[
            "max_user_connections of this account admits 3",
            "ALTER USER",
        ],
    );
    check_too_few(
        postgres(with(Some(100), Some(3), None)),
        4,
        few,
        &["the limit of this role admits 3", "ALTER ROLE"],
    );
    check_too_few(
        postgres(with(Some(100), None, Some(3))),
        4,
        few,
        &["the limit of this database admits 3", "ALTER DATABASE"],
    );
    let reserved = Limits {
        reserved: 5,
        ..postgres(with(Some(5), None, None))
    };
    let words = ["not even 1 instance can", "less the 5 that are reserved"];
    check_too_few(reserved, 1, few, &words);
    let console = Limits {
        product: Some("pgbouncer"),
        connections_setting: "max_client_conn",
        ..with(Some(3), None, None)
    };
    let share = Share::of(&console, 4);
    let told = &of_server(&console, &share, &Bounds::default())[0].sentence;
    assert!(told.contains("max_client_conn admits 3"), "{told}");
    assert!(!told.contains("pooler"), "it is one: {told}");
}

#[test]
fn instances_that_can_have_a_connection_are_not_told_that_they_cannot() {
    let three = Limits {
        max_connections: Some(3),
        ..limits()
    };
    let words = ["2 are left", "max_connections admits 3"];
    check_too_few(three, 1, "little_kept_back", &words);
}

#[test]
fn a_pooler_is_told_to_have_limits_of_its_own() {
    let proxied = |product| Limits {
        product: Some(product),
        between: Some("a proxy".to_owned()),
        ..limits()
    };
    let told = |limits: Limits| {
        let share = Share::of(&limits, 1);
        of_server(&limits, &share, &Bounds::default())
            .remove(0)
            .sentence
    };
    assert!(told(proxied("postgresql")).contains("its database pgbouncer"));
    assert!(!told(proxied("mariadb")).contains("pgbouncer"));
}
