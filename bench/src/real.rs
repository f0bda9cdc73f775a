//! Real servers for the bench, at any address of the loopback range, and what they cost.
//!
//! Their user `vitals` needs no password, so that all who are compared can log in.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context;
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Network, Postgres, PostgresOptions, RealServer, servers_available,
};

use crate::scripted::Protocol;

/// Starts a server. In a network of its own it is only there.
pub(crate) fn start(
    protocol: Protocol,
    sessions_max: u32,
    network: Option<Network>,
) -> anyhow::Result<Box<dyn RealServer + Send>> {
    servers_available()
        .map_err(anyhow::Error::msg)
        .context("scripts/servers installs them")?;
    let listen = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    Ok(match protocol {
        Protocol::MySql => Box::new(MariaDb::start(MariaDbOptions {
            arguments: vec![
                format!("--max-connections={sessions_max}"),
                // Nobody who came without a word is sent away.
                "--connect-timeout=600".to_owned(),
                "--skip-name-resolve".to_owned(),
                "--back-log=1000".to_owned(),
            ],
            listen,
            first_sql: "ALTER USER vitals@'%' IDENTIFIED BY ''".to_owned(),
            network,
            ..MariaDbOptions::default()
        })),
        Protocol::Postgres => Box::new(Postgres::start(PostgresOptions {
            settings: vec![
                ("max_connections".to_owned(), sessions_max.to_string()),
                ("superuser_reserved_connections".to_owned(), "1".to_owned()),
                ("authentication_timeout".to_owned(), "600".to_owned()),
            ],
            hba: vec!["host all vitals all trust".to_owned()],
            listen,
            network,
            ..PostgresOptions::default()
        })),
    })
}

/// A URL at which `vitals` logs in, by an address of 127.1.0.0/16 for each number.
pub(crate) fn address(server: &dyn RealServer, number: u32) -> String {
    format!(
        "127.1.{}.{}:{}",
        number / 250,
        number % 250 + 1,
        server.port()
    )
}

/// The CPU time of a process and of all its descendants, those that have ended included.
pub(crate) fn tree_cpu(root: u32) -> anyhow::Result<Duration> {
    let all = processes()?;
    let mut total = Duration::ZERO;
    for process in below(root, &all) {
        // The scheduler's count is finer, but knows nothing of threads that have ended.
        let own = crate::child::cpu_of(process.id).unwrap_or_default();
        total += own.max(process.own) + process.ended;
    }
    Ok(total)
}

/// The ids of a process and of all its descendants; its own is the first.
pub(crate) fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let all = processes()?;
    Ok(below(root, &all).iter().map(|process| process.id).collect())
}

/// A process of these, and all that descend from it.
fn below(root: u32, all: &[Process]) -> Vec<&Process> {
    let mut tree: Vec<_> = all.iter().filter(|it| it.id == root).collect();
    let mut at = 0;
    while let Some(parent) = tree.get(at).map(|process| process.id) {
        at += 1;
        tree.extend(all.iter().filter(|it| it.parent == parent));
    }
    tree
}

/// The CPU time of the children of a process that have ended.
pub(crate) fn ended_cpu(process: u32) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    Ok(read(&text).context("a process is told of")?.ended)
}

/// A process, with its own CPU time and that of children which have ended.
struct Process {
    id: u32,
    parent: u32,
    own: Duration,
    ended: Duration,
}

fn processes() -> anyhow::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // Whoever ended meanwhile is not there any more.
        let Ok(text) = fs::read_to_string(path.join("stat")) else {
            continue;
        };
        all.extend(read(&text));
    }
    Ok(all)
}

/// Reads `/proc/ID/stat`; times are in hundredths of a second.
fn read(text: &str) -> Option<Process> {
    // The name is in brackets, and may have any sign in it.
    let (begins, rest) = text.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let time = |at| Some(Duration::from_millis(10 * (number(at)? + number(at + 1)?)));
    Some(Process {
        id: begins.split_whitespace().next()?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        own: time(11)?,
        ended: time(13)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_process_and_all_that_descend_from_it() {
        let of = |id, parent| Process {
            id,
            parent,
            own: Duration::ZERO,
            ended: Duration::ZERO,
        };
        let all = [of(9, 4), of(1, 0), of(4, 2), of(2, 1), of(3, 1)];
        let ids: Vec<_> = below(2, &all).iter().map(|process| process.id).collect();
        assert_eq!(ids, [2, 4, 9]);
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 5 1 20 0 1 0 9 1 1";
        let process = read(text).unwrap();
        assert_eq!((process.id, process.parent), (42, 7));
        assert_eq!(process.own, Duration::from_millis(1200));
        assert_eq!(process.ended, Duration::from_millis(60));
    }
}
