//! Where and when a figure was measured: without it a figure says nothing.

use std::fmt;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// The machine, the date, and what was measured.
#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    date: String,
    commit: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": "));
        Self {
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: said("uname", &["-r"]),
            date: said("date", &["--utc", "--iso-8601"]),
            commit: said("git", &["describe", "--always", "--dirty"]),
        }
    }

    /// As the first of the JSON lines.
    pub(crate) fn json(&self) -> Value {
        json!({
            "schema": "dbvitals.bench.machine.v1",
            "processor": self.processor,
            "cores": self.cores,
            "kernel": self.kernel,
            "date": self.date,
            "commit": self.commit,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, Linux {}; {}, commit {}",
            self.processor, self.cores, self.kernel, self.date, self.commit
        )
    }
}

/// What a program prints; `unknown` where it does not.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
