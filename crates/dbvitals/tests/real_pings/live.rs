//! Listening to an interface while drivers ping real servers, and what the servers say of it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use dbvitals_testkit::{
    MariaDb, Network, Postgres, PostgresOptions, RealServer, TestAuthority, Validity,
    require_namespaces,
};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::program::{Run, dbvitals};
use super::{PYTHON, ROUNDS, Told, Truth, drivers_ready_for, mariadb, network, run, script};

/// `pings` at work on the loopback of a network.
struct Listening {
    child: Child,
    words: BufReader<ChildStderr>,
}

impl Listening {
    /// Listens from now on.
    fn start(network: &Network, port: u16, arguments: &[&str]) -> Self {
        let mut child = network
            .command(env!("CARGO_BIN_EXE_dbvitals"))
            .args(["pings", "--json", "--interface", "lo", "--for", "10m"])
            .args(["--port", &port.to_string()])
            .args(arguments)
            .env("DBVITALS_PASSWORD", "secret")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dbvitals can be started");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let mut words = BufReader::new(stderr);
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            let length = words.read_line(&mut line).expect("words are UTF-8");
            assert!(length > 0, "pings ended before it listened");
        }
        Self { child, words }
    }

    /// What was heard until now.
    fn finish(mut self) -> Told {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("pings can be told to end");
        let run = Run::ended(self.child.wait_with_output().expect("pings ends"));
        let mut said = String::new();
        self.words
            .read_to_string(&mut said)
            .expect("words are UTF-8");
        assert_eq!(run.code, 0, "{run:?}\n{said}");
        Told {
            document: serde_json::from_str(&run.stdout).expect("one document"),
        }
    }
}

/// What the server counted, what was heard, and the difference.
fn compared(told: &Told, counter: &str) -> (u64, u64, i64) {
    let counters = told.document["compared"]["counters"].as_array();
    let row = counters
        .into_iter()
        .flatten()
        .find(|row| row["counter"] == counter);
    let row = row.unwrap_or_else(|| panic!("{counter} is missing: {}", told.document));
    let number = |name: &str| row[name].as_u64().expect("a count");
    let difference = row["difference"].as_i64().expect("a number");
    (number("server"), number("heard"), difference)
}

fn assert_heard(told: &Told, truth: &Truth, hidden: &Truth) {
    assert_eq!(told.pings(), truth.pings);
    let pings: u64 = truth.pings.values().sum();
    assert_eq!(told.commands(), pings + truth.work);
    assert_eq!(told.document["packets_lost"], 0);
    assert_eq!(told.connections("opaque"), hidden.connections);
    let seen = truth.connections + hidden.connections;
    assert_eq!(told.connections("seen"), seen);
}

/// Counts of these forms together.
fn sum(truth: &Truth, forms: &[&str]) -> u64 {
    let counts = forms.iter().filter_map(|form| truth.pings.get(*form));
    counts.sum()
}

#[test]
fn what_is_heard_live_and_what_is_hidden_are_together_what_the_server_counted() {
    const TEST: &str = "what_is_heard_live_and_what_is_hidden_are_together_what_the_server_counted";
    require_namespaces!();
    if !drivers_ready_for(TEST) {
        return;
    }
    let network = network();
    let server: MariaDb = mariadb(&network);
    server.sql("GRANT SELECT ON performance_schema.* TO vitals@'%'");
    let (port, url) = (
        server.port().to_string(),
        format!("mysql://vitals@{}", server.address()),
    );
    let listening = Listening::start(&network, server.port(), &["--compare-with", &url]);
    let drive = |arguments: &[&str]| {
        let mut command = network.command(PYTHON);
        let command = command.arg(script("pymysql_driver.py"));
        Truth::of(&run(command.args([&port, ROUNDS]).args(arguments)))
    };
    let (truth, hidden) = (drive(&[]), drive(&["tls"]));
    let told = listening.finish();

    assert_heard(&told, &truth, &hidden);
    assert_eq!(told.document["compared"]["since"], "listening");
    for (counter, forms) in [
        ("statement/com/Ping", &["com_ping"][..]),
        ("statement/com/Statistics", &["com_statistics"]),
        ("statement/com/Reset connection", &["com_reset_connection"]),
        ("Com_admin_commands", &["com_ping", "com_reset_connection"]),
        ("digest SELECT ?", &["select_1", "commented_select_1"]),
    ] {
        let (plain, unheard) = (sum(&truth, forms), sum(&hidden, forms));
        let expected = (plain + unheard, plain, unheard.cast_signed());
        assert_eq!(compared(&told, counter), expected, "{counter}");
    }
    let connections = truth.connections + hidden.connections;
    assert_eq!(
        compared(&told, "Connections"),
        (connections, connections, 0)
    );
}

#[test]
fn postgresql_is_heard_live_too_and_compared() {
    require_namespaces!();
    if !drivers_ready_for("postgresql_is_heard_live_too_and_compared") {
        return;
    }
    let network = network();
    let authority = TestAuthority::new();
    let here = authority.issue(&["127.0.0.1"], Validity::Current);
    let preload = "shared_preload_libraries".to_owned();
    let server = Postgres::start(PostgresOptions {
        settings: vec![(preload, "pg_stat_statements".to_owned())],
        tls: Some(here),
        first_sql: "CREATE EXTENSION pg_stat_statements; GRANT pg_read_all_stats TO vitals"
            .to_owned(),
        network: Some(network.clone()),
        ..Default::default()
    });
    let (port, url) = (
        server.port().to_string(),
        format!("postgres://vitals@{}/vitals", server.address()),
    );
    let listening = Listening::start(&network, server.port(), &["--compare-with", &url]);
    let drive = |mode: &str| {
        let mut command = network.command(PYTHON);
        let command = command.arg(script("psycopg2_driver.py"));
        Truth::of(&run(command.args([&port, ROUNDS, mode])))
    };
    let (truth, hidden) = (drive("disable"), drive("require"));
    let told = listening.finish();

    assert_heard(&told, &truth, &hidden);
    let forms = ["select_1", "commented_select_1"];
    let (plain, unheard) = (sum(&truth, &forms), sum(&hidden, &forms));
    let expected = (plain + unheard, plain, unheard.cast_signed());
    assert_eq!(compared(&told, "pg_stat_statements SELECT $1"), expected);
}

#[test]
fn listening_says_what_it_needs() {
    for (arguments, needed) in [
        (
            &["--interface", "nosuch0", "--port", "3306"][..],
            "\"nosuch0\"",
        ),
        (&["--interface", "lo"], "--port"),
    ] {
        let run = Run::of(&mut dbvitals(&[&["pings"], arguments].concat()));
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stderr.contains(needed), "{run:?}");
    }
    let listen = ["pings", "--interface", "lo", "--port", "3306"];
    let run = Run::of(&mut match geteuid().is_root() {
        true => without_capability(&listen),
        false => dbvitals(&listen),
    });
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stderr.contains("CAP_NET_RAW"), "{run:?}");
}

/// The program as root without what listening needs.
fn without_capability(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"])
        .arg(env!("CARGO_BIN_EXE_dbvitals"))
        .args(arguments);
    command
}
