//! What was heard beside what the server itself has counted, for `--compare-with`.
//!
//! The difference is what was not heard: connections that cannot be read, those that went another
//! way, packets that were lost, and, beside a file, all that was before and after it.

use std::net::{IpAddr, ToSocketAddrs};

use dbvitals_probe::{Address, Protocol};
use dbvitals_wire::passive::{self, PingForm};

use super::server_counters::{Counter, Reading};
use crate::pings::{Account, Endpoint, Tally};
use crate::target_url::TargetUrl;

/// From when on the server's counts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// The time in which an interface was listened to.
    Listening,
    /// The server's start, or that of its statistics; so many seconds ago where it says.
    Start(Option<u64>),
}

/// Both sides.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The server asked.
    pub(super) target: String,
    /// What was heard of it, by the addresses in the capture.
    pub(super) servers: Vec<Endpoint>,
    pub(super) since: Since,
    pub(super) rows: Vec<Compared>,
    /// Counters that cannot be had, and why.
    pub(super) silent: Vec<(&'static str, String)>,
}

/// One counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) name: &'static str,
    pub(super) server: u64,
    pub(super) heard: u64,
}

impl Compared {
    /// What was not heard; below zero where the server has not counted what was.
    pub(super) fn difference(self) -> i64 {
        self.server.cast_signed() - self.heard.cast_signed()
    }
}

impl Comparison {
    pub(super) fn of(account: &Account, url: &TargetUrl, reading: Reading, since: Since) -> Self {
        let protocol = match url.protocol {
            Protocol::Postgres => passive::Protocol::Postgres,
            Protocol::MySql | Protocol::Opaque => passive::Protocol::MySql,
        };
        let servers = servers_of(account, protocol, &url.address);
        let mut tally = Tally::default();
        let groups = account.groups.iter();
        groups
            .filter(|group| servers.contains(&group.server))
            .for_each(|group| tally.merge(&group.tally));
        let row = |(counter, server): &(Counter, u64)| Compared {
            name: name(*counter, protocol),
            server: *server,
            heard: heard(*counter, &tally),
        };
        Self {
            target: url.name.clone(),
            rows: reading.values.iter().map(row).collect(),
            servers,
            since,
            silent: reading.silent,
        }
    }
}

/// Which servers of a capture an address means: those that have it, else those with its port, since
/// a server's own machine has other names for it; a unix socket leaves all of the protocol.
fn servers_of(account: &Account, protocol: passive::Protocol, address: &Address) -> Vec<Endpoint> {
    let groups = account.groups.iter().filter(|it| it.protocol == protocol);
    let mut servers: Vec<Endpoint> = groups.map(|group| group.server).collect();
    servers.dedup();
    if let Address::Tcp { host, port } = address {
        servers.retain(|server| server.port == *port);
        let addresses = resolve(host, *port);
        if servers.iter().any(|it| addresses.contains(&it.ip())) {
            servers.retain(|it| addresses.contains(&it.ip()));
        }
    }
    servers
}

fn resolve(host: &str, port: u16) -> Vec<IpAddr> {
    let resolved = (host, port).to_socket_addrs().into_iter().flatten();
    resolved
        .map(|address| address.ip().to_canonical())
        .collect()
}

fn name(counter: Counter, protocol: passive::Protocol) -> &'static str {
    match (counter, protocol) {
        (Counter::ComPing, _) => "statement/com/Ping",
        (Counter::ComStatistics, _) => "statement/com/Statistics",
        (Counter::ComResetConnection, _) => "statement/com/Reset connection",
        (Counter::AdminCommands, _) => "Com_admin_commands",
        (Counter::Connections, _) => "Connections",
        (Counter::Constants, passive::Protocol::MySql) => "digest SELECT ?",
        (Counter::Constants, passive::Protocol::Postgres) => "pg_stat_statements SELECT $1",
    }
}

/// What was heard of what a counter counts.
fn heard(counter: Counter, tally: &Tally) -> u64 {
    let forms: &[PingForm] = match counter {
        Counter::ComPing => &[PingForm::ComPing],
        Counter::ComStatistics => &[PingForm::ComStatistics],
        Counter::ComResetConnection => &[PingForm::ComResetConnection],
        Counter::AdminCommands => &[PingForm::ComPing, PingForm::ComResetConnection],
        Counter::Constants => &[PingForm::Select1, PingForm::CommentedSelect1],
        Counter::Connections => return tally.connections.opened,
    };
    tally.reached_server(forms)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::pings::{Asker, Group, GroupBy, Settings};

    fn endpoint(text: &str) -> Endpoint {
        let address: SocketAddrV4 = text.parse().expect("an address");
        Endpoint {
            address: address.ip().to_ipv6_mapped().to_bits(),
            port: address.port(),
        }
    }

    fn group(server: &str, pings: u64, unheard: u64) -> Group {
        let mut tally = Tally::default();
        (tally.pings[0], tally.unheard[0]) = (pings, unheard);
        tally.connections.opened = 1;
        Group {
            server: endpoint(server),
            protocol: passive::Protocol::MySql,
            asker: Asker::Everybody,
            tally,
        }
    }

    fn compare(url: &str, groups: Vec<Group>) -> Comparison {
        let account = Account {
            settings: Settings {
                port: None,
                group_by: GroupBy::Server,
                idle_threshold: 0,
            },
            packets: 1,
            span: None,
            groups,
        };
        let reading = Reading {
            values: vec![(Counter::ComPing, 20), (Counter::Connections, 1)],
            ..Reading::default()
        };
        let url = TargetUrl::parse(url).expect("a URL");
        Comparison::of(&account, &url, reading, Since::Listening)
    }

    fn row(comparison: &Comparison) -> (u64, i64) {
        let row = comparison.rows[0];
        (row.heard, row.difference())
    }

    #[test]
    fn pings_that_met_a_closed_server_are_none_that_it_counted() {
        let compared = compare("mysql://u@10.0.0.1", vec![group("10.0.0.1:3306", 15, 3)]);
        assert_eq!(row(&compared), (12, 8));
        assert_eq!(compared.rows[1].difference(), 0);
    }

    #[test]
    fn a_server_is_found_by_its_address_or_else_by_its_port() {
        let groups = || vec![group("10.0.0.1:3306", 5, 0), group("10.0.0.2:3306", 7, 0)];
        assert_eq!(row(&compare("mysql://u@10.0.0.2", groups())), (7, 13));
        assert_eq!(row(&compare("mysql://u@127.0.0.1", groups())), (12, 8));
        assert_eq!(row(&compare("mysql://u@10.0.0.2:3307", groups())), (0, 20));
        assert_eq!(
            row(&compare("mysql://u@localhost?socket=/run/s", groups())),
            (12, 8)
        );
    }
}
