//! Questions over HTTP: one by one, or as many as wrk can ask.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock;

/// How long somebody who was started may take to answer as it should.
const READY_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks once; answers with all that was said.
pub(crate) fn ask(port: u16, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(READY_WITHIN))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut told = String::new();
    stream.read_to_string(&mut told)?;
    Ok(told)
}

/// Waits until a question is answered with 200.
pub(crate) fn wait_until_fine(port: u16, path: &str) -> anyhow::Result<()> {
    let started = clock::now();
    let is_fine = || ask(port, path).is_ok_and(|told| told.starts_with("HTTP/1.1 200 "));
    while !is_fine() {
        let last = ask(port, path);
        ensure!(started.elapsed() < READY_WITHIN, "no 200 yet: {last:?}");
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// What wrk tells.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p99_us: f64,
}

/// Has wrk ask on 64 connections, from this core.
pub(crate) fn wrk(core: &str, port: u16, path: &str, during: Duration) -> anyhow::Result<Told> {
    let during = format!("{}s", during.as_secs().max(1));
    let url = format!("http://127.0.0.1:{port}{path}");
    let output = Command::new("taskset")
        .args(["-c", core, "wrk", "-t1", "-c64", "--latency", "-d"])
        .args([&during, &url])
        .output()
        .context("failed to run wrk; scripts/servers --bench installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "not all was fine: {text}");
    read(&text).with_context(|| format!("wrk says {text:?}"))
}

fn read(text: &str) -> Option<Told> {
    let word = |line: &str, at: usize| line.split_whitespace().nth(at).map(str::to_owned);
    let line = |part: &str| text.lines().find(|line| line.contains(part));
    Some(Told {
        requests: word(line(" requests in ")?, 0)?.parse().ok()?,
        per_second: word(line("Requests/sec:")?, 1)?.parse().ok()?,
        p99_us: micros(&word(line("99%")?, 1)?)?,
    })
}

/// A duration as wrk writes it: `812.00us`, `1.23ms`, `1.02s`.
fn micros(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_wrk_are_read() {
        let text = "  Latency Distribution\n     50%  210.00us\n     99%    1.50ms\n  \
            2461234 requests in 10.01s, 300MB read\nRequests/sec: 245877.52\n";
        let told = read(text).unwrap();
        assert_eq!((told.requests, told.per_second), (2_461_234.0, 245_877.52));
        assert!((told.p99_us - 1500.0).abs() < 1e-6);
    }
}
