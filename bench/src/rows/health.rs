//! How fast a balancer's question is answered: `/health/NAME` beside HAProxy's own fixed answer, and
//! beside what people write, a handler that pings the database through a pool for each question.
//!
//! wrk asks from a core of its own; whoever answers has the other one. wrk may be what is slowest:
//! then the CPU of a request says how much was left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use dbvitals_testkit::{Port, RealServer};

use super::Row;
use crate::agent;
use crate::bench::Bench;
use crate::child::Child;
use crate::haproxy;
use crate::http;
use crate::real;
use crate::scripted::Protocol;
use crate::sheet::{Goal, Sheet};
use crate::side::{Measured, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "health",
    about: "/health requests a second, beside HAProxy's fixed answer and a PING per request",
    run,
};

const REQUESTS: &str = "requests";
const FIXED: &str = "HAProxy, return status 200";
/// Sessions that the database takes.
const SESSIONS_MAX: u32 = 100;
/// The core of whoever answers, and that of wrk.
const CORES: [&str; 2] = ["0", "1"];

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let server = real::start(Protocol::MySql, SESSIONS_MAX, None)?;
    let handler = bench.scratch.join("deep_check");
    build_handler(bench, &handler)?;
    let mut sides = [
        Side::new("dbvitals", || ours(bench, &*server)),
        Side::new(FIXED, || fixed(bench)),
        Side::new("handler in Go, a PING each", || {
            pinging(bench, &handler, &*server)
        }),
    ];
    let runs = in_turn(bench.rounds, &mut sides)?;
    let sheet = Sheet::new("64 connections, one core to answer on", runs);
    Ok(vec![sheet.aim(Goal::at_least(1.0, REQUESTS, FIXED))])
}

fn ours(bench: &Bench, server: &dyn RealServer) -> anyhow::Result<Vec<Measured>> {
    let port = Port::reserve();
    let url = Protocol::MySql.url(&real::address(server, 0));
    let sections = format!("[backend.db]\nurl = {url:?}\n");
    let http = format!("127.0.0.1:{}", port.number());
    let configuration = agent::write(bench, "health", &http, &sections)?;
    let words = agent::words(bench, &configuration);
    measure(bench, &words, &port, "/health/db")
}

fn fixed(bench: &Bench) -> anyhow::Result<Vec<Measured>> {
    let port = Port::reserve();
    let section = format!(
        "frontend fixed\n    mode http\n    no log\n    bind 127.0.0.1:{}\n    \
         http-request return status 200\n",
        port.number()
    );
    measure(
        bench,
        &haproxy::words(bench, "fixed", &section)?,
        &port,
        "/",
    )
}

fn pinging(
    bench: &Bench,
    handler: &Path,
    server: &dyn RealServer,
) -> anyhow::Result<Vec<Measured>> {
    let port = Port::reserve();
    let words = [
        handler.display().to_string(),
        format!("vitals@tcp({})/", real::address(server, 0)),
        format!("127.0.0.1:{}", port.number()),
    ];
    measure(bench, &words, &port, "/health")
}

/// Builds the handler with Debian's packages of Go and of its MySQL driver.
fn build_handler(bench: &Bench, handler: &Path) -> anyhow::Result<()> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/deep_check.go");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(handler)
        .arg(source)
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", bench.scratch.join("go"))
        .status()
        .context("failed to run go; scripts/servers --bench installs it")?;
    ensure!(status.success(), "go refused {source}");
    Ok(())
}

/// Has wrk ask whoever is started with these words.
fn measure(
    bench: &Bench,
    words: &[String],
    port: &Port,
    path: &str,
) -> anyhow::Result<Vec<Measured>> {
    let [own, of_wrk] = CORES;
    let mut command = Command::new("taskset");
    command.args(["-c", own]).args(words);
    let child = Child::start(command.stderr(Stdio::null()))?;
    http::wait_until_fine(port.number(), path)?;
    // What is slow at first is over then.
    http::wrk(of_wrk, port.number(), path, Duration::from_secs(1))?;
    let before = child.cpu()?;
    let told = http::wrk(of_wrk, port.number(), path, bench.window)?;
    let cpu = child.cpu()? - before;
    Ok(vec![
        Measured::new(REQUESTS, "/s", told.per_second),
        Measured::new("p99", "us", told.p99_us),
        Measured::new(
            "CPU a request",
            "us",
            cpu.as_secs_f64() * 1e6 / told.requests,
        ),
    ])
}
