//! Galera nodes: what each state looks like, and which statements a node answers in it.
//!
//! The statements are those of the program's probes, so these tests say what a probe may ask.

use std::time::Duration;

use dbvitals_testkit::{GaleraNode, MariaDbOptions, RealServer as _, eventually, require_galera};

const PATIENCE: Duration = Duration::from_secs(20);

/// Statements that read no table, with what a node without a quorum says to them.
const TABLELESS: [&str; 7] = [
    "SELECT 1",
    "SELECT @@global.read_only",
    "SHOW GLOBAL STATUS LIKE 'wsrep_ready'",
    "SHOW GLOBAL VARIABLES LIKE 'read_only'",
    "SELECT * FROM information_schema.global_status WHERE variable_name = 'wsrep_ready'",
    "SELECT * FROM information_schema.global_variables WHERE variable_name = 'read_only'",
    "SHOW DATABASES",
];

fn options() -> MariaDbOptions {
    MariaDbOptions {
        first_sql: "CREATE DATABASE IF NOT EXISTS shop;
                    CREATE TABLE IF NOT EXISTS shop.t (id INT PRIMARY KEY, v INT);
                    REPLACE INTO shop.t VALUES (1, 1)"
            .to_owned(),
        ..Default::default()
    }
}

fn pair() -> (GaleraNode, GaleraNode) {
    let first = GaleraNode::start(options());
    let second = GaleraNode::join(&first, MariaDbOptions::default());
    assert_eq!(second.status("wsrep_cluster_size"), "2");
    (first, second)
}

/// The number of the error that a statement ends with, `0` if it succeeds, `hangs` after a second.
fn outcome(node: &GaleraNode, statement: &str) -> String {
    let output = std::process::Command::new("timeout")
        .args(["1", "mariadb", "--no-defaults", "--user=root", "--batch"])
        .arg(format!(
            "--socket={}",
            node.server().socket_path().display()
        ))
        .args(["--execute", statement])
        .output()
        .expect("a client can be started");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let number = error
        .split_once("ERROR ")
        .and_then(|(_, rest)| rest.split_once(' '));
    match (output.status.code(), number) {
        (Some(124), _) => "hangs".to_owned(),
        (Some(0), None) => "0".to_owned(),
        (_, Some((number, _))) => number.to_owned(),
        (_, None) => panic!("{output:?}"),
    }
}

fn outcomes(node: &GaleraNode, statements: &[&str]) -> Vec<String> {
    statements
        .iter()
        .map(|statement| outcome(node, statement))
        .collect()
}

#[test]
fn one_node_is_a_cluster_of_its_own() {
    require_galera!();
    let node = GaleraNode::start(options());
    assert_eq!(node.status("wsrep_cluster_status"), "Primary");
    assert_eq!(node.status("wsrep_local_state"), "4");
    assert_eq!(node.status("wsrep_ready"), "ON");
    assert_eq!(node.sql("SELECT v FROM shop.t"), "1");
}

#[test]
fn what_one_node_writes_is_on_the_other() {
    require_galera!();
    let (first, second) = pair();
    assert_eq!(second.sql("SELECT v FROM shop.t"), "1");
    second.sql("UPDATE shop.t SET v = 2");
    let read = "SET SESSION wsrep_sync_wait = 1; SELECT v FROM shop.t";
    assert_eq!(first.sql(read), "2");
}

#[test]
fn a_node_that_left_in_order_comes_back() {
    require_galera!();
    let (first, second) = pair();
    second.stop_gracefully();
    first.sql("UPDATE shop.t SET v = 2");
    second.start_again();
    let synced = || second.status("wsrep_local_state_comment") == "Synced";
    assert!(eventually(PATIENCE, synced));
    assert_eq!(second.sql("SELECT v FROM shop.t"), "2");
}

#[test]
fn a_node_without_a_quorum_says_so_to_who_reads_no_table_and_1047_to_others() {
    require_galera!();
    let (first, second) = pair();
    first.freeze();
    let ready = |answer| move |node: &GaleraNode| node.status("wsrep_ready") == answer;
    assert!(eventually(PATIENCE, || ready("OFF")(&second)));
    assert_eq!(second.status("wsrep_cluster_status"), "non-Primary");
    assert_eq!(outcomes(&second, &TABLELESS), ["0"; 7]);
    let refused = [
        "SELECT v FROM shop.t",
        "REPLACE INTO shop.t VALUES (1, 2)",
        "CREATE TABLE IF NOT EXISTS shop.t (id INT)",
        "BEGIN",
        "DO 1",
    ];
    assert_eq!(outcomes(&second, &refused), ["1047"; 5]);

    first.thaw();
    assert!(eventually(PATIENCE, || ready("ON")(&second)));
    assert_eq!(outcome(&second, "REPLACE INTO shop.t VALUES (1, 2)"), "0");
}

#[test]
fn a_node_without_a_quorum_refuses_everything_that_waits_for_the_cluster() {
    require_galera!();
    let (first, second) = pair();
    second.sql("SET GLOBAL wsrep_sync_wait = 31");
    first.kill();
    assert!(eventually(PATIENCE, || second.status("wsrep_ready") == "OFF"));
    // Not 1047, and no SELECT 1 either: "Lock wait timeout exceeded", at once.
    assert_eq!(outcomes(&second, &TABLELESS), ["1205"; 7]);
    let answered = [
        "SHOW ALL SLAVES STATUS",
        "SHOW WARNINGS",
        "SET SESSION wsrep_sync_wait = 0",
        "SET STATEMENT wsrep_sync_wait = 0 FOR SELECT 1",
        "SET STATEMENT wsrep_sync_wait = 0 FOR SHOW GLOBAL STATUS LIKE 'wsrep_ready'",
    ];
    assert_eq!(outcomes(&second, &answered), ["0"; 5]);
}

#[test]
fn a_node_that_does_not_apply_hangs_for_who_waits_for_the_cluster() {
    require_galera!();
    let (first, second) = pair();
    second.sql("SET GLOBAL wsrep_sync_wait = 31");
    let lock = second.server().block_writes();
    first.sql("UPDATE shop.t SET v = 2");
    assert_eq!(second.status("wsrep_local_state_comment"), "Donor/Desynced");
    assert_eq!(second.status("wsrep_ready"), "ON");
    assert_eq!(outcomes(&second, &TABLELESS[..3]), ["hangs"; 3]);
    let answered = [
        "SHOW ALL SLAVES STATUS",
        "SET STATEMENT wsrep_sync_wait = 0 FOR SELECT 1",
        "SET STATEMENT wsrep_sync_wait = 0 FOR SHOW GLOBAL STATUS LIKE 'wsrep_ready'",
    ];
    assert_eq!(outcomes(&second, &answered), ["0"; 3]);
    drop(lock);
    assert!(eventually(PATIENCE, || outcome(&second, "SELECT 1") == "0"));
}

#[test]
fn a_desynced_node_is_ready_and_says_donor() {
    require_galera!();
    let node = GaleraNode::start(options());
    node.sql("SET GLOBAL wsrep_desync = ON");
    assert_eq!(node.status("wsrep_local_state"), "2");
    assert_eq!(node.status("wsrep_local_state_comment"), "Donor/Desynced");
    assert_eq!(node.status("wsrep_ready"), "ON");
    assert_eq!(outcome(&node, "REPLACE INTO shop.t VALUES (1, 2)"), "0");
    node.sql("SET GLOBAL wsrep_desync = OFF");
    assert!(eventually(PATIENCE, || node.status("wsrep_local_state") == "4"));
}

#[test]
fn a_node_that_rejects_queries_looks_synced_but_for_the_variable() {
    require_galera!();
    let node = GaleraNode::start(options());
    node.sql("SET GLOBAL wsrep_reject_queries = ALL");
    assert_eq!(node.status("wsrep_ready"), "ON");
    assert_eq!(node.status("wsrep_local_state"), "4");
    assert_eq!(node.sql("SELECT @@global.wsrep_reject_queries"), "ALL");
    assert_eq!(outcomes(&node, &TABLELESS), ["0"; 7]);
    assert_eq!(outcome(&node, "SELECT v FROM shop.t"), "1047");
    node.sql("SET GLOBAL wsrep_reject_queries = NONE");
    assert_eq!(outcome(&node, "SELECT v FROM shop.t"), "0");
}
