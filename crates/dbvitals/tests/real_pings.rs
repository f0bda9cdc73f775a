//! What `pings` counts in captures of real servers and real drivers: equal to what the drivers
//! counted themselves, and to what the servers did, to the last ping.

#[path = "real_pings/capture.rs"]
mod capture;
#[path = "real_pings/live.rs"]
mod live;
#[path = "support/program.rs"]
mod program;
#[path = "real_pings/rust_drivers.rs"]
mod rust_drivers;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Network, Postgres, PostgresOptions, RealServer, TestAuthority,
    Validity, left_out, require_namespaces,
};
use serde_json::Value;

use crate::capture::{Capture, Packet, Tcpdump};
use crate::program::{Run, dbvitals};

const ROUNDS: &str = "300";

/// Debian's own interpreter: the one that its packages of drivers are for.
const PYTHON: &str = "/usr/bin/python3";

/// Whether all that the tests drive is installed; where servers are required, it has to be.
fn drivers_ready_for(test: &str) -> bool {
    let tried = [
        ("tcpdump", vec!["tcpdump", "--version"]),
        ("python3-pymysql", vec![PYTHON, "-c", "import pymysql"]),
        ("python3-psycopg2", vec![PYTHON, "-c", "import psycopg2"]),
        ("python3-asyncpg", vec![PYTHON, "-c", "import asyncpg"]),
        ("sysbench", vec!["sysbench", "--version"]),
        ("node-mysql", vec!["node", "-e", "require('mysql')"]),
    ];
    let is_missing = |words: &[&str]| {
        let output = Command::new(words[0])
            .args(&words[1..])
            .env("NODE_PATH", NODE_PATH)
            .output();
        !output.is_ok_and(|output| output.status.success())
    };
    let missing: Vec<&str> = tried
        .iter()
        .filter(|(_, words)| is_missing(words))
        .map(|(package, _)| *package)
        .collect();
    let required = env::var("DBVITALS_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(
        missing.is_empty() || !required,
        "DBVITALS_REQUIRE_SERVERS=1, but not installed: {}; run scripts/servers",
        missing.join(", ")
    );
    if !missing.is_empty() {
        let why = format!("needs {}; scripts/test installs them", missing.join(", "));
        left_out(test, &why);
    }
    missing.is_empty()
}

/// Where Debian keeps the modules of Node.
const NODE_PATH: &str = "/usr/share/nodejs";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/real_pings")
        .join(name)
}

/// A network whose packets are no longer than an Ethernet's.
fn network() -> Network {
    let network = Network::new();
    run(network
        .command("ip")
        .args(["link", "set", "lo", "mtu", "1500"]));
    network
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("a driver can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

type Counts = BTreeMap<String, u64>;

/// What a driver says it did.
#[derive(Debug, Default)]
struct Truth {
    pings: Counts,
    work: u64,
    connections: u64,
}

impl Truth {
    fn of(said: &str) -> Self {
        let said: Value = serde_json::from_str(said.trim()).expect("a driver prints its counts");
        let pings = said["pings"].as_object().expect("pings by form");
        let number = |value: &Value| value.as_u64().expect("a count");
        Self {
            pings: pings
                .iter()
                .map(|(form, it)| (form.clone(), number(it)))
                .collect(),
            work: number(&said["work"]),
            connections: number(&said["connections"]),
        }
    }

    fn plus(mut self, other: Self) -> Self {
        for (form, count) in other.pings {
            *self.pings.entry(form).or_default() += count;
        }
        self.work += other.work;
        self.connections += other.connections;
        self
    }
}

/// What `pings` says of a capture.
struct Told {
    document: Value,
}

impl Told {
    fn of(capture: &Capture, name: &str, arguments: &[&str]) -> Self {
        let path = capture.write(name);
        let file = path.to_str().expect("a path of ours");
        let run = Run::of(&mut dbvitals(
            &[&["pings", "--json", "--pcap", file], arguments].concat(),
        ));
        assert_eq!(run.code, 0, "{run:?}");
        fs::remove_file(path).expect("the capture can be removed");
        Self {
            document: serde_json::from_str(&run.stdout).expect("one document"),
        }
    }

    /// The one server of the capture.
    fn server(&self) -> &Value {
        let servers = self.document["servers"].as_array().expect("a list");
        assert_eq!(servers.len(), 1, "{servers:?}");
        &servers[0]
    }

    fn pings(&self) -> Counts {
        let pings = self.server()["pings"].as_object().expect("pings by form");
        pings
            .iter()
            .map(|(form, count)| (form.clone(), count.as_u64().expect("a count")))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    fn commands(&self) -> u64 {
        self.server()["commands"].as_u64().expect("a count")
    }

    fn connections(&self, what: &str) -> u64 {
        self.document["connections"][what]
            .as_u64()
            .expect("a count")
    }
}

#[track_caller]
fn assert_equal(told: &Told, truth: &Truth, what: &str) {
    assert_eq!(told.pings(), truth.pings, "{what}");
    let pings: u64 = truth.pings.values().sum();
    assert_eq!(told.commands(), pings + truth.work, "{what}");
    assert_eq!(told.connections("seen"), truth.connections, "{what}");
}

/// What can happen to a capture changes no count, but for packets that are not there: then what is
/// left of the pings is counted, and nothing else.
fn check_variants(capture: &Capture, port: u16, truth: &Truth, is_ping: fn(&[u8]) -> bool) {
    for (name, variant) in [
        ("whole", capture.clone()),
        ("twice", capture.twice()),
        ("tagged", capture.tagged()),
        ("cooked", capture.cooked()),
        ("moved", capture.moved(port, 33_306)),
        ("cut to 96", capture.cut(96)),
        ("twice, cut to 96", capture.cut(96).twice()),
    ] {
        let name = format!("{port} {name}");
        assert_equal(&Told::of(&variant, &name, &[]), truth, &name);
    }
    for percent in [1, 5] {
        for seed in 0..3 {
            let variant = capture.with_loss(percent, seed, prepares);
            let told = Told::of(&variant, &format!("{port} loss {percent} {seed}"), &[]);
            let is_left = |packet: &&Packet| {
                let (_, to, payload) = packet.payload();
                to == port && is_ping(payload)
            };
            let left = variant.packets.iter().filter(is_left).count() as u64;
            let counted: u64 = told.pings().values().sum();
            assert!(
                counted <= left,
                "{counted} pings of {left}, {percent} % lost"
            );
            assert!(
                counted * 100 >= left * 99,
                "{counted} pings of {left}, {percent} % lost"
            );
            let caught = told.server()["dead_when_used"].as_u64();
            assert_eq!(caught, Some(0), "nothing died, {percent} % lost");
        }
    }
}

/// Whether a packet prepares a statement, or gives it its number: nobody who lacks it can know what
/// is executed later.
fn prepares(payload: &[u8]) -> bool {
    matches!(
        payload,
        [_, 0, 0, 0, 0x16, ..] | [12, 0, 0, 1, 0, ..] | [b'P', 0, 0, ..]
    )
}

/// A copy with nothing but pings is counted like the original, and holds none of its words.
fn check_copy(capture: &Capture, port: u16, truth: &Truth, secrets: &[&[u8]]) {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("copy {port}.pcap"));
    let _ = fs::remove_file(&copy);
    let file = copy.to_str().expect("a path of ours");
    Told::of(
        capture,
        &format!("{port} original"),
        &["--keep-pings-only", file],
    );
    let bytes = fs::read(&copy).expect("the copy is there");
    for secret in secrets {
        let is_there = bytes.windows(secret.len()).any(|it| it == *secret);
        assert!(
            !is_there,
            "{:?} is in the copy",
            String::from_utf8_lossy(secret)
        );
    }
    let run = Run::of(&mut dbvitals(&["pings", "--json", "--pcap", file]));
    let told = Told {
        document: serde_json::from_str(&run.stdout).expect("one document"),
    };
    assert_equal(&told, truth, "the copy");
    fs::remove_file(copy).expect("the copy can be removed");
}

/// How often the server ran what performance_schema calls by this name.
fn statements(server: &MariaDb, name: &str) -> u64 {
    let sql = format!(
        "SELECT count_star FROM performance_schema.events_statements_summary_global_by_event_name
         WHERE event_name = 'statement/{name}'"
    );
    server.sql(&sql).trim().parse().expect("a count")
}

fn mariadb(network: &Network) -> MariaDb {
    let authority = TestAuthority::new();
    let here = authority.issue(&["127.0.0.1"], Validity::Current);
    MariaDb::start(MariaDbOptions {
        arguments: vec![
            "--performance-schema=ON".to_owned(),
            "--performance-schema-instrument=statement/%=ON".to_owned(),
        ],
        tls: Some(here),
        network: Some(network.clone()),
        ..Default::default()
    })
}

#[test]
fn mysql_pings_are_those_that_the_drivers_and_the_server_counted() {
    require_namespaces!();
    if !drivers_ready_for("mysql_pings_are_those_that_the_drivers_and_the_server_counted") {
        return;
    }
    let network = network();
    let server = mariadb(&network);
    let port = server.port().to_string();
    let before = network.packets();
    let tcpdump = Tcpdump::start(&network, "mysql");
    let python = |arguments: &[&str]| {
        let mut command = network.command(PYTHON);
        command
            .arg(script("pymysql_driver.py"))
            .args([&port, ROUNDS])
            .args(arguments);
        Truth::of(&run(&mut command))
    };
    let plain = python(&[]);
    let node = Truth::of(&run(network
        .command("node")
        .arg(script("mysql_driver.js"))
        .args([&port, ROUNDS])
        .env("NODE_PATH", NODE_PATH)));
    run(network
        .command("sysbench")
        .args([
            "--db-driver=mysql",
            "--mysql-host=127.0.0.1",
            "--mysql-user=vitals",
        ])
        .args([
            "--mysql-password=secret",
            "--mysql-db=",
            "--threads=2",
            "--events=200",
        ])
        .args([
            &format!("--mysql-port={port}"),
            "--time=0",
            "--mysql-ssl=off",
        ])
        .arg(script("sysbench_driver.lua"))
        .arg("run"));
    let hidden = python(&["tls"]);
    let capture = tcpdump.finish(|| network.packets() - before);

    let told = Told::of(&capture, "mysql drivers", &[]);
    let by_sysbench = Truth {
        pings: [("select_1".to_owned(), 400)].into(),
        // Each thread prepares and closes a statement.
        work: 200 + 4,
        connections: 2,
    };
    let truth = plain.plus(node).plus(by_sysbench);
    let mut seen = told.pings();
    assert_eq!(seen, truth.pings);
    // The server saw those under TLS as well.
    for (form, name) in [
        ("com_ping", "com/Ping"),
        ("com_statistics", "com/Statistics"),
    ] {
        let hidden = hidden.pings[form];
        let counted = seen.remove(form).unwrap_or_default();
        assert_eq!(statements(&server, name), counted + hidden, "{name}");
    }
    assert_eq!(told.connections("opaque"), hidden.connections);
    assert_eq!(
        told.connections("seen"),
        truth.connections + hidden.connections
    );
    let truth = Truth {
        connections: truth.connections + hidden.connections,
        ..truth
    };
    check_variants(&capture, server.port(), &truth, |payload| {
        let text = payload.get(5..).unwrap_or_default();
        matches!(payload, [1, 0, 0, 0, 0x0e | 0x09 | 0x1f])
            || matches!(payload, [_, 0, 0, 0, 0x17, ..])
            || matches!(payload, [_, 0, 0, 0, 3, ..])
                && (text == b"SELECT 1" || text == b"/* ping */ SELECT 1")
    });
    let secrets = [&b"vitals"[..], b"MariaDB", b"RECURSIVE", b"length("];
    check_copy(&capture, server.port(), &truth, &secrets);
}

#[test]
fn postgresql_pings_are_those_that_the_drivers_and_the_server_counted() {
    require_namespaces!();
    if !drivers_ready_for("postgresql_pings_are_those_that_the_drivers_and_the_server_counted") {
        return;
    }
    let network = network();
    let authority = TestAuthority::new();
    let here = authority.issue(&["127.0.0.1"], Validity::Current);
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let server = Postgres::start(PostgresOptions {
        settings: vec![setting("shared_preload_libraries", "pg_stat_statements")],
        tls: Some(here),
        first_sql: "CREATE EXTENSION pg_stat_statements".to_owned(),
        network: Some(network.clone()),
        ..Default::default()
    });
    let port = server.port().to_string();
    let before = network.packets();
    let tcpdump = Tcpdump::start(&network, "postgresql");
    let psycopg2 = |mode: &str| {
        let mut command = network.command(PYTHON);
        command
            .arg(script("psycopg2_driver.py"))
            .args([&port, ROUNDS, mode]);
        Truth::of(&run(&mut command))
    };
    let plain = psycopg2("disable");
    let pgbench = pgbench(&network, &port);
    // What asyncpg prepares is longer than 96 bytes hold, so it has a capture of its own.
    let capture = tcpdump.finish(|| network.packets() - before);
    let before = network.packets();
    let tcpdump = Tcpdump::start(&network, "postgresql rest");
    let asyncpg = Truth::of(&run(network
        .command(PYTHON)
        .arg(script("asyncpg_driver.py"))
        .args([&port, ROUNDS])));
    let hidden = psycopg2("require");
    let rest = tcpdump.finish(|| network.packets() - before);

    let truth = plain.plus(pgbench);
    check_variants(&capture, server.port(), &truth, |payload| {
        let is = |text: &[u8]| payload.windows(text.len()).any(|it| it == text);
        match payload.first() {
            Some(b'Q') => {
                let texts = [
                    &b"SELECT 1\0"[..],
                    b"/* ping */ SELECT 1\0",
                    b";\0",
                    b"SELECT 1;\0",
                ];
                texts.contains(&payload.get(5..).unwrap_or_default())
            }
            Some(b'P') => is(b"SELECT 1;\0"),
            Some(b'B') => true,
            _ => false,
        }
    });
    let secrets = [&b"vitals"[..], b"generate_series", b"COPY", b"SCRAM"];
    check_copy(&capture, server.port(), &truth, &secrets);

    let told = Told::of(&rest, "postgresql rest", &[]);
    assert_eq!(told.pings(), asyncpg.pings);
    assert_eq!(told.connections("opaque"), hidden.connections);
    // One row for all of them, whichever came first; the server saw those under TLS as well.
    let selects = |truth: &Truth| -> u64 {
        let forms = ["select_1", "commented_select_1"];
        forms.iter().filter_map(|form| truth.pings.get(*form)).sum()
    };
    let counted =
        server.sql("SELECT sum(calls) FROM pg_stat_statements WHERE query ~ 'SELECT \\$1;?$'");
    let expected = selects(&truth) + selects(&asyncpg) + selects(&hidden);
    assert_eq!(counted.trim(), expected.to_string());
}

/// pgbench in each of its protocols: a transaction is a ping.
fn pgbench(network: &Network, port: &str) -> Truth {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ping.sql");
    fs::write(&file, "SELECT 1;\n").expect("a script can be written");
    let program = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/pgbench"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from("pgbench"));
    let mut truth = Truth::default();
    for (mode, prepares) in [("simple", 0), ("extended", 0), ("prepared", 2)] {
        run(network
            .command(&program)
            .args([
                "--no-vacuum",
                "--transactions=100",
                "--client=2",
                "--host=127.0.0.1",
            ])
            .args([
                "--username=vitals",
                "--port",
                port,
                "--protocol",
                mode,
                "--file",
            ])
            .arg(&file)
            .arg("vitals")
            .env("PGPASSWORD", "secret")
            .env("PGSSLMODE", "disable")
            .env("PGGSSENCMODE", "disable"));
        truth = truth.plus(Truth {
            pings: [("select_1".to_owned(), 200)].into(),
            work: prepares,
            // pgbench tries one before it begins.
            connections: 3,
        });
    }
    truth
}

#[test]
fn connections_that_were_there_before_are_read_and_killed_ones_are_caught() {
    require_namespaces!();
    if !drivers_ready_for("connections_that_were_there_before_are_read_and_killed_ones_are_caught")
    {
        return;
    }
    let network = network();
    let server = mariadb(&network);
    let before = network.packets();
    let tcpdump = Tcpdump::start(&network, "killed");
    let program = format!(
        "import pymysql, sys
k = [pymysql.connect(host='127.0.0.1', port={}, user='vitals', password='secret') for _ in 'abc']
for it in k * 5: it.ping(reconnect=False)
print('ready', flush=True)
sys.stdin.readline()
for it in k:
    try: it.ping(reconnect=False)
    except pymysql.err.Error: pass",
        server.port()
    );
    let mut child = network
        .command(PYTHON)
        .args(["-c", &program])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a driver can be started");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    server.kill_all_sessions();
    drop(child.stdin.take());
    assert!(child.wait().expect("the driver ends").success());
    let capture = tcpdump.finish(|| network.packets() - before);

    let told = Told::of(&capture, "killed", &["--group-by", "connection"]);
    assert_eq!(told.pings(), [("com_ping".to_owned(), 18)].into());
    assert_eq!(told.server()["dead_when_used"], 3);
    assert_eq!(told.server()["dead"]["closed"], 3);
    assert_eq!(told.server()["groups"].as_array().map(Vec::len), Some(3));
    // The first pings come behind the three logins.
    let is_ping = |packet: &Packet| packet.payload().2 == [1, 0, 0, 0, 0x0e];
    let first = capture.packets.iter().position(is_ping).expect("pings");
    let later = Told::of(&capture.after(first), "killed, later", &[]);
    assert_eq!(later.pings(), told.pings());
    assert_eq!(later.server()["dead_when_used"], 3);
    assert_eq!(
        (later.connections("seen"), later.connections("opened")),
        (3, 0)
    );
}
