//! HAProxy, as Debian has it, on a configuration of ours: one thread, and what it notices said on
//! standard output.

use std::fs;

use anyhow::Context;

use crate::bench::Bench;

/// The beginning of every configuration.
const HEAD: &str = "\
global
    nbthread 1
    maxconn 4096
    log stdout format raw local0 notice
defaults
    log global
    timeout connect 1s
    timeout check 1s
    timeout client 1m
    timeout server 1m
";

/// The words that start one with these sections.
pub(crate) fn words(bench: &Bench, name: &str, sections: &str) -> anyhow::Result<Vec<String>> {
    let path = bench.scratch.join(format!("{name}.cfg"));
    fs::write(&path, format!("{HEAD}{sections}")).context("failed to write a configuration")?;
    let path = path.display().to_string();
    Ok(["haproxy", "-db", "-f", &path].map(str::to_owned).into())
}

/// The words that start one which checks these addresses, with an `option` and with keywords behind
/// `check`.
pub(crate) fn checking(
    bench: &Bench,
    name: &str,
    option: &str,
    keywords: &str,
    addresses: &[String],
) -> anyhow::Result<Vec<String>> {
    let servers = addresses.iter().enumerate();
    let servers = servers.map(|(at, it)| format!("    server s{at} {it} check {keywords}\n"));
    let servers: String = servers.collect();
    // It does not start where there is nothing to listen at.
    let socket = bench.scratch.join(format!("{name}.haproxy"));
    let section = format!(
        "listen checked\n    mode tcp\n    bind unix@{}\n    option {option}\n{servers}",
        socket.display()
    );
    words(bench, name, &section)
}
