//! How answers read, the usual ones and those of peers who mean no good.

use dbvitals_wire::Table;

use super::*;

fn answer(rows: &[(&str, &str)]) -> Answer {
    let table = Table::new(["name", "setting"]);
    Answer::of(vec![rows.iter().fold(table, |table, (name, value)| {
        table.with_row([Some(*name), Some(*value)])
    })])
}

fn facts(product: &'static str, version: &str) -> ServerFacts {
    ServerFacts {
        product: Some(product),
        version: Some(version.to_owned()),
        ..ServerFacts::default()
    }
}

fn at(port: u16) -> Address {
    Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

fn read(product: &'static str, version: &str, rows: &[(&str, &str)]) -> Limits {
    Limits::read(
        &answer(rows),
        Some(&facts(product, version)),
        &at(3306),
        false,
    )
}

fn of_console(rows: &[(&str, &str)]) -> Limits {
    let facts = facts("postgresql", "1.18.0/bouncer");
    Limits::read(&answer(rows), Some(&facts), &at(6432), true)
}

#[test]
fn what_means_no_limit_is_none() {
    let said = [
        ("idle_session_timeout", "0"),
        ("max_connections", "100"),
        ("superuser_reserved_connections", "3"),
        ("reserved_connections", "2"),
        ("role_limit", "-1"),
        ("database_limit", "40"),
    ];
    let limits = read("postgresql", "15.18", &said);
    assert_eq!((limits.idle, limits.max_connections), (None, Some(100)));
    assert!(limits.idle_told);
    assert_eq!((limits.reserved, limits.user), (5, None));
    assert_eq!(limits.database, Some(40));
    assert_eq!(limits.server(), "postgresql 15.18");
}

#[test]
fn what_was_not_told_is_not_taken_for_switched_off() {
    assert!(!read("mariadb", "10.11.19", &[]).idle_told);
    assert!(!read("postgresql", "15.18", &[]).idle_told);
    assert!(
        read("postgresql", "13.4", &[]).idle_told,
        "it has no such limit"
    );
    assert!(!of_console(&[]).idle_told);
}

#[test]
fn each_product_has_its_units() {
    let limits = read("postgresql", "15.18", &[("idle_session_timeout", "90000")]);
    assert_eq!(limits.idle, Some(SECOND * 90));
    let said = [("wait_timeout", "90"), ("Threads_connected", "7")];
    let limits = read("mariadb", "10.11.19", &said);
    assert_eq!((limits.idle, limits.used), (Some(SECOND * 90), Some(7)));
    let limits = of_console(&[("client_idle_timeout", "90"), ("max_client_conn", "500")]);
    assert_eq!(limits.max_connections, Some(500));
    assert_eq!(limits.server(), "pgbouncer 1.18.0");
}

#[test]
fn a_time_below_a_second_is_a_limit_too() {
    let limits = of_console(&[("client_idle_timeout", "0.5")]);
    assert_eq!(limits.idle, Some(SECOND / 2));
    let limits = read("postgresql", "15.18", &[("idle_session_timeout", "1")]);
    assert_eq!(limits.idle, Some(MILLISECOND));
}

#[test]
fn no_number_of_a_peer_is_too_large() {
    for number in ["4294967296", "1e300", "inf", "18446744073709551616"] {
        let said = [
            ("wait_timeout", number),
            ("max_connections", number),
            ("max_user_connections", number),
        ];
        let limits = read("mariadb", "10.11.19", &said);
        assert_eq!(limits.max_connections, Some(u32::MAX), "{number}");
        assert!(limits.idle.is_some(), "{number}");
        let said = [
            ("max_connections", "1"),
            ("superuser_reserved_connections", number),
            ("reserved_connections", number),
        ];
        let limits = read("postgresql", "16.2", &said);
        assert_eq!(limits.reserved, u32::MAX, "{number}");
    }
    for number in ["NaN", "-inf", "-1", "0", "", "many"] {
        let limits = read("mariadb", "10.11.19", &[("wait_timeout", number)]);
        assert_eq!(limits.idle, None, "{number}");
    }
}

#[test]
fn who_greets_for_another_one_is_told() {
    let between = |version: &str, port: &str| {
        let said = [("version", version), ("port", port)];
        read("mariadb", "10.11.19", &said).between
    };
    assert_eq!(between("10.11.19-MariaDB-log", "3306"), None);
    let forwarded = between("10.11.19-MariaDB-log", "3307").unwrap();
    assert!(forwarded.ends_with("is at port 3307"), "{forwarded}");
    let proxied = between("8.0.40", "3306").unwrap();
    assert!(proxied.contains("greets as 10.11.19"), "{proxied}");
    assert!(between("10.11.190-MariaDB", "3306").is_some());
    let without_network = between("10.11.19-MariaDB", "0").unwrap();
    assert!(without_network.contains("unix socket"), "{without_network}");
}

#[test]
fn a_pooler_in_front_of_postgres_shows_by_its_sockets_and_its_version() {
    let postgres = facts("postgresql", "15.18");
    let between = |address: Address, port: &str, end: &str, version: &str| {
        let said = answer(&[
            ("end_port", port),
            ("end_address", end),
            ("server_version", version),
        ]);
        Limits::read(&said, Some(&postgres), &address, false).between
    };
    let version = "15.18 (Debian 15.18-0+deb12u1)";
    let socket = || Address::Unix("/run/.s.PGSQL.5432".into());
    assert_eq!(between(at(5432), "5432", "127.0.0.1", version), None);
    assert_eq!(between(socket(), "none", "none", version), None);
    let named = Address::Tcp {
        host: "db".to_owned(),
        port: 5432,
    };
    assert_eq!(between(named, "5432", "10.0.0.7", version), None);
    for (address, port, end, says) in [
        (at(6432), "5432", "127.0.0.1", "is at port 5432"),
        (at(5432), "none", "none", "unix socket"),
        (at(5432), "5432", "10.0.0.7", "is at 10.0.0.7"),
        (socket(), "5432", "127.0.0.1", "reached at port 5432"),
    ] {
        let told = between(address, port, end, version).unwrap();
        assert!(told.contains(says), "{told}");
    }
    let told = between(socket(), "none", "none", "14.2").unwrap();
    assert!(told.contains("greets as 15.18, and 14.2"), "{told}");
}

#[test]
fn a_peers_words_are_bounded_and_harm_no_terminal() {
    let version = format!("9.9\u{1b}[2J\n{}", "x".repeat(60_000));
    let told = read("mariadb", "10.11.19", &[("version", &version)])
        .between
        .unwrap();
    assert!(told.len() < 300, "{} bytes", told.len());
    assert!(!told.contains(char::is_control), "{told:?}");
}
