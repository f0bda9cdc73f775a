//! Which addresses are database servers: those on the port asked for, on a protocol's own port, or
//! recognised once.

use std::collections::HashMap;

use dbvitals_wire::passive::Protocol;

use super::packet::Endpoint;

/// So many servers are remembered.
const SERVERS_MAX: usize = 4096;

/// Ports that a protocol is expected on; the second ones are ProxySQL's and PgBouncer's.
const MYSQL_PORTS: [u16; 2] = [3306, 6033];
const POSTGRES_PORTS: [u16; 2] = [5432, 6432];

/// What is known of servers.
#[derive(Debug)]
pub(super) struct Servers {
    /// Only this port is of interest.
    port: Option<u16>,
    learned: HashMap<Endpoint, Protocol>,
}

impl Servers {
    pub(super) fn new(port: Option<u16>) -> Self {
        Self {
            port,
            learned: HashMap::new(),
        }
    }

    /// Whether an end may be a server of interest.
    pub(super) fn admits(&self, end: Endpoint) -> bool {
        self.port.is_none_or(|port| port == end.port)
    }

    /// What a server speaks, where an end is known to be one.
    pub(super) fn protocol(&self, end: Endpoint) -> Option<Protocol> {
        if !self.admits(end) {
            return None;
        }
        if let Some(protocol) = self.learned.get(&end) {
            return Some(*protocol);
        }
        if MYSQL_PORTS.contains(&end.port) {
            return Some(Protocol::MySql);
        }
        POSTGRES_PORTS
            .contains(&end.port)
            .then_some(Protocol::Postgres)
    }

    pub(super) fn learn(&mut self, end: Endpoint, protocol: Protocol) {
        if self.learned.len() < SERVERS_MAX {
            self.learned.entry(end).or_insert(protocol);
        }
    }
}
