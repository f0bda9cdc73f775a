//! What a check costs in all, client and server, on real servers: a ping on a held session beside the
//! checks that people use.
//!
//! Whoever checks again and again by itself watches the server at many addresses, every second; a
//! program that asks once is run again and again. What the server does by itself is measured before
//! and taken off.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use dbvitals_testkit::{Port, RealServer};

use super::Row;
use crate::agent;
use crate::bench::Bench;
use crate::child::Child;
use crate::clock;
use crate::haproxy;
use crate::http;
use crate::pgpool;
use crate::real::{self, address, tree_cpu};
use crate::scripted::Protocol;
use crate::sheet::{Goal, Sheet};
use crate::side::{Measured, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "cost",
    about: "CPU of client and server for a check on real servers, beside the checks of others",
    run,
};

const MARIADB: &str = "MariaDB";
const POSTGRESQL: &str = "PostgreSQL";
const BOTH: &str = "CPU of both";
const BARE: &str = "bare loop";
const MYSQLADMIN: &str = "mysqladmin ping";
const MYSQL_CHECK: &str = "HAProxy mysql-check";
/// How often a server of MariaDB is watched at the same time.
const WATCHED_MYSQL: u32 = 1000;
/// The same for PostgreSQL, which forks for each check that logs in.
const WATCHED_POSTGRES: u32 = 100;
/// Places for sessions beside these.
const SPARE: u32 = 50;
/// The share of the checks that are due which somebody has to make to be compared with: the others
/// are those of its start.
const LOGINS_SHARE_MIN: f64 = 0.75;
/// How long until all sessions are there and nothing is out of the ordinary.
const SETTLED_AFTER: Duration = Duration::from_secs(4);

/// What is measured at: a server, and what it costs by itself.
struct Ground<'a> {
    bench: &'a Bench,
    protocol: Protocol,
    server: Box<dyn RealServer + Send>,
    /// How often it is watched at the same time.
    watched: u32,
    /// CPU time a second.
    idle: f64,
}

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    if bench.wants(MARIADB) {
        sheets.push(mysql(bench)?);
    }
    if bench.wants(POSTGRESQL) {
        sheets.push(postgres(bench)?);
    }
    Ok(sheets)
}

fn mysql(bench: &Bench) -> anyhow::Result<Sheet> {
    let ground = Ground::new(bench, Protocol::MySql)?;
    let user = ["--user=vitals", "--host=127.0.0.1"].map(str::to_owned);
    let ping = |program: &str| {
        let port = format!("--port={}", ground.server.port());
        let mut words = vec![program.to_owned(), "--no-defaults".to_owned(), port];
        words.extend(user.clone());
        words.push("ping".to_owned());
        words
    };
    let mysqladmin = ping("mysqladmin");
    let mut sides = [
        Side::new("dbvitals", || ground.held()),
        Side::new(BARE, || ground.bare()),
        Side::new(MYSQLADMIN, || ground.forked(&mysqladmin)),
        Side::new(MYSQL_CHECK, || ground.haproxy("mysql-check user vitals")),
    ];
    let runs = in_turn(bench.rounds, &mut sides)?;
    let sheet = Sheet::new(ground.case(MARIADB), runs);
    let of_haproxy = Goal::at_most(1.0 / 5.0, BOTH, MYSQL_CHECK);
    Ok(sheet
        .aim(Goal::at_most(1.0 / 75.0, BOTH, MYSQLADMIN))
        .aim(of_haproxy.or(Goal::at_most(1.15, BOTH, BARE))))
}

fn postgres(bench: &Bench) -> anyhow::Result<Sheet> {
    let ground = Ground::new(bench, Protocol::Postgres)?;
    let wrapped = ground.psql("psql");
    let plain = ground.psql(&plain_psql()?.display().to_string());
    let mut sides = [
        Side::new("dbvitals", || ground.held()),
        Side::new(BARE, || ground.bare()),
        Side::new("psql -c 'select 1'", || ground.forked(&wrapped)),
        Side::new("the same without Debian's wrapper", || {
            ground.forked(&plain)
        }),
        Side::new("HAProxy pgsql-check", || {
            ground.haproxy("pgsql-check user vitals")
        }),
        Side::new("blackbox_exporter, TCP connect", || ground.blackbox()),
        Side::new("pgpool's health check", || ground.pgpool()),
    ];
    let runs = in_turn(bench.rounds, &mut sides)?;
    Ok(Sheet::new(ground.case(POSTGRESQL), runs))
}

/// The program behind the wrapper that Debian puts into the path.
fn plain_psql() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("scripts/servers installs it")?;
    let programs = versions.flatten().map(|it| it.path().join("bin/psql"));
    programs
        .filter(|program| program.is_file())
        .max()
        .context("scripts/servers installs psql")
}

impl<'a> Ground<'a> {
    fn new(bench: &'a Bench, protocol: Protocol) -> anyhow::Result<Self> {
        let watched = bench.sessions.unwrap_or(match protocol {
            Protocol::MySql => WATCHED_MYSQL,
            Protocol::Postgres => WATCHED_POSTGRES,
        });
        let server = real::start(protocol, watched + SPARE, None)?;
        thread::sleep(SETTLED_AFTER);
        let before = tree_cpu(server.pid())?;
        thread::sleep(bench.window);
        let own = tree_cpu(server.pid())? - before;
        Ok(Self {
            bench,
            protocol,
            watched,
            idle: own.as_secs_f64() / bench.window.as_secs_f64(),
            server,
        })
    }

    fn case(&self, product: &str) -> String {
        format!("{product}, watched {} times at 1 s", self.watched)
    }

    fn addresses(&self, count: u32) -> Vec<String> {
        let numbers = 0..count;
        numbers
            .map(|number| address(&*self.server, number))
            .collect()
    }

    fn psql(&self, program: &str) -> Vec<String> {
        let place = format!(
            "host=127.0.0.1 port={} user=vitals dbname=vitals",
            self.server.port()
        );
        [program, "--no-psqlrc", &place, "-c", "select 1"]
            .map(str::to_owned)
            .into()
    }

    /// Pings on held sessions.
    fn held(&self) -> anyhow::Result<Vec<Measured>> {
        let mut sections = format!(
            "[defaults]\n{}\n",
            agent::Setting::pings_alone(self.watched).defaults
        );
        for (number, address) in self.addresses(self.watched).iter().enumerate() {
            let url = self.protocol.url(address);
            sections.push_str(&format!("[backend.b{number}]\nurl = \"{url}?tls=off\"\n"));
        }
        let configuration = agent::write(self.bench, "cost", "off", &sections)?;
        self.every_second(agent::command(self.bench, &configuration))
    }

    fn bare(&self) -> anyhow::Result<Vec<Measured>> {
        let mut command = self.bench.peers.command("bare_loop");
        let (port, count) = (self.server.port().to_string(), self.watched.to_string());
        command.args([self.protocol.name(), &port, &count, "1000"]);
        self.every_second(command)
    }

    fn haproxy(&self, option: &str) -> anyhow::Result<Vec<Measured>> {
        let addresses = self.addresses(self.watched);
        let pace = "inter 1s fall 2 rise 2";
        let words = haproxy::checking(self.bench, "cost", option, pace, &addresses)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stderr(Stdio::null());
        self.every_second_anew(command)
    }

    fn pgpool(&self) -> anyhow::Result<Vec<Measured>> {
        let addresses = self.addresses(self.watched);
        let configuration = pgpool::configure(self.bench, "cost", &addresses, 1)?;
        let words = pgpool::words(&configuration);
        let log = fs::File::create(self.bench.scratch.join("pgpool.log"))?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stderr(log);
        self.every_second_anew(command)
    }

    /// The same for somebody who logs in each time; the server says whether that is so.
    fn every_second_anew(&self, command: Command) -> anyhow::Result<Vec<Measured>> {
        let (before, started) = (self.logins()?, clock::now());
        let measured = self.every_second(command)?;
        let seen = self.logins()? - before;
        let due = f64::from(self.watched) * started.elapsed().as_secs_f64();
        ensure!(
            seen >= due * LOGINS_SHARE_MIN,
            "{seen} logins where {due:.0} were due"
        );
        Ok(measured)
    }

    /// How often somebody has logged in so far.
    fn logins(&self) -> anyhow::Result<f64> {
        let told = self.server.sql(match self.protocol {
            Protocol::MySql => "SHOW GLOBAL STATUS LIKE 'Connections'",
            Protocol::Postgres => "SELECT sum(sessions) FROM pg_stat_database",
        });
        let number = told.split_whitespace().last();
        Ok(number.context("a number")?.parse()?)
    }

    /// What somebody costs who checks at all addresses every second.
    fn every_second(&self, mut command: Command) -> anyhow::Result<Vec<Measured>> {
        let child = Child::start(&mut command)?;
        thread::sleep(SETTLED_AFTER);
        let before = (tree_cpu(child.id())?, tree_cpu(self.server.pid())?);
        let started = clock::now();
        thread::sleep(self.bench.window);
        let took = started.elapsed();
        let client = tree_cpu(child.id())? - before.0;
        let server = tree_cpu(self.server.pid())? - before.1;
        ensure!(!client.is_zero(), "{command:?} does nothing");
        let checks = f64::from(self.watched) * took.as_secs_f64();
        Ok(self.cost(checks, client, server, took))
    }

    /// What a program costs that asks once.
    fn forked(&self, words: &[String]) -> anyhow::Result<Vec<Measured>> {
        self.one_by_one(Self::ended_cpu, || {
            let mut command = Command::new(&words[0]);
            let command = command.args(&words[1..]).stdout(Stdio::null());
            let status = command.status().context("scripts/servers installs it")?;
            ensure!(status.success(), "{words:?} failed");
            Ok(())
        })
    }

    /// The CPU time of all children of ours that have ended.
    fn ended_cpu() -> anyhow::Result<Duration> {
        real::ended_cpu(std::process::id())
    }

    fn blackbox(&self) -> anyhow::Result<Vec<Measured>> {
        let configuration = self.bench.scratch.join("blackbox.yml");
        fs::write(&configuration, BLACKBOX)?;
        let port = Port::reserve();
        let child = Child::start(
            Command::new("prometheus-blackbox-exporter")
                .arg(format!("--config.file={}", configuration.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{}", port.number()))
                .stderr(Stdio::null()),
        )?;
        http::wait_until_fine(port.number(), "/metrics")?;
        let target = format!("/probe?module=postgres&target={}", self.server.address());
        self.one_by_one(
            || child.cpu(),
            || {
                let told = http::ask(port.number(), &target)?;
                ensure!(told.contains("\nprobe_success 1"), "{told}");
                Ok(())
            },
        )
    }

    /// What a check costs that is made again and again, one after the other.
    fn one_by_one(
        &self,
        client_cpu: impl Fn() -> anyhow::Result<Duration>,
        check: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Measured>> {
        check()?;
        let before = (client_cpu()?, tree_cpu(self.server.pid())?);
        let started = clock::now();
        let mut checks = 0.0;
        while started.elapsed() < self.bench.window {
            check()?;
            checks += 1.0;
        }
        let took = started.elapsed();
        let client = client_cpu()? - before.0;
        let server = tree_cpu(self.server.pid())? - before.1;
        Ok(self.cost(checks, client, server, took))
    }

    fn cost(
        &self,
        checks: f64,
        client: Duration,
        server: Duration,
        took: Duration,
    ) -> Vec<Measured> {
        let client = client.as_secs_f64();
        let server = (server.as_secs_f64() - self.idle * took.as_secs_f64()).max(0.0);
        let micros = |what, seconds: f64| Measured::new(what, "us", seconds * 1e6 / checks);
        vec![
            micros(BOTH, client + server),
            micros("client CPU", client),
            micros("server CPU", server),
        ]
    }
}

/// A connect and no more: this exporter compares whole lines, and PostgreSQL's answers have no ends of
/// lines.
const BLACKBOX: &str = "\
modules:
  postgres:
    prober: tcp
    timeout: 2s
    tcp:
      preferred_ip_protocol: ip4
";
