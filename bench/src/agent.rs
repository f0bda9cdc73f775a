//! `dbvitals serve` on many backends of a scripted server.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::bench::Bench;
use crate::child::Child;
use crate::clock;
use crate::scripted::{Protocol, Scripted};

/// How long all backends may take to be logged in.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What an agent is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) backends: u32,
    /// Keys of `[agent]`, as TOML.
    pub(crate) agent: &'static str,
    /// Keys of `[defaults]`, as TOML.
    pub(crate) defaults: &'static str,
    /// Options of the URLs, as `?tls=off`.
    pub(crate) options: &'static str,
}

impl Setting {
    /// Nothing but pings happens while one measures.
    pub(crate) fn pings_alone(backends: u32) -> Self {
        Self {
            backends,
            agent: "",
            defaults: "fresh_interval = \"1h\"\nstale_after = \"2h\"\n",
            options: "",
        }
    }
}

fn control_socket(bench: &Bench) -> PathBuf {
    bench.scratch.join("control.sock")
}

/// Writes the configuration of an agent that watches so many backends.
pub(crate) fn configure(
    bench: &Bench,
    server: &Scripted,
    setting: Setting,
) -> anyhow::Result<PathBuf> {
    let control = control_socket(bench);
    let mut text = format!(
        "[agent]\nname = \"bench\"\nhttp = \"off\"\ncontrol = {:?}\n{}\n[defaults]\n{}\n",
        control.display().to_string(),
        setting.agent,
        setting.defaults
    );
    let scheme = server.protocol.name();
    for number in 0..setting.backends {
        let address = server.address(number);
        let options = setting.options;
        writeln!(
            text,
            "[backend.b{number}]\nurl = \"{scheme}://vitals@{address}/{options}\"\n"
        )?;
    }
    let path = bench.scratch.join("dbvitals.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Writes the configuration of an agent with these sections, which answers HTTP there, or is `off`.
pub(crate) fn write(
    bench: &Bench,
    name: &str,
    http: &str,
    sections: &str,
) -> anyhow::Result<PathBuf> {
    let control = bench.scratch.join(format!("{name}.sock"));
    let head = format!("[agent]\nname = \"bench\"\nhttp = {http:?}\ncontrol = {control:?}\n");
    let path = bench.scratch.join(format!("{name}.toml"));
    fs::write(&path, format!("{head}\n{sections}"))?;
    Ok(path)
}

/// The words that start an agent on a configuration.
pub(crate) fn words(bench: &Bench, configuration: &Path) -> Vec<String> {
    let program = bench.program.display().to_string();
    let configuration = configuration.display().to_string();
    vec![program, "serve".to_owned(), "-c".to_owned(), configuration]
}

/// The command of an agent; what it logs is thrown away.
pub(crate) fn command(bench: &Bench, configuration: &Path) -> Command {
    let mut command = Command::new(&bench.program);
    command
        .args(["serve", "-c"])
        .arg(configuration)
        .stderr(Stdio::null());
    command
}

/// Starts an agent, and waits until it holds a session of each backend.
pub(crate) fn start(
    bench: &Bench,
    server: &mut Scripted,
    setting: Setting,
) -> anyhow::Result<Child> {
    let configuration = configure(bench, server, setting)?;
    let child = Child::start(&mut command(bench, &configuration))?;
    let started = clock::now();
    while server.sessions()? != u64::from(setting.backends) {
        ensure!(
            started.elapsed() < READY_WITHIN,
            "only {} of {} backends have a session",
            server.sessions()?,
            setting.backends
        );
        thread::sleep(Duration::from_millis(50));
    }
    // Two passes make a verdict; after that nothing is out of the ordinary.
    thread::sleep(Duration::from_secs(3));
    child.cpu().context("it runs")?;
    Ok(child)
}

/// The same at a scripted MySQL server that both are alone with, and nothing but pings happens.
pub(crate) fn start_pinging(bench: &Bench, sessions: u32) -> anyhow::Result<(Scripted, Child)> {
    let mut server = Scripted::start(bench, Protocol::MySql)?;
    let agent = start(bench, &mut server, Setting::pings_alone(sessions))?;
    Ok((server, agent))
}

/// What an agent answers to a GET on its control socket.
pub(crate) fn fetch(bench: &Bench, path: &str) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(control_socket(bench))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: agent\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    Ok(body.to_owned())
}
