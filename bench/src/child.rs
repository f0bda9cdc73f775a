//! A process of the bench: ended with its owner, and asked for its CPU time and memory meanwhile.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::clock;

/// A process that is killed, by its id, when it is dropped.
pub(crate) struct Child {
    process: Process,
    /// What it prints, unless somebody else hears it.
    said: Option<BufReader<ChildStdout>>,
    words: Option<ChildStdin>,
}

impl Child {
    /// Starts it; what it prints is read with [`line`](Self::line), errors go where ours go.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.with_context(|| format!("failed to start {name}"))?;
        let said = process.stdout.take().context("its output is ours")?;
        Ok(Self {
            words: process.stdin.take(),
            said: Some(BufReader::new(said)),
            process,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let said = self.said.as_mut().context("nobody else hears it")?;
        match said.read_line(&mut line)? {
            0 => Err(anyhow!("process {} ended too early", self.id())),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// The lines that it prints from now on, each with the moment when it came.
    pub(crate) fn heard(&mut self) -> anyhow::Result<Receiver<(Instant, String)>> {
        let said = self.said.take().context("nobody else hears it")?;
        let (teller, heard) = mpsc::channel();
        // It ends with the process, or with the first line that nobody wants.
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if teller.send((clock::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(heard)
    }

    /// Says a line to it, and has its answer.
    pub(crate) fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        let words = self.words.as_mut().context("it listens")?;
        // In one piece: the other side takes what it reads for a line.
        words.write_all(format!("{question}\n").as_bytes())?;
        self.line()
    }

    /// The CPU time of all its threads so far, by the scheduler's own count.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.id())
    }

    /// The resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
        let kib = kib.context("the kernel tells VmRSS")?;
        Ok(kib.trim().parse()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The CPU time of all threads of a process that are there now.
pub(crate) fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0_u64;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
            // It ended meanwhile.
            continue;
        };
        let ran = text.split_whitespace().next().context("a count")?;
        nanos += ran.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
