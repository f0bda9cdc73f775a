//! Which MySQL and PostgreSQL servers listen on this machine.
//!
//! Told by the names of the processes that listen, where this user may see them; else by quiet
//! connect probes of the well-known ports, of which a server notices nothing, and by the sockets
//! that servers leave in the usual places.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use dbvitals_probe::{Address, Protocol, Target, TargetId};
use dbvitals_verdict::{Depth, Outcome};
use listeners::{Listener, Protocol as Transport, SocketState};

use crate::probing::Asker;

/// Ports at which a server is believed to be one, whoever runs it.
const WELL_KNOWN: [(u16, &str); 2] = [(3306, "mysql"), (5432, "postgres")];
/// Ports at which MySQL and MariaDB speak something else: the X protocol, group replication, and
/// Galera's three.
const OTHER_PROTOCOLS: [u16; 5] = [33060, 33061, 4444, 4567, 4568];
/// How long a port of this machine may take to answer.
const PORT_ANSWERS_WITHIN: Duration = Duration::from_millis(200);
/// Sockets of servers that may not listen on TCP at all.
const SOCKETS: [(&str, &str); 4] = [
    ("/run/mysqld/mysqld.sock", "mysql"),
    ("/tmp/mysql.sock", "mysql"),
    ("/run/postgresql/.s.PGSQL.5432", "postgres"),
    ("/tmp/.s.PGSQL.5432", "postgres"),
];

/// URLs of the servers that listen here, one for each port; by their sockets only where a server
/// has no port.
pub(crate) fn local_servers() -> anyhow::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    // Where the kernel's tables cannot be read, the ports below still answer.
    for listener in &listeners::get_all().unwrap_or_default() {
        if let Some(scheme) = scheme_of(listener) {
            let socket = listener.socket;
            found.insert((scheme, socket.port(), host_of(socket.ip())));
        }
    }
    for (port, scheme) in WELL_KNOWN {
        let seen = found.iter().any(|(_, other, _)| *other == port);
        if !seen && answers(port)? {
            found.insert((scheme, port, "127.0.0.1".to_owned()));
        }
    }
    // A dual-stack server listens twice: 127.0.0.1 sorts before [::1] and is enough.
    let mut urls: Vec<String> = Vec::new();
    let mut last = None;
    for (scheme, port, host) in found {
        if last != Some((scheme, port)) {
            urls.push(format!("{scheme}://{host}:{port}"));
            last = Some((scheme, port));
        }
    }
    for (path, scheme) in SOCKETS {
        let known = urls.iter().any(|url| url.starts_with(scheme));
        if !known && Path::new(path).exists() {
            urls.push(format!("{scheme}://localhost?socket={path}"));
        }
    }
    Ok(urls)
}

/// Whether a port of this machine can be connected to.
fn answers(port: u16) -> anyhow::Result<bool> {
    let address = Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    };
    let mut asker = Asker::new([Target::new(Protocol::Opaque, address)])?;
    let observations = asker.ask(&[(TargetId(0), Depth::Connect)], PORT_ANSWERS_WITHIN)?;
    Ok(observations
        .iter()
        .any(|observation| observation.outcome == Outcome::Pass))
}

fn scheme_of(listener: &Listener) -> Option<&'static str> {
    if listener.protocol != Transport::TCP || listener.state != SocketState::Listen {
        return None;
    }
    match listener.process.name.as_str() {
        "mysqld" | "mariadbd" => {
            let speaks_it = !OTHER_PROTOCOLS.contains(&listener.socket.port());
            speaks_it.then_some("mysql")
        }
        "postgres" | "postmaster" => Some("postgres"),
        _ => None,
    }
}

/// The address at which a listener is reached from here.
fn host_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use listeners::Process;

    use super::*;

    fn check(process: &str, port: u16, expected: Option<&str>) {
        let listener = Listener {
            process: Process {
                pid: 1,
                name: process.to_owned(),
                path: String::new(),
            },
            socket: ([127, 0, 0, 1], port).into(),
            protocol: Transport::TCP,
            state: SocketState::Listen,
        };
        assert_eq!(scheme_of(&listener), expected, "{process} at {port}");
    }

    #[test]
    fn a_server_s_other_protocols_are_no_servers_of_their_own() {
        check("mysqld", 3306, Some("mysql"));
        check("mariadbd", 20_306, Some("mysql"));
        check("postgres", 5433, Some("postgres"));
        check("mysqld", 33_060, None);
        check("mariadbd", 4567, None);
        check("nginx", 3306, None);
    }
}
