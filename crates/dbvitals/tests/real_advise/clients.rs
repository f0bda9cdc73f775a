//! SQLAlchemy and Go's database/sql, with their defaults and with the lines that `advise` prints
//! for them, on servers that end idle sessions after a few seconds.
//!
//! Each client fills a pool of each kind, lets both idle for longer than the server allows, and
//! then makes twenty queries, one after the other: SQLAlchemy takes the connections in turn, Go the
//! newest free one. What is counted is queries that fail, or sessions that the server had to end.

use std::fs;
use std::path::Path;
use std::process::Command;

use dbvitals_testkit::{
    GO_PATH, MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, go_for,
    python_for,
};

use crate::advise;
use crate::state_dir::StateDir;

/// The server's limit, and for how long the pools idle.
const IDLE_LIMIT_S: u32 = 5;
const IDLES_S: u32 = 7;

/// Takes the URL, and the arguments of `create_engine` that were advised.
const PYTHON: &str = r#"
import sys, time
from sqlalchemy import create_engine, text

def warm(engine):
    held = [engine.connect() for _ in range(5)]
    for connection in held:
        connection.execute(text("SELECT 1"))
    for connection in held:
        connection.close()

def failed(engine):
    count = 0
    for _ in range(20):
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except Exception as error:
            count += 1
    return count

url, idles = sys.argv[1], int(sys.argv[2])
engines = [create_engine(url), create_engine(url, ADVISED)]
for engine in engines:
    warm(engine)
time.sleep(idles)
print(*[failed(engine) for engine in engines])
"#;

/// Takes the URL, how long to idle, and `advised` if what was advised is to be set. A default pool
/// keeps two connections.
const GO: &str = r#"
package main

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"time"

	_ "github.com/lib/pq"
)

func main() {
	db, err := sql.Open("postgres", os.Args[1])
	if err != nil {
		panic(err)
	}
	if os.Args[3] == "advised" {
		ADVISED
	}
	done := make(chan error)
	for i := 0; i < 5; i++ {
		go func() {
			_, err := db.Exec("SELECT pg_sleep(0.2)")
			done <- err
		}()
	}
	for i := 0; i < 5; i++ {
		if err := <-done; err != nil {
			panic(err)
		}
	}
	idles, _ := strconv.Atoi(os.Args[2])
	time.Sleep(time.Duration(idles) * time.Second)
	failed := 0
	for i := 0; i < 20; i++ {
		if _, err := db.Exec("SELECT 1"); err != nil {
			failed++
		}
	}
	fmt.Println(failed)
}
"#;

/// What PostgreSQL logs of a session that it ended.
const ENDED: &str = "terminating connection due to idle-session timeout";

fn mariadb() -> MariaDb {
    MariaDb::start(MariaDbOptions {
        arguments: vec![format!("--wait-timeout={IDLE_LIMIT_S}")],
        ..MariaDbOptions::default()
    })
}

fn postgres() -> Postgres {
    let limit = format!("{IDLE_LIMIT_S}s");
    Postgres::start(PostgresOptions {
        settings: vec![("idle_session_timeout".to_owned(), limit)],
        ..PostgresOptions::default()
    })
}

/// The lines that are printed for a client.
fn lines(url: &str, client: &str) -> String {
    let (_, document) = advise(url, &["--for", client]);
    let settings = document["clients"][0]["settings"].as_array();
    let settings = settings.expect("a list").iter();
    let lines: Vec<_> = settings.filter_map(|it| it["line"].as_str()).collect();
    assert!(lines.len() >= 3, "{document}");
    lines.join("\n\t\t")
}

/// The numbers that a client printed.
fn counted(command: &mut Command) -> Vec<usize> {
    let output = command.output().expect("the client can be started");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_whitespace().flat_map(str::parse).collect()
}

#[expect(clippy::print_stdout, reason = "figures for who runs it by hand")]
fn expect_cure(what: &str, by_default: usize, advised: usize) {
    println!("{what}: {by_default} by default, {advised} as advised");
    assert!(by_default > 0, "{what}: none by default");
    assert_eq!(advised, 0, "{what}, as advised");
}

/// Queries that fail with the defaults, and as advised.
fn in_python(what: &str, python: &Path, url: &str, sql_url: &str) {
    let program = PYTHON.replace("ADVISED", &lines(url, "sqlalchemy"));
    let mut command = Command::new(python);
    command.args(["-c", &program, sql_url, &IDLES_S.to_string()]);
    match counted(&mut command)[..] {
        [by_default, advised] => expect_cure(what, by_default, advised),
        _ => panic!("{what} counted otherwise"),
    }
}

#[test]
fn sqlalchemy_meets_no_stale_connections_as_advised() {
    let name = "sqlalchemy_meets_no_stale_connections_as_advised";
    for module in ["pymysql", "psycopg2"] {
        if python_for(name, module).is_none() {
            return;
        }
    }
    let Some(python) = python_for(name, "sqlalchemy") else {
        return;
    };
    let server = mariadb();
    let url = format!("mysql://vitals@{}", server.address());
    let sql_url = format!("mysql+pymysql://vitals:secret@{}", server.address());
    in_python("failed, SQLAlchemy, PyMySQL", &python, &url, &sql_url);
    let server = postgres();
    let url = format!("postgres://vitals@{}/vitals", server.address());
    let sql_url = format!("postgresql://vitals:secret@{}/vitals", server.address());
    in_python("failed, SQLAlchemy, psycopg2", &python, &url, &sql_url);
}

/// database/sql repeats what lib/pq finds a dead connection for, so no query fails either way; what
/// is counted is what the server had to end.
#[test]
fn go_leaves_no_stale_connections_as_advised() {
    let name = "go_leaves_no_stale_connections_as_advised";
    let Some(go) = go_for(name, "github.com/lib/pq") else {
        return;
    };
    let server = postgres();
    let url = format!("postgres://vitals@{}/vitals", server.address());
    let place = StateDir::new("go");
    let source = place.path().join("main.go");
    let program = place.path().join("client");
    let text = GO.replace("ADVISED", &lines(&url, "go"));
    fs::write(&source, text).expect("the directory can be written");
    let built = Command::new(go)
        .args(["build", "-o"])
        .args([&program, &source])
        .env("GO111MODULE", "off")
        .env("GOPATH", GO_PATH)
        .env("GOCACHE", place.path().join("cache"))
        .output()
        .expect("Go can be started");
    assert!(built.status.success(), "{built:?}");
    let sql_url = format!(
        "postgres://vitals:secret@{}/vitals?sslmode=disable",
        server.address()
    );
    let mut ended = 0;
    let [by_default, advised] = ["default", "advised"].map(|kind| {
        let mut client = Command::new(&program);
        let failed = counted(client.args([&sql_url, &IDLES_S.to_string(), kind]));
        assert_eq!(failed, [0], "{kind}");
        let before = std::mem::replace(&mut ended, server.log_text().matches(ENDED).count());
        ended - before
    });
    expect_cure("ended by the server, Go, lib/pq", by_default, advised);
}
