//! Who waits at a listener, and who believes to be connected and is not.
//!
//! Pure: rows of sockets in, [`Waiting`] out. On TCP a connection that waits to be accepted is a
//! socket of the server's side without an inode. Clients of the same network namespace are seen
//! from their own side too, and only so it can be told that one of them believes in a connection
//! the server does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::answer::{TcpRow, TcpState};

/// Who waits at a listener at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The connections in the accept queue, as far as they can be listed: one that its client has
    /// reset still takes a place, and is not here.
    pub peers: Vec<Peer>,
    /// Connections that the server has answered and whose last acknowledgement it has not taken.
    /// While the accept queue is full, it drops that.
    pub half_open: Vec<HalfOpen>,
    /// Clients of the same namespace whose SYN was not answered yet.
    pub knocking: Vec<Knocking>,
    /// Clients of the same namespace that are connected as far as they know, and not at the server.
    pub ghosts: Vec<Ghost>,
}

/// A connection in an accept queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Where it comes from; `None` on a unix socket.
    pub address: Option<SocketAddr>,
    /// The inode of the client's socket, where the client is on this machine and in this namespace.
    pub client_inode: Option<u32>,
    /// Whether the client has closed already; its place is taken until it is accepted.
    pub has_closed: bool,
    /// What no other socket of this boot ever has; 0 where it is not known.
    pub cookie: u64,
}

/// A connection that is not quite one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HalfOpen {
    /// Where it comes from.
    pub address: SocketAddr,
    /// How often the server has repeated its answer.
    pub repeats: u8,
}

/// A client that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Knocking {
    /// Where it comes from.
    pub address: SocketAddr,
    /// How often it has repeated its SYN: the first time after a second.
    pub repeats: u8,
    /// The inode of its socket.
    pub client_inode: u32,
}

/// A client that believes to be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ghost {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Whether the server still knows of it as half open; a client that came back with a SYN cookie
    /// is not known at all.
    pub is_half_open: bool,
    /// The inode of its socket.
    pub client_inode: u32,
}

impl Waiting {
    /// Of the clients in a unix listener's queue.
    pub(crate) fn of_unix(pending: &[u32]) -> Self {
        let peers = pending.iter().map(|inode| Peer {
            address: None,
            client_inode: (*inode != 0).then_some(*inode),
            has_closed: *inode == 0,
            cookie: 0,
        });
        Self {
            peers: peers.collect(),
            ..Self::default()
        }
    }

    /// Of the connections to and from a listener's port; `is_its_own` tells whether a connect to an
    /// address comes to this listener.
    pub(crate) fn of_tcp(rows: &[TcpRow], is_its_own: impl Fn(SocketAddr) -> bool) -> Self {
        let at_server = rows.iter().filter(|row| is_its_own(row.local));
        let known: BTreeMap<_, _> = at_server.map(|row| (ends(row), row)).collect();
        let mut waiting = Self::default();
        for ((_, remote), row) in &known {
            match row.state {
                TcpState::Established | TcpState::CloseWait if row.inode == 0 => {
                    waiting.peers.push(Peer {
                        address: Some(*remote),
                        client_inode: None,
                        has_closed: row.state == TcpState::CloseWait,
                        cookie: row.cookie,
                    });
                }
                TcpState::SynReceived => waiting.half_open.push(HalfOpen {
                    address: *remote,
                    repeats: row.retransmits,
                }),
                TcpState::Established
                | TcpState::CloseWait
                | TcpState::SynSent
                | TcpState::Listen
                | TcpState::Other(_) => {}
            }
        }
        let mut clients = BTreeMap::new();
        for row in rows.iter().filter(|row| row.inode != 0) {
            if is_its_own(row.remote) && is_here(row) {
                clients.insert(ends(row).0, row.inode);
                waiting.add_client(row, &known);
            }
        }
        for peer in &mut waiting.peers {
            peer.client_inode = peer.address.and_then(|it| clients.get(&it)).copied();
        }
        waiting
    }

    /// Whether a connection can tell anything: it waits, or both its ends are here. All others were
    /// accepted long ago, and there may be a hundred thousand of them.
    pub(crate) fn may_use(row: &TcpRow) -> bool {
        row.inode == 0 || is_here(row)
    }

    /// Adds a client of the same namespace, if it is not what it believes to be.
    fn add_client(&mut self, row: &TcpRow, known: &BTreeMap<(SocketAddr, SocketAddr), &TcpRow>) {
        let (address, server) = ends(row);
        let at_server = known.get(&(server, address)).map(|row| row.state);
        match (row.state, at_server) {
            (TcpState::SynSent, _) => self.knocking.push(Knocking {
                address,
                repeats: row.retransmits,
                client_inode: row.inode,
            }),
            (TcpState::Established, None | Some(TcpState::SynReceived)) => {
                self.ghosts.push(Ghost {
                    address,
                    is_half_open: at_server.is_some(),
                    client_inode: row.inode,
                });
            }
            _ => {}
        }
    }

    /// Leaves those ghosts that were there a moment before, too: rows are not all of one moment,
    /// and a connection may come or go between its two ends.
    pub(crate) fn confirm_ghosts(&mut self, earlier: &Self) {
        let was_there = |ghost: &Ghost| {
            let same = |it: &Ghost| it.client_inode == ghost.client_inode;
            earlier.ghosts.iter().any(same)
        };
        self.ghosts.retain(was_there);
    }

    /// Whether one of those who waited earlier was accepted, or lost, meanwhile. One that closed early
    /// on a unix socket cannot be told from others, and proves nothing.
    #[must_use]
    pub fn has_moved_since(&self, earlier: &Self) -> bool {
        let here: BTreeSet<_> = self.peers.iter().map(Peer::key).collect();
        earlier.telling().any(|peer| !here.contains(&peer.key()))
    }

    /// Whether nobody was accepted meanwhile: there were some who can be told from others, and all of
    /// them still wait. Where nobody is known to have waited earlier, it is not known.
    #[must_use]
    pub fn stands_still_since(&self, earlier: &Self) -> bool {
        earlier.telling().next().is_some() && !self.has_moved_since(earlier)
    }

    /// Those who can be told from others.
    fn telling(&self) -> impl Iterator<Item = &Peer> {
        let is_telling = |peer: &&Peer| peer.address.is_some() || peer.client_inode.is_some();
        self.peers.iter().filter(is_telling)
    }
}

impl Peer {
    /// What tells it from others: its cookie, or else where it comes from.
    fn key(&self) -> (u64, Option<SocketAddr>, Option<u32>) {
        match (self.cookie, self.address) {
            (0, None) => (0, None, self.client_inode),
            (0, address) => (0, address, None),
            (cookie, _) => (cookie, None, None),
        }
    }
}

/// Both ends, of IPv4 as IPv4 whatever the socket.
fn ends(row: &TcpRow) -> (SocketAddr, SocketAddr) {
    (canonical(row.local), canonical(row.remote))
}

/// Whether its other end is on this machine, as far as its addresses tell.
fn is_here(row: &TcpRow) -> bool {
    let (local, remote) = ends(row);
    remote.ip().is_loopback() || remote.ip() == local.ip()
}

pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "127.0.0.1:3306";

    fn row(state: TcpState, local: &str, remote: &str, inode: u32) -> TcpRow {
        let remote: SocketAddr = remote.parse().unwrap();
        TcpRow {
            state,
            local: local.parse().unwrap(),
            remote,
            interface: 0,
            retransmits: 2,
            receive_queue: 0,
            send_queue: 0,
            uid: 0,
            inode,
            cookie: remote.port().into(),
            drops: None,
            only_v6: false,
        }
    }

    fn sorted_out(rows: &[TcpRow]) -> Waiting {
        Waiting::of_tcp(rows, |address| address.port() == 3306)
    }

    #[test]
    fn who_has_no_inode_at_the_server_waits_and_its_client_is_found() {
        let rows = [
            row(TcpState::Established, SERVER, "127.0.0.1:50001", 0),
            row(TcpState::Established, SERVER, "127.0.0.1:50002", 77),
            row(TcpState::CloseWait, SERVER, "10.0.0.9:50003", 0),
            row(
                TcpState::Established,
                "[::ffff:127.0.0.1]:50001",
                "[::ffff:127.0.0.1]:3306",
                9,
            ),
            row(TcpState::Established, "127.0.0.1:50002", SERVER, 10),
        ];
        let waiting = sorted_out(&rows);
        let peers: Vec<_> = waiting
            .peers
            .iter()
            .map(|it| (it.client_inode, it.has_closed))
            .collect();
        assert_eq!(peers, [(None, true), (Some(9), false)]);
        assert!(
            waiting.ghosts.is_empty() && waiting.knocking.is_empty(),
            "{waiting:?}"
        );
    }

    #[test]
    fn a_client_connected_to_nobody_is_a_ghost_if_the_server_is_here() {
        let rows = [
            row(TcpState::Established, "127.0.0.1:50001", SERVER, 9),
            row(TcpState::Established, "127.0.0.1:50002", SERVER, 10),
            row(TcpState::SynReceived, SERVER, "127.0.0.1:50002", 0),
            row(TcpState::Established, "10.0.0.9:50003", "10.0.0.5:3306", 11),
            row(TcpState::SynSent, "127.0.0.1:50004", SERVER, 12),
        ];
        let waiting = sorted_out(&rows);
        let ghosts: Vec<_> = waiting
            .ghosts
            .iter()
            .map(|it| (it.client_inode, it.is_half_open))
            .collect();
        assert_eq!(ghosts, [(9, false), (10, true)]);
        assert_eq!(waiting.half_open.len(), 1);
        assert_eq!(waiting.knocking.len(), 1);
        assert_eq!(
            (
                waiting.knocking[0].client_inode,
                waiting.knocking[0].repeats
            ),
            (12, 2)
        );
    }

    #[test]
    fn a_queue_has_moved_when_one_who_waited_waits_no_more() {
        let first = sorted_out(&[row(TcpState::Established, SERVER, "10.0.0.9:1", 0)]);
        let longer = sorted_out(&[
            row(TcpState::CloseWait, SERVER, "10.0.0.9:1", 0),
            row(TcpState::Established, SERVER, "10.0.0.9:2", 0),
        ]);
        assert!(!longer.has_moved_since(&first));
        assert!(first.has_moved_since(&longer));
        assert!(longer.stands_still_since(&first) && !first.stands_still_since(&longer));
        let unix = Waiting::of_unix(&[5, 0, 6]);
        assert!(!unix.has_moved_since(&Waiting::of_unix(&[5, 0])));
        assert!(unix.has_moved_since(&Waiting::of_unix(&[4, 5])));
    }

    #[test]
    fn a_list_of_nobody_who_can_be_told_proves_nothing() {
        let nobody = Waiting::default();
        let closed = Waiting::of_unix(&[0, 0]);
        let one = Waiting::of_unix(&[5]);
        for earlier in [&nobody, &closed] {
            assert!(!one.has_moved_since(earlier));
            assert!(!one.stands_still_since(earlier));
        }
    }

    #[test]
    fn of_those_who_were_accepted_only_clients_of_this_machine_are_of_use() {
        let rows = [
            (
                row(TcpState::Established, SERVER, "127.0.0.1:50001", 7),
                true,
            ),
            (
                row(TcpState::Established, "127.0.0.1:50001", SERVER, 9),
                true,
            ),
            (
                row(TcpState::Established, "10.0.0.5:3306", "10.0.0.9:50002", 7),
                false,
            ),
            (
                row(TcpState::Established, "10.0.0.5:3306", "10.0.0.9:50003", 0),
                true,
            ),
            (
                row(TcpState::SynSent, "10.0.0.5:50004", "10.0.0.7:3306", 7),
                false,
            ),
        ];
        for (row, is_of_use) in rows {
            assert_eq!(Waiting::may_use(&row), is_of_use, "{row:?}");
        }
    }
}
