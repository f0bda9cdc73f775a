//! Tests of the questions without a server: what is said to whom, and what follows from answers.

use std::iter;

use dbvitals_wire::{Greeting, Table};

use super::*;
use crate::target::{Address, Protocol};

const SECOND: Duration = Duration::from_secs(1);

fn learned(product: Product, version: &str) -> Learned {
    let mut learned = Learned::default();
    let greeting = Greeting {
        product: Some(product),
        version: Some(version.to_owned()),
        ..Greeting::default()
    };
    learned.note_login(&greeting, at(0));
    learned
}

fn target(want: Want, max_lag: Option<Duration>) -> Target {
    let address = Address::Unix("/run/db.sock".into());
    Target {
        want,
        max_lag,
        ..Target::new(Protocol::MySql, address)
    }
}

fn at(seconds: u64) -> Moment {
    Moment::ORIGIN + SECOND * seconds as u32
}

fn shown(rows: &[(&str, &str)]) -> Table {
    let table = Table::new(["Variable_name", "Value"]);
    rows.iter().fold(table, |table, (name, value)| {
        table.with_row([Some(*name), Some(*value)])
    })
}

fn refused(number: u16) -> Refusal {
    Refusal {
        number,
        ..Refusal::default()
    }
}

/// A replica of the older spelling with these columns.
fn channel(io: &str, sql: &str, behind: Option<&str>) -> Table {
    Table::new([
        "Slave_IO_Running",
        "Slave_SQL_Running",
        "Seconds_Behind_Master",
    ])
    .with_row([Some(io), Some(sql), behind])
}

fn mariadb_answer(read_only: &str, channels: Option<Table>) -> Answer {
    let variables = shown(&[("max_connections", "151"), ("read_only", read_only)]);
    let counters = shown(&[("Threads_connected", "3")]);
    Answer::of([variables, counters].into_iter().chain(channels).collect())
}

/// The outcome's cause, where the survey ends with this answer.
#[track_caller]
fn conclude(depth: Depth, want: Want, max_lag: Option<Duration>, answer: &Answer) -> Option<Cause> {
    let mut learned = learned(Product::MariaDb, "10.11.19");
    let next = Survey::new(depth).hear(Ok(answer), &target(want, max_lag), &mut learned, at(9));
    match next {
        Next::Done(outcome) => outcome.err().map(|failure| failure.cause),
        Next::Ask => panic!("there is more to ask"),
    }
}

#[test]
fn each_product_is_asked_in_its_own_words() {
    #[track_caller]
    fn check(product: Product, version: &str, present: &[&str], absent: &[&str]) {
        let learned = learned(product, version);
        let said = Survey::new(Depth::Lag).statement(&learned, SECOND);
        for part in present {
            assert!(said.contains(part), "{said}");
        }
        for part in absent {
            assert!(!said.contains(part), "{said}");
        }
    }
    check(
        Product::MariaDb,
        "10.11.19",
        &[
            "SET max_statement_time=0.900,",
            "wsrep_sync_wait=0;",
            "SHOW ALL SLAVES STATUS",
        ],
        &["max_execution_time"],
    );
    check(
        Product::MySql,
        "8.4.0",
        &["SET max_execution_time=900,", "SHOW REPLICA STATUS"],
        &["max_statement_time", "wsrep_sync_wait"],
    );
    check(
        Product::MySql,
        "8.0.21",
        &["SHOW SLAVE STATUS"],
        &["REPLICA STATUS"],
    );
    check(
        Product::PostgreSql,
        "15.18",
        &["'statement_timeout','900',true", "pg_last_wal_replay_lsn"],
        &["SHOW"],
    );
}

#[test]
fn roles_are_held_against_what_is_wanted() {
    let primary = mariadb_answer("OFF", Some(Table::new(["Slave_IO_Running"])));
    let frozen = mariadb_answer("ON", Some(Table::new(["Slave_IO_Running"])));
    let replica = mariadb_answer("ON", Some(channel("Yes", "Yes", Some("0"))));
    let loose_replica = mariadb_answer("OFF", Some(channel("Yes", "Yes", Some("0"))));
    let role = |want, answer| conclude(Depth::Role, want, None, answer);
    for answer in [&primary, &frozen, &replica, &loose_replica] {
        assert_eq!(role(Want::Any, answer), None);
    }
    assert_eq!(role(Want::Primary, &primary), None);
    assert_eq!(role(Want::Primary, &frozen), Some(Cause::ReadOnly));
    assert_eq!(role(Want::Primary, &replica), Some(Cause::NotPrimary));
    assert_eq!(role(Want::Primary, &loose_replica), Some(Cause::NotPrimary));
    assert_eq!(role(Want::Replica, &primary), Some(Cause::NotReplica));
    assert_eq!(role(Want::Replica, &replica), None);
    assert_eq!(role(Want::Writable, &replica), Some(Cause::ReadOnly));
    assert_eq!(role(Want::Writable, &loose_replica), None);
}

#[test]
fn without_a_look_at_replication_read_only_tells_the_role() {
    let hidden = mariadb_answer("ON", None);
    assert_eq!(conclude(Depth::Role, Want::Replica, None, &hidden), None);
    let hidden = mariadb_answer("OFF", None);
    assert_eq!(conclude(Depth::Role, Want::Primary, None, &hidden), None);
}

#[test]
fn replication_is_held_against_what_is_allowed() {
    #[track_caller]
    fn check(channel: Table, max_lag: Option<Duration>, expected: Option<Cause>) {
        let answer = mariadb_answer("ON", Some(channel));
        let cause = conclude(Depth::Lag, Want::Any, max_lag, &answer);
        assert_eq!(cause, expected);
    }
    let lagging = Some(Cause::Lagging);
    let ten = Some(SECOND * 10);
    check(channel("Yes", "Yes", Some("10")), ten, None);
    check(channel("Yes", "Yes", Some("11")), ten, lagging);
    check(channel("Yes", "Yes", Some("11")), None, None);
    check(channel("Yes", "No", None), None, lagging);
    check(channel("No", "Yes", None), None, lagging);
    check(channel("Connecting", "Yes", None), None, lagging);
    check(channel("Connecting", "Yes", None), ten, lagging);
    let new_words = Table::new([
        "Replica_IO_Running",
        "Replica_SQL_Running",
        "Seconds_Behind_Source",
    ]);
    let row = [Some("Yes"), Some("Yes"), Some("60")];
    check(new_words.with_row(row), ten, lagging);
    let two = channel("Yes", "Yes", Some("0")).with_row([Some("Yes"), Some("Yes"), Some("60")]);
    check(two, ten, lagging);
    let none = Table::new(["Slave_IO_Running"]);
    check(none, ten, None);
}

#[test]
fn a_replica_that_is_cut_off_is_as_far_behind_as_it_was_last_connected() {
    let mut learned = learned(Product::MariaDb, "10.11.19");
    let target = target(Want::Any, Some(SECOND * 10));
    let mut hear = |channel, seconds| {
        // As after a login.
        learned.variables.clear();
        let answer = mariadb_answer("ON", Some(channel));
        let mut survey = Survey::new(Depth::Lag);
        match survey.hear(Ok(&answer), &target, &mut learned, at(seconds)) {
            Next::Done(outcome) => outcome.map_err(|failure| failure.cause),
            Next::Ask => panic!("there is more to ask"),
        }
    };
    assert_eq!(hear(channel("Yes", "Yes", Some("2")), 100), Ok(()));
    assert_eq!(hear(channel("Connecting", "Yes", None), 108), Ok(()));
    let cut_off = hear(channel("Connecting", "Yes", None), 109);
    assert_eq!(cut_off, Err(Cause::Lagging));
    assert_eq!(hear(channel("Yes", "Yes", Some("0")), 110), Ok(()));
}

#[test]
fn a_galera_node_has_to_be_in_sync_with_its_cluster() {
    #[track_caller]
    fn check(counters: &[(&str, &str)], rejects: &str, expected: Option<Cause>) {
        let variables = shown(&[("wsrep_on", "ON"), ("wsrep_reject_queries", rejects)]);
        let answer = Answer::of(vec![variables, shown(counters)]);
        let cause = conclude(Depth::Role, Want::Primary, None, &answer);
        assert_eq!(cause, expected, "{counters:?}");
    }
    let node = |ready, cluster, state| {
        [
            ("wsrep_ready", ready),
            ("wsrep_cluster_status", cluster),
            ("wsrep_local_state", state),
        ]
    };
    check(&node("ON", "Primary", "4"), "NONE", None);
    let apart = Some(Cause::NotSynced);
    check(&node("OFF", "non-Primary", "0"), "NONE", apart);
    check(&node("OFF", "Primary", "1"), "NONE", apart);
    check(&node("ON", "Primary", "2"), "NONE", apart);
    let rejects = Some(Cause::RejectingQueries);
    check(&node("ON", "Primary", "4"), "ALL", rejects);
}

/// A survey of a MySQL server that has asked for the state, heard of a group, and asks on.
fn survey_of_group(depth: Depth, read_only: &str, target: &Target) -> (Survey, Learned) {
    let (mut survey, mut learned) = (Survey::new(depth), learned(Product::MySql, "9.7.4"));
    let variables = shown(&[
        ("group_replication_group_name", "a-b-c"),
        ("read_only", read_only),
    ]);
    let channels = Table::new(["Replica_IO_Running"]);
    let answer = Answer::of(vec![variables, shown(&[]), channels]);
    let next = survey.hear(Ok(&answer), target, &mut learned, at(1));
    assert!(matches!(next, Next::Ask));
    let said = survey.statement(&learned, SECOND);
    assert!(said.contains("replication_group_members"), "{said}");
    (survey, learned)
}

/// The members of a group, this one first.
fn members(rows: &[(&str, &str)]) -> Answer {
    let table = Table::new(["MEMBER_STATE", "MEMBER_ROLE", "is_this"]);
    let marks = ["1"].into_iter().chain(iter::repeat("0"));
    let table = rows.iter().zip(marks).fold(table, |table, (row, mark)| {
        table.with_row([Some(row.0), Some(row.1), Some(mark)])
    });
    Answer::of(vec![table])
}

#[test]
fn a_member_of_a_replication_group_is_asked_for_its_place() {
    #[track_caller]
    fn check(rows: &[(&str, &str)], want: Want, expected: Option<Cause>) {
        let target = target(want, None);
        let (mut survey, mut learned) = survey_of_group(Depth::Role, "OFF", &target);
        let next = survey.hear(Ok(&members(rows)), &target, &mut learned, at(1));
        let Next::Done(outcome) = next else {
            panic!("there is more to ask")
        };
        assert_eq!(outcome.err().map(|failure| failure.cause), expected);
    }
    let (primary, secondary) = (("ONLINE", "PRIMARY"), ("ONLINE", "SECONDARY"));
    check(&[primary], Want::Primary, None);
    check(&[primary, secondary], Want::Primary, None);
    let not_primary = Some(Cause::NotPrimary);
    check(&[secondary, primary], Want::Primary, not_primary);
    check(&[secondary, primary], Want::Replica, None);
    let apart = Some(Cause::NotSynced);
    check(&[("RECOVERING", "SECONDARY"), primary], Want::Any, apart);
    check(&[("OFFLINE", "")], Want::Any, apart);
    check(&[("ERROR", "")], Want::Any, apart);
    let lost = ("UNREACHABLE", "SECONDARY");
    check(&[primary, lost], Want::Any, apart);
    check(&[primary, secondary, lost], Want::Any, None);
    check(&[primary, lost, lost], Want::Any, apart);
}

#[test]
fn who_takes_writes_beside_others_by_design_says_so() {
    let check_group = |rows: &[(&str, &str)], shared| {
        let target = target(Want::Any, None);
        let (mut survey, mut learned) = survey_of_group(Depth::Role, "OFF", &target);
        survey.hear(Ok(&members(rows)), &target, &mut learned, at(1));
        assert_eq!(survey.facts(&learned).shares_writes, shared, "{rows:?}");
    };
    let (primary, secondary) = (("ONLINE", "PRIMARY"), ("ONLINE", "SECONDARY"));
    check_group(&[primary, secondary, secondary], false);
    check_group(&[primary, primary, primary], true);
    let check_cluster = |wsrep_on, shared| {
        let variables = shown(&[("read_only", "OFF"), ("wsrep_on", wsrep_on)]);
        let answer = Answer::of(vec![
            variables,
            shown(&[]),
            Table::new(["Slave_IO_Running"]),
        ]);
        let mut learned = learned(Product::MariaDb, "10.11.19");
        let mut survey = Survey::new(Depth::Role);
        survey.hear(Ok(&answer), &target(Want::Any, None), &mut learned, at(1));
        assert_eq!(survey.facts(&learned).shares_writes, shared, "{wsrep_on}");
    };
    check_cluster("ON", true);
    check_cluster("OFF", false);
}

#[test]
fn a_group_that_may_not_be_seen_leaves_the_role_to_read_only_and_is_told_beyond() {
    #[track_caller]
    fn check(depth: Depth, read_only: &str, want: Want, expected: Option<Cause>) {
        let target = target(want, None);
        let (mut survey, mut learned) = survey_of_group(depth, read_only, &target);
        let next = survey.hear(Err(&refused(1142)), &target, &mut learned, at(1));
        let Next::Done(outcome) = next else {
            panic!("there is more to ask")
        };
        assert_eq!(outcome.err().map(|failure| failure.cause), expected);
    }
    check(Depth::Role, "OFF", Want::Primary, None);
    check(Depth::Role, "ON", Want::Replica, None);
    check(Depth::Role, "ON", Want::Primary, Some(Cause::NotPrimary));
    check(Depth::Lag, "OFF", Want::Any, Some(Cause::BadQuery));
    check(Depth::Write, "OFF", Want::Any, Some(Cause::BadQuery));
}

#[test]
fn variables_that_a_server_has_are_named_from_the_second_question_on() {
    let mut learned = learned(Product::MariaDb, "10.11.19");
    let target = target(Want::Primary, None);
    let ask = |answer: &Answer, learned: &mut Learned| {
        let next = Survey::new(Depth::Role).hear(Ok(answer), &target, learned, at(1));
        assert!(matches!(next, Next::Done(Ok(()))), "{next:?}");
        Survey::new(Depth::Role).statement(learned, SECOND)
    };
    let none = || Table::new(["Slave_IO_Running"]);
    let said = ask(&mariadb_answer("OFF", Some(none())), &mut learned);
    let named =
        "SELECT @@global.read_only AS read_only,@@global.max_connections AS max_connections;";
    assert!(said.contains(named), "{said}");
    assert!(!said.contains("SHOW GLOBAL"), "{said}");
    let row = Table::new(["read_only", "max_connections"]).with_row([Some("0"), Some("151")]);
    let again = ask(&Answer::of(vec![row, none()]), &mut learned);
    assert_eq!(again, said);
}

#[test]
fn what_was_learned_is_kept_over_logins_but_not_for_ever() {
    let mut learned = learned(Product::MariaDb, "10.11.19");
    learned.hides_replication = true;
    let mut greeting = Greeting {
        product: Some(Product::MariaDb),
        version: Some("10.11.19".to_owned()),
        ..Greeting::default()
    };
    learned.note_login(&greeting, at(599));
    assert!(learned.hides_replication);
    learned.note_login(&greeting, at(600));
    assert!(!learned.hides_replication);
    learned.hides_replication = true;
    greeting.version = Some("11.4.2".to_owned());
    learned.note_login(&greeting, at(601));
    assert!(!learned.hides_replication);
}

#[test]
fn what_a_server_does_not_know_is_left_out_the_next_time() {
    let mut learned = learned(Product::MariaDb, "10.11.19");
    let (mut survey, target) = (Survey::new(Depth::Role), target(Want::Any, None));
    let mut refuse = |number, learned: &mut Learned| {
        let next = survey.hear(Err(&refused(number)), &target, learned, at(1));
        assert!(matches!(next, Next::Ask));
        survey.statement(learned, SECOND)
    };
    let said = refuse(1193, &mut learned);
    assert!(said.contains("max_statement_time") && !said.contains("wsrep_sync_wait"));
    let said = refuse(1193, &mut learned);
    assert!(!said.contains("max_statement_time") && said.contains("SLAVES STATUS"));
    let said = refuse(1227, &mut learned);
    assert!(!said.contains("SLAVES STATUS"));
}

#[test]
fn the_state_of_replication_that_may_not_be_seen_is_told_at_depth_lag() {
    let mut learned = learned(Product::MariaDb, "10.11.19");
    let target = target(Want::Any, None);
    let refusal = refused(1227);
    let next = Survey::new(Depth::Lag).hear(Err(&refusal), &target, &mut learned, at(1));
    let Next::Done(Err(failure)) = next else {
        panic!("{next:?}")
    };
    assert_eq!(failure.cause, Cause::BadQuery);
}

#[test]
fn nothing_is_written_where_it_cannot_be_seen_whether_the_server_follows_another() {
    let target = target(Want::Any, None);
    let hear = |product, version| {
        let mut learned = learned(product, version);
        let mut survey = Survey::new(Depth::Write);
        survey.hear(Err(&refused(1227)), &target, &mut learned, at(1))
    };
    // Its counters tell everybody.
    let next = hear(Product::MariaDb, "10.11.19");
    assert!(matches!(next, Next::Ask), "{next:?}");
    let Next::Done(Err(failure)) = hear(Product::MySql, "9.7.4") else {
        panic!("a server that may be a replica would be written to")
    };
    assert_eq!(failure.cause, Cause::BadQuery);
    assert!(failure.detail.contains("1227"), "{failure:?}");
}

#[test]
fn a_write_goes_to_a_server_that_follows_nobody_alone() {
    let writable = mariadb_answer("OFF", Some(Table::new(["Slave_IO_Running"])));
    let mut learned = learned(Product::MariaDb, "10.11.19");
    let target = target(Want::Any, None);
    let mut survey = Survey::new(Depth::Write);
    let mut hear = |answer: Result<&Answer, u16>, learned: &mut Learned| {
        let refusal = refused(answer.err().unwrap_or_default());
        let next = survey.hear(answer.map_err(|_| &refusal), &target, learned, at(1));
        let said = survey.statement(learned, SECOND);
        (matches!(next, Next::Ask).then_some(said), survey.reached())
    };
    let (said, reached) = hear(Ok(&writable), &mut learned);
    assert!(said.is_some_and(|said| said.contains("INSERT INTO dbvitals_heartbeat")));
    assert_eq!(reached, Some(Depth::Role));
    let (said, _) = hear(Err(1146), &mut learned);
    assert!(said.is_some_and(|said| said.contains("CREATE TABLE IF NOT EXISTS")));
    let (said, _) = hear(Ok(&Answer::default()), &mut learned);
    assert!(said.is_some_and(|said| said.contains("INSERT INTO dbvitals_heartbeat")));
    let (said, _) = hear(Err(1213), &mut learned);
    assert!(said.is_some_and(|said| said.contains("INSERT INTO dbvitals_heartbeat")));
    let (said, reached) = hear(Ok(&Answer::default()), &mut learned);
    assert_eq!((said, reached), (None, Some(Depth::Write)));

    for (answer, cause) in [
        (mariadb_answer("ON", None), Cause::ReadOnly),
        (
            mariadb_answer("OFF", Some(channel("Yes", "Yes", Some("0")))),
            Cause::NotPrimary,
        ),
    ] {
        let refused = conclude(Depth::Write, Want::Any, None, &answer);
        assert_eq!(refused, Some(cause));
    }
}

fn standby(receivers: &str, received: u64, replayed: u64, newest_age: &str) -> Answer {
    let columns = [
        "in_recovery",
        "read_only",
        "connections",
        "connections_max",
        "paused",
        "receivers",
        "received",
        "replayed",
        "newest_age",
    ];
    let (received, replayed) = (received.to_string(), replayed.to_string());
    let row = [
        "t", "off", "3", "100", "f", receivers, &received, &replayed, newest_age,
    ];
    let limits = Table::new(["set_config"]).with_row([Some("900")]);
    Answer::of(vec![limits, Table::new(columns).with_row(row.map(Some))])
}

#[test]
fn a_standby_is_behind_by_what_it_has_not_replayed_and_a_quiet_primary_is_no_lag() {
    let target = target(Want::Any, Some(SECOND * 10));
    let mut learned = learned(Product::PostgreSql, "15.18");
    let mut survey = Survey::new(Depth::Lag);
    let mut hear = |survey: &mut Survey, answer: &Answer, seconds| {
        let next = survey.hear(Ok(answer), &target, &mut learned, at(seconds));
        match next {
            Next::Ask => "asks again",
            Next::Done(Ok(())) => "passes",
            Next::Done(Err(failure)) => failure.cause.name(),
        }
    };
    // An hour old is the newest commit, and there is none that is newer.
    let level = standby("1", 500, 500, "3600");
    assert_eq!(hear(&mut survey, &level, 100), "passes");
    // Since then it was level a second ago: it cannot be further behind.
    let moving = standby("1", 600, 500, "3601");
    assert_eq!(hear(&mut Survey::new(Depth::Lag), &moving, 101), "passes");
    // For a long time it has had something to replay, and does not get there.
    let mut survey = Survey::new(Depth::Lag);
    assert_eq!(hear(&mut survey, &moving, 120), "asks again");
    assert_eq!(hear(&mut survey, &moving, 120), "lagging");
    // It was about to replay what came first in a long time.
    let mut survey = Survey::new(Depth::Lag);
    assert_eq!(hear(&mut survey, &moving, 140), "asks again");
    let moved = standby("1", 700, 600, "3602");
    assert_eq!(hear(&mut survey, &moved, 140), "passes");
    // Cut off, its data grows old.
    let cut_off = standby("0", 700, 700, "3602");
    assert_eq!(hear(&mut Survey::new(Depth::Lag), &cut_off, 149), "passes");
    let mut survey = Survey::new(Depth::Lag);
    assert_eq!(hear(&mut survey, &cut_off, 151), "lagging");
}
